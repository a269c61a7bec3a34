//! The page at `/`: every release and ring in one matrix, in words and glyphs as well as colours.
//!
//! It is one document without a script, so that it works everywhere and can be told to load nothing.
//!
//! Architecture invariant: text of others gets in only through [`Text`], which escapes it.

use std::fmt::{self, Display};

use super::view::{FreezeView, HoldView, PlanView, ReleaseView, RingView, SourceView};
use crate::{decide::phase::RingPhase, ids::Principal, model::time::Span};

/// Seconds after which the page is asked for again.
const REFRESH: u32 = 10;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#d0d5dd;--dim:#5b6472;--ok:#11703c;--go:#0b5cad;--hold:#8a5300;\
--bad:#b3261e;--card:#f6f7f9}\
@media(prefers-color-scheme:dark){:root{--line:#3a414d;--dim:#a3acb9;--ok:#5fd08f;--go:#7db8ff;\
--hold:#f0b45a;--bad:#ff8f86;--card:#1b1f26}}\
*{box-sizing:border-box}\
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;padding:1rem 1.25rem;max-width:90rem}\
header{display:flex;gap:1rem;align-items:baseline;flex-wrap:wrap}h1{font-size:1.3rem;margin:0}\
header form{margin-left:auto}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}\
.dim{color:var(--dim);font-size:.87rem;font-weight:400}code{font:.87em ui-monospace,monospace}\
.scroll{overflow-x:auto}table{border-collapse:collapse;min-width:100%}\
th,td{border:1px solid var(--line);padding:.45rem .6rem;text-align:left;vertical-align:top}\
th{background:var(--card);font-weight:600}tbody th{white-space:nowrap}\
td{min-width:9rem}td p{margin:.2rem 0 0}td ul{margin:.2rem 0 0;padding-left:1.1rem}\
b.ok{color:var(--ok)}b.go{color:var(--go)}b.hold{color:var(--hold)}b.bad{color:var(--bad)}\
b.idle{color:var(--dim);font-weight:400}progress{width:100%;height:.5rem}\
aside{border:2px solid var(--hold);border-radius:.4rem;padding:.5rem .8rem;margin:1rem 0}\
aside.bad{border-color:var(--bad)}aside p{margin:.1rem 0}\
main.sign{max-width:26rem;margin:12vh auto}input{font:inherit;width:100%;padding:.4rem}\
button{font:inherit;padding:.35rem .8rem;margin-top:.5rem}";

/// Somebody else's text, escaped.
pub struct Text<T>(pub T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0.to_string().chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// What the page shows.
pub struct Board {
    /// Who looks.
    pub who: Principal,
    /// The plans that they may see, each with its latest releases.
    pub plans: Vec<(PlanView, Vec<ReleaseView>)>,
    /// Freezes that were not lifted.
    pub freezes: Vec<FreezeView>,
    /// Where the declarations come from.
    pub source: SourceView,
}

/// The page.
pub fn board(board: &Board, nonce: &str) -> String {
    let commit = match &board.source.commit {
        Some(commit) => {
            let short: String = commit.as_str().chars().take(12).collect();
            format!("declarations of <code>{}</code>", Text(short))
        }
        None => "no declarations yet".into(),
    };
    let plans: String = board.plans.iter().map(|(plan, releases)| matrix(plan, releases)).collect();
    let none = match board.plans.is_empty() {
        true => "<p>There is no plan that you may see.</p>",
        false => "",
    };
    let body = format!(
        "<header><h1>ringward</h1><span class=\"dim\">{commit}</span>\
         <form method=\"post\" action=\"/logout\"><span class=\"dim\">{who}</span> \
         <button>Sign out</button></form></header>\
         <main>{alarms}{plans}{none}</main>",
        who = Text(&board.who),
        alarms = alarms(board),
    );
    let refresh = format!("<meta http-equiv=\"refresh\" content=\"{REFRESH}\">");
    document(&body, &refresh, nonce)
}

/// The form to sign in with, and what was wrong with the last try.
pub fn sign_in(wrong: Option<&str>, nonce: &str) -> String {
    let wrong = wrong.map(|wrong| {
        format!("<aside class=\"bad\" role=\"alert\"><p>✘ {}</p></aside>", Text(wrong))
    });
    let body = format!(
        "<main class=\"sign\"><h1>ringward</h1>{}\
         <form method=\"post\" action=\"/login\"><label>Token \
         <input type=\"password\" name=\"token\" autocomplete=\"current-password\" required \
         autofocus></label><button>Sign in</button></form>\
         <p class=\"dim\">The first administrator's token is in <code>admin.token</code> of the data \
         directory; <code>ringward token create</code> makes others.</p></main>",
        wrong.unwrap_or_default()
    );
    document(&body, "", nonce)
}

fn document(body: &str, head: &str, nonce: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">{head}\
         <title>ringward</title><style nonce=\"{nonce}\">{STYLE}</style></head>\
         <body>{body}</body></html>\n"
    )
}

/// What stops more than one plan, and a source that was not accepted.
fn alarms(board: &Board) -> String {
    let freezes = board.freezes.iter().filter(|freeze| freeze.active).map(|freeze| {
        let until = freeze.until.map(|until| format!(", until {until}")).unwrap_or_default();
        let reason = freeze.said.reason.as_deref().unwrap_or("no reason given");
        format!(
            "<aside><p>‖ Frozen: {} by {}: {}{}. <span class=\"dim\">Lift it with \
             <code>ringward freeze lift {}</code></span></p></aside>",
            Text(&freeze.covers),
            Text(&freeze.said.by),
            Text(reason),
            Text(until),
            Text(&freeze.id)
        )
    });
    let refused = board.source.refused.iter().map(|commit| {
        let why = board.source.refused_because.as_deref().unwrap_or_default();
        format!(
            "<aside class=\"bad\"><p>✘ Commit <code>{}</code> is not in force: {}</p></aside>",
            Text(commit),
            Text(why)
        )
    });
    freezes.chain(refused).collect()
}

fn matrix(plan: &PlanView, releases: &[ReleaseView]) -> String {
    let heads: String = plan
        .rings
        .iter()
        .map(|ring| {
            let places: Vec<&str> = ring.jurisdictions.iter().map(|j| j.as_str()).collect();
            let (name, places) = (Text(&ring.name), Text(places.join(" ")));
            format!("<th scope=\"col\">{name} <span class=\"dim\">{places}</span></th>")
        })
        .collect();
    let rows: String = releases.iter().map(|release| row(plan, release)).collect();
    let table = match releases.is_empty() {
        true => "<p class=\"dim\">No release yet.</p>".into(),
        false => format!(
            "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Release</th>{heads}</tr>\
             </thead><tbody>{rows}</tbody></table></div>"
        ),
    };
    let problems: String = plan
        .problems
        .iter()
        .map(|p| format!("<p>✘ {} {}: {}</p>", Text(&p.rule), Text(&p.place), Text(&p.message)))
        .collect();
    let problems = match problems.is_empty() {
        true => problems,
        false => format!("<aside class=\"bad\">{problems}</aside>"),
    };
    let pauses: String = plan
        .pauses
        .iter()
        .map(|pause| format!("<p>‖ {} paused by {}</p>", Text(&pause.covers), Text(&pause.said.by)))
        .collect();
    let pauses = if pauses.is_empty() { pauses } else { format!("<aside>{pauses}</aside>") };
    format!("<section><h2>{}</h2>{problems}{pauses}{table}</section>", Text(&plan.name))
}

fn row(plan: &PlanView, release: &ReleaseView) -> String {
    let cells: String = plan
        .rings
        .iter()
        .map(|ring| match release.rings.iter().find(|r| r.name == ring.name) {
            Some(ring) => cell(ring),
            None => "<td class=\"dim\">-</td>".into(),
        })
        .collect();
    // Whole minutes: nobody reads the seconds of an age.
    let age = match release.age_seconds / 60 {
        0 => "just now".to_owned(),
        minutes => format!("{} ago", Span::minutes(minutes)),
    };
    format!(
        "<tr><th scope=\"row\">{}<br><span class=\"dim\">{} · by {} · {age}</span></th>{cells}</tr>",
        Text(&release.version),
        Text(release.phase),
        Text(&release.author)
    )
}

fn cell(ring: &RingView) -> String {
    let (glyph, class) = (glyph(ring.phase), colour(ring.phase));
    let phase = format!("<b class=\"{class}\">{glyph} {}</b>", ring.phase);
    let soak = ring.soak.filter(|_| ring.phase == RingPhase::Soaking).map(|soak| {
        let (credited, required) = (soak.credited_seconds, soak.required_seconds);
        let time = |seconds: f64| Span::seconds(seconds as u64);
        format!(
            "<p><progress value=\"{credited}\" max=\"{required}\" aria-label=\"soak\"></progress>\
             <span class=\"dim\">{} of {}{}</span></p>",
            time(credited),
            time(required),
            if soak.running { "" } else { ", stands still" }
        )
    });
    let gates = ring.gates.filter(|_| ring.phase == RingPhase::Soaking).map(|gates| {
        format!("<p class=\"dim\">{} of {} gates pass</p>", gates.passing, gates.required)
    });
    let holds: String = ring.holds.iter().map(hold).collect();
    let holds = if holds.is_empty() { holds } else { format!("<ul>{holds}</ul>") };
    let info = match ring.info.is_empty() || !ring.holds.is_empty() {
        true => String::new(),
        false => format!("<p class=\"dim\">{}</p>", Text(&ring.info)),
    };
    format!(
        "<td>{phase}{}{}{holds}{info}</td>",
        soak.unwrap_or_default(),
        gates.unwrap_or_default()
    )
}

fn hold(hold: &HoldView) -> String {
    format!("<li>{} <span class=\"dim\">{}</span></li>", Text(&hold.message), Text(&hold.ended_by))
}

/// A sign for each phase, beside its word; fonts without Indic scripts have these too.
fn glyph(phase: RingPhase) -> &'static str {
    match phase {
        RingPhase::Waiting => "•",
        RingPhase::Held => "‖",
        RingPhase::Deploying => "↥",
        RingPhase::Soaking => "◌",
        RingPhase::Passed => "✔",
        RingPhase::Failed => "✘",
        RingPhase::RollingBack => "↧",
        RingPhase::RolledBack => "↩",
        RingPhase::Aborted => "■",
        RingPhase::Superseded => "»",
    }
}

fn colour(phase: RingPhase) -> &'static str {
    match phase {
        RingPhase::Passed => "ok",
        RingPhase::Deploying | RingPhase::Soaking => "go",
        RingPhase::Held => "hold",
        RingPhase::Failed | RingPhase::RollingBack | RingPhase::RolledBack => "bad",
        RingPhase::Waiting | RingPhase::Aborted | RingPhase::Superseded => "idle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_text() {
        let odd = Text("<script>alert('x' & \"y\")</script>").to_string();
        assert_eq!(odd, "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;");
        let page = sign_in(Some("<b>"), "n0nce");
        assert!(page.contains("✘ &lt;b&gt;") && page.contains("<style nonce=\"n0nce\">"));
    }
}
