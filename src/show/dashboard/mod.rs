//! The dashboard's pages, made on the server: they read, link and act without a script. The one script
//! only keeps what is shown up to date.
//!
//! Architecture invariant: a page is made of views and of words that the API and the command line have
//! too; text of others gets in only through [`Text`], which escapes it.

pub mod approvals;
pub mod chart;
pub mod confirm;
mod dag;
pub mod deed;
pub mod fleet;
pub mod freezes;
mod html;
pub mod jurisdictions;
pub mod release;
pub mod ring;
pub mod sign_in;
mod signs;
pub mod timeline;

pub use html::Text;

use std::sync::LazyLock;

use crate::{
    ids::Principal,
    model::time::Now,
    show::{auth::digest, view::SourceView},
};

/// The style sheet.
pub const STYLE: &str = include_str!("style.css");

/// The script.
pub const SCRIPT: &str = include_str!("live.js");

/// What stands in the browser's tab.
pub const ICON: &str = include_str!("icon.svg");

/// Changes with every change of the files above, so that they can be kept for good.
pub static EDITION: LazyLock<String> =
    LazyLock::new(|| digest(&[STYLE, SCRIPT, ICON].concat()).chars().take(12).collect());

/// Who looks.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Their name.
    pub name: Principal,
    /// Their roles.
    pub roles: Vec<String>,
    /// What their forms must carry, so that nobody else's are taken for theirs.
    pub csrf: String,
}

/// The pages that every page leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The matrix.
    Fleet,
    /// What waits for somebody to agree.
    Approvals,
    /// Clusters by country.
    Jurisdictions,
    /// What stops the line.
    Freezes,
    /// What happened.
    Timeline,
    /// None of them.
    Elsewhere,
}

impl Place {
    const ALL: [(Place, &str, &str); 5] = [
        (Place::Fleet, "/", "Fleet"),
        (Place::Approvals, "/approvals", "Approvals"),
        (Place::Jurisdictions, "/jurisdictions", "Jurisdictions"),
        (Place::Freezes, "/freezes", "Freezes"),
        (Place::Timeline, "/timeline", "Timeline"),
    ];
}

/// What stands around the main part of a page.
pub struct Frame<'a> {
    /// Who looks.
    pub viewer: &'a Viewer,
    /// Where they are.
    pub place: Place,
    /// What the page is called.
    pub title: &'a str,
    /// Whether it is kept up to date.
    pub live: bool,
    /// What was done last, said once.
    pub notice: Option<&'a str>,
    /// Where the declarations come from.
    pub source: &'a SourceView,
    /// The instant that is shown.
    pub now: Now,
}

/// The whole document around `main`.
pub fn document(frame: &Frame<'_>, main: &str) -> String {
    let Frame { viewer, place, title, live, notice, source, now } = frame;
    let links: String = Place::ALL
        .iter()
        .map(|(page, path, name)| {
            let current = if page == place { " aria-current=\"page\"" } else { "" };
            format!("<li><a href=\"{path}\"{current}>{name}</a></li>")
        })
        .collect();
    let roles = viewer.roles.join(", ");
    let commit = source.commit.as_ref().map_or_else(
        || "no declarations yet".to_owned(),
        |commit| {
            let short: String = commit.as_str().chars().take(12).collect();
            format!("declarations of <code>{}</code>", Text(short))
        },
    );
    let body = format!(
        "<a class=\"skip\" href=\"#main\">Skip to the content</a>\
         <header class=\"top\"><a class=\"brand\" href=\"/\">{MARK}ringward</a>\
         <nav aria-label=\"Pages\"><ul>{links}</ul></nav>\
         <p id=\"live\" role=\"status\"></p>\
         <form class=\"who\" method=\"post\" action=\"/logout\">{csrf}<span>{who} \
         <span class=\"dim\">{roles}</span></span><button>Sign out</button></form></header>\
         <div id=\"notice\" role=\"status\">{notice}</div>\
         <main id=\"main\" tabindex=\"-1\"{live}>{main}</main>\
         <p id=\"said\" class=\"unseen\" aria-live=\"polite\"></p>\
         <footer><span>{commit}</span><span>as of {at}, in UTC</span></footer>",
        csrf = deed::hidden("csrf", &viewer.csrf),
        who = Text(&viewer.name),
        roles = Text(roles),
        notice = notice.map(|n| format!("<p>✔ {}</p>", html::prose(n))).unwrap_or_default(),
        live = if *live { " data-live" } else { "" },
        at = html::time(now.wall, *now),
    );
    shell(title, "", &body)
}

/// A mark before the name.
const MARK: &str = "<svg aria-hidden=\"true\" viewBox=\"0 0 16 16\" width=\"18\" height=\"18\">\
                    <circle cx=\"8\" cy=\"8\" r=\"6.5\"/><circle cx=\"8\" cy=\"8\" r=\"2.6\"/></svg>";

/// A document with nothing around its body, and `head` beside what every head has.
fn shell(title: &str, head: &str, body: &str) -> String {
    let edition = EDITION.as_str();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{} · ringward</title>\
         <link rel=\"stylesheet\" href=\"/assets/style.css?{edition}\">\
         <link rel=\"icon\" type=\"image/svg+xml\" href=\"/assets/icon.svg?{edition}\">\
         <script src=\"/assets/live.js?{edition}\" defer></script>{head}</head><body>{body}</body></html>\n",
        Text(title)
    )
}

/// What stands where a page would that cannot be shown, or where an action would that was not done.
pub fn trouble(title: &str, detail: &str, more: &[String], back: &str) -> String {
    let more: String = more.iter().map(|line| format!("<li>{}</li>", html::prose(line))).collect();
    let more = if more.is_empty() { more } else { format!("<ul>{more}</ul>") };
    format!(
        "<section class=\"narrow\"><h1>{}</h1><div class=\"alarm bad\" role=\"alert\"><p>✘ {}</p>{more}\
         </div><p><a href=\"{}\">Back</a></p></section>",
        Text(title),
        html::prose(detail),
        Text(back)
    )
}
