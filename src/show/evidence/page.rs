//! The evidence as one page: no script, nothing from outside, fit to be printed and filed.
//!
//! Architecture invariant: text of others gets in only through [`Text`], which escapes it.

use std::fmt::{self, Display, Write};

use jiff::Timestamp;

use super::utc;
use crate::{
    model::time::Span,
    show::{
        dashboard::Text,
        view::{
            AttemptEvidence, Bounded, ChainEvidence, ClusterEvidence, EvidenceView, GateEvidence,
            Mark, PolicyEvidence, ResidencyEvidence, RingEvidence,
        },
    },
};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#d0d5dd;--dim:#5b6472;--ok:#11703c;--bad:#b3261e;--card:#f6f7f9}\
@media(prefers-color-scheme:dark){:root{--line:#3a414d;--dim:#a3acb9;--ok:#5fd08f;--bad:#ff8f86;\
--card:#1b1f26}}\
*{box-sizing:border-box}\
body{font:14px/1.5 system-ui,sans-serif;margin:0 auto;padding:1.5rem;max-width:75rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}\
h3{font-size:1rem;margin:1.2rem 0 .3rem}h4{font-size:.95rem;margin:.8rem 0 .2rem}\
p{margin:.3rem 0}.dim{color:var(--dim)}.ok{color:var(--ok)}.bad{color:var(--bad)}\
code,pre{font:.87em ui-monospace,monospace;overflow-wrap:anywhere}pre{white-space:pre-wrap}\
table{border-collapse:collapse;width:100%;margin:.3rem 0}\
th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top;\
overflow-wrap:break-word}th{background:var(--card);font-weight:600}\
details{margin:.3rem 0}summary{cursor:pointer}\
@media(max-width:40rem){body{padding:1rem}table{display:block;overflow-x:auto}}\
@media print{details::details-content{content-visibility:visible;display:block}body{max-width:none;padding:0;font-size:10pt}tr{break-inside:avoid}\
h2,h3,h4{break-after:avoid}thead{display:table-header-group}}";

/// The document as a page.
pub fn page(evidence: &EvidenceView) -> String {
    // A text takes whatever is written to it.
    let mut page = String::new();
    let _ = write!(page, "{}", Page(evidence));
    page
}

struct Page<'a>(&'a EvidenceView);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EvidenceView { release, chain, .. } = self.0;
        write!(
            f,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>Evidence of {}</title><style>{STYLE}</style></head><body><main>\
             <h1>Evidence of {}</h1>",
            Text(&release.release),
            Text(&release.release)
        )?;
        write!(
            f,
            "<p class=\"dim\">Made {} by {} for {}, out of the journal alone. All times are UTC. \
             A number after a time, such as <code>#42</code>, is the journal's entry.</p>",
            utc(self.0.made_at),
            Text(&self.0.made_by),
            Text(&self.0.made_for)
        )?;
        let verdict = match &chain.verified.broken {
            None => format!(
                "<p class=\"ok\"><strong>The journal's chain holds</strong>: {} entries, the last is \
                 <code>{}</code>.</p>",
                chain.verified.entries,
                Text(&chain.verified.head)
            ),
            Some(broken) => format!(
                "<p class=\"bad\"><strong>The journal's chain does not hold</strong> at entry {}: {}. \
                 This document goes as far as it holds.</p>",
                broken.seq,
                Text(&broken.why)
            ),
        };
        f.write_str(&verdict)?;
        what(f, self.0)?;
        policy(f, &self.0.policy)?;
        f.write_str("<h2>Rings</h2>")?;
        self.0.rings.iter().try_for_each(|one| ring(f, one))?;
        decisions(f, self.0)?;
        residency(f, &self.0.residency)?;
        timeline(f, self.0)?;
        proof(f, chain)?;
        f.write_str("</main></body></html>\n")
    }
}

fn what(f: &mut fmt::Formatter<'_>, evidence: &EvidenceView) -> fmt::Result {
    let release = &evidence.release;
    f.write_str("<h2>What and who</h2><table>")?;
    row(f, "Release", &Text(&release.release))?;
    row(f, "Phase", &Text(release.phase))?;
    row(f, "Artifact", &Code(&release.artifact))?;
    row(f, "Author", &Text(&release.author))?;
    row(f, "Submitted by", &Text(&release.by))?;
    row(f, "Submitted", &utc(release.submitted))?;
    row(f, "Lane", &Text(format!("{:?}", release.lane).to_lowercase()))?;
    if let Some(reason) = &release.reason {
        row(f, "Reason", &Text(reason))?;
    }
    if release.irreversible {
        row(f, "Irreversible", &"yes: it is never taken back by itself")?;
    }
    if let Some(requires) = &release.requires {
        row(f, "Requires", &Text(requires))?;
    }
    if let Some(aborted) = &release.aborted {
        let why = aborted.reason.as_deref().unwrap_or("no reason given");
        row(f, "Aborted", &Text(format!("{} by {}: {why}", utc(aborted.at), aborted.by)))?;
    }
    f.write_str("</table>")
}

fn policy(f: &mut fmt::Formatter<'_>, policy: &PolicyEvidence) -> fmt::Result {
    f.write_str("<h2>Policy, as it was bound</h2><table>")?;
    row(f, "Commit", &Code(&policy.commit))?;
    row(f, "Hash", &Code(&policy.hash))?;
    if let Some(admitted) = policy.admitted_under.as_ref().filter(|hash| **hash != policy.hash) {
        row(f, "Admitted under", &Code(admitted))?;
    }
    if let Some(mark) = &policy.declared_in {
        row(f, "Declared", &At(mark))?;
    }
    f.write_str(
        "</table><table><thead><tr><th>Ring</th><th>After</th><th>Clusters</th><th>Soak</th>\
         <th>Gates</th><th>Approvals</th><th>Calendars</th></tr></thead><tbody>",
    )?;
    for ring in &policy.rings {
        let approvals = ring.approvals.as_ref().map_or_else(String::new, |needed| {
            let place = needed.jurisdiction.as_ref().map(|place| format!(" of {place}"));
            let author = if needed.exclude_author { ", not the author" } else { "" };
            let (roles, place) = (needed.roles.join(" or "), place.unwrap_or_default());
            format!("{} ({roles}){place}{author}", needed.count)
        });
        write!(
            f,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Text(&ring.name),
            Text(joined(&ring.after)),
            Text(joined(&ring.clusters)),
            ring.soak,
            Text(joined(&ring.gates)),
            Text(approvals),
            Text(joined(&ring.calendars)),
        )?;
    }
    f.write_str(
        "</tbody></table><table><thead><tr><th>Ring</th><th>Gate</th><th>Signal</th><th>Judged</th>\
         <th>Every</th><th>Query</th></tr></thead><tbody>",
    )?;
    for gate in &policy.gates {
        let required = if gate.required { "" } else { " (for information)" };
        write!(
            f,
            "<tr><td>{}</td><td>{}{required}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Text(&gate.ring),
            Text(&gate.name),
            Text(format!("{:?}", gate.signal).to_lowercase()),
            Text(&gate.judge),
            gate.interval,
            Code(&gate.query),
        )?;
    }
    let snapshot = serde_json::to_string_pretty(&policy.snapshot).unwrap_or_default();
    write!(
        f,
        "</tbody></table><details><summary>The whole snapshot, without the addresses of metric \
         sources</summary><pre>{}</pre></details>",
        Text(snapshot)
    )
}

fn ring(f: &mut fmt::Formatter<'_>, ring: &RingEvidence) -> fmt::Result {
    write!(f, "<h3>{}: {}</h3>", Text(&ring.name), Text(ring.phase))?;
    if ring.attempts.is_empty() {
        f.write_str("<p class=\"dim\">It has not started there.</p>")?;
    }
    ring.attempts.iter().try_for_each(|one| attempt(f, one))
}

fn attempt(f: &mut fmt::Formatter<'_>, attempt: &AttemptEvidence) -> fmt::Result {
    write!(f, "<h4>Attempt {}</h4><table>", attempt.attempt)?;
    row(f, "Started", &At(&attempt.started))?;
    let resets = match attempt.resets {
        0 => String::new(),
        resets => format!(", back at zero {resets} times"),
    };
    let credited = Span::seconds(attempt.credited.0 / 1_000);
    let soak = format!("{credited} of {} credited{resets}", attempt.required);
    row(f, "Soak", &soak)?;
    for (name, mark) in [
        ("Soak started", &attempt.soak_started),
        ("Passed", &attempt.passed),
        ("Watch ended", &attempt.watch_ended),
        ("Failed", &attempt.failed),
        ("Going back since", &attempt.rollback_started),
        ("Back", &attempt.rolled_back),
        ("Ended", &attempt.ended),
    ] {
        if let Some(mark) = mark {
            row(f, name, &At(mark))?;
        }
    }
    if let Some(cause) = &attempt.cause {
        row(f, "Cause", &Text(cause))?;
    }
    if let Some(by) = &attempt.rolled_back_by {
        row(f, "Taken back by", &Text(by))?;
    }
    f.write_str(
        "</table><table><thead><tr><th>Cluster</th><th>Where it was known to lie</th><th>Ready</th>\
         <th>What else</th></tr></thead><tbody>",
    )?;
    attempt.clusters.iter().try_for_each(|one| cluster(f, one))?;
    f.write_str("</tbody></table>")?;
    attempt.gates.iter().try_for_each(|one| gate(f, one))
}

fn cluster(f: &mut fmt::Formatter<'_>, here: &ClusterEvidence) -> fmt::Result {
    let ready = here.ready.as_ref().map(At);
    write!(f, "<tr><td>{}</td><td>{}</td><td>", Text(&here.name), Text(&here.place))?;
    ready.iter().try_for_each(|ready| write!(f, "{ready}"))?;
    f.write_str("</td><td>")?;
    for (name, mark) in [
        ("failed", &here.failed),
        ("back at its known good", &here.restored),
        ("stuck", &here.stuck),
    ] {
        if let Some(mark) = mark {
            write!(f, "<p>{name} {}</p>", At(mark))?;
        }
    }
    if let Some(cause) = &here.cause {
        write!(f, "<p>{}</p>", Text(cause))?;
    }
    f.write_str("</td></tr>")
}

fn gate(f: &mut fmt::Formatter<'_>, gate: &GateEvidence) -> fmt::Result {
    let verdicts: Vec<_> =
        gate.verdicts.iter().map(|(verdict, many)| format!("{many} {verdict}")).collect();
    let range = match (&gate.least, &gate.greatest) {
        (Some(least), Some(greatest)) => format!("; from {} to {}", least.0, greatest.0),
        (None, _) | (_, None) => String::new(),
    };
    write!(
        f,
        "<details><summary>Gate {} on {}: {}{range}</summary>",
        Text(&gate.gate),
        Text(&gate.cluster),
        Text(verdicts.join(", ")),
    )?;
    if gate.withheld {
        f.write_str("<p>A residency rule keeps its figures where they were measured.</p>")?;
    }
    for asked in &gate.asked {
        let query = asked.query.as_str().map_or_else(|| asked.query.to_string(), str::to_owned);
        write!(f, "<p>{}: {}</p>", Text(&asked.role), Code(query))?;
    }
    f.write_str(
        "<table><thead><tr><th>When</th><th>Verdict</th><th>Value</th><th>Samples</th><th>Against</th>\
         <th>Why</th></tr></thead><tbody>",
    )?;
    for one in &gate.measurements.items {
        let figure = |figure: &Option<crate::show::view::FigureView>| {
            figure.map_or_else(String::new, |figure| figure.0.to_string())
        };
        write!(
            f,
            "<tr><td>{} <code>#{}</code></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            utc(one.at),
            one.seq,
            one.verdict,
            figure(&one.value),
            figure(&one.samples),
            figure(&one.against),
            Text(&one.detail),
        )?;
    }
    f.write_str("</tbody></table>")?;
    left_out(f, gate.measurements.left_out)?;
    f.write_str("</details>")
}

fn decisions(f: &mut fmt::Formatter<'_>, evidence: &EvidenceView) -> fmt::Result {
    let EvidenceView { decisions, holds, refusals, .. } = evidence;
    f.write_str("<h2>What people decided</h2>")?;
    table(f, decisions, &["When", "Who", "Roles", "Belongs to", "What"], |f, decision| {
        let place = decision.jurisdiction.as_ref().map(ToString::to_string);
        write!(
            f,
            "<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}",
            At(&decision.mark),
            Text(&decision.by),
            Text(decision.roles.join(", ")),
            Text(place.unwrap_or_default()),
            Text(&decision.said),
        )?;
        if let Some(bound) = &decision.bound_to {
            write!(
                f,
                "<p class=\"dim\">bound to {}, policy {}, attempt {}, clusters {}</p>",
                Code(&bound.artifact),
                Code(&bound.policy),
                bound.attempt,
                Text(joined(&bound.clusters))
            )?;
        }
        f.write_str("</td>")
    })?;
    f.write_str("<h2>What held it</h2>")?;
    if !evidence.chain.holds_known {
        f.write_str("<p class=\"bad\">The holds could not be told from the journal.</p>")?;
    }
    table(f, holds, &["Ring", "Kind", "What", "From", "Until", "Ended by"], |f, hold| {
        let until = hold.until.as_ref().map(|mark| At(mark).to_string());
        let ended = match (&hold.until, hold.ended_by.as_slice()) {
            (Some(_), []) => "time".into(),
            (_, said) => said.join("; "),
        };
        write!(
            f,
            "<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            Text(&hold.ring),
            hold.kind.name(),
            Text(&hold.message),
            At(&hold.from),
            until.unwrap_or_else(|| "it holds still".into()),
            Text(ended)
        )
    })?;
    f.write_str("<h2>What was refused</h2>")?;
    table(f, refusals, &["When", "Who asked", "What", "Refused as", "Why"], |f, refusal| {
        write!(
            f,
            "<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            At(&refusal.mark),
            Text(&refusal.by),
            Code(&refusal.asked),
            Text(&refusal.kind),
            Text(&refusal.detail)
        )
    })
}

fn residency(f: &mut fmt::Formatter<'_>, residency: &ResidencyEvidence) -> fmt::Result {
    f.write_str("<h2>Residency</h2>")?;
    if residency.rules.is_empty() {
        f.write_str("<p class=\"dim\">No rule bound it.</p>")?;
    } else {
        f.write_str(
            "<table><thead><tr><th>Rule</th><th>Declared</th><th>Enforcement</th><th>Demands</th></tr>\
             </thead><tbody>",
        )?;
    }
    for rule in &residency.rules {
        write!(
            f,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Text(&rule.id),
            Text(&rule.declared_at),
            Text(format!("{:?}", rule.enforcement).to_lowercase()),
            Code(&rule.demand)
        )?;
    }
    if !residency.rules.is_empty() {
        f.write_str("</tbody></table>")?;
    }
    f.write_str(
        "<table><thead><tr><th>Cluster</th><th>When it was admitted</th><th>Now</th></tr></thead><tbody>",
    )?;
    for (cluster, place) in &residency.admitted {
        let now = residency.now.get(cluster).map_or("", String::as_str);
        write!(
            f,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            Text(cluster),
            Text(place),
            Text(now)
        )?;
    }
    f.write_str("</tbody></table>")?;
    let home = &residency.home;
    let said = |place: &Option<crate::ids::Jurisdiction>| {
        place.as_ref().map_or_else(|| "not said".into(), ToString::to_string)
    };
    write!(
        f,
        "<p>The server, by its settings: it judges in {}, its journal lies in {}, its backups in {}.</p>",
        Text(said(&home.evaluator)),
        Text(said(&home.data)),
        Text(said(&home.backups))
    )?;
    for waiver in &residency.waivers {
        write!(
            f,
            "<p>Waiver {} of rule {} for {}: {}, until {}, asked by {}, agreed by {}{}</p>",
            Text(&waiver.id),
            Text(&waiver.rule),
            Text(&waiver.covers),
            waiver.state.name(),
            utc(waiver.until),
            Text(&waiver.said.by),
            Text(joined(&waiver.agreed)),
            Text(waiver.ended_because.as_ref().map_or_else(String::new, |why| format!("; {why}")))
        )?;
    }
    Ok(())
}

fn timeline(f: &mut fmt::Formatter<'_>, evidence: &EvidenceView) -> fmt::Result {
    f.write_str("<h2>What happened</h2>")?;
    table(f, &evidence.timeline, &["When", "What"], |f, event| {
        write!(f, "<td>{}</td><td>{}</td>", At(&event.mark), Text(&event.said))
    })
}

fn proof(f: &mut fmt::Formatter<'_>, chain: &ChainEvidence) -> fmt::Result {
    f.write_str("<h2>Why this can be believed</h2><table>")?;
    for (name, mark) in
        [("First entry about it", &chain.first), ("Last entry about it", &chain.last)]
    {
        if let Some(mark) = mark {
            write!(f, "<tr><th>{name}</th><td>{}<br>{}</td></tr>", At(mark), Code(&mark.hash))?;
        }
    }
    row(f, "Entries about it", &chain.entries)?;
    row(f, "Entries that hold, from the first of the journal", &chain.verified.entries)?;
    row(f, "Hash of the last of them", &Code(&chain.verified.head))?;
    f.write_str("</table><p>To see for yourself:</p><ul>")?;
    chain.how.iter().try_for_each(|how| write!(f, "<li>{}</li>", Text(how)))?;
    f.write_str("</ul>")
}

/// A table of a list, with a word on what it leaves out.
fn table<T: utoipa::ToSchema>(
    f: &mut fmt::Formatter<'_>,
    list: &Bounded<T>,
    columns: &[&str],
    cells: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if list.items.is_empty() {
        return f.write_str("<p class=\"dim\">Nothing.</p>");
    }
    f.write_str("<table><thead><tr>")?;
    columns.iter().try_for_each(|column| write!(f, "<th>{column}</th>"))?;
    f.write_str("</tr></thead><tbody>")?;
    for item in &list.items {
        f.write_str("<tr>")?;
        cells(f, item)?;
        f.write_str("</tr>")?;
    }
    f.write_str("</tbody></table>")?;
    left_out(f, list.left_out)
}

fn left_out(f: &mut fmt::Formatter<'_>, many: u64) -> fmt::Result {
    match many {
        0 => Ok(()),
        many => write!(f, "<p class=\"dim\">{many} more stand in the journal.</p>"),
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &dyn Display) -> fmt::Result {
    write!(f, "<tr><th>{name}</th><td>{value}</td></tr>")
}

fn joined<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An instant and its entry.
struct At<'a>(&'a Mark);

impl Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at: Timestamp = self.0.at;
        write!(f, "{} <code>#{}</code>", utc(at), self.0.seq)
    }
}

/// Somebody else's text, escaped, as code.
struct Code<T>(T);

impl<T: Display> Display for Code<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<code>{}</code>", Text(&self.0))
    }
}
