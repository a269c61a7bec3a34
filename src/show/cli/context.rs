//! What every command shares: the flags, the two output streams, the clock and the way to the server.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use super::{
    client::{Answer, Client},
    failure::Failure,
    style::Style,
};
use crate::{
    clock::SystemClock,
    model::time::{Mono, Span},
};

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Shared options")]
pub struct Shared {
    /// Where the server is.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "RINGWARD_SERVER",
        default_value = "http://127.0.0.1:7474"
    )]
    pub server: String,
    /// The file with your token [default: admin.token of the data directory on this machine].
    #[arg(long, global = true, value_name = "FILE", env = "RINGWARD_TOKEN_FILE")]
    pub token: Option<PathBuf>,
    /// Certificates in PEM that a server by https is trusted by [default: the system's].
    #[arg(long, global = true, value_name = "FILE", env = "RINGWARD_CA_FILE")]
    pub ca: Option<PathBuf>,
    /// Your own certificate and its key in PEM, for a server that asks for one.
    #[arg(long, global = true, value_name = "FILE", env = "RINGWARD_CERT_FILE")]
    pub cert: Option<PathBuf>,
    /// How the answer is written; json and yaml are the API's own documents.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t = Format::Table,
        hide_possible_values = true
    )]
    pub output: Format,
    /// No colour, whatever the terminal can show; NO_COLOR does the same.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// How long to wait: for a state with `wait` and `status -w`, for an answer with any other command.
    #[arg(long, global = true, value_name = "DURATION")]
    pub timeout: Option<Span>,
    /// Ask nothing before what cannot be undone.
    #[arg(short = 'y', long = "yes", global = true)]
    pub yes: bool,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// More columns.
    Wide,
    /// The API's document.
    Json,
    /// The API's document, as YAML.
    Yaml,
    /// Names alone, a line each.
    Name,
}

/// What a command works with.
pub struct Context {
    /// The shared flags.
    pub shared: Shared,
    /// What standard output can show.
    pub style: Style,
    /// The machine's clocks.
    pub clock: SystemClock,
}

impl Context {
    /// From the flags and the surroundings.
    pub fn new(shared: Shared) -> Self {
        let style = Style::of_stdout(shared.no_color);
        Self { shared, style, clock: SystemClock::new(Mono::default()) }
    }

    /// The way to the server.
    ///
    /// # Errors
    /// The URL is none, or there is no token.
    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.shared)
    }

    /// Writes data.
    ///
    /// # Errors
    /// Nobody reads it any more, or it cannot be written.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(Failure::unwritten)
    }

    /// Says how it goes, where nobody takes it for data.
    pub fn progress(&self, text: &str) {
        // Whoever does not listen to progress has what they want.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Writes an answer: as the API's document, as names, or as people read it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn answer(
        &self,
        answer: &Answer,
        names: impl FnOnce() -> Vec<String>,
        people: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = match self.shared.output {
            Format::Json => answer.json()?,
            Format::Yaml => answer.yaml()?,
            Format::Name => names().iter().map(|name| format!("{name}\n")).collect(),
            Format::Table | Format::Wide => people(),
        };
        self.print(&text)
    }

    /// Whether more columns are wanted.
    pub fn is_wide(&self) -> bool {
        self.shared.output == Format::Wide
    }

    /// Whether the API's own document is wanted.
    pub fn is_document(&self) -> bool {
        matches!(self.shared.output, Format::Json | Format::Yaml)
    }

    /// Whether the answer is for people, and standard output is where they look.
    pub fn is_live(&self) -> bool {
        matches!(self.shared.output, Format::Table | Format::Wide) && io::stdout().is_terminal()
    }

    /// Asks a person before what cannot be undone. Scripts, which nobody sits before, mean what they say.
    ///
    /// # Errors
    /// The answer is not yes.
    pub fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.shared.yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(());
        }
        let mut answer = String::new();
        let asked = write!(io::stderr(), "{question} [y/N] ").and_then(|()| io::stderr().flush());
        let read = asked.and_then(|()| io::stdin().read_line(&mut answer));
        read.map_err(|error| Failure::new(format!("the terminal cannot be read: {error}")))?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new("nothing was done").help("answer y, or give -y")),
        }
    }
}
