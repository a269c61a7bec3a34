//! The way to the server: HTTP with a token, and its problems as people read them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{Method, RequestBuilder, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    context::Shared,
    failure::{Cause, Failure, chain},
};
use crate::{
    config,
    decide::fact::Refusal,
    ids::Mint,
    model::time::Span,
    show::{api::problem::Problem, auth, exit::Exit},
};

/// How long a download may take: it is as long as the disk and the wire make it.
const DOWNLOAD: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an answer may take: a little longer than the server itself waits for its journal.
const PATIENCE: Span = Span::seconds(35);

/// How often a request is sent that the network, or a server that is starting, took away.
const ATTEMPTS: u32 = 3;

/// Between two of them.
const BREATH: Duration = Duration::from_millis(300);

/// A server, and the token that it knows us by.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
    mint: Mutex<Mint>,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which state of the thing it shows.
    pub etag: Option<String>,
    /// What time it was at the server, to the second.
    pub date: Option<Timestamp>,
    text: String,
}

impl Answer {
    /// As one of the API's own types.
    ///
    /// # Errors
    /// It is none; the server is probably another version.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let json = &mut serde_json::Deserializer::from_str(&self.text);
        serde_path_to_error::deserialize(json).map_err(|error| {
            Failure::new(format!("the server's answer cannot be understood: {error}")).help(
                "is that a ringward server of this version? `ringward version` says which this is",
            )
        })
    }

    /// The API's document, indented; names and figures as they came.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn json(&self) -> Result<String, Failure> {
        let text = serde_json::to_string_pretty(&self.document()?);
        text.map(|text| text + "\n").map_err(|error| Failure::of(&error))
    }

    /// The API's document as YAML.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn yaml(&self) -> Result<String, Failure> {
        serde_yaml::to_string(&self.document()?).map_err(|error| Failure::of(&error))
    }

    /// A YAML value is the tree that keeps the order of its keys.
    fn document(&self) -> Result<serde_yaml::Value, Failure> {
        self.read()
    }

    /// A document that was put together here, from several answers.
    pub fn of(document: &impl serde::Serialize) -> Result<Self, Failure> {
        let text = serde_json::to_string(document).map_err(|error| Failure::of(&error))?;
        Ok(Self { etag: None, date: None, text })
    }
}

impl Client {
    /// For the server that the flags name, with their token or the one that a server on this machine
    /// left for its administrator.
    ///
    /// # Errors
    /// The URL is none, a file is no use, or there is no token.
    pub fn new(flags: &Shared) -> Result<Self, Failure> {
        let base = base(&flags.server)?;
        let token = read_token(flags.token.as_deref())?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("ringward/", env!("CARGO_PKG_VERSION")))
            // A token is for the server that was named.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(flags.timeout.unwrap_or(PATIENCE).to_std());
        if is_here(&base) {
            http = http.no_proxy();
        }
        if let Some(path) = &flags.ca {
            let trusted = reqwest::Certificate::from_pem_bundle(&read_pem("--ca", path)?).ok();
            let trusted = trusted.filter(|all| !all.is_empty());
            http = http.tls_certs_only(trusted.ok_or_else(|| no_pem("--ca", path))?);
        }
        if let Some(path) = &flags.cert {
            let own = reqwest::Identity::from_pem(&read_pem("--cert", path)?);
            http = http.identity(own.map_err(|_| no_pem("--cert", path))?);
        }
        let http = http.build().map_err(|error| Failure::of(&error))?;
        Ok(Self { http, base, token, mint: Mutex::new(Mint::system()) })
    }

    /// Reads.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Failure> {
        let request = self.http.get(self.url(path)).query(query);
        self.send(request).await.map(|(_, answer)| answer)
    }

    /// Reads what may be larger than memory, piece by piece, into `to`. It is not tried again.
    ///
    /// # Errors
    /// The server cannot be reached, refuses or goes away; or `to` takes no more.
    pub async fn download(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        to: &mut dyn io::Write,
        failed: impl Fn(io::Error) -> Failure,
    ) -> Result<(), Failure> {
        let request = self.http.get(self.url(path)).query(query);
        let request = request.bearer_auth(&self.token).timeout(DOWNLOAD);
        let mut answer = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        if !status.is_success() {
            let text = answer.text().await.map_err(|error| self.unreachable(error))?;
            return Err(refusal(status, &text));
        }
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unreachable(error))? {
            to.write_all(&piece).map_err(&failed)?;
        }
        Ok(())
    }

    /// Reads what may have changed since the state that `etag` names; nothing where it has not.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn newer(
        &self,
        path: &[&str],
        etag: Option<&str>,
    ) -> Result<Option<Answer>, Failure> {
        let mut request = self.http.get(self.url(path));
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let (status, answer) = self.send(request).await?;
        Ok((status != StatusCode::NOT_MODIFIED).then_some(answer))
    }

    /// Asks for something. It is sent again, under the same key, where the answer was lost: it is done
    /// once at the most. With `seen`, only if the state is still the one that was seen.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        seen: Option<&str>,
    ) -> Result<Answer, Failure> {
        let key = self.mint.lock().unwrap_or_else(PoisonError::into_inner).secret();
        let mut request =
            self.http.request(method, self.url(path)).header("Idempotency-Key", key.as_str());
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(etag) = seen {
            request = request.header(header::IF_MATCH, etag);
        }
        self.send(request).await.map(|(_, answer)| answer)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Answer), Failure> {
        let request = request.bearer_auth(&self.token).build();
        let request = request.map_err(|error| Failure::of(&error.without_url()))?;
        let mut attempt = 1;
        loop {
            // Every body that we send is in memory, and can be sent again.
            let Some(copy) = request.try_clone() else {
                return Err(Failure::new("a request that cannot be repeated was not sent"));
            };
            let tried = self.try_once(copy).await;
            let again = match &tried {
                Ok((status, _)) => *status == StatusCode::SERVICE_UNAVAILABLE,
                // A time-out has cost enough; and who refuses a connection is not there.
                Err(error) => !error.is_timeout() && !error.is_connect(),
            };
            if again && attempt < ATTEMPTS {
                attempt += 1;
                tokio::time::sleep(BREATH).await;
                continue;
            }
            let (status, answer) = tried.map_err(|error| self.unreachable(error))?;
            return match status.is_success() || status == StatusCode::NOT_MODIFIED {
                true => Ok((status, answer)),
                false => Err(refusal(status, &answer.text)),
            };
        }
    }

    async fn try_once(
        &self,
        request: reqwest::Request,
    ) -> Result<(StatusCode, Answer), reqwest::Error> {
        let response = self.http.execute(request).await?;
        let status = response.status();
        let etag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let etag = etag.map(str::to_owned);
        let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|text| rfc2822::parse(text).ok()).map(|date| date.timestamp());
        Ok((status, Answer { etag, date, text: response.text().await? }))
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let url = self.base.as_str().trim_end_matches('/');
        let failure = match error.is_timeout() {
            true => Failure::new(format!("the server at {url} did not answer in time"))
                .help("give it longer with --timeout, or look at the server's own log"),
            false => Failure::new(format!("the server at {url} cannot be reached"))
                .note(chain(&error.without_url()))
                .help(
                    "start one with `ringward serve`, or see all of it with `ringward demo`; if it is \
                     elsewhere, name it with --server or RINGWARD_SERVER",
                ),
        };
        failure.cause(Cause::Unreachable)
    }
}

fn base(server: &str) -> Result<Url, Failure> {
    let refuse = |why: &str| {
        Failure::usage(format!("--server: `{server}` {why}"))
            .help("a server is named like http://127.0.0.1:7474 or https://ringward.example.com")
    };
    let url = Url::parse(server).map_err(|error| refuse(&format!("is no URL: {error}")))?;
    match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Err(refuse("carries a password; tokens come from a file"))
        }
        "http" | "https" => Ok(url),
        _ => Err(refuse("is neither http nor https")),
    }
}

fn read_pem(flag: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::usage(format!("{flag}: {} cannot be read: {error}", path.display()))
    };
    fs::read(path).map_err(unreadable)
}

fn no_pem(flag: &str, path: &Path) -> Failure {
    let needs = if flag == "--ca" { "certificates" } else { "a certificate and its private key" };
    Failure::usage(format!("{flag}: {} is no use", path.display()))
        .help(format!("the file holds {needs} in PEM"))
}

/// Whether it is on this machine, where no proxy knows a way to.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn read_token(named: Option<&Path>) -> Result<String, Failure> {
    let (path, found) = match named {
        Some(path) => (path.to_owned(), fs::read_to_string(path)),
        None => {
            let path = default_token();
            let found = fs::read_to_string(&path);
            (path, found)
        }
    };
    let shown = path.display();
    let token = match found {
        Ok(token) => token,
        Err(error) if named.is_some() => {
            return Err(Failure::new(format!("the token file {shown} cannot be read: {error}"))
                .help("--token and RINGWARD_TOKEN_FILE name a file that holds a token"));
        }
        Err(error) => {
            return Err(Failure::new("there is no token to show the server")
                .note(format!("{shown}, where a server on this machine leaves one: {error}"))
                .help(
                    "name the file that holds yours with --token or RINGWARD_TOKEN_FILE; the server's \
                     administrator makes one with `ringward token create`",
                ));
        }
    };
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(format!("{shown} does not hold a token"))
            .help("the file holds the token alone, on one line"));
    }
    Ok(token.into())
}

/// Where a server on this machine leaves its administrator's token.
fn default_token() -> PathBuf {
    config::default_data().join(auth::ADMIN_TOKEN)
}

/// A problem that is none of the core's refusals is an error like any other.
fn exit_of(problem: &str) -> Exit {
    let refusal = serde_json::from_value::<Refusal>(problem.into());
    refusal.map_or(Exit::Error, Exit::of_refusal)
}

fn refusal(status: StatusCode, text: &str) -> Failure {
    let Ok(problem) = serde_json::from_str::<Problem>(text) else {
        let start: String = text.trim().chars().take(200).collect();
        return Failure::new(format!("the server answered {status}"))
            .note(start)
            .help("is that a ringward server? --server names it");
    };
    let kind = problem.name().to_owned();
    let failure = Failure::new(problem.detail).exit(exit_of(&kind)).help(match kind.as_str() {
        "stale-state" => "look again with `ringward status`, and ask again if it is still right",
        "unknown-release" => "`ringward release list` shows the releases, `ringward get plans` the plans",
        "unknown-ring" => "`ringward status` shows the release's rings",
        "duplicate-release" => "give it another version; `ringward retry` makes a new attempt of one that failed",
        "tombstoned" => "`ringward retry` makes a new attempt; `ringward release list` shows its past",
        "plan-in-error" => "`ringward check` shows every problem of the declarations",
        "self-approval" => "somebody else must approve it",
        _ => match status {
            StatusCode::UNAUTHORIZED => "the server does not know the token, or it has expired; `ringward token create` makes another",
            StatusCode::FORBIDDEN => "a token with that role must ask; `ringward token create --role` makes one",
            _ => "",
        },
    });
    let failure = problem.violations.into_iter().fold(failure, |failure, violation| {
        failure.note(format!("{}: {}", violation.pointer, violation.detail))
    });
    failure.cause(Cause::Refused(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_a_url() {
        for bad in ["127.0.0.1:7474", "ftp://x", "http://me:pw@x", ""] {
            let failure = base(bad).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{bad}");
            assert!(failure.message.contains(bad), "{failure}");
        }
        assert!(is_here(&base("http://127.0.0.1:1").unwrap()));
        assert!(is_here(&base("http://[::1]:1").unwrap()));
        assert!(!is_here(&base("https://ringward.example.com").unwrap()));
    }

    #[test]
    fn a_problem_becomes_words_help_and_a_code() {
        let text = r#"{"type":"https://ringward.dev/problems/residency-violation","title":"no","status":422,
            "detail":"GDPR-1 forbids it","instance":"/v1","violations":[{"pointer":"/artifact","detail":"lies in US"}]}"#;
        let failure = refusal(StatusCode::UNPROCESSABLE_ENTITY, text);
        assert_eq!(failure.exit, Exit::Violation);
        assert_eq!(failure.to_string(), "error: GDPR-1 forbids it\n  /artifact: lies in US");
        let failure = refusal(
            StatusCode::PRECONDITION_FAILED,
            r#"{"type":"https://ringward.dev/problems/stale-state","title":"stale state","status":412,
                "detail":"it has changed","instance":"/v1"}"#,
        );
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.to_string().starts_with("error: it has changed\nhelp: look again"));
        assert!(failure.is_refusal("stale-state"));
    }

    #[test]
    fn what_is_no_problem_document_is_shown() {
        let failure = refusal(StatusCode::BAD_GATEWAY, "<html>proxy</html>");
        assert_eq!(failure.exit, Exit::Error);
        assert!(failure.to_string().contains("502") && failure.to_string().contains("proxy"));
    }

    #[test]
    fn documents_keep_their_order_and_their_figures() {
        let text = r#"{"b":1.10,"a":[true,null,"x"],"c":18446744073709551615}"#.to_owned();
        let answer = Answer { etag: None, date: None, text };
        let json = answer.json().unwrap();
        let flat: String = json.split_whitespace().collect();
        assert_eq!(flat, r#"{"b":1.1,"a":[true,null,"x"],"c":18446744073709551615}"#);
        assert_eq!(
            answer.yaml().unwrap(),
            "b: 1.1\na:\n- true\n- null\n- x\nc: 18446744073709551615\n"
        );
    }
}
