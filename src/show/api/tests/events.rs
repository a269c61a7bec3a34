//! The stream of events.

use super::*;

#[tokio::test]
async fn events_are_taken_up_where_they_were_left_off() {
    let server = Server::start().await;
    let mut live = server.get("viewer", "/v1/events").await;
    assert_eq!(live.headers()[header::CONTENT_TYPE], "text/event-stream");
    server.submit("2.14.0").await;
    let (id, event) = next_event(&mut live).await;
    assert_eq!((id, &event["type"]), (2, &json!("release")));
    assert_eq!(event["object"]["releases"], json!(["checkout@2.14.0"]));
    server.post("operator", "/v1/plans/checkout/pause", &json!({})).await;
    server.post("operator", "/v1/plans/checkout/resume", &json!({})).await;
    let call = server.call("viewer", Method::GET, "/v1/events").header("Last-Event-ID", "2");
    let mut resumed = call.send().await.unwrap();
    assert_eq!(next_event(&mut resumed).await, next_event(&mut live).await);
    assert_eq!(next_event(&mut resumed).await.1["object"]["what"], json!(["resumed"]));
    server.post("operator", "/v1/plans/checkout/pause", &json!({})).await;
    assert_eq!(next_event(&mut resumed).await.0, 5, "it goes on live");
    let call = server.call("viewer", Method::GET, "/v1/events").header("Last-Event-ID", "999");
    let lost = call.send().await.unwrap().text().await.unwrap();
    assert!(lost.starts_with("event: error\n"), "{lost}");
}

#[tokio::test]
async fn who_is_not_known_any_more_is_told_nothing_more() {
    let mut server = Server::start().await;
    let roles = vec!["viewer".into()];
    server.token("guest", NewToken { roles, ttl: Some(Span::minutes(5)), ..NewToken::default() });
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let browser = browser.build().unwrap();
    let form = format!("token={}", server.secrets["viewer"]);
    let signed_in = browser.post(format!("{}/login", server.base)).body(form).send().await.unwrap();
    let cookie = signed_in.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let page = browser.get(format!("{}/events", server.base)).header(header::COOKIE, cookie);
    let mut page = page.send().await.unwrap();
    let mut viewer = server.get("viewer", "/v1/events").await;
    let mut guest = server.get("guest", "/v1/events").await;
    let mut operator = server.get("operator", "/v1/events").await;
    server.submit("2.14.0").await;
    for stream in [&mut page, &mut viewer, &mut guest, &mut operator] {
        assert_eq!(next_event(stream).await.0, 2);
    }
    server.tokens.revoke("viewer").unwrap();
    server.stage.clock.advance(Span::minutes(5));
    server.post("operator", "/v1/plans/checkout/pause", &json!({})).await;
    assert_eq!(next_event(&mut operator).await.0, 3, "who is known is told");
    for (who, stream) in [("a session", page), ("its token", viewer), ("an expired one", guest)] {
        assert_eq!(stream.text().await.unwrap(), "", "{who}");
    }
}

async fn next_event(stream: &mut Response) -> (u64, Value) {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        let chunk = tokio::time::timeout(Duration::from_secs(5), stream.chunk()).await;
        let chunk = chunk.expect("an event comes").unwrap().expect("the stream goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    (line("id: ").parse().unwrap(), serde_json::from_str(line("data: ")).unwrap())
}
