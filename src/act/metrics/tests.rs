//! Sources on loopback that do all that a source should not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    address::{Forbidden, Resolver},
    asker::LONGEST_WAIT,
    *,
};
use crate::{
    clock::SystemClock,
    config::{BasicAuth, MetricsAuth},
    ids::ReleaseId,
    model::time::Mono,
};

const HEALTHY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"0.25"]}]}}"#;

fn ok(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Serves each connection with `serve`, after its request was read; counts connections.
async fn server<S, F>(serve: S) -> (SocketAddr, Arc<AtomicUsize>)
where
    S: Fn(TcpStream, String) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let (serve, counter) = (Arc::new(serve), served.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (serve, counter) = (serve.clone(), counter.clone());
            tokio::spawn(async move {
                let request = request_of(&mut stream).await;
                counter.fetch_add(1, Ordering::SeqCst);
                serve(stream, request).await;
            });
        }
    });
    (address, served)
}

/// The request's head, and the body that its length announces.
async fn request_of(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut chunk = [0; 4_096];
    while let Ok(n) = stream.read(&mut chunk).await {
        text.extend_from_slice(&chunk[..n]);
        let so_far = String::from_utf8_lossy(&text);
        if n == 0 {
            break;
        }
        if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break;
            }
        }
    }
    String::from_utf8(text).unwrap()
}

/// Answers everything with that text and closes.
async fn saying(text: String) -> SocketAddr {
    let serve = move |mut stream: TcpStream, _| {
        let text = text.clone();
        async move {
            // A client that has read enough hangs up on us.
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    };
    server(serve).await.0
}

fn measure(url: String, timeout: Span) -> Measure {
    Measure {
        key: "checkout@1/beta/c/1/gate/1".into(),
        release: ReleaseId::new("checkout", "1"),
        ring: "beta".into(),
        attempt: 1,
        cluster: "c".into(),
        gate: "gate".into(),
        source: Some(MetricSource {
            name: "here".into(),
            kind: ProviderKind::Prometheus,
            url,
            jurisdiction: None,
        }),
        query: "up{a=\"b c&d\"}".into(),
        samples: None,
        baseline_at: None,
        due: Mono(0),
        timeout,
        parts: Vec::new(),
        past: None,
    }
}

fn metrics() -> Metrics {
    with(Credentials::default())
}

fn with(credentials: Credentials) -> Metrics {
    let clock = Arc::new(SystemClock::new(Mono(0)));
    Metrics::new(credentials, clock, Limits::default()).unwrap()
}

async fn asked(url: &str, timeout: Span) -> Answer {
    metrics().measure(&measure(url.into(), timeout)).await
}

fn why(answer: &Answer) -> &str {
    match &answer.value {
        Reading::Error(why) => why,
        other @ (Reading::Value { .. } | Reading::Absent) => panic!("{other:?}"),
    }
}

/// Asks a hostile source and a healthy one with one client: the first must give an Error that says
/// `part` in bounded time, and the second must not notice.
async fn hostile(address: SocketAddr, part: &str) {
    let healthy = saying(ok(HEALTHY)).await;
    let metrics = metrics();
    let bad = measure(format!("http://{address}"), Span(700));
    let good = measure(format!("http://{healthy}"), Span::seconds(10));
    let both = async { futures::join!(metrics.measure(&bad), metrics.measure(&good)) };
    let (bad, good) = tokio::time::timeout(Duration::from_secs(8), both).await.expect("bounded");
    let said = why(&bad);
    assert!(said.starts_with("metric source here: ") && said.contains(part), "{said}");
    assert!(matches!(good.value, Reading::Value { value: 0.25, .. }), "{good:?}");
}

#[tokio::test]
async fn an_endless_body() {
    let serve = |mut stream: TcpStream, _| async move {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        let mut sent = stream.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            sent = stream.write_all(chunk.as_bytes()).await;
        }
    };
    hostile(server(serve).await.0, "longer than 1024 KiB").await;
}

#[tokio::test]
async fn a_body_that_announces_too_much() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[".to_owned();
    hostile(saying(text).await, "longer than 1024 KiB").await;
}

#[tokio::test]
async fn a_byte_a_second() {
    let serve = |mut stream: TcpStream, _| async move {
        let body = ok(HEALTHY);
        let (head, body) = body.split_at(body.len() - HEALTHY.len());
        let mut sent = stream.write_all(head.as_bytes()).await;
        for byte in body.bytes() {
            if sent.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            sent = stream.write_all(&[byte]).await;
        }
    };
    hostile(server(serve).await.0, "no answer within 700ms").await;
}

#[tokio::test]
async fn headers_that_never_end() {
    let serve = |mut stream: TcpStream, _| async move {
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            sent = stream.write_all(b"X-More: of it\r\n").await;
        }
    };
    hostile(server(serve).await.0, "no answer within 700ms").await;
}

#[tokio::test]
async fn nobody_answers() {
    let serve = |stream: TcpStream, _| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    };
    hostile(server(serve).await.0, "no answer within 700ms").await;
}

#[tokio::test]
async fn a_redirect_to_the_metadata_service_is_not_followed() {
    let text = "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n";
    hostile(saying(text.into()).await, "HTTP 302: redirects are not followed").await;
}

#[tokio::test]
async fn a_redirect_to_a_server_that_would_answer_is_not_followed() {
    let (other, served) = server(|mut stream: TcpStream, _| async move {
        let _ = stream.write_all(ok(HEALTHY).as_bytes()).await;
    })
    .await;
    let text = format!(
        "HTTP/1.1 307 Moved\r\nLocation: http://{other}/api/v1/query\r\nContent-Length: 0\r\n\r\n"
    );
    hostile(saying(text).await, "HTTP 307").await;
    assert_eq!(served.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn deep_json() {
    hostile(saying(ok(&"[".repeat(900_000))).await, "not JSON").await;
}

#[tokio::test]
async fn another_type_of_content() {
    let body = "<html>canary-secret</html>";
    let text = ok(body).replace("application/json", "text/html");
    let address = saying(text).await;
    hostile(address, "the answer is not JSON").await;
    let said = asked(&format!("http://{address}"), Span::seconds(5)).await;
    assert!(!why(&said).contains("canary"));
}

#[tokio::test]
async fn a_hundred_thousand_series() {
    let series = |n: usize| {
        let one = r#"{"metric":{"a":"b"},"value":[1,"1"]}"#;
        let all = vec![one; n].join(",");
        ok(&format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{all}]}}}}"#))
    };
    hostile(saying(series(100_000)).await, "longer than 1024 KiB").await;
    hostile(saying(series(20_000)).await, "20000 series").await;
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let whole = ok(HEALTHY);
    hostile(saying(whole[..whole.len() - 20].to_owned()).await, "the answer broke off").await;
    hostile(saying(String::new()).await, "the answer broke off").await;
    hostile(saying("SSH-2.0-OpenSSH_9.2\r\n".into()).await, "the answer broke off").await;
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    hostile(address, "cannot connect: connection refused").await;
}

#[tokio::test]
async fn addresses_that_are_never_asked() {
    for url in [
        "http://169.254.169.254/latest",
        "http://2852039166",
        "http://0xa9.0xfe.0xa9.0xfe:80",
        "http://[fe80::1]:9090",
        "http://[fd00:ec2::254]",
        "http://[::ffff:169.254.169.254]/",
    ] {
        let answer = asked(url, Span::seconds(5)).await;
        assert!(why(&answer).contains("link-local or metadata"), "{url}: {answer:?}");
    }
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_resolves_to() {
    // `localhost` is on every machine; what the resolver does with it shows that it is asked.
    use reqwest::dns::Resolve;
    let found = Resolver.resolve("localhost".parse().unwrap()).await.unwrap();
    assert!(found.count() > 0);
    // A literal in the place of a name goes the way of a name that resolves to it.
    let forbidden = Resolver.resolve("169.254.169.254".parse().unwrap()).await;
    let error = forbidden.err().expect("refused");
    assert!(error.downcast_ref::<Forbidden>().is_some(), "{error}");
}

#[tokio::test]
async fn urls_that_are_no_base() {
    for (url, part) in [
        ("prometheus:9090", "must be http or https"),
        ("not a url", "cannot be read"),
        ("file:///etc/passwd", "must be http or https"),
        ("http://user:canary@127.0.0.1:1", "must be http or https"),
        ("http://127.0.0.1:1?x=1", "no ? and no #"),
    ] {
        let answer = asked(url, Span::seconds(5)).await;
        assert!(why(&answer).contains(part), "{answer:?}");
        assert!(!why(&answer).contains("canary"), "{answer:?}");
    }
}

/// A server that answers every request well and hands out what it was sent.
async fn recording() -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let serve = move |mut stream: TcpStream, request: String| {
        let _ = tell.send(request);
        async move {
            let _ = stream.write_all(ok(HEALTHY).as_bytes()).await;
        }
    };
    let (address, _) = server(serve).await;
    (format!("http://{address}/prom/"), told)
}

#[tokio::test]
async fn what_is_asked() {
    let (url, mut told) = recording().await;
    let at = Timestamp::from_millisecond(1_700_000_000_125).unwrap();
    let measure = Measure {
        samples: Some("count".into()),
        baseline_at: Some(at),
        ..measure(url, Span::seconds(60))
    };
    let answer = metrics().measure(&measure).await;
    assert!(matches!(answer.value, Reading::Value { .. }), "{answer:?}");
    assert!(matches!(answer.samples, Some(Reading::Value { .. })), "{answer:?}");
    assert!(matches!(answer.baseline, Some(Reading::Value { .. })), "{answer:?}");

    let mut requests = [(); 3].map(|()| told.try_recv().unwrap());
    requests.sort();
    let line = |i: usize| requests[i].lines().next().unwrap();
    let query = "GET /prom/api/v1/query?query=up%7Ba%3D%22b+c%26d%22%7D&timeout=10";
    let rest = "&partial_response=false&nocache=1&latency_offset=1ms";
    assert_eq!(
        line(0),
        "GET /prom/api/v1/query?query=count&timeout=10&partial_response=false&nocache=1&latency_offset=1ms HTTP/1.1"
    );
    assert_eq!(line(1), format!("{query}{rest} HTTP/1.1"));
    assert_eq!(line(2), format!("{query}&time=1700000000.125{rest} HTTP/1.1"));
    let agent = format!("user-agent: ringward/{}", env!("CARGO_PKG_VERSION"));
    assert!(requests.iter().all(|r| r.contains(&agent)), "{requests:?}");
}

#[tokio::test]
async fn a_long_query_goes_in_the_body() {
    let (url, mut told) = recording().await;
    let measure = Measure { query: "x".repeat(5_000), ..measure(url, Span::seconds(5)) };
    let answer = metrics().measure(&measure).await;
    assert!(matches!(answer.value, Reading::Value { .. }), "{answer:?}");
    let request = told.try_recv().unwrap();
    assert!(request.starts_with("POST /prom/api/v1/query HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("application/x-www-form-urlencoded"), "{request}");
    assert!(
        request.ends_with(&format!(
            "query={}&timeout=5&partial_response=false&nocache=1&latency_offset=1ms",
            "x".repeat(5_000)
        )),
        "{request}"
    );
}

#[tokio::test]
async fn credentials_go_to_their_source_only_and_into_no_error() {
    let (url, mut told) = recording().await;
    let (other, mut other_told) = recording().await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "canary-token\n").unwrap();
    let auth = MetricsAuth {
        bearer_token_file: Some(token.clone()),
        headers: [("X-Scope-OrgID".into(), "shop".into())].into(),
        ..Default::default()
    };
    let credentials = Credentials::new([(url.clone(), auth)].into()).unwrap();
    let metrics = with(credentials);
    metrics.measure(&measure(url.clone(), Span::seconds(5))).await;
    metrics.measure(&measure(other, Span::seconds(5))).await;
    let request = told.try_recv().unwrap();
    assert!(request.contains("authorization: Bearer canary-token\r\n"), "{request}");
    assert!(request.contains("x-scope-orgid: shop\r\n"), "{request}");
    assert!(!other_told.try_recv().unwrap().contains("authorization"));
    assert!(!format!("{metrics:?}").contains("canary"));

    for (content, part) in [("canary\0\n", "no usable secret"), ("", "no usable secret")] {
        std::fs::write(&token, content).unwrap();
        let answer = metrics.measure(&measure(url.clone(), Span::seconds(5))).await;
        assert!(why(&answer).contains(part) && !why(&answer).contains("canary"), "{answer:?}");
    }
    std::fs::remove_file(&token).unwrap();
    let answer = metrics.measure(&measure(url, Span::seconds(5))).await;
    assert!(why(&answer).contains("cannot be read (entity not found)"), "{answer:?}");
}

#[tokio::test]
async fn a_user_and_a_password() {
    let (url, mut told) = recording().await;
    let dir = tempfile::tempdir().unwrap();
    let password_file = dir.path().join("password");
    std::fs::write(&password_file, "secret").unwrap();
    let basic = BasicAuth { username: "u".into(), password_file };
    let auth = MetricsAuth { basic: Some(basic), ..Default::default() };
    let credentials = Credentials::new([(url.clone(), auth)].into()).unwrap();
    with(credentials).measure(&measure(url, Span::seconds(5))).await;
    let request = told.try_recv().unwrap();
    assert!(request.contains("authorization: Basic dTpzZWNyZXQ=\r\n"), "{request}");
}

mod recorded;
mod told;
mod turns;
