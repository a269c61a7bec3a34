//! Ten thousand gates due at one instant, over five hundred clusters: `cargo bench --bench asking`.
//!
//! The sources are in this process too, and answer from memory: what is measured is both sides.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use ringward::{
    act::metrics::{Limits, Metrics, When, auth::Credentials},
    clock::{Clock, SystemClock},
    decide::event::Reading,
    model::{
        ring::{MetricSource, ProviderKind},
        time::{Mono, Span},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Builder,
};

const CLUSTERS: usize = 500;
const GATES: usize = 10_000;

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A source that answers after `delay`, or never.
async fn source(counts: Arc<Counts>, delay: Option<Duration>) -> MetricSource {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counts.connections.fetch_add(1, Ordering::Relaxed);
            let counts = counts.clone();
            tokio::spawn(async move {
                let body = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"0.25"]}]}}"#;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
                let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let mut request = [0; 4_096];
                while stream.read(&mut request).await.is_ok_and(|n| n > 0) {
                    counts.requests.fetch_add(1, Ordering::Relaxed);
                    let now = counts.now.fetch_add(1, Ordering::Relaxed) + 1;
                    counts.most.fetch_max(now, Ordering::Relaxed);
                    match delay {
                        Some(delay) => tokio::time::sleep(delay).await,
                        None => std::future::pending().await,
                    }
                    counts.now.fetch_sub(1, Ordering::Relaxed);
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let kind = ProviderKind::Prometheus;
    MetricSource { name: "prometheus".into(), kind, url, jurisdiction: None }
}

/// The processor time of this process so far, in milliseconds: the kernel counts in hundredths.
fn spent() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10
}

async fn round(name: &str, silent: usize, distinct: usize) {
    let counts = Arc::new(Counts::default());
    let mut sources = Vec::new();
    for i in 0..CLUSTERS {
        let delay = (i >= silent).then_some(Duration::from_millis(5));
        let counted = if delay.is_some() { counts.clone() } else { Arc::default() };
        sources.push(source(counted, delay).await);
    }
    let clock = Arc::new(SystemClock::new(Mono(0)));
    let metrics = Metrics::new(Credentials::default(), clock.clone(), Limits::default());
    let metrics = metrics.expect("a client");
    let (cpu, begun) = (spent(), clock.now().mono);
    let slowest = Arc::new(AtomicUsize::new(0));
    // All are asked before anything is answered, as at one instant.
    let asked: Vec<_> = (0..GATES)
        .map(|i| {
            let source = &sources[i % CLUSTERS];
            let query = format!(
                "sum(rate(http_requests_total{{gate=\"{}\"}}[1m]))",
                i / CLUSTERS % distinct
            );
            metrics.ask(source, &query, When::Now, Span::seconds(10))
        })
        .collect();
    let asked = asked.into_iter().map(|answer| {
        let (clock, slowest) = (clock.clone(), slowest.clone());
        tokio::spawn(async move {
            let reading = answer.await;
            if let Reading::Value { .. } = reading {
                let took = clock.now().mono.since(begun).0 as usize;
                slowest.fetch_max(took, Ordering::Relaxed);
                return true;
            }
            false
        })
    });
    let answers = join_all(asked.collect::<Vec<_>>()).await;
    let good = answers.into_iter().filter(|answer| matches!(answer, Ok(true))).count();
    let all = clock.now().mono.since(begun);
    let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    println!(
        "{name}: {good} of {GATES} answered, the last of them after {} ms; all done after {all}; \
         {} requests over {} connections, {} at once; {} ms of processor time, both sides",
        load(&slowest),
        load(&counts.requests),
        load(&counts.connections),
        load(&counts.most),
        spent() - cpu,
    );
    assert!(load(&counts.most) <= Limits::default().overall);
    assert_eq!(good, GATES / CLUSTERS * (CLUSTERS - silent));
    assert_eq!(load(&counts.requests), (CLUSTERS - silent) * distinct.min(GATES / CLUSTERS));
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        round("every query its own", 0, 20).await;
        round("five queries, each asked by four gates", 0, 5).await;
        round("twenty clusters silent", 20, 20).await;
    });
}
