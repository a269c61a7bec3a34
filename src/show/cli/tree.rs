//! A release as a tree of its rings, in text.

use super::{
    get::instant,
    layout::layout,
    style::{Style, Tone},
    table::{Cell, Table},
};
use crate::{
    decide::phase::{ReleasePhase, RingPhase},
    ids::RingName,
    model::{graph::Join, time::Span},
    show::view::{GateCount, ReleaseView, RingView, SoakView},
};

/// The columns, and the room that they take at the least: a tree that is drawn again does not jump.
const COLUMNS: [(&str, usize); 6] =
    [("RING", 14), ("STATUS", 11), ("SOAK", 12), ("GATES", 6), ("WHERE", 6), ("INFO", 0)];

/// The same with what there is room for on a wide screen.
const WIDE: [(&str, usize); 9] = [
    ("RING", 14),
    ("STATUS", 11),
    ("SOAK", 12),
    ("GATES", 6),
    ("WHERE", 6),
    ("CLUSTERS", 8),
    ("ATTEMPT", 7),
    ("PASSES", 17),
    ("INFO", 0),
];

/// The header, the tree and what is expected, a line each.
pub fn lines(view: &ReleaseView, wide: bool, style: Style) -> Vec<String> {
    let head = vec![header(view, style), String::new()];
    [head, table(view, wide, style).lines(style), expected(view)].concat()
}

/// When each ring could pass at the earliest, and the whole.
fn expected(view: &ReleaseView) -> Vec<String> {
    let Some(whole) = &view.earliest else { return Vec::new() };
    let passing = view.rings.iter().filter_map(|ring| {
        let at = ring.earliest.as_ref()?.passes?;
        Some(format!("{} {}", ring.name, instant(at)))
    });
    let passing: Vec<_> = passing.collect();
    let mut lines = vec![String::new()];
    if !passing.is_empty() {
        lines.push(format!("earliest   {}", passing.join(", ")));
    }
    lines.push(format!("through    {}", whole.in_words(instant)));
    lines
}

/// `checkout@2.14.0   sha256:9f2c4e…   policy 4e1b7a0   by dana   12 min`
fn header(view: &ReleaseView, style: Style) -> String {
    let policy: String = view.policy.as_str().chars().take(7).collect();
    let mut parts = vec![
        style.paint(Tone::Strong, &view.release.to_string()),
        style.text(&view.digest),
        format!("policy {policy}"),
        format!("by {}", view.author),
        age(view.age_seconds),
    ];
    if view.irreversible {
        parts.push("irreversible".into());
    }
    match view.phase {
        // The rings say so.
        ReleasePhase::Pending | ReleasePhase::InProgress => {}
        ReleasePhase::Paused
        | ReleasePhase::Succeeded
        | ReleasePhase::Failed
        | ReleasePhase::RolledBack
        | ReleasePhase::Aborted
        | ReleasePhase::Superseded => {
            let (text, tone) = style.release(view.phase);
            parts.push(style.paint(tone, &text));
        }
    }
    parts.join("   ")
}

/// The rings in the order in which they are drawn.
pub fn table(view: &ReleaseView, wide: bool, style: Style) -> Table {
    let rings: Vec<(&RingName, &[RingName])> =
        view.rings.iter().map(|ring| (&ring.name, ring.after.as_slice())).collect();
    let mut table = Table::with_widths(if wide { &WIDE } else { &COLUMNS });
    for (index, prefix) in layout(&rings, style.unicode) {
        let ring = &view.rings[index];
        let mut cells: Vec<Cell> = vec![
            format!("{prefix}{}", ring.name).into(),
            Cell::toned(style.ring(ring.phase)),
            soak(ring.soak).into(),
            gates(ring.gates).into(),
            joined(&ring.jurisdictions).into(),
        ];
        if wide {
            let clusters: Vec<_> = ring.clusters.iter().map(|cluster| &cluster.name).collect();
            cells.push(joined(&clusters).into());
            cells.push(ring.attempt.to_string().into());
            let passes = ring.earliest.as_ref().map(|earliest| earliest.passes);
            cells.push(match passes {
                Some(Some(at)) => instant(at).into(),
                Some(None) => "unknown".into(),
                None => "-".into(),
            });
        }
        cells.push(info(ring).into());
        table.row(cells);
    }
    table
}

/// `2h10m/4h`
fn soak(soak: Option<SoakView>) -> String {
    let Some(soak) = soak else { return "-".into() };
    let required = Span((soak.required_seconds * 1_000.0) as u64);
    if required == Span::ZERO {
        return "-".into();
    }
    // Seconds of an hour are of no interest, and neither are fractions of a second.
    let grain = if required >= Span::minutes(60) { Span::minutes(1) } else { Span::seconds(1) };
    // Credit goes on until the last gate has passed; what is more than enough is enough.
    let credited = ((soak.credited_seconds * 1_000.0) as u64).min(required.0);
    format!("{}/{required}", Span(credited / grain.0 * grain.0))
}

fn gates(gates: Option<GateCount>) -> String {
    match gates {
        Some(GateCount { passing, required }) if required > 0 => format!("{passing}/{required}"),
        Some(_) | None => "-".into(),
    }
}

/// The one sentence to read; for a ring that gathers branches, first which these are.
fn info(ring: &RingView) -> String {
    let Some(gathers) = gathers(&ring.after, ring.join) else { return ring.info.clone() };
    let rest = match (ring.phase, ring.info.strip_prefix("after ")) {
        (RingPhase::Waiting, Some(_)) if ring.info == gathers => String::new(),
        // Some of them have passed already.
        (RingPhase::Waiting, Some(rest)) => format!("waits for {rest}"),
        _ => ring.info.clone(),
    };
    if rest.is_empty() { gathers } else { format!("{gathers}; {rest}") }
}

/// `after a, b`, for a ring that comes after several.
pub fn gathers(after: &[RingName], join: Join) -> Option<String> {
    let any = match join {
        Join::All => "",
        Join::Any => "any of ",
    };
    (after.len() > 1).then(|| format!("after {any}{}", joined_by(after, ", ")))
}

/// Texts with a space between them.
pub fn joined<T: ToString>(items: &[T]) -> String {
    joined_by(items, " ")
}

fn joined_by<T: ToString>(items: &[T], separator: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(separator)
}

/// `12 min`, `3 h 5 min`, `2 d 4 h`
pub fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let with = |main: String, rest: u64, unit: &str| match rest {
        0 => main,
        rest => format!("{main} {rest} {unit}"),
    };
    match () {
        () if minutes == 0 => format!("{seconds} s"),
        () if hours == 0 => format!("{minutes} min"),
        () if days == 0 => with(format!("{hours} h"), minutes % 60, "min"),
        () => with(format!("{days} d"), hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::samples::{hold, release, ring},
        *,
    };
    use crate::{decide::waiting::HoldKind, show::words::Ender};

    const PLAIN: Style = Style { colour: false, unicode: true };

    fn text(view: &ReleaseView, style: Style) -> String {
        lines(view, false, style).iter().map(|line| format!("{line}\n")).collect()
    }

    #[track_caller]
    fn shown(view: &ReleaseView, expected: &[&str]) {
        let expected: String = expected.iter().map(|line| format!("{line}\n")).collect();
        let found: String = table(view, false, PLAIN).render(PLAIN);
        assert_eq!(found, expected, "\n{found}");
    }

    fn soaked(mut ring: RingView, credited: f64, required: f64, gates: (u32, u32)) -> RingView {
        ring.soak = Some(SoakView {
            credited_seconds: credited,
            required_seconds: required,
            running: true,
        });
        ring.gates = Some(GateCount { passing: gates.0, required: gates.1 });
        ring
    }

    fn the_sample() -> ReleaseView {
        let internal = soaked(ring("internal", &[], RingPhase::Passed), 600.0, 600.0, (3, 3));
        let mut beta =
            soaked(ring("beta", &["internal"], RingPhase::Passed), 14_400.0, 14_400.0, (3, 3));
        beta.jurisdictions = vec!["DE".into(), "US".into()];
        let mut us =
            soaked(ring("us-east", &["beta"], RingPhase::Soaking), 7_843.9, 14_400.0, (2, 3));
        us.jurisdictions = vec!["US".into()];
        us.info = "latency-p99 412 ms > 400 ms, soak reset 09:12Z".into();
        let mut eu = ring("eu-west", &["beta"], RingPhase::Held);
        eu.jurisdictions = vec!["IE".into()];
        eu.info = "approval 1 of 2 (approver, EU); window opens Mon 09:00 Europe/Dublin".into();
        eu.holds = vec![hold(HoldKind::Approval, "approval 1 of 2 (approver, EU)", Ender::Person)];
        let mut central = ring("eu-central", &["eu-west"], RingPhase::Waiting);
        central.info = "after eu-west".into();
        release(&[internal, beta, us, eu, central])
    }

    #[test]
    fn the_sample_of_the_manual() {
        let expected = "\
checkout@2.14.0   sha256:9f2c4e…   policy 4e1b7a0   by dana   12 min

RING              STATUS       SOAK          GATES   WHERE   INFO
internal          ✔ Passed     10m/10m       3/3     DE
beta              ✔ Passed     4h/4h         3/3     DE US
├─ us-east        ◌ Soaking    2h10m/4h      2/3     US      latency-p99 412 ms > 400 ms, soak reset 09:12Z
└─ eu-west        ॥ Held       -             -       IE      approval 1 of 2 (approver, EU); window opens Mon 09:00 Europe/Dublin
   └─ eu-central  • Waiting    -             -       DE      after eu-west
";
        let found = text(&the_sample(), PLAIN);
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn the_same_without_glyphs() {
        let expected = "\
checkout@2.14.0   sha256:9f2c4e...   policy 4e1b7a0   by dana   12 min

RING              STATUS       SOAK          GATES   WHERE   INFO
internal          + Passed     10m/10m       3/3     DE
beta              + Passed     4h/4h         3/3     DE US
|- us-east        ~ Soaking    2h10m/4h      2/3     US      latency-p99 412 ms > 400 ms, soak reset 09:12Z
`- eu-west        ! Held       -             -       IE      approval 1 of 2 (approver, EU); window opens Mon 09:00 Europe/Dublin
   `- eu-central  . Waiting    -             -       DE      after eu-west
";
        let found = text(&the_sample(), Style { unicode: false, ..PLAIN });
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let coloured = text(&the_sample(), Style { colour: true, ..PLAIN });
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_ne!(coloured, plain);
        assert_eq!(plain, text(&the_sample(), PLAIN));
    }

    #[test]
    fn a_ring_that_gathers_branches_names_them() {
        let mut all = ring("all", &["us", "eu"], RingPhase::Waiting);
        all.info = "after eu".into();
        let mut view = release(&[
            ring("canary", &[], RingPhase::Passed),
            ring("us", &["canary"], RingPhase::Passed),
            ring("eu", &["canary"], RingPhase::Deploying),
            all,
        ]);
        let mut expected = [
            "RING            STATUS       SOAK          GATES   WHERE   INFO",
            "canary          ✔ Passed     -             -       DE",
            "├─ us           ✔ Passed     -             -       DE",
            "└─ eu           ▲ Deploying  -             -       DE",
            "all             • Waiting    -             -       DE      after us, eu; waits for eu",
        ];
        shown(&view, &expected);
        view.rings[3].info = "after us, eu".into();
        expected[4] = "all             • Waiting    -             -       DE      after us, eu";
        shown(&view, &expected);
        view.rings[3].phase = RingPhase::Failed;
        view.rings[3].info = "errors 0.9 < 0.995".into();
        expected[4] = "all             ✖ Failed     -             -       DE      after us, eu; errors 0.9 < 0.995";
        shown(&view, &expected);
        view.rings[3].phase = RingPhase::Passed;
        view.rings[3].info = String::new();
        view.rings[3].join = Join::Any;
        expected[4] =
            "all             ✔ Passed     -             -       DE      after any of us, eu";
        shown(&view, &expected);
    }

    #[test]
    fn every_phase_has_its_glyph() {
        let rings: Vec<RingView> = RingPhase::ALL
            .iter()
            .enumerate()
            .map(|(n, phase)| ring(&format!("r{n}"), &[], *phase))
            .collect();
        shown(
            &release(&rings),
            &[
                "RING            STATUS         SOAK          GATES   WHERE   INFO",
                "├─ r0           • Waiting      -             -       DE",
                "├─ r1           ॥ Held         -             -       DE",
                "├─ r2           ▲ Deploying    -             -       DE",
                "├─ r3           ◌ Soaking      -             -       DE",
                "├─ r4           ✔ Passed       -             -       DE",
                "├─ r5           ✖ Failed       -             -       DE",
                "├─ r6           ↶ RollingBack  -             -       DE",
                "├─ r7           ↶ RolledBack   -             -       DE",
                "├─ r8           ⊘ Aborted      -             -       DE",
                "└─ r9           ⊘ Superseded   -             -       DE",
            ],
        );
    }

    #[test]
    fn a_release_that_is_over_says_so() {
        let mut view = release(&[ring("a", &[], RingPhase::Passed)]);
        view.phase = ReleasePhase::Succeeded;
        view.irreversible = true;
        let header = &lines(&view, false, PLAIN)[0];
        assert!(header.ends_with("12 min   irreversible   ✔ Succeeded"), "{header}");
    }

    #[test]
    fn soaks_are_shown_as_exactly_as_they_matter() {
        let of = |credited, required| {
            soak(Some(SoakView {
                credited_seconds: credited,
                required_seconds: required,
                running: true,
            }))
        };
        assert_eq!(of(200.7, 600.0), "3m20s/10m");
        assert_eq!(of(59.0, 3_600.0), "0s/1h");
        assert_eq!(of(86_399.9, 86_400.0), "23h59m/24h");
        assert_eq!(of(655.0, 600.0), "10m/10m");
        assert_eq!(of(0.0, 0.0), "-");
        assert_eq!(soak(None), "-");
    }

    #[test]
    fn ages() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (720, "12 min"),
            (3_600, "1 h"),
            (11_100, "3 h 5 min"),
            (187_200, "2 d 4 h"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }
}
