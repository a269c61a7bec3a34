//! A registry by the OCI distribution specification: its tags, and which digest a tag is at now.
//!
//! Everything about the other side is taken to be hostile, as of metric sources: answers are capped, nothing is followed
//! elsewhere, and no word of an answer is repeated.

mod auth;

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode, Url, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use self::auth::Challenge;
use super::{Newest, NoRegistry, Trouble};
use crate::{
    act::metrics::{
        auth::{Credentials, secret},
        client::{Answered, Client, base, permitted},
        question::Outgoing,
    },
    clock::Clock,
    config::{BasicAuth, MetricsAuth, RegistrySettings},
    ids::hex,
    model::{
        release::wrong_image,
        ring::Artifact,
        source::{Repository, Tags},
    },
};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The tags that are asked for at once.
const PAGE: usize = 1_000;
/// Pages that are read of one repository; whoever has more is asked to filter at the registry.
const PAGES: usize = 100;
/// The most tags that are taken, however long its pages are.
const MOST: usize = PAGE * PAGES;
/// What a tag may stand for: an image, or the list of its platforms, as Docker and the OCI name them.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// The header that a registry says the digest by.
const DIGEST: &str = "docker-content-digest";

/// A registry of the settings.
pub(super) struct Registry {
    base: Url,
    basic: Option<BasicAuth>,
    client: Client,
    clock: Arc<dyn Clock>,
}

impl Registry {
    /// By its name, which images begin with.
    ///
    /// # Errors
    /// Says what of the settings cannot be used.
    pub(super) fn open(
        name: &str,
        settings: RegistrySettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NoRegistry> {
        let RegistrySettings { url, basic, ca_file } = settings;
        let url = url.unwrap_or_else(|| match name {
            // Docker's own is elsewhere than its images say.
            "docker.io" => "https://registry-1.docker.io".into(),
            _ => format!("https://{name}"),
        });
        let registry = || name.to_owned();
        let base = base(&url).map_err(|why| NoRegistry::Url { registry: registry(), why })?;
        // What it trusts goes for whoever hands out its tokens, too.
        let auth = MetricsAuth { ca_file, ..MetricsAuth::default() };
        let trust = Credentials::new([(base.to_string(), auth)].into());
        let trust =
            trust.map_err(|source| NoRegistry::Credentials { registry: registry(), source })?;
        let client = Client::new(trust)
            .map_err(|source| NoRegistry::Client { registry: registry(), source })?;
        Ok(Self { base, basic, client, clock })
    }

    /// The newest tag that counts, and what it stands for.
    pub(super) async fn newest(&self, tags: &Tags) -> Result<Option<Newest>, Trouble> {
        let mut visit = Visit { registry: self, image: &tags.image, authorization: None };
        let all = visit.tags().await?;
        let Some(tag) = tags.newest(all.iter().map(String::as_str)) else { return Ok(None) };
        let digest = visit.digest(tag).await?;
        let artifact = Artifact(format!("{}@{digest}", tags.image));
        match wrong_image(&artifact.0) {
            Some(_) => Err(visit.trouble(format!("it tells no digest of tag {tag}"))),
            None => Ok(Some(Newest { tag: tag.into(), artifact })),
        }
    }
}

/// One look at a repository, with what it was let in by.
struct Visit<'a> {
    registry: &'a Registry,
    image: &'a Repository,
    authorization: Option<String>,
}

/// A page of tags; there is nothing under `tags` where there are none.
#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Visit<'_> {
    fn trouble(&self, why: impl std::fmt::Display) -> Trouble {
        Trouble::of(format!("{}: {why}", self.image))
    }

    fn url(&self, rest: &str) -> Result<Url, Trouble> {
        let base = self.registry.base.as_str().trim_end_matches('/');
        let url = format!("{base}/v2/{}/{rest}", self.image.name);
        Url::parse(&url).map_err(|_| self.trouble("its URL cannot be made"))
    }

    /// Every tag, page by page.
    async fn tags(&mut self) -> Result<Vec<String>, Trouble> {
        let list = self.url("tags/list")?;
        let mut next = self.url(&format!("tags/list?n={PAGE}"))?;
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let answered = self.ask(Method::GET, &next).await?;
            if answered.status == StatusCode::NOT_FOUND {
                return Err(self.trouble("the registry has no such repository (404), or hides it"));
            }
            let answered = self.good(answered)?;
            let page: Page = serde_json::from_slice(&answered.body)
                .map_err(|_| self.trouble("what it lists is no list of tags"))?;
            let sound = |tag: &String| {
                let inside = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
                (1..=128).contains(&tag.len()) && tag.bytes().all(inside)
            };
            all.extend(page.tags.into_iter().flatten().filter(sound));
            if all.len() > MOST {
                return Err(self.trouble(format!("it lists more than {MOST} tags")));
            }
            let link = answered.headers.get(header::LINK).and_then(|link| link.to_str().ok());
            let Some(link) = link.and_then(auth::next) else { return Ok(all) };
            next = next.join(link).map_err(|_| self.trouble("its next page is nowhere"))?;
            if next.origin() != list.origin() || next.path() != list.path() {
                return Err(self.trouble("its next page is elsewhere, where it is not followed"));
            }
        }
        Err(self.trouble(format!("it lists more than {PAGES} pages of tags")))
    }

    /// Which digest a tag is at.
    async fn digest(&mut self, tag: &str) -> Result<String, Trouble> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let answered = self.ask(Method::HEAD, &url).await?;
        let answered = self.good(answered)?;
        if let Some(digest) = answered.headers.get(DIGEST) {
            let digest = digest.to_str().map_err(|_| self.trouble("its digest is no text"))?;
            return Ok(digest.to_owned());
        }
        // The header is a registry's choice; the digest is that of the manifest's bytes.
        let answered = self.ask(Method::GET, &url).await?;
        let answered = self.good(answered)?;
        Ok(format!("sha256:{}", hex(&Sha256::digest(&answered.body))))
    }

    /// An answer that is one.
    fn good(&self, answered: Answered) -> Result<Answered, Trouble> {
        let why = match answered.status {
            200 => return Ok(answered),
            401 | 403 => {
                "it does not let us in: give its `basic` under `registries` of the settings, and see that they may pull"
            }
            404 => "what it listed is not there (404)",
            429 => "it is asked too often (429)",
            300..=399 => "it answers from elsewhere, where it is not followed",
            500..=599 => "it cannot answer now",
            _ => "it answers as no registry does",
        };
        let trouble = self.trouble(format!("{why} (status {})", answered.status));
        Err(Trouble { wait: answered.retry_after, ..trouble })
    }

    /// Asks; and once more with what it asks for, where that is wanted.
    async fn ask(&mut self, method: Method, url: &Url) -> Result<Answered, Trouble> {
        let answered = self.exchange(method.clone(), url, self.authorization.clone()).await?;
        if answered.status != StatusCode::UNAUTHORIZED {
            return Ok(answered);
        }
        let challenges = answered.headers.get_all(header::WWW_AUTHENTICATE);
        let challenges = challenges.iter().filter_map(|text| text.to_str().ok());
        let Some(challenge) = challenges.filter_map(Challenge::read).next() else {
            return Ok(answered);
        };
        let authorization = match challenge {
            Challenge::Basic => match self.basic().await? {
                Some(basic) => basic,
                None => return Ok(answered),
            },
            Challenge::Bearer { realm, service } => self.token(&realm, service.as_deref()).await?,
        };
        self.authorization = Some(authorization.clone());
        self.exchange(method, url, Some(authorization)).await
    }

    /// A token of whoever the registry believes.
    async fn token(&self, realm: &str, service: Option<&str>) -> Result<String, Trouble> {
        let realm = Url::parse(realm).ok().filter(|realm| {
            let secure = realm.scheme() == "https" || self.registry.base.scheme() == "http";
            let plain = realm.username().is_empty() && realm.password().is_none();
            secure && plain && matches!(realm.scheme(), "http" | "https")
        });
        let mut url = realm
            .ok_or_else(|| self.trouble("where it sends for a token is no place for a password"))?;
        permitted(&url).map_err(|why| self.trouble(why))?;
        // Only what is needed, whatever it asks for.
        let scope = format!("repository:{}:pull", self.image.name);
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let answered = self.exchange(Method::GET, &url, self.basic().await?).await?;
        let answered = self.good(answered)?;
        let token = auth::token(&answered.body);
        token
            .map(|token| format!("Bearer {token}"))
            .ok_or_else(|| self.trouble("it was sent no token"))
    }

    async fn basic(&self) -> Result<Option<String>, Trouble> {
        let Some(BasicAuth { username, password_file }) = &self.registry.basic else {
            return Ok(None);
        };
        let password = secret(password_file).await.map_err(|why| self.trouble(why))?;
        Ok(Some(auth::basic(username, &password)))
    }

    async fn exchange(
        &self,
        method: Method,
        url: &Url,
        authorization: Option<String>,
    ) -> Result<Answered, Trouble> {
        let mut outgoing = Outgoing::get(url.clone());
        outgoing.method = method;
        outgoing.headers.push(("accept", format!("{MANIFESTS}, application/json")));
        outgoing.headers.extend(authorization.map(|text| ("authorization", text)));
        let Registry { base, client, clock, .. } = self.registry;
        let answer = timeout(ANSWER, client.exchange(base, outgoing, clock.now().wall)).await;
        match answer {
            Ok(answer) => answer.map_err(|why| self.trouble(why)),
            Err(_) => Err(self.trouble(format!("no answer within {ANSWER:?}"))),
        }
    }
}
