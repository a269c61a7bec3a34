//! The form to sign in with.

use super::{
    deed::hidden,
    html::{InUrl, Text},
    shell,
};

/// The form, what was wrong with the last try, where it leads to, and the provider to sign in at, if there
/// is one.
pub fn page(wrong: Option<&str>, next: &str, provider: Option<&str>) -> String {
    let wrong = wrong.map_or_else(String::new, |wrong| {
        format!("<div class=\"alarm bad\" role=\"alert\"><p>✘ {}</p></div>", Text(wrong))
    });
    let (elsewhere, autofocus) = match provider {
        // A link: what a form leads to, the page's policy lets lead to this site alone.
        Some(provider) => {
            let link = format!(
                "<p><a class=\"button main\" href=\"/login/oidc?next={}\">Sign in with {}</a></p>\
                 <p class=\"dim\">Or with a token:</p>",
                InUrl(next),
                Text(provider)
            );
            (link, "")
        }
        None => (String::new(), " autofocus"),
    };
    let body = format!(
        "<main id=\"main\" class=\"sign\"><h1>ringward</h1>{wrong}{elsewhere}\
         <form method=\"post\" action=\"/login\">{next}<label for=\"token\">Token</label>\
         <input id=\"token\" type=\"password\" name=\"token\" autocomplete=\"current-password\" \
         required{autofocus}><button class=\"main\">Sign in</button></form>\
         <p class=\"dim\">The first administrator's token is in <code>admin.token</code> of the server's data \
         directory. <code>ringward token create NAME --role ROLE</code> makes others there: a \
         <code>viewer</code> looks, an <code>operator</code> acts, an <code>approver</code> agrees. What the \
         server's settings let others vouch for opens this too.</p>\
         </main>",
        next = hidden("next", next),
    );
    shell("Sign in", "", &body)
}

/// Leads somebody on who has signed in elsewhere, to a page of our own.
pub fn onward(next: &str) -> String {
    let next = Text(next);
    let head = format!("<meta http-equiv=\"refresh\" content=\"0;url={next}\">");
    let body = format!(
        "<main id=\"main\" class=\"sign\"><h1>ringward</h1><p>You are signed in. \
         <a href=\"{next}\">Go on</a></p></main>"
    );
    shell("Signed in", &head, &body)
}
