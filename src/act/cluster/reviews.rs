//! Whose a token is, by the word of a cluster: a TokenReview over a connection as every other.

use std::path::PathBuf;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, api::PostParams};

use super::{
    Checkup, checkup,
    connection::{Link, Way},
    failure,
};

/// A cluster that knows tokens.
#[derive(Debug)]
pub struct TokenReviews {
    link: Link,
}

impl TokenReviews {
    /// Reached by a context of a kubeconfig, the current one where only the file is named; where neither is, it
    /// is the cluster that this process runs in. Nothing is read or connected before it is needed.
    pub fn new(kubeconfig: Option<PathBuf>, context: Option<String>) -> Self {
        let from = match (kubeconfig, context) {
            (None, None) => Way::Inside,
            (path, context) => Way::Kubeconfig(path, context),
        };
        Self { link: Link::by("auth.kubernetes".into(), from) }
    }

    /// What the cluster says of a token that is for one of those audiences.
    ///
    /// # Errors
    /// In words, without a secret: it cannot be asked.
    pub async fn review(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<TokenReviewStatus, String> {
        let client = self.link.client().await?;
        let audiences = Some(audiences.to_vec());
        let spec = TokenReviewSpec { audiences, token: Some(token.into()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(client);
        match api.create(&PostParams::default(), &review).await {
            Ok(review) => Ok(review.status.unwrap_or_default()),
            Err(error) => {
                if failure::is_stranger(&error) {
                    self.link.forget().await;
                }
                Err(failure::words(&error))
            }
        }
    }

    /// Looks at what is behind the connection, and whether it lets us ask.
    ///
    /// # Errors
    /// In words: no connection can be made, or the API server does not answer.
    pub async fn checkup(&self) -> Result<Checkup, String> {
        checkup::of_reviews(&self.link).await
    }
}
