//! What stops the line, and how to stop it.

use super::{
    deed::{Offer, acts, hidden},
    html::{Text, scroll, time},
};
use crate::{
    ids::{Jurisdiction, PlanName},
    model::time::Now,
    show::view::{FreezeView, PauseView},
};

/// What the page shows.
pub struct Line {
    /// The freezes that were not lifted.
    pub freezes: Vec<(FreezeView, Offer)>,
    /// The pauses in force.
    pub pauses: Vec<(PauseView, Offer)>,
    /// The plans that could be stopped.
    pub plans: Vec<PlanName>,
    /// The countries and blocs that could be.
    pub places: Vec<Jurisdiction>,
    /// Why the viewer may stop nothing, if they may not.
    pub denied: Option<String>,
    /// The instant.
    pub now: Now,
}

/// The page.
pub fn page(line: &Line, csrf: &str) -> String {
    format!(
        "<div class=\"head\"><h1>Freezes and pauses</h1></div>\
         <section aria-labelledby=\"h-freezes\"><h2 id=\"h-freezes\">Freezes</h2>{}</section>\
         <section aria-labelledby=\"h-pauses\"><h2 id=\"h-pauses\">Pauses</h2>{}</section>\
         <section aria-labelledby=\"h-stop\"><h2 id=\"h-stop\">Stop the line</h2>{}</section>",
        freezes(line, csrf),
        pauses(line, csrf),
        stop(line, csrf),
    )
}

fn freezes(line: &Line, csrf: &str) -> String {
    let rows: String = line
        .freezes
        .iter()
        .map(|(freeze, offer)| {
            let until = freeze.until.map_or_else(|| "somebody lifts it".into(), |at| time(at, line.now));
            let (class, glyph, word) = match freeze.active {
                true => ("hold", "‖", "In force"),
                false => ("idle", "■", "Over"),
            };
            format!(
                "<tr id=\"f-{id}\"><th scope=\"row\">{}<br><span class=\"dim\">{id}</span></th>\
                 <td><span class=\"chip {class}\"><span aria-hidden=\"true\">{glyph}</span> {word}</span></td>\
                 <td>{until}</td><td>{} {}</td><td>{}</td><td>{}</td></tr>",
                Text(&freeze.covers),
                Text(&freeze.said.by),
                time(freeze.said.at, line.now),
                Text(freeze.said.reason.as_deref().unwrap_or("-")),
                acts(csrf, std::slice::from_ref(offer), &[]),
                id = Text(&freeze.id),
            )
        })
        .collect();
    table(
        "freezes",
        "Freezes",
        &["Stops", "State", "Until", "By", "Reason", "Action"],
        &rows,
        "Nothing is frozen.",
    )
}

fn pauses(line: &Line, csrf: &str) -> String {
    let rows: String = line
        .pauses
        .iter()
        .map(|(pause, offer)| {
            format!(
                "<tr><th scope=\"row\">{}</th><td>{} {}</td><td>{}</td><td>{}</td></tr>",
                Text(&pause.covers),
                Text(&pause.said.by),
                time(pause.said.at, line.now),
                Text(pause.said.reason.as_deref().unwrap_or("-")),
                acts(csrf, std::slice::from_ref(offer), &[]),
            )
        })
        .collect();
    table("pauses", "Pauses", &["Stops", "By", "Reason", "Action"], &rows, "Nothing is paused.")
}

/// A table with a name, or a sentence where it would be empty.
pub fn table(id: &str, name: &str, heads: &[&str], rows: &str, none: &str) -> String {
    if rows.is_empty() {
        return format!("<p class=\"empty\">{none}</p>");
    }
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let table = format!(
        "<table><caption class=\"unseen\">{}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>\
         </table>",
        Text(name)
    );
    scroll(&format!("t-{id}"), name, &table)
}

fn stop(line: &Line, csrf: &str) -> String {
    if let Some(why) = &line.denied {
        return format!("<p class=\"why\">Not yours to freeze or pause: {}.</p>", Text(why));
    }
    let places: String = line
        .places
        .iter()
        .map(|place| format!("<option value=\"place:{0}\">everything in {0}</option>", Text(place)))
        .collect();
    let plans: String = line
        .plans
        .iter()
        .map(|plan| format!("<option value=\"plan:{0}\">plan {0}</option>", Text(plan)))
        .collect();
    format!(
        "<p>A freeze holds starts until its time is over or it is lifted; a pause holds everything that goes \
         forward, soak too, until it is resumed. Neither stops a rollback. You will see what it means before it \
         is done.</p><form class=\"filter\" method=\"post\" action=\"/confirm\">{}\
         <label>What <select name=\"over\"><option value=\"everything\">everything</option>\
         <optgroup label=\"Jurisdictions\">{places}</optgroup><optgroup label=\"Plans\">{plans}</optgroup>\
         </select></label><button class=\"grave\" name=\"deed\" value=\"freeze\">Freeze</button>\
         <button name=\"deed\" value=\"pause\">Pause</button></form>",
        hidden("csrf", csrf)
    )
}
