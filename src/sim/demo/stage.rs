//! The service, the fleet under it, and the people in front of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    DemoError, Options,
    api::Api,
    declarations,
    notes::{between, rough},
    progress::Screen,
    scratch::Scratch,
    start,
};
use crate::{
    app::{self, Running},
    clock::{Clock, SystemClock},
    config::{ChannelKind, ChannelSettings, ConnectionSettings, Settings, SourceSettings},
    decide::phase::{ReleasePhase, RingPhase},
    declare::Snapshot,
    ids::{ClusterName, Jurisdiction, Mint, ReleaseId, RingName, hex},
    model::{
        plan::Plan,
        ring::Artifact,
        time::{Mono, Span},
    },
    show::{
        auth::{ADMIN_TOKEN, NewToken, Tokens},
        exit::Exit,
        view::{ApprovalView, ReleaseView},
    },
    sim::loopback::{Defect, Fleet, Listener, Site},
};

/// What ran before, what is released, and who is said to have made it.
const BEFORE: &str = "2.13.0";
const VERSION: &str = "2.14.0";
const AUTHOR: &str = "dana";

/// Who gives approvals; where several are asked for, the next ones have a number.
const APPROVER: &str = "demo-approver";

/// The file with a token for whoever wants to approve by hand, inside the data directory.
const APPROVER_TOKEN: &str = "approver.token";

/// What the demo's messages are signed with; they go nowhere but to its own listener.
const SIGNING: &str = "whsec_dGhlIGRlbW8ncyBvd24gbGlzdGVuZXIga25vd3MgaXQ=";

/// Where the approver of that token belongs to.
const APPROVER_OF: &str = "EU";

/// Between two looks at the release, in real time.
const LOOK: Span = Span(60);

/// How long an approval is asked for before it is given, in real time: long enough to be seen.
const THOUGHT: Span = Span(1_200);

/// How long the service may take to see the whole fleet, in real time.
const READY: Span = Span::seconds(20);

/// How long the service may take to end, in real time.
const GOODBYE: Span = Span::seconds(3);

/// Everything that runs.
pub(super) struct Stage {
    scratch: Scratch,
    fleet: Fleet,
    listener: Listener,
    /// Of the service and of the fleet.
    clock: Arc<dyn Clock>,
    /// Of whoever watches.
    real: SystemClock,
    service: Running,
    api: Api,
    tokens: Tokens,
    plan: Arc<Plan>,
    release: ReleaseId,
    artifact: Artifact,
    speed: f64,
    by_hand: bool,
}

impl Stage {
    /// Starts the fleet and the service, and says what is there.
    pub(super) async fn build(
        options: &Options,
        snapshot: &Snapshot,
        plans: &[Arc<Plan>],
        plan: &Arc<Plan>,
        screen: &Screen,
    ) -> Result<Self, DemoError> {
        let real = SystemClock::new(Mono(0));
        let began = start::when(plan, real.now().wall);
        let clock: Arc<dyn Clock> =
            Arc::new(SystemClock::compressed(began, Mono(0), options.speed));
        let scratch = Scratch::new("ringward-demo").map_err(DemoError::Scratch)?;
        let (source, data) = (scratch.path().join("source"), scratch.path().join("data"));

        let sites = Site::of_plans(plans.iter().map(AsRef::as_ref), |plan| image(plan, BEFORE));
        let fleet = Fleet::start(&sites, clock.clone(), options.seed, scratch.path()).await?;
        let artifact = image(plan, VERSION);
        for cluster in
            options.fail.iter().filter_map(|name| plan.ring(name)).flat_map(|r| &r.clusters)
        {
            let defect = Defect { failures: 0.06, slowness: 1.4, orders: 0.9 };
            fleet.defect(&cluster.name, &artifact, defect)?;
        }
        declarations::write(snapshot, &source, fleet.metrics()).map_err(DemoError::Scratch)?;

        let connection = |site: &Site| {
            let kubeconfig = Some(fleet.kubeconfig().to_owned());
            (
                site.connection.clone(),
                ConnectionSettings { kubeconfig, ..ConnectionSettings::default() },
            )
        };
        let listener = Listener::start(&scratch.path().join("messages.jsonl")).await;
        let listener = listener.map_err(DemoError::Scratch)?;
        let secret = scratch.path().join("webhook.secret");
        fs::write(&secret, SIGNING).map_err(DemoError::Scratch)?;
        let channel = |name: String| {
            let channel = ChannelSettings {
                kind: ChannelKind::Webhook,
                url: Some(listener.url(&name)),
                url_file: None,
                secret_file: Some(secret.clone()),
                bearer_token_file: None,
                routing_key_file: None,
                ca_file: None,
            };
            (name, channel)
        };
        let settings = Settings {
            listen: options.listen,
            channels: declarations::channels(snapshot).into_iter().map(channel).collect(),
            data: data.clone(),
            source: SourceSettings { path: Some(source.clone()), ..SourceSettings::default() },
            connections: sites.iter().map(connection).collect(),
            ..Settings::default()
        };
        let told = clock.clone();
        let service = app::start(settings, move |_| told).await?;
        let admin = fs::read_to_string(data.join(ADMIN_TOKEN)).map_err(DemoError::Admin)?;
        let api = Api::new(format!("http://{}", service.address), admin.trim().into())?;
        let stage = Self {
            tokens: Tokens::open(&data)?,
            release: ReleaseId::new(plan.name.clone(), VERSION),
            plan: plan.clone(),
            speed: options.speed,
            by_hand: options.by_hand,
            scratch,
            fleet,
            listener,
            clock,
            real,
            service,
            api,
            artifact,
        };
        stage.leave_an_approver()?;
        stage.intro(options, screen);
        Ok(stage)
    }

    fn intro(&self, options: &Options, screen: &Screen) {
        let clusters: Vec<_> = self.fleet.clusters().map(ClusterName::as_str).collect();
        let whose = match &options.source {
            None => "the built-in".into(),
            Some(folder) => format!("a copy of {}'s", folder.display()),
        };
        let hour = Span(((Span::minutes(60).0 as f64) / self.speed) as u64);
        let lines = [
            "the whole product, over a fleet that is not there".into(),
            format!("  fleet     {}", clusters.join(", ")),
            "            each a Kubernetes API and a Prometheus on 127.0.0.1".into(),
            format!("  source    {}", self.scratch.path().join("source").display()),
            format!(
                "            {whose} rings/ and policies/, with the URLs of metric sources led there"
            ),
            format!(
                "  time      {} times as fast, from {}: an hour takes {}",
                self.speed,
                self.clock.now().wall.strftime("%a %Y-%m-%d %H:%MZ"),
                if hour.0 < 1_000 { hour.to_string() } else { rough(hour) },
            ),
            match self.by_hand {
                true => "  approvals are yours to give, with the approver's token".to_owned(),
                false => {
                    format!(
                        "  approvals are given by {APPROVER}, a moment after they are asked for"
                    )
                }
            },
            format!("  server    http://{}", self.service.address),
            format!("  sign in   with {}", self.service.data.join(ADMIN_TOKEN).display()),
            format!("            or {}", self.service.data.join(APPROVER_TOKEN).display()),
        ];
        lines.iter().for_each(|line| screen.say(line));
        if let Some(ring) = &options.fail {
            screen.say(&format!("  defect    {} fails 6% of its requests in {ring}", self.release));
        }
        screen.say("");
    }

    /// Creates the release and watches it until nothing more happens to it by itself.
    pub(super) async fn play(&self, screen: &mut Screen) -> Result<Exit, DemoError> {
        self.wait_for_the_fleet().await?;
        self.api.create(&self.release, &self.artifact, AUTHOR).await?;
        let (simulated, real) = (self.clock.now(), self.real.now());
        let mut seen: Option<ReleaseView> = None;
        let mut asked: BTreeMap<RingName, Mono> = BTreeMap::new();
        let settled = loop {
            let view = self.api.release(&self.release).await?;
            let at = self.clock.now().mono.since(simulated.mono);
            for note in between(seen.as_ref(), &view) {
                screen.note(at, &note);
            }
            screen.show(&view, at);
            if view.settled {
                break view;
            }
            if !self.by_hand && view.rings.iter().any(|ring| ring.phase == RingPhase::Held) {
                self.approve(&mut asked, screen).await?;
            }
            seen = Some(view);
            self.real.sleep(LOOK).await;
        };
        let took =
            (self.clock.now().mono.since(simulated.mono), self.real.now().mono.since(real.mono));
        screen.release();
        self.summary(&settled, took, screen);
        Ok(match settled.phase {
            ReleasePhase::Succeeded => Exit::Done,
            ReleasePhase::Failed | ReleasePhase::RolledBack | ReleasePhase::Aborted => Exit::Failed,
            ReleasePhase::Pending
            | ReleasePhase::InProgress
            | ReleasePhase::Paused
            | ReleasePhase::Superseded => Exit::Held,
        })
    }

    /// Waits until the service has seen every target, and knows what to go back to there.
    pub(super) async fn wait_for_the_fleet(&self) -> Result<(), DemoError> {
        let began = self.real.now().mono;
        loop {
            let known = self.api.clusters().await?;
            let known: BTreeSet<ClusterName> = known
                .into_iter()
                .filter(|row| {
                    let own = row.targets.iter().find(|target| target.plan == self.plan.name);
                    own.is_some_and(|target| target.known_good.is_some())
                })
                .map(|row| row.name)
                .collect();
            let missing: Vec<_> = self
                .plan
                .clusters()
                .map(|cluster| &cluster.name)
                .filter(|name| !known.contains(*name))
                .map(ClusterName::as_str)
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            if self.real.now().mono.since(began) > READY {
                return Err(DemoError::NotReady(READY, missing.join(", ")));
            }
            self.real.sleep(LOOK).await;
        }
    }

    /// Gives the approvals that rings have been held for long enough to be seen.
    async fn approve(
        &self,
        asked: &mut BTreeMap<RingName, Mono>,
        screen: &Screen,
    ) -> Result<(), DemoError> {
        let now = self.real.now().mono;
        for needed in self.api.approvals(&self.plan.name).await? {
            let short = (needed.counting.len() as u32) < needed.count;
            if needed.release != self.release || needed.phase != RingPhase::Held || !short {
                continue;
            }
            let since = *asked.entry(needed.ring.clone()).or_insert(now);
            if now.since(since) < THOUGHT {
                continue;
            }
            asked.remove(&needed.ring);
            let (name, token) = self.approver(&needed)?;
            self.api.approve(&self.release, &needed.ring, &token).await?;
            let place = needed.jurisdiction.as_ref().map(Jurisdiction::as_str);
            let of = place.map(|place| format!(" of {place}")).unwrap_or_default();
            screen.say(&format!("          {name}{of} approves {}", needed.ring));
        }
        Ok(())
    }

    /// Makes a token for whoever wants to approve by hand, readable by its owner only.
    fn leave_an_approver(&self) -> Result<(), DemoError> {
        let new = NewToken {
            name: "approver".into(),
            roles: vec!["approver".into()],
            jurisdiction: Some(APPROVER_OF.into()),
            ..NewToken::default()
        };
        let (_, text) = self.tokens.create(new, &mut Mint::system(), self.clock.now().wall)?;
        let file = self.service.data.join(APPROVER_TOKEN);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(file)
            .map_err(DemoError::Scratch)?;
        writeln!(file, "{text}").map_err(DemoError::Scratch)
    }

    /// Somebody who has not approved yet, as the ring's rule wants them.
    fn approver(&self, needed: &ApprovalView) -> Result<(String, String), DemoError> {
        let name = match needed.counting.len() {
            0 => APPROVER.to_owned(),
            given => format!("{APPROVER}-{}", given + 1),
        };
        let mut roles = vec!["approver".to_owned()];
        roles.extend(needed.roles.first().filter(|role| *role != "approver").cloned());
        let new = NewToken {
            name: name.clone(),
            roles,
            jurisdiction: needed.jurisdiction.clone(),
            ..NewToken::default()
        };
        let (_, text) = self.tokens.create(new, &mut Mint::system(), self.clock.now().wall)?;
        Ok((name, text))
    }

    fn summary(&self, view: &ReleaseView, took: (Span, Span), screen: &Screen) {
        let seconds = Span::seconds(took.1.0 / 1_000);
        screen.say("");
        match view.phase {
            ReleasePhase::Succeeded => screen.say(&format!(
                "{} is everywhere: {} rings, {} clusters.",
                view.release,
                view.rings.len(),
                self.plan.clusters().count()
            )),
            ReleasePhase::Pending
            | ReleasePhase::InProgress
            | ReleasePhase::Paused
            | ReleasePhase::Failed
            | ReleasePhase::RolledBack
            | ReleasePhase::Aborted
            | ReleasePhase::Superseded => {
                screen.say(&format!("{} ended as {}.", view.release, view.phase));
                for ring in view.rings.iter().filter(|ring| ring.phase == RingPhase::RolledBack) {
                    for cluster in &ring.clusters {
                        let target = &self.plan.target;
                        let serving = self.fleet.serving(&cluster.name, target).unwrap_or_default();
                        let images: Vec<_> =
                            serving.iter().map(|(image, _)| short(image)).collect();
                        let images = images.join(" and ");
                        screen.say(&format!("  {} runs {images} again", cluster.name));
                    }
                }
            }
        }
        screen.say(&format!("  {} of simulated time in {seconds}", rough(took.0)));
    }

    /// What to look at next, while the service stays.
    pub(super) fn outro(&self, options: &Options, screen: &Screen) {
        let server = format!("http://{}", self.service.address);
        let token = self.service.data.join(ADMIN_TOKEN);
        let shared = format!("--server {server} --token {}", token.display());
        let (release, target) = (&self.release, &self.plan.target);
        let context = self.plan.clusters().next().map_or("", |c| c.connection.as_str());
        if !options.release {
            let (plan, image) = (&release.plan, &self.artifact.0);
            let option = if target.kind.is_flag() { "--serve" } else { "--image" };
            let create =
                format!("ringward release create {plan} {VERSION} {option} {image} {shared}");
            screen.say(&format!("  to begin  {create}"));
        }
        for line in [
            String::new(),
            format!("  look      {server}/"),
            format!("  the tree  ringward status {release} {shared}"),
            format!("  why       ringward explain {release} {shared}"),
            format!("  on record ringward audit show {shared}"),
            format!("  messages  tail -f {}", self.listener.file().display()),
            format!(
                "  a cluster kubectl --kubeconfig {} --context {context} -n {} get deployments,pods",
                self.fleet.kubeconfig().display(),
                target.namespace
            ),
            String::new(),
            format!("Ctrl-C ends it, and removes {}.", self.scratch.path().display()),
        ] {
            screen.say(&line);
        }
    }

    /// Ends all of it, in good order unless that takes too long: somebody may hold a connection open.
    pub(super) async fn strike(self) {
        tokio::select! {
            () = self.service.stop() => {}
            () = self.real.sleep(GOODBYE) => {}
        }
    }
}

/// A version's image; what it holds is its name's hash, so that it is the same in every run. Of a feature flag,
/// what it serves.
fn image(plan: &Plan, version: &str) -> Artifact {
    if plan.target.kind.is_flag() {
        return Artifact(if version == BEFORE { "off" } else { "on" }.into());
    }
    let plan = &plan.name;
    let digest = hex(&Sha256::digest(format!("{plan} {version}").as_bytes()));
    Artifact(format!("registry.example/shop/{plan}@sha256:{digest}"))
}

/// An image with a digest that a person can compare.
fn short(Artifact(image): &Artifact) -> String {
    const SHOWN: usize = "@sha256:".len() + 6;
    let at = image.find('@').unwrap_or(image.len());
    image.get(..at + SHOWN).map_or_else(|| image.clone(), |start| format!("{start}…"))
}
