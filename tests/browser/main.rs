//! The dashboard in a real Chromium, over the demo: everything that a person does there, by the keyboard's
//! and the mouse's own events, in both themes and on a phone's width.
//!
//! They need `chromium` (or `CHROMIUM`, its path) and are ignored by default; with RINGWARD_REAL=required
//! a missing browser fails instead of skipping. Screenshots of every page are left in target/screenshots,
//! to be looked at.
#![expect(clippy::disallowed_methods, reason = "a browser lives in real time")]

mod chromium;
mod provider;
mod stage;

use chromium::Browser;
use provider::Provided;
use stage::Demo;

/// What a page must not be wider than, on a phone.
const PHONE: (u32, u32) = (360, 740);
const DESK: (u32, u32) = (1280, 900);

const RELEASE: &str = "/releases/checkout/2.14.0";

/// A browser over a demo, or nothing where there is no browser.
fn start(arguments: &[&str]) -> Option<(Demo, Browser)> {
    let browser = Browser::start()?;
    Some((Demo::start(arguments), browser))
}

#[test]
#[ignore = "needs Chromium; .ci/run runs it"]
fn a_ring_is_paused_resumed_and_approved_and_every_page_reads() {
    let Some((demo, mut browser)) = start(&["--by-hand", "--speed", "60"]) else { return };
    browser.size(DESK);
    browser.open(&demo.at(RELEASE));
    browser.shoot("sign-in", |_| {});
    demo.sign_in(&mut browser, &demo.admin());
    assert_eq!(browser.text("h1"), "checkout@2.14.0", "it comes back to what was asked for");

    // Pause a ring, with a reason, after being told what that means.
    browser.until(
        "beta or internal soaks",
        "document.querySelector('#ring-rest button[value=pause]')",
    );
    browser.press("#ring-rest button[value=pause]");
    assert!(browser.text("main").contains("Soak stands still"), "{}", browser.text("main"));
    browser.shoot("confirm", |_| {});
    browser.fill("#reason", "a look at it, <b>first</b>");
    browser.press("form.confirm button");
    browser.told("checkout@2.14.0 on rest is paused");
    browser.until(
        "the pause shows",
        "document.querySelector('.alarm')?.textContent.includes('a look at it, <b>first</b>')",
    );

    // It is shown live, without a load.
    let loaded = browser.value("performance.timeOrigin");
    browser.until("it is live", "document.querySelector('#live').textContent == 'live'");
    browser.until_long(
        "internal passes before the eyes",
        "document.querySelector('#ring-internal .chip').textContent.includes('Passed')",
    );
    assert_eq!(browser.value("performance.timeOrigin"), loaded);
    browser.press(".alarm button[value=resume]");
    browser.press("form.confirm button");
    browser.told("is resumed");

    // What is not theirs is not offered, and says how to get it.
    browser.open(&demo.at("/approvals"));
    assert!(browser.text("main").contains("Your token has no role approver"));
    assert_eq!(browser.count("button[value=approve]"), 0);

    // An approver agrees, once the ring asks for it.
    let eu_west = "document.querySelector('#ring-eu-west .chip').textContent";
    browser.open(&demo.at(RELEASE));
    browser.until_long("eu-west is held", &format!("{eu_west}.includes('Held')"));
    browser.shoot("release", |_| {});
    browser.press("form.who button");
    browser.open(&demo.at("/approvals"));
    demo.sign_in(&mut browser, &demo.approver());
    browser.until(
        "it asks for approval",
        "document.querySelector('[id=\"a-checkout@2.14.0-eu-west\"] button[value=approve]')",
    );
    browser.shoot("approvals", |_| {});
    browser.press("[id=\"a-checkout@2.14.0-eu-west\"] button[value=approve]");
    assert!(browser.text("main").contains("sha256:"), "it is bound to what was seen");
    browser.shoot("approve", |_| {});
    browser.press("form.confirm button");
    browser.told("approved by you");
    browser.until_long("eu-west starts", &format!("!{eu_west}.includes('Held')"));

    // An approver stops nothing.
    assert_eq!(browser.count("button[value=abort]"), 0);
    assert!(browser.text("main").contains("approver needs the role operator"));
    browser.press("form.who button");
    browser.open(&demo.at("/"));
    demo.sign_in(&mut browser, &demo.admin());

    for (name, path) in [
        ("fleet", "/"),
        ("release-later", RELEASE),
        ("ring", "/releases/checkout/2.14.0/rings/us-east"),
        ("ring-withheld", "/releases/checkout/2.14.0/rings/eu-west"),
        ("jurisdictions", "/jurisdictions"),
        ("freezes", "/freezes"),
        ("timeline", "/timeline"),
        ("audit", "/audit?verify=yes"),
        ("unknown", "/releases/checkout/9.9.9"),
    ] {
        browser.open(&demo.at(path));
        browser.shoot(name, |browser| browser.reads());
    }
    demo.freeze_and_lift(&mut browser);
    browser.clean(&["404"]);
}

#[test]
#[ignore = "needs Chromium; .ci/run runs it"]
fn a_bad_release_is_watched_until_it_is_back_and_leaves_evidence() {
    let Some((demo, mut browser)) = start(&["--fail", "beta"]) else { return };
    browser.size(DESK);
    browser.open(&demo.at(RELEASE));
    demo.sign_in(&mut browser, &demo.admin());
    let loaded = browser.value("performance.timeOrigin");
    let beta = "document.querySelector('#ring-beta .chip').textContent";
    browser.until_long("beta is back", &format!("{beta}.includes('Rolled back')"));
    assert_eq!(browser.value("performance.timeOrigin"), loaded, "it was watched, not loaded again");
    browser.shoot("rolled-back", |browser| browser.reads());
    browser.open(&demo.at("/releases/checkout/2.14.0/rings/beta"));
    assert!(browser.text("main").contains("Fail"));
    browser.shoot("ring-failed", |browser| browser.reads());
    browser.open(&demo.at("/timeline"));
    assert!(browser.text("main").contains("failed on beta"), "{}", browser.text("main"));
    browser.open(&demo.at(RELEASE));
    let link = browser.value("document.querySelector('a[href^=\"/evidence/\"]').href");
    browser.open(link.as_str().expect("an address"));
    assert!(browser.text("body").contains("Evidence of checkout@2.14.0"));
    browser.shoot("evidence", |_| {});
    browser.clean(&[]);
}

#[test]
#[ignore = "needs Chromium; .ci/run runs it"]
fn without_a_script_everything_reads_and_acts() {
    let Some((demo, mut browser)) = start(&["--speed", "60", "--by-hand"]) else { return };
    browser.size(DESK);
    browser.without_script();
    browser.open(&demo.at("/"));
    demo.sign_in(&mut browser, &demo.admin());
    assert!(browser.text("main").contains("checkout"));
    browser.open(&demo.at(RELEASE));
    browser.press("#ring-rest button[value=pause]");
    browser.press("form.confirm button");
    browser.told("is paused");
    for path in ["/approvals", "/jurisdictions", "/freezes", "/timeline", "/audit"] {
        browser.open(&demo.at(path));
        assert!(!browser.text("main").is_empty(), "{path}");
    }
    browser.clean(&[]);
}

#[test]
#[ignore = "needs Chromium; .ci/run runs it"]
fn the_keyboard_alone_gets_everywhere() {
    let Some((demo, mut browser)) = start(&["--speed", "60"]) else { return };
    browser.size(PHONE);
    browser.open(&demo.at(RELEASE));
    demo.sign_in(&mut browser, &demo.admin());
    // The skip link comes first, and the focus is to be seen wherever it is.
    browser.key("Tab");
    assert_eq!(browser.value("document.activeElement.className"), "skip");
    let mut seen = Vec::new();
    for _ in 0..80 {
        browser.key("Tab");
        let at = "(e => e.getAttribute('aria-label') || e.textContent)(document.activeElement)";
        seen.push(browser.value(at).as_str().unwrap_or_default().to_owned());
        let outline = "getComputedStyle(document.activeElement).outlineStyle != 'none' \
                       || document.activeElement.closest('svg')";
        assert!(!browser.value(outline).is_null(), "the focus shows on {:?}", seen.last());
        if seen.iter().any(|name| name.starts_with("rest,")) {
            break;
        }
    }
    for wanted in ["Fleet", "Sign out", "Pause", "internal, CH", "rest, "] {
        assert!(seen.iter().any(|name| name.trim().starts_with(wanted)), "{wanted} in {seen:?}");
    }
    browser.key("Enter");
    browser.until("the ring's page", "location.pathname.endsWith('/rings/rest')");
    browser.clean(&[]);
}

#[test]
#[ignore = "needs Chromium and an OpenID provider; .ci/run runs it"]
fn somebody_signs_in_at_a_real_openid_provider() {
    let (Some(mut browser), Some(provided)) = (Browser::start(), Provided::start()) else { return };
    browser.size(DESK);
    let known = "document.querySelector('form.who')?.textContent.includes('kim operator')";
    browser.open(&provided.at("/freezes"));
    browser.shoot("sign-in-provider", |_| {});
    browser.press(".sign a.button");
    // Whoever thinks better of it is told so on our own page, and may try again.
    browser.press("a[href$=abort]");
    assert!(
        browser.text("[role=alert]").contains("did not let you in"),
        "{}",
        browser.text("main")
    );
    browser.shoot("sign-in-refused", |_| {});
    browser.press(".sign a.button");
    browser.fill("[name=login]", "kim");
    browser.fill("[name=password]", "anything");
    browser.press("button[type=submit]");
    browser.press("button[type=submit]");
    browser.until("kim is known", known);
    assert_eq!(
        browser.value("location.pathname"),
        "/freezes",
        "it comes back to what was asked for"
    );
    // What is done is done in that name.
    browser.press("button[value=freeze]");
    browser.fill("#reason", "a drill");
    browser.press("form.confirm button");
    browser.told("is frozen");
    assert!(browser.text("main").contains("kim"), "{}", browser.text("main"));
    browser.press("form.who button");
    assert_eq!(browser.count("#token"), 1, "{}", browser.text("main"));
    // The provider knows them still, and asks nothing.
    browser.press(".sign a.button");
    browser.until("kim is known again", known);
    // The provider's own pages want a font from elsewhere and an icon, and get neither.
    browser.clean(&["fonts.googleapis.com", "favicon.ico", "401"]);
}

#[test]
#[ignore = "needs Chromium; .ci/run runs it"]
fn a_release_is_created_and_a_waiver_asked_for_and_granted() {
    let Some((demo, mut browser)) = start(&["--by-hand", "--speed", "60"]) else { return };
    browser.size(DESK);
    browser.open(&demo.at("/"));
    demo.sign_in(&mut browser, &demo.admin());
    browser.press("#p-checkout button[value=create]");
    assert!(browser.text("main").contains("On their way already: checkout@2.14.0"));
    browser.shoot("create", |browser| browser.reads());
    browser.fill("#f-version", "2.15.0");
    browser.fill("#f-image", "registry.example/checkout:2.15.0");
    browser.press("form.confirm button");
    assert!(browser.text("#e-image").contains("pinned by digest"), "{}", browser.text("main"));
    assert_eq!(browser.value("document.querySelector('#f-version').value"), "2.15.0");
    browser.shoot("create-wrong", |browser| browser.reads());
    browser.value("document.querySelector('#f-image').value = ''");
    browser.fill("#f-image", &format!("registry.example/checkout@sha256:{}", "15".repeat(32)));
    browser.press("form.confirm button");
    browser.told("checkout@2.15.0 is created");
    assert_eq!(browser.value("location.pathname"), "/releases/checkout/2.15.0");

    browser.open(&demo.at("/jurisdictions"));
    browser.shoot("jurisdictions", |browser| browser.reads());
    browser.press("button[value=ask-waiver]");
    assert!(browser.text("main").contains("binds until two approvers have agreed"));
    browser.value("document.querySelector('#f-ring').value = 'rest'");
    browser.shoot("ask-waiver", |browser| browser.reads());
    browser.fill("#reason", "INC-4711: the partner stays as it is");
    browser.press("form.confirm button");
    browser.told("a waiver of rule GDPR-4 for checkout is asked for");
    browser.shoot("waiver-asked", |browser| browser.reads());
    browser.press("form.who button");
    browser.open(&demo.at("/approvals"));
    demo.sign_in(&mut browser, &demo.approver());
    browser.press("button[value=approve-waiver]");
    assert!(browser.text("main").contains("GDPR-4"));
    browser.press("form.confirm button");
    browser.told("is approved by you");
    browser.clean(&["422"]);
}
