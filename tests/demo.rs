//! The demo, from its start to its end: the whole product in one process, over HTTP.

use std::net::SocketAddr;

use ringward::{
    show::{cli::style::Style, exit::Exit},
    sim::demo::{self, Options},
};

fn options(fail: Option<&str>) -> Options {
    Options {
        source: None,
        plan: None,
        release: true,
        speed: 600.0,
        exit: true,
        by_hand: false,
        fail: fail.map(Into::into),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        seed: 7,
        style: Style { colour: false, unicode: true },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_everywhere() {
    assert_eq!(demo::run(options(None)).await.unwrap(), Exit::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_taken_back() {
    assert_eq!(demo::run(options(Some("beta"))).await.unwrap(), Exit::Failed);
}
