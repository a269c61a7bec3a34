//! Where each ring of a DAG is drawn, so that a terminal shows what comes after what.
//!
//! A chain stays at the left margin until it branches. Branches hang on `├─` and `└─`, and what follows
//! a branch is nested under it. A ring that gathers branches is drawn once, below the point where they
//! parted: at the margin if the chain goes on with it, or else as a last branch. Which rings it gathers
//! is said in words beside it, for lines that cross are read by nobody.

use crate::ids::RingName;

/// The marks that a tree is drawn with, each three columns wide.
#[derive(Debug, Clone, Copy)]
struct Marks {
    branch: &'static str,
    last: &'static str,
    beside: &'static str,
    below: &'static str,
}

const LINES: Marks = Marks { branch: "├─ ", last: "└─ ", beside: "│  ", below: "   " };
const ASCII: Marks = Marks { branch: "|- ", last: "`- ", beside: "|  ", below: "   " };

/// Where `rings`, each given behind those that it comes after, are drawn: their indices in the order of
/// the lines, each with what stands before its name.
pub fn layout(rings: &[(&RingName, &[RingName])], unicode: bool) -> Vec<(usize, String)> {
    let mut tree = Tree {
        parents: Vec::with_capacity(rings.len()),
        gathers: Vec::with_capacity(rings.len()),
        marks: if unicode { LINES } else { ASCII },
        drawn: Vec::with_capacity(rings.len()),
    };
    for (index, (_, after)) in rings.iter().enumerate() {
        let known = |name: &RingName| rings[..index].iter().position(|(known, _)| *known == name);
        let before: Vec<usize> = after.iter().filter_map(known).collect();
        let parted = before.iter().map(|ring| Some(*ring)).reduce(|a, b| tree.parted(a, b));
        tree.gathers.push(before.len() > 1);
        tree.parents.push(parted.flatten());
    }
    tree.margin();
    tree.drawn
}

struct Tree {
    /// The last ring that every way to this one leads through; it has a smaller index.
    parents: Vec<Option<usize>>,
    /// Whether it comes after several rings.
    gathers: Vec<bool>,
    marks: Marks,
    drawn: Vec<(usize, String)>,
}

impl Tree {
    /// Where the ways to both rings parted; nothing where they have none in common.
    fn parted(&self, mut a: Option<usize>, mut b: Option<usize>) -> Option<usize> {
        while a != b {
            // The later of the two cannot lie on the way to the other.
            let later = if a > b { &mut a } else { &mut b };
            *later = later.and_then(|ring| self.parents[ring]);
        }
        a
    }

    /// What is drawn under a ring: its branches, then what gathers them.
    fn children(&self, parent: Option<usize>) -> (Vec<usize>, Vec<usize>) {
        let children = (0..self.parents.len()).filter(|ring| self.parents[*ring] == parent);
        children.partition(|ring| !self.gathers[*ring])
    }

    /// Draws the chain that stays at the margin.
    fn margin(&mut self) {
        let mut at = None;
        loop {
            let (mut branches, gathering) = self.children(at);
            let next = match (branches.as_slice(), gathering.as_slice()) {
                ([only], []) => {
                    let only = *only;
                    branches.clear();
                    Some(only)
                }
                (_, [only]) => Some(*only),
                // Several that gather different branches would look like a chain.
                (_, []) | (_, [_, ..]) => {
                    branches.extend(gathering);
                    None
                }
            };
            self.branches(&branches, "");
            let Some(ring) = next else { return };
            self.drawn.push((ring, String::new()));
            at = Some(ring);
        }
    }

    fn branches(&mut self, rings: &[usize], indent: &str) {
        for (n, ring) in rings.iter().enumerate() {
            let (mark, under) = match n + 1 == rings.len() {
                true => (self.marks.last, self.marks.below),
                false => (self.marks.branch, self.marks.beside),
            };
            self.drawn.push((*ring, format!("{indent}{mark}")));
            let (mut children, gathering) = self.children(Some(*ring));
            children.extend(gathering);
            self.branches(&children, &format!("{indent}{under}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a; b < a; c < a b` is three rings, each with those that it comes after.
    fn draw(rings: &str, unicode: bool) -> String {
        let parsed: Vec<(RingName, Vec<RingName>)> = rings
            .split(';')
            .map(|ring| {
                let (name, after) = ring.split_once('<').unwrap_or((ring, ""));
                let after = after.split_whitespace().map(RingName::from).collect();
                (name.trim().into(), after)
            })
            .collect();
        let given: Vec<_> = parsed.iter().map(|(name, after)| (name, after.as_slice())).collect();
        let drawn = layout(&given, unicode).into_iter();
        drawn.map(|(ring, prefix)| format!("{prefix}{}\n", given[ring].0)).collect()
    }

    #[track_caller]
    fn drawn(rings: &str, expected: &[&str]) {
        let expected: String = expected.iter().map(|line| format!("{line}\n")).collect();
        let found = draw(rings, true);
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn a_chain_stays_at_the_margin() {
        drawn("a; b < a; c < b", &["a", "b", "c"]);
    }

    #[test]
    fn the_sample_of_the_manual() {
        let rings =
            "internal; beta < internal; us-east < beta; eu-west < beta; eu-central < eu-west";
        drawn(rings, &["internal", "beta", "├─ us-east", "└─ eu-west", "   └─ eu-central"]);
    }

    #[test]
    fn a_branch_beside_another_keeps_its_line() {
        drawn(
            "a; b < a; c < a; d < b; e < d; f < c",
            &["a", "├─ b", "│  └─ d", "│     └─ e", "└─ c", "   └─ f"],
        );
    }

    #[test]
    fn what_gathers_all_branches_goes_on_at_the_margin() {
        drawn(
            "a; b < a; c < a; d < c; all < b d; rest < all",
            &["a", "├─ b", "└─ c", "   └─ d", "all", "rest"],
        );
    }

    #[test]
    fn a_branch_that_parts_and_gathers_again_does_so_under_itself() {
        drawn(
            "a; us < a; eu < a; west < eu; central < eu; done < west central; last < done",
            &["a", "├─ us", "└─ eu", "   ├─ west", "   ├─ central", "   └─ done", "      └─ last"],
        );
    }

    #[test]
    fn several_that_gather_different_branches_are_no_chain() {
        drawn(
            "a; b < a; c < a; d < a; bc < b c; cd < c d",
            &["a", "├─ b", "├─ c", "├─ d", "├─ bc", "└─ cd"],
        );
    }

    #[test]
    fn diamond_after_diamond() {
        drawn(
            "a; b < a; c < a; d < b c; e < d; f < d; g < e f",
            &["a", "├─ b", "└─ c", "d", "├─ e", "└─ f", "g"],
        );
    }

    #[test]
    fn several_first_rings_are_branches_of_nothing() {
        drawn("a; b", &["├─ a", "└─ b"]);
        drawn("a; b; c < a b; d < c", &["├─ a", "└─ b", "c", "d"]);
    }

    #[test]
    fn wide() {
        let rings: Vec<String> = (0..30).map(|n| format!("; r{n:02} < a")).collect();
        let found = draw(&format!("a{}", rings.concat()), true);
        assert_eq!(found.lines().count(), 31);
        assert!(found.starts_with("a\n├─ r00\n├─ r01\n"), "{found}");
        assert!(found.ends_with("├─ r28\n└─ r29\n"), "{found}");
    }

    #[test]
    fn a_short_cut_past_a_branch_is_told_in_words() {
        drawn("a; b < a; c < a b", &["a", "└─ b", "c"]);
    }

    #[test]
    fn without_lines_where_there_are_none() {
        let found = draw("a; b < a; c < a; d < b", false);
        assert_eq!(found, "a\n|- b\n|  `- d\n`- c\n");
    }

    #[test]
    fn a_ring_that_nobody_knows_is_no_way() {
        drawn("a; b < gone", &["├─ a", "└─ b"]);
    }

    #[test]
    fn each_ring_is_drawn_once_whatever_the_plan() {
        let mut mint = crate::ids::Mint::seeded(7);
        for _ in 0..200 {
            let size = mint.next_u64() % 12 + 1;
            let rings: Vec<String> = (0..size)
                .map(|n| {
                    let after = (0..n).filter(|_| mint.next_u64().is_multiple_of(3));
                    format!("r{n} < {}", after.map(|n| format!("r{n} ")).collect::<String>())
                })
                .collect();
            let found = draw(&rings.join(";"), true);
            let mut names: Vec<&str> = found
                .lines()
                .map(|line| line.trim_start_matches(['├', '└', '─', '│', ' ']))
                .collect();
            assert_eq!(names.len() as u64, size, "{rings:?}\n{found}");
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len() as u64, size, "{rings:?}\n{found}");
        }
    }
}
