use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use jiff::Timestamp;

use super::*;
use crate::{ids::Mint, model::time::Span};

fn now() -> Timestamp {
    "2026-11-02T08:00:00Z".parse().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn token(name: &str, roles: &[&str]) -> NewToken {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    NewToken { name: name.into(), roles, ..NewToken::default() }
}

#[test]
fn a_first_start_makes_one_administrator_who_approves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(data.path()).unwrap();
    let mut mint = Mint::system();
    let path = tokens.first_start(&mut mint, now()).unwrap().unwrap();
    assert_eq!(path, data.path().join(ADMIN_TOKEN));
    assert_eq!((mode(&path), mode(&data.path().join(TOKENS))), (0o600, 0o600));
    let text = fs::read_to_string(&path).unwrap();
    let text = text.trim_end();
    assert_eq!((text.len(), &text[..3]), (67, "rw_"));
    let kept = fs::read_to_string(data.path().join(TOKENS)).unwrap();
    assert!(!kept.contains(&text[3..]), "the text is kept nowhere else");

    let admin = tokens.caller(text, now()).unwrap();
    assert_eq!(admin.name, "admin".into());
    for verb in [Verb::Read, Verb::Stop, Verb::Go, Verb::Attribute] {
        assert_eq!(may(&admin, verb, &Reach::Everything), Ok(()));
    }
    let denied = may(&admin, Verb::Agree, &Reach::Common).unwrap_err();
    assert_eq!(denied.to_string(), "admin needs the role approver");
    assert_eq!(tokens.first_start(&mut mint, now()).unwrap(), None);
    assert_eq!(Tokens::open(data.path()).unwrap().caller(text, now()), Some(admin));
}

#[test]
fn only_the_whole_text_of_a_live_token_is_known() {
    let data = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(data.path()).unwrap();
    let mut mint = Mint::system();
    let new = NewToken { ttl: Some(Span::minutes(1)), ..token("ola@example.com", &["viewer"]) };
    let (made, text) = tokens.create(new, &mut mint, now()).unwrap();
    assert!(tokens.caller(&text, now()).is_some());
    for other in ["", "rw_", &text[..66], &text.to_uppercase(), &format!("{text} "), &digest(&text)]
    {
        assert_eq!(tokens.caller(other, now()), None, "{other}");
    }
    assert_eq!(tokens.caller(&text, made.expires.unwrap()), None);
    assert_eq!(tokens.revoke("t-none").unwrap_err().to_string().split('`').nth(1), Some("t-none"));
    assert_eq!(tokens.revoke(&made.id).unwrap(), [made]);
    assert_eq!(tokens.caller(&text, now()), None);
}

#[test]
fn what_cannot_be_a_token_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(data.path()).unwrap();
    let create = |new| tokens.create(new, &mut Mint::system(), now()).unwrap_err();
    for name in ["", "a/b", "-a", "a b", "a\n", &"a".repeat(101)] {
        assert!(matches!(create(token(name, &["viewer"])), TokenError::Name(_)), "{name}");
    }
    assert!(matches!(create(token("a", &[])), TokenError::Roles));
    assert!(matches!(create(token("a", &["release-manager"])), TokenError::Roles));
    assert!(matches!(create(token("a", &["viewer", "x y"])), TokenError::Role(_)));
    // What declarations say of a bloc gives nobody more to reach.
    for place in ["DACH", "UK", "eu"] {
        let within = NewToken { within: vec![place.into()], ..token("a", &["viewer"]) };
        assert!(matches!(create(within), TokenError::Place(_)), "{place}");
    }
    assert!(tokens.list().is_empty());
}

#[test]
fn processes_that_make_tokens_at_once_lose_none() {
    let data = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let dir = data.path();
            scope.spawn(move || {
                let tokens = Tokens::open(dir).unwrap();
                let new = token(&format!("robot-{n}"), &["viewer"]);
                tokens.create(new, &mut Mint::system(), now()).unwrap();
            });
        }
    });
    assert_eq!(Tokens::open(data.path()).unwrap().list().len(), 8);
}

#[test]
fn a_spoiled_file_is_named_and_locks_nobody_out_who_is_in() {
    let data = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(data.path()).unwrap();
    let (_, text) = tokens.create(token("ola", &["operator"]), &mut Mint::system(), now()).unwrap();
    let path = data.path().join(TOKENS);
    fs::write(&path, "{").unwrap();
    assert!(tokens.caller(&text, now()).is_some());
    let error = Tokens::open(data.path()).unwrap_err();
    assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    let created = tokens.create(token("kim", &["viewer"]), &mut Mint::system(), now());
    assert!(matches!(created, Err(TokenError::Malformed { .. })), "it is not overwritten");
}

#[test]
fn to_stop_asks_less_than_to_go() {
    let within = |within: &[&str], plans: &[&str]| Caller {
        name: "ola".into(),
        jurisdiction: None,
        grants: vec![Grant {
            roles: vec!["operator".into()],
            plans: plans.iter().map(|p| (*p).into()).collect(),
            within: within.iter().map(|p| (*p).into()).collect(),
        }],
        emergency: None,
    };
    let release = Reach::Plan("checkout".into(), vec!["DE".into(), "US".into()]);
    let ola = within(&["EU"], &[]);
    assert_eq!(may(&ola, Verb::Stop, &release), Ok(()));
    let denied = may(&ola, Verb::Go, &release).unwrap_err();
    assert_eq!(denied.to_string(), "the roles of ola do not reach US");
    assert_eq!(may(&ola, Verb::Go, &Reach::Place("IE".into())), Ok(()));
    assert!(may(&ola, Verb::Stop, &Reach::Everything).is_err());
    assert!(may(&within(&["CN"], &[]), Verb::Read, &release).is_err());
    let of_one = within(&[], &["checkout"]);
    assert_eq!(may(&of_one, Verb::Go, &release), Ok(()));
    assert!(may(&of_one, Verb::Stop, &Reach::Everything).is_err());
    assert!(may(&of_one, Verb::Stop, &Reach::Place("DE".into())).is_err());
    assert!(may(&of_one, Verb::Read, &Reach::Plan("search".into(), Vec::new())).is_err());
}

#[test]
fn each_grant_reaches_as_far_as_it_says_and_together_they_reach_all_of_it() {
    let grant = |roles: &[&str], plans: &[&str], within: &[&str]| Grant {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        plans: plans.iter().map(|plan| (*plan).into()).collect(),
        within: within.iter().map(|place| (*place).into()).collect(),
    };
    let kim = |grants: Vec<Grant>| Caller {
        name: "kim".into(),
        jurisdiction: None,
        grants,
        emergency: None,
    };
    let reach = |plan: &str, places: &[&str]| {
        Reach::Plan(plan.into(), places.iter().map(|place| (*place).into()).collect())
    };
    let two =
        kim(vec![grant(&["operator"], &["checkout"], &["DE"]), grant(&["operator"], &[], &["US"])]);
    assert_eq!(may(&two, Verb::Go, &reach("checkout", &["DE", "US"])), Ok(()));
    assert!(may(&two, Verb::Go, &reach("search", &["DE"])).is_err());
    assert!(may(&two, Verb::Go, &reach("search", &["DE", "US"])).is_err());
    assert_eq!(may(&two, Verb::Stop, &reach("search", &["DE", "US"])), Ok(()));
    assert!(may(&two, Verb::Stop, &Reach::Everything).is_err());

    // The core is told of those roles alone that reach all of what is agreed to.
    let split =
        kim(vec![grant(&["approver"], &[], &[]), grant(&["release-manager"], &[], &["DE"])]);
    let roles = |places: &[&str]| split.actor(Verb::Agree, &reach("checkout", places)).roles;
    assert_eq!(roles(&["DE"]), ["approver", "release-manager"]);
    assert_eq!(roles(&["DE", "US"]), ["approver"]);
    let nobody = kim(Vec::new());
    let denied = may(&nobody, Verb::Read, &Reach::Common).unwrap_err();
    assert_eq!(denied.to_string(), "kim needs the role viewer");
}

#[test]
fn a_token_for_emergencies_has_a_reason_and_a_short_life() {
    let data = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(data.path()).unwrap();
    let create = |reason: &str, ttl| {
        let new = NewToken { break_glass: Some(reason.into()), ttl, ..token("ola", &["operator"]) };
        tokens.create(new, &mut Mint::system(), now())
    };
    let error = |reason, ttl| create(reason, ttl).unwrap_err().to_string();
    assert!(error(" ", None).contains("needs a reason"));
    assert!(error("down", Some(Span::minutes(24 * 60 + 1))).contains("within 24h"));
    let (made, text) = create("down", Some(Span::minutes(24 * 60))).unwrap();
    let ola = tokens.caller(&text, now()).unwrap();
    assert_eq!(ola.emergency, Some(Emergency { token: made.id, reason: "down".into() }));
}
