//! The form to sign in with.

use super::{deed::hidden, html::Text, shell};

/// The form, what was wrong with the last try, and where it leads to.
pub fn page(wrong: Option<&str>, next: &str) -> String {
    let wrong = wrong.map_or_else(String::new, |wrong| {
        format!("<div class=\"alarm bad\" role=\"alert\"><p>✘ {}</p></div>", Text(wrong))
    });
    let body = format!(
        "<main id=\"main\" class=\"sign\"><h1>ringward</h1>{wrong}\
         <form method=\"post\" action=\"/login\">{next}<label for=\"token\">Token</label>\
         <input id=\"token\" type=\"password\" name=\"token\" autocomplete=\"current-password\" required \
         autofocus><button class=\"main\">Sign in</button></form>\
         <p class=\"dim\">The first administrator's token is in <code>admin.token</code> of the server's data \
         directory. <code>ringward token create NAME --role ROLE</code> makes others there: a \
         <code>viewer</code> looks, an <code>operator</code> acts, an <code>approver</code> agrees.</p>\
         </main>",
        next = hidden("next", next),
    );
    shell("Sign in", &body)
}
