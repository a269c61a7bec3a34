//! `get measurements`: the evidence behind a ring's gates.

use clap::Args;

use super::{
    client::{Answer, Client},
    context::Context,
    failure::Failure,
    get::{Listed, instant},
    table::{Cell, Table},
};
use crate::{
    ids::{ClusterName, GateName, PlanName, ReleaseId, RingName},
    show::{
        exit::Exit,
        view::{MeasurementView, Page},
    },
};

/// Which measurements.
#[derive(Debug, Args)]
pub struct Selection {
    /// Of measurements: the release, as PLAN@VERSION.
    #[arg(value_name = "PLAN@VERSION")]
    pub release: Option<ReleaseId>,
    /// Of measurements: the ring.
    #[arg(long, value_name = "NAME")]
    pub ring: Option<RingName>,
    /// Of measurements: of this gate only.
    #[arg(long, value_name = "NAME")]
    pub gate: Option<GateName>,
    /// Of measurements: on this cluster only.
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<ClusterName>,
    /// Of measurements: the latest so many; 0 is all of them.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub last: usize,
}

impl Selection {
    /// Whether anything of it was given, which only measurements have a use for.
    pub fn is_given(&self) -> bool {
        self.release.is_some()
            || self.ring.is_some()
            || self.gate.is_some()
            || self.cluster.is_some()
    }
}

/// Runs `get measurements`.
///
/// # Errors
/// It is not said of which ring, or they cannot be read.
pub async fn list(
    context: &Context,
    client: &Client,
    selection: &Selection,
) -> Result<Exit, Failure> {
    let (Some(release), Some(ring)) = (&selection.release, &selection.ring) else {
        return Err(Failure::usage("measurements are those of a release on a ring")
            .help("as in: ringward get measurements checkout@2.14.0 --ring beta"));
    };
    let of =
        Of { release, ring, gate: selection.gate.as_ref(), cluster: selection.cluster.as_ref() };
    let items = match selection.last {
        0 => of.read(client, "oldest", usize::MAX).await?,
        last => {
            let mut items = of.read(client, "newest", last).await?;
            items.reverse();
            items
        }
    };
    if items.is_empty() && !context.is_document() {
        context.progress("there are none");
        return Ok(Exit::Done);
    }
    let answer = Answer::of(&serde_json::json!({ "items": items }))?;
    let people = || {
        let wide = if context.is_wide() { MeasurementView::WIDE } else { &[] };
        let mut table = Table::new(&[MeasurementView::COLUMNS, wide].concat());
        for item in &items {
            let more = if context.is_wide() { item.wide() } else { Vec::new() };
            table.row(item.cells(context).into_iter().chain(more));
        }
        table.render(context.style)
    };
    context.answer(&answer, || items.iter().map(Listed::names).collect(), people)?;
    Ok(Exit::Done)
}

/// Whose measurements.
pub struct Of<'a> {
    /// The release.
    pub release: &'a ReleaseId,
    /// The ring.
    pub ring: &'a RingName,
    /// Of this gate only.
    pub gate: Option<&'a GateName>,
    /// Of this cluster only.
    pub cluster: Option<&'a ClusterName>,
}

impl Of<'_> {
    /// Reads so many of them in that order, `oldest` first or `newest` first.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn read(
        &self,
        client: &Client,
        order: &str,
        most: usize,
    ) -> Result<Vec<MeasurementView>, Failure> {
        let Of { release, ring, gate, cluster } = self;
        let (plan, version) = (release.plan.as_str(), release.version.as_str());
        let path = ["plans", plan, "releases", version, "rings", ring.as_str(), "measurements"];
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let size = (most - items.len()).min(500).to_string();
            let mut query = vec![("order", order), ("pageSize", size.as_str())];
            query.extend(gate.map(|gate| ("gate", gate.as_str())));
            query.extend(cluster.map(|cluster| ("cluster", cluster.as_str())));
            query.extend(token.as_deref().map(|token| ("pageToken", token)));
            let page: Page<MeasurementView> = client.get(&path, &query).await?.read()?;
            items.extend(page.items);
            token = page.next_page_token;
            if token.is_none() || items.len() >= most {
                return Ok(items);
            }
        }
    }
}

fn figure(value: Option<f64>) -> Cell {
    value.map_or_else(|| "-".into(), |value| value.to_string()).into()
}

impl Listed for MeasurementView {
    const COLUMNS: &'static [&'static str] = &["AT", "CLUSTER", "GATE", "VERDICT", "VALUE", "WHY"];
    const WIDE: &'static [&'static str] = &["AGAINST", "SAMPLES", "ENTRY", "ASKED"];

    fn names(&self) -> String {
        self.key.to_string()
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.key.as_str().split('@').next() == Some(plan.as_str())
    }

    fn cells(&self, _: &Context) -> Vec<Cell> {
        vec![
            instant(self.at).into(),
            self.cluster.to_string().into(),
            self.gate.to_string().into(),
            self.verdict.to_string().into(),
            figure(self.value),
            self.why().into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        let asked = self.asked.iter().map(|asked| {
            let text = asked.query.as_str().map(str::to_owned);
            let query = text.unwrap_or_else(|| asked.query.to_string());
            format!("{}: {}", asked.role, query.split_whitespace().collect::<Vec<_>>().join(" "))
        });
        vec![
            figure(self.against),
            figure(self.samples),
            self.seq.to_string().into(),
            asked.collect::<Vec<_>>().join("; ").into(),
        ]
    }
}
