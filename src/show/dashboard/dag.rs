//! The rings of a release as a drawing, left to right: each ring stands right of all that it comes after.
//!
//! Layers by the longest way from a beginning; an edge over several layers gets a place of its own in each
//! between, so that it runs around rings; the order in a layer is by the mean place of those before
//! (Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures", 1981).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    html::{Text, ring_path, span},
    signs::Sign,
};
use crate::{
    decide::phase::RingPhase,
    ids::{ReleaseId, RingName},
    model::graph::Join,
    show::view::RingView,
};

const WIDTH: f64 = 176.0;
const HEIGHT: f64 = 74.0;
/// Between two layers.
const GAP: f64 = 52.0;
/// Between two of a layer.
const ROW: f64 = 18.0;
/// What an edge takes that passes a layer by.
const LANE: f64 = 10.0;
const MARGIN: f64 = 6.0;

/// Something with a place in a layer: a ring, or an edge that passes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    Ring(usize),
    Passing(usize, usize, usize),
}

impl Spot {
    fn height(self) -> f64 {
        match self {
            Spot::Ring(_) => HEIGHT,
            Spot::Passing(..) => LANE,
        }
    }
}

/// The drawing; everything in it stands in the list beside it too.
pub fn drawing(id: &ReleaseId, rings: &[RingView]) -> String {
    let layout = Layout::of(rings);
    let mut body = String::new();
    for (from, to) in layout.edges.iter().copied() {
        let class = match (rings[from].phase, rings[to].join) {
            (RingPhase::Passed, _) => "edge done",
            (_, Join::Any) => "edge any",
            (_, Join::All) => "edge",
        };
        let _ = write!(body, "<path class=\"{class}\" d=\"{}\"/>", layout.way(from, to));
    }
    for (n, ring) in rings.iter().enumerate() {
        let (x, y) = layout.at(Spot::Ring(n));
        body.push_str(&node(id, ring, x, y));
    }
    let (width, height) = layout.size();
    let said: Vec<String> =
        rings.iter().map(|ring| format!("{} {}", ring.name, Sign::ring(ring.phase).word)).collect();
    format!(
        "<svg class=\"dag\" role=\"group\" aria-labelledby=\"dag-t dag-d\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\"><title id=\"dag-t\">Rings of {}</title>\
         <desc id=\"dag-d\">From left to right, each ring after those that lead to it: {}. The list of rings \
         says the same.</desc><defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
         markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\"/></marker></defs>\
         {body}</svg>",
        Text(id),
        Text(said.join(", "))
    )
}

fn node(id: &ReleaseId, ring: &RingView, x: f64, y: f64) -> String {
    let sign = Sign::ring(ring.phase);
    let places: Vec<&str> = ring.jurisdictions.iter().map(|place| place.as_str()).collect();
    let places = places.join(" ");
    let soak = ring.soak.filter(|_| ring.phase == RingPhase::Soaking);
    let second = match (soak, ring.holds.first()) {
        (_, Some(hold)) => hold.message.clone(),
        (Some(soak), None) => {
            format!("{} of {}", span(soak.credited_seconds), span(soak.required_seconds))
        }
        (None, None) if ring.info.is_empty() && ring.phase == RingPhase::Passed => {
            let soaked = ring.soak.map(|soak| span(soak.credited_seconds));
            soaked.map(|soaked| format!("soaked {soaked}")).unwrap_or_default()
        }
        (None, None) => ring.info.clone(),
    };
    let more = match ring.holds.len() {
        0 | 1 => String::new(),
        n => format!(" +{}", n - 1),
    };
    let progress = soak.map_or_else(String::new, |soak| {
        let whole = WIDTH - 24.0;
        let share = (soak.credited_seconds / soak.required_seconds.max(1.0)).clamp(0.0, 1.0);
        format!(
            "<rect class=\"track\" x=\"12\" y=\"62\" width=\"{whole}\" height=\"4\" rx=\"2\"/>\
             <rect class=\"fill\" x=\"12\" y=\"62\" width=\"{:.1}\" height=\"4\" rx=\"2\"/>",
            whole * share
        )
    });
    let label = format!("{}, {places}: {} {second}{more}", ring.name, sign.word);
    format!(
        "<a href=\"{}\" aria-label=\"{}\" class=\"node {}\" transform=\"translate({x:.0} {y:.0})\">\
         <title>{}</title><rect class=\"box\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\"/>\
         <text class=\"name\" x=\"12\" y=\"21\">{}</text>\
         <text class=\"place\" x=\"{}\" y=\"21\" text-anchor=\"end\">{}</text>\
         <text class=\"phase\" x=\"12\" y=\"39\">{} {}</text>\
         <text class=\"small\" x=\"12\" y=\"55\">{}</text>{progress}</a>",
        ring_path(id, &ring.name),
        Text(label.trim()),
        sign.tone.class(),
        Text(label.trim()),
        Text(cut(ring.name.as_str(), 17)),
        WIDTH - 12.0,
        Text(cut(&places, 8)),
        sign.glyph,
        sign.word,
        Text(format!("{}{more}", cut(&second, 25 - more.len()))),
    )
}

/// As much of a text as there is room for.
fn cut(text: &str, room: usize) -> String {
    match text.chars().count() <= room {
        true => text.to_owned(),
        false => text.chars().take(room - 1).chain(['…']).collect(),
    }
}

struct Layout {
    layers: Vec<Vec<Spot>>,
    edges: Vec<(usize, usize)>,
    layer: Vec<usize>,
    place: BTreeMap<Spot, (f64, f64)>,
    height: f64,
}

impl Layout {
    fn of(rings: &[RingView]) -> Self {
        let number: BTreeMap<&RingName, usize> =
            rings.iter().enumerate().map(|(n, ring)| (&ring.name, n)).collect();
        let mut layer = vec![0; rings.len()];
        let mut edges = Vec::new();
        // They come each behind those that they are after.
        for (n, ring) in rings.iter().enumerate() {
            for before in ring.after.iter().filter_map(|name| number.get(name).copied()) {
                layer[n] = layer[n].max(layer[before] + 1);
                edges.push((before, n));
            }
        }
        let depth = layer.iter().max().map_or(0, |last| last + 1);
        let mut layers: Vec<Vec<Spot>> = vec![Vec::new(); depth];
        for (n, at) in layer.iter().enumerate() {
            layers[*at].push(Spot::Ring(n));
        }
        for (from, to) in edges.iter().copied() {
            for (at, spots) in layers.iter_mut().enumerate().take(layer[to]).skip(layer[from] + 1) {
                spots.push(Spot::Passing(from, to, at));
            }
        }
        let mut layout = Self { layers, edges, layer, place: BTreeMap::new(), height: 0.0 };
        for _ in 0..4 {
            layout.sort();
        }
        layout.settle();
        layout
    }

    /// What stands in the layer before and leads to a spot.
    fn before(&self, spot: Spot, at: usize) -> BTreeSet<Spot> {
        let step = |from: usize, to: usize| match self.layer[from] + 1 == at {
            true => Spot::Ring(from),
            false => Spot::Passing(from, to, at - 1),
        };
        match spot {
            Spot::Passing(from, to, _) => [step(from, to)].into(),
            Spot::Ring(n) => self
                .edges
                .iter()
                .filter(|(_, to)| *to == n)
                .map(|(from, to)| step(*from, *to))
                .collect(),
        }
    }

    /// Puts each spot near the mean place of those that lead to it.
    fn sort(&mut self) {
        for at in 1..self.layers.len() {
            let mean = |spot: &Spot| {
                let before = self.before(*spot, at);
                let places = self.layers[at - 1].iter().enumerate();
                let places =
                    places.filter(|(_, s)| before.contains(s)).map(|(place, _)| place as f64);
                places.sum::<f64>() / (before.len().max(1) as f64)
            };
            let mut spots: Vec<(f64, Spot)> =
                self.layers[at].iter().map(|spot| (mean(spot), *spot)).collect();
            spots.sort_by(|a, b| a.0.total_cmp(&b.0));
            self.layers[at] = spots.into_iter().map(|(_, spot)| spot).collect();
        }
    }

    /// Gives each spot its place; a layer stands in the middle.
    fn settle(&mut self) {
        let tall = |spots: &[Spot]| {
            let heights: f64 = spots.iter().map(|spot| spot.height()).sum();
            heights + ROW * (spots.len().max(1) - 1) as f64
        };
        self.height = self.layers.iter().map(|spots| tall(spots)).fold(0.0, f64::max);
        for (at, spots) in self.layers.iter().enumerate() {
            let x = MARGIN + at as f64 * (WIDTH + GAP);
            let mut y = MARGIN + (self.height - tall(spots)) / 2.0;
            for spot in spots {
                self.place.insert(*spot, (x, y));
                y += spot.height() + ROW;
            }
        }
    }

    fn at(&self, spot: Spot) -> (f64, f64) {
        self.place.get(&spot).copied().unwrap_or_default()
    }

    fn size(&self) -> (f64, f64) {
        let layers = self.layers.len() as f64;
        (2.0 * MARGIN + layers * (WIDTH + GAP) - GAP, 2.0 * MARGIN + self.height)
    }

    /// An edge's way, from the right of one ring to the left of the other.
    fn way(&self, from: usize, to: usize) -> String {
        let (x, y) = self.at(Spot::Ring(from));
        let (mut x, mut y) = (x + WIDTH, y + HEIGHT / 2.0);
        let mut way = format!("M{x:.0} {y:.0}");
        let mut bend = |to_x: f64, to_y: f64, way: &mut String| {
            let half = (to_x - x) / 2.0;
            let _ = write!(
                way,
                "C{:.0} {y:.0} {:.0} {to_y:.0} {to_x:.0} {to_y:.0}",
                x + half,
                to_x - half
            );
            (x, y) = (to_x, to_y);
        };
        for at in self.layer[from] + 1..self.layer[to] {
            let (left, top) = self.at(Spot::Passing(from, to, at));
            bend(left, top + LANE / 2.0, &mut way);
            bend(left + WIDTH, top + LANE / 2.0, &mut way);
        }
        let (left, top) = self.at(Spot::Ring(to));
        bend(left - 2.0, top + HEIGHT / 2.0, &mut way);
        way
    }
}
