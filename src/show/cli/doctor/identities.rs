//! Who vouches for people: whether the OpenID provider has keys that may sign, and whether the cluster lets us ask
//! whose a token is. No token is shown to anybody.

use super::{Health, Report, SET_CLOCKS, machine, skew};
use crate::{
    act::cluster::{Checkup, TokenReviews},
    clock::Clock as _,
    config::Settings,
    show::{auth, cli::context::Context},
};

pub(super) async fn look(context: &Context, settings: &Settings, report: &mut Report) {
    if let Some(oidc) = &settings.auth.oidc {
        let browser = oidc.browser.as_ref();
        if let Some(file) = browser.and_then(|browser| browser.client_secret_file.as_ref()) {
            machine::secret(file, "auth.oidc.browser", report);
        }
        match auth::probe(oidc.clone(), settings.external_url.as_deref()).await {
            Ok(keys) => {
                let door =
                    if browser.is_some() { "people sign in there" } else { "bearer tokens alone" };
                report.ok("oidc", &oidc.issuer, format!("publishes {keys} keys; {door}"));
            }
            Err(why) => {
                let cure = "see that auth.oidc names the issuer letter for letter as its discovery document does, \
                            what signs its tokens and caFile, and that this machine reaches it";
                report.add(Health::Fail, "oidc", &oidc.issuer, why, cure);
            }
        }
        nobody(oidc.bindings.is_empty(), "oidc", report);
    }
    if let Some(kubernetes) = &settings.auth.kubernetes {
        let which = kubernetes.context.as_deref().unwrap_or("its cluster");
        let reviews = TokenReviews::new(kubernetes.kubeconfig.clone(), kubernetes.context.clone());
        match reviews.checkup().await {
            Err(why) => {
                let cure = "see that auth.kubernetes names a kubeconfig and a context of it, or leave both out where \
                            ringward runs in that cluster";
                report.add(Health::Fail, "tokenreview", which, why, cure);
            }
            Ok(Checkup { version, date, permissions }) => {
                let (health, clock) = skew(context.clock.now().wall, date);
                let cure = if health == Health::Ok { "" } else { SET_CLOCKS };
                let found = format!("Kubernetes {version}, {clock}");
                report.add(health, "tokenreview", which, found, cure);
                match permissions.iter().all(|permission| permission.allowed) {
                    true => report.ok("tokenreview", which, "may create tokenreviews"),
                    false => report.add(
                        Health::Fail,
                        "tokenreview",
                        which,
                        "may not create tokenreviews.authentication.k8s.io: nobody is known by its tokens",
                        "bind the ClusterRole system:auth-delegator to ringward's user there",
                    ),
                }
            }
        }
        nobody(kubernetes.bindings.is_empty(), "kubernetes", report);
    }
}

/// Who is in no binding may do nothing.
fn nobody(empty: bool, of: &str, report: &mut Report) {
    if empty {
        let found = "binds nobody: whoever it vouches for may do nothing";
        let cure = format!("give users or groups roles under auth.{of}.bindings");
        report.add(Health::Warn, "bindings", format!("auth.{of}"), found, cure);
    }
}
