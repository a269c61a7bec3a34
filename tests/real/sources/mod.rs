//! Metric sources other than Prometheus, each as Debian packages it: what is written by its own API is read
//! through ringward.

mod alertmanager;
mod graphite;
mod influxdb;
mod releases;
mod victoria_metrics;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{Client, RequestBuilder};
use ringward::{
    clock::{Clock, SystemClock},
    config::{BasicAuth, MetricsAuth},
    model::time::Mono,
};

/// Where a program is on the PATH; None where the test is to be skipped.
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        let required = env::var("RINGWARD_REAL").is_ok_and(|value| value == "required");
        assert!(!required, "{name} is not installed, and RINGWARD_REAL=required");
        println!("skipped: {name} is not installed");
    }
    found
}

/// For what ringward does not do. It keeps no connection: each test has a runtime of its own.
static HTTP: LazyLock<Client> =
    LazyLock::new(|| Client::builder().pool_max_idle_per_host(0).build().expect("an HTTP client"));

/// Waits until a server answers there with a success; half a minute at the most.
async fn ready(what: &str, url: &str) {
    for _ in 0..600 {
        let answer = HTTP.get(url).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} is not ready after half a minute");
}

/// Sends what must be taken; returns what is answered.
async fn take(request: RequestBuilder) -> String {
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let text = answer.text().await.expect("a text");
    assert!(status.is_success(), "{status}: {text}");
    text
}

/// A user, with the password in a file.
fn basic(dir: &Path, user: &str, password: &str) -> MetricsAuth {
    let password_file = dir.join(format!("password-of-{user}-{}", password.len()));
    fs::write(&password_file, format!("{password}\n")).expect("a file");
    let basic = BasicAuth { username: user.into(), password_file };
    MetricsAuth { basic: Some(basic), ..MetricsAuth::default() }
}

fn now() -> Timestamp {
    SystemClock::new(Mono(0)).now().wall
}

/// The same instant without what is less than a second.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).expect("an instant")
}

/// The age of an instant in seconds.
fn age(at: Timestamp) -> f64 {
    now().duration_since(at).as_secs_f64()
}

const DAY: Duration = Duration::from_secs(86_400);

/// The beginning of the day of UTC, so many days ago.
fn day(ago: u32) -> Timestamp {
    let second = now().as_second();
    let midnight = Timestamp::from_second(second - second.rem_euclid(86_400));
    midnight.expect("an instant") - DAY * ago
}
