use super::*;

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || Run::new(7, &mut Honest).all(120);
    let (one, other) = (run(), run());
    assert_eq!((one.events, one.crashes, one.time), (other.events, other.crashes, other.time));
}
