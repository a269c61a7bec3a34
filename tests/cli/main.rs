//! The command line as its users meet it: the real binary, its texts, its exit codes and what it makes
//! of a server's answers.

mod alone;
mod fake;
mod served;

use std::process::{Command, Output, Stdio};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The binary, with nothing of the machine's own surroundings.
fn ringward(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
    for name in ["RINGWARD_SERVER", "RINGWARD_TOKEN_FILE", "NO_COLOR", "LC_ALL", "LC_CTYPE"] {
        command.env_remove(name);
    }
    command.env("LANG", "C.UTF-8").env("TERM", "xterm").current_dir(HERE);
    command.args(arguments).stdin(Stdio::null());
    command
}

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().expect("it ends by itself"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

#[track_caller]
fn run(arguments: &[&str], code: i32) -> Ended {
    let ended = ended(ringward(arguments).output().expect("it runs"));
    assert_eq!(ended.code, code, "{arguments:?}\n{}{}", ended.out, ended.err);
    ended
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}
