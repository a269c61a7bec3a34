//! Whose turn it is: counted at a server on loopback.

use super::*;
use crate::{clock::Clock, clock::ManualClock, model::time::Now};

/// Answers each request after that long, and counts: all of them, and the most at once.
async fn slow(delay: Duration) -> (String, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let peak = most.clone();
    let serve = move |mut stream: TcpStream, _| {
        let (now, most) = (now.clone(), peak.clone());
        async move {
            let at_once = now.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(at_once, Ordering::SeqCst);
            tokio::time::sleep(delay).await;
            now.fetch_sub(1, Ordering::SeqCst);
            let _ = stream.write_all(ok(HEALTHY).as_bytes()).await;
        }
    };
    let (address, served) = server(serve).await;
    (format!("http://{address}"), served, most)
}

fn bounded(limits: Limits) -> Metrics {
    let clock = Arc::new(SystemClock::new(Mono(0)));
    Metrics::new(Credentials::default(), clock, limits).unwrap()
}

fn query(url: &str, query: impl Into<String>) -> Measure {
    Measure { query: query.into(), ..measure(url.into(), Span::seconds(5)) }
}

#[tokio::test]
async fn equal_questions_are_asked_once() {
    let (url, served, _) = slow(Duration::from_millis(300)).await;
    let metrics = metrics();
    let (one, another) = (query(&url, "one"), query(&url, "other"));
    let asked = (0..20).map(|i| metrics.measure(if i < 10 { &one } else { &another }));
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(|a| matches!(a.value, Reading::Value { .. })));
    assert_eq!(served.load(Ordering::SeqCst), 2);
    // A later question is a question of its own.
    metrics.measure(&one).await;
    assert_eq!(served.load(Ordering::SeqCst), 3);
    assert!(metrics.asker.in_flight.lock().unwrap().is_empty());
}

#[tokio::test]
async fn equal_questions_that_wait_are_asked_once() {
    let (url, served, most) = slow(Duration::from_millis(20)).await;
    let metrics = bounded(Limits { per_endpoint: 1, ..Limits::default() });
    let all: Vec<_> = (0..100).map(|i| query(&url, format!("q{}", i % 10))).collect();
    let answers = futures::future::join_all(all.iter().map(|m| metrics.measure(m))).await;
    assert!(answers.iter().all(|a| matches!(a.value, Reading::Value { .. })));
    assert_eq!(served.load(Ordering::SeqCst), 10);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn whoever_gives_up_takes_nobody_along() {
    let (url, served, _) = slow(Duration::from_millis(300)).await;
    let metrics = metrics();
    let one = query(&url, "one");
    let impatient = tokio::time::timeout(Duration::from_millis(100), metrics.measure(&one));
    let (gave_up, answer) = futures::join!(impatient, metrics.measure(&one));
    assert!(gave_up.is_err());
    assert!(matches!(answer.value, Reading::Value { .. }), "{answer:?}");
    assert_eq!(served.load(Ordering::SeqCst), 1);
    // And where everybody gives up, nothing is left behind.
    let impatient = tokio::time::timeout(Duration::from_millis(100), metrics.measure(&one));
    assert!(impatient.await.is_err());
    assert!(metrics.asker.in_flight.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_endpoint_is_asked_so_much_at_once_over_connections_that_are_kept() {
    let clients = Arc::new(AtomicUsize::new(0));
    let requests = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (connected, counted) = (clients.clone(), requests.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connected.fetch_add(1, Ordering::SeqCst);
            let counted = counted.clone();
            tokio::spawn(async move {
                while !request_of(&mut stream).await.is_empty() {
                    counted.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let _ = stream.write_all(ok(HEALTHY).as_bytes()).await;
                }
            });
        }
    });
    let metrics = bounded(Limits { per_endpoint: 4, ..Limits::default() });
    let all: Vec<_> = (0..200).map(|i| query(&url, format!("q{i}"))).collect();
    let answers = futures::future::join_all(all.iter().map(|m| metrics.measure(m))).await;
    assert!(answers.iter().all(|a| matches!(a.value, Reading::Value { .. })));
    assert_eq!(requests.load(Ordering::SeqCst), 200);
    assert_eq!(clients.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn so_much_is_asked_at_once_over_all_endpoints() {
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let mut all = Vec::new();
    for _ in 0..6 {
        let (now, most) = (now.clone(), most.clone());
        let serve = move |mut stream: TcpStream, _| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                let at_once = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(at_once, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(30)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                let _ = stream.write_all(ok(HEALTHY).as_bytes()).await;
            }
        };
        let url = format!("http://{}", server(serve).await.0);
        all.extend((0..3).map(|i| query(&url, format!("q{i}"))));
    }
    let metrics = bounded(Limits { overall: 3, ..Limits::default() });
    let answers = futures::future::join_all(all.iter().map(|m| metrics.measure(m))).await;
    assert!(answers.iter().all(|a| matches!(a.value, Reading::Value { .. })));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn silent_endpoints_hold_up_nobody_who_answers() {
    let silent = |mut stream: TcpStream, _| async move {
        let _ = stream.read(&mut [0; 1]).await;
    };
    let metrics = bounded(Limits { overall: 4, per_endpoint: 2, silent: 4 });
    let mut dead = Vec::new();
    for _ in 0..2 {
        let (address, asked) = server(silent).await;
        dead.push((format!("http://{address}"), asked));
    }
    let of = |url: &str, n: usize| -> Vec<Measure> {
        let short = |i| Measure { timeout: Span::seconds(1), ..query(url, format!("q{i}")) };
        (0..n).map(short).collect()
    };
    // The first round takes every place, and finds out.
    let first: Vec<_> = dead.iter().flat_map(|(url, _)| of(url, 2)).collect();
    futures::future::join_all(first.iter().map(|m| metrics.measure(m))).await;

    let (url, served, _) = slow(Duration::from_millis(1)).await;
    let good = of(&url, 50);
    let bad: Vec<_> = dead.iter().flat_map(|(url, _)| of(url, 30)).collect();
    let asking = async {
        let asked = futures::future::join_all(good.iter().map(|m| metrics.measure(m)));
        let answers = tokio::time::timeout(Duration::from_millis(800), asked).await;
        answers.expect("nobody waits for the silent ones")
    };
    let silence = futures::future::join_all(bad.iter().map(|m| metrics.measure(m)));
    let both = futures::future::join(silence, asking);
    let (silence, answers) = tokio::time::timeout(Duration::from_secs(8), both).await.unwrap();
    assert!(answers.iter().all(|a| matches!(a.value, Reading::Value { .. })), "{answers:?}");
    assert_eq!(served.load(Ordering::SeqCst), 50);
    assert_eq!(silence.iter().filter(|a| why(a).contains("no answer within 1s")).count(), 2);
    assert_eq!(silence.iter().filter(|a| why(a).contains("it answers nothing")).count(), 58);
    for (_, asked) in &dead {
        assert_eq!(asked.load(Ordering::SeqCst), 3, "two at first, and one for all thirty");
    }
}

#[tokio::test]
async fn a_slow_query_does_not_make_a_silent_endpoint_and_one_that_is_back_is_heard() {
    let serve = |mut stream: TcpStream, request: String| async move {
        if request.contains("query=slow") {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let _ = stream.write_all(ok(HEALTHY).as_bytes()).await;
    };
    let url = format!("http://{}", server(serve).await.0);
    let metrics = metrics();
    let slow = Measure { timeout: Span(300), ..query(&url, "slow") };
    let quick = query(&url, "quick");
    let later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        metrics.measure(&quick).await
    };
    let (late, answer) = futures::join!(metrics.measure(&slow), later);
    assert!(why(&late).contains("no answer within"));
    assert!(matches!(answer.value, Reading::Value { .. }));
    // Alone it looks like silence, until something is answered.
    metrics.measure(&slow).await;
    let all: Vec<_> = (0..10).map(|i| query(&url, format!("q{i}"))).collect();
    let answers = futures::future::join_all(all.iter().map(|m| metrics.measure(m))).await;
    assert!(answers.iter().all(|a| matches!(a.value, Reading::Value { .. })), "{answers:?}");
}

#[tokio::test]
async fn an_endpoint_that_asks_for_it_is_left_alone() {
    let serve = |mut stream: TcpStream, _| async move {
        let text = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(text.as_bytes()).await;
    };
    let (address, served) = server(serve).await;
    let url = format!("http://{address}");
    let start = Now { wall: Timestamp::from_second(1_700_000_000).unwrap(), mono: Mono(0) };
    let clock = Arc::new(ManualClock::new(start));
    let metrics = Metrics::new(Credentials::default(), clock.clone(), Limits::default()).unwrap();
    let ask = async || why(&metrics.measure(&query(&url, "one")).await).to_owned();
    assert!(ask().await.contains("HTTP 429"));
    assert!(ask().await.contains("left alone for another 30s"));
    assert_eq!(served.load(Ordering::SeqCst), 1);
    clock.sleep(Span::seconds(31)).await;
    assert!(ask().await.contains("HTTP 429"));
    assert_eq!(served.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn no_measurement_waits_longer_than_the_cap() {
    let question = |timeout| {
        let metrics = metrics();
        let measure = measure("http://127.0.0.1:1".into(), timeout);
        let asked = metrics.measure(&measure);
        let waits = metrics.asker.in_flight.lock().unwrap().keys().next().unwrap().timeout;
        drop(asked);
        waits
    };
    assert_eq!(question(Span::seconds(3)), Span::seconds(3));
    assert_eq!(question(Span::minutes(5)), LONGEST_WAIT);
}
