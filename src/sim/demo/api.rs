//! The demo's way to the service: the same API as everybody's, with a token as everybody's.

use reqwest::{Client, Method, RequestBuilder};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::DemoError;
use crate::{
    ids::{Mint, PlanName, ReleaseId, RingName},
    model::ring::Artifact,
    show::view::{ApprovalView, ClusterRow, Page, ReleaseView},
};

/// Talks to one service.
pub(super) struct Api {
    http: Client,
    url: String,
    token: String,
}

/// RFC 9457, as far as it is read here.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Api {
    pub(super) fn new(url: String, token: String) -> Result<Self, DemoError> {
        let http = Client::builder().no_proxy().build();
        Ok(Self { http: http.map_err(DemoError::http("the HTTP client"))?, url, token })
    }

    /// The clusters, and what is known to be good in them.
    pub(super) async fn clusters(&self) -> Result<Vec<ClusterRow>, DemoError> {
        let page: Page<ClusterRow> = self.get("clusters").await?;
        Ok(page.items)
    }

    /// Creates a release.
    pub(super) async fn create(
        &self,
        id: &ReleaseId,
        artifact: &Artifact,
        author: &str,
    ) -> Result<(), DemoError> {
        let path = format!("plans/{}/releases", id.plan);
        // What a feature flag serves has no digest.
        let what = if artifact.digest().is_some() { "image" } else { "serve" };
        let body = serde_json::json!({
            "version": id.version, "artifact": {what: artifact}, "author": author,
        });
        self.post(&path, &self.token, &body).await
    }

    /// A release with its rings.
    pub(super) async fn release(&self, id: &ReleaseId) -> Result<ReleaseView, DemoError> {
        self.get(&format!("plans/{}/releases/{}", id.plan, id.version)).await
    }

    /// The approvals that releases of the plan still need.
    pub(super) async fn approvals(&self, plan: &PlanName) -> Result<Vec<ApprovalView>, DemoError> {
        let page: Page<ApprovalView> = self.get("approvals").await?;
        Ok(page.items.into_iter().filter(|view| view.release.plan == *plan).collect())
    }

    /// Approves, as whoever the token stands for.
    pub(super) async fn approve(
        &self,
        id: &ReleaseId,
        ring: &RingName,
        token: &str,
    ) -> Result<(), DemoError> {
        let path = format!("plans/{}/releases/{}/rings/{ring}/approve", id.plan, id.version);
        self.post(&path, token, &serde_json::json!({})).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DemoError> {
        let request = self.http.request(Method::GET, format!("{}/v1/{path}", self.url));
        let text = self.send(request, &self.token, path).await?;
        serde_json::from_str(&text).map_err(|error| DemoError::Answer(path.into(), error))
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Result<(), DemoError> {
        let request = self.http.request(Method::POST, format!("{}/v1/{path}", self.url));
        let key = Mint::system().secret();
        let request = request.header("Idempotency-Key", key).json(body);
        self.send(request, token, path).await.map(drop)
    }

    async fn send(
        &self,
        request: RequestBuilder,
        token: &str,
        path: &str,
    ) -> Result<String, DemoError> {
        let answer = request.bearer_auth(token).send().await.map_err(DemoError::http(path))?;
        let status = answer.status();
        let text = answer.text().await.map_err(DemoError::http(path))?;
        if status.is_success() {
            return Ok(text);
        }
        let detail = serde_json::from_str(&text).map_or(text, |problem: Problem| problem.detail);
        Err(DemoError::Refused(path.into(), status.as_u16(), detail))
    }
}
