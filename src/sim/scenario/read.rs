//! From a file to scenarios; every mistake with its place and what to do.

use std::path::Path;

use jiff::Timestamp;

use super::{
    model::{Asking, Expect, Scenario, Site, Step, What},
    run::somebody,
    wire,
};
use crate::{
    decide::event::{Action, Answer, End, Event, Outcome, Reading, Scope, Status, TargetState},
    declare::{
        self, Diagnostic,
        diagnostic::Rule,
        text::{Content, Document, File, Node},
    },
    ids::{ClusterName, IdempotencyKey, Jurisdiction, PlanName, Principal, ReleaseId, RingName},
    model::{residency::Witness, time::Span},
    sim::{
        fleet::{Series, Stretch},
        scenario::source::artifact,
    },
};

/// No scenario lasts longer: a slip of the pen is told as such, and not waited for.
const LONGEST: Span = Span(400 * 24 * 3_600_000);

/// Reads the scenarios of a file. Documents of other kinds are left alone.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Scenario>, Vec<Diagnostic>> {
    let mut indexed = declare::text::index(&path.display().to_string(), bytes);
    let mut problems = Vec::new();
    let mut scenarios = Vec::new();
    for document in &mut indexed.documents {
        if kind(&indexed.file, document).is_some_and(|kind| kind != "Scenario") {
            continue;
        }
        let Some(written) = declare::document(&indexed.file, document, &mut problems) else {
            continue;
        };
        if let Some(root) = &document.root {
            let mut reader = Reader { file: &indexed.file, root, problems: &mut problems };
            scenarios.push(reader.scenario(path, written));
        }
    }
    if problems.is_empty() { Ok(scenarios) } else { Err(problems) }
}

fn kind(file: &File, document: &Document) -> Option<String> {
    let root = document.root.as_ref();
    let told = root.and_then(|root| root.get("kind")).and_then(Node::scalar).map(str::to_owned);
    told.or_else(|| declare::text::guess(&file.text[document.range.clone()]).0)
}

struct Reader<'a> {
    file: &'a File,
    root: &'a Node,
    problems: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn scenario(&mut self, path: &Path, written: wire::Document) -> Scenario {
        let spec = written.spec;
        let version = self.root.get("apiVersion").and_then(Node::scalar);
        let known = declare::schema::API_VERSION;
        if version != Some(known) {
            let node = self.root.get("apiVersion").unwrap_or(self.root);
            self.problem(node, Rule::Sch009, "unknown apiVersion", &format!("use {known}"));
        }
        let metrics = spec.metrics.into_iter().enumerate();
        let series = metrics.map(|(i, metric)| (series(metric), self.line("metrics", i))).collect();
        let clusters = spec.clusters.into_iter().enumerate();
        let sites = clusters.map(|(i, cluster)| site(cluster, self.line("clusters", i))).collect();
        let mut steps = Vec::new();
        for (i, step) in spec.steps.into_iter().enumerate() {
            let (at, line) = (step.at, self.line("steps", i));
            if at > LONGEST {
                self.step_problem(i, "at", Rule::Sch004, "later than 400 days", "");
            }
            if let Some(what) = self.what(i, step, spec.start) {
                steps.push(Step { at, line, what });
            }
        }
        steps.sort_by_key(|step| step.at);
        Scenario {
            name: written.metadata.name,
            file: path.display().to_string(),
            source: path.parent().unwrap_or(Path::new("")).join(&spec.source),
            start: spec.start,
            known: spec.known,
            scripted: spec.fleet == wire::Fleet::Scripted,
            limits: spec.limits,
            home: spec.place,
            series,
            sites,
            steps,
        }
    }

    fn what(&mut self, i: usize, step: wire::Step, start: Timestamp) -> Option<What> {
        let wire::Step {
            at,
            key,
            seen,
            release,
            pause,
            resume,
            approve,
            reject,
            abort,
            retry,
            rollback,
            advance,
            freeze,
            lift,
            write_off,
            waive,
            revoke,
            edit,
            restart,
            clock,
            drift,
            hear,
            expect,
        } = step;
        let then = start.saturating_add(at.to_signed()).unwrap_or(start);
        let mut found: Vec<Option<What>> = Vec::new();
        found.extend(release.map(|release| Some(submit(release))));
        found.extend(pause.map(|pause| self.pause(i, "pause", pause)));
        found.extend(resume.map(|resume| self.pause(i, "resume", resume)));
        found.extend(approve.map(|approve| self.judge(i, "approve", approve)));
        found.extend(reject.map(|reject| self.judge(i, "reject", reject)));
        found.extend(abort.map(|abort| Some(self::abort(abort))));
        found.extend(retry.map(|it| {
            Some(ask(
                it.by,
                it.roles,
                Action::Retry { release: it.release, ring: it.ring, reason: it.reason },
            ))
        }));
        found.extend(rollback.map(|it| {
            Some(ask(
                it.by,
                it.roles,
                Action::Rollback {
                    release: it.release,
                    ring: it.ring,
                    scope: it.scope,
                    reason: it.reason,
                },
            ))
        }));
        found.extend(advance.map(|advance| self.advance(i, advance)));
        found.extend(freeze.map(|freeze| self.freeze(i, freeze, start)));
        found.extend(lift.map(|lift| Some(ask(lift.by, lift.roles, Action::Lift { id: lift.id }))));
        found.extend(write_off.map(|it| {
            let reason = it.reason.unwrap_or_default();
            let action = Action::WriteOff { release: it.release, ring: it.ring, reason };
            Some(ask(it.by, it.roles, action))
        }));
        found.extend(waive.map(|waive| self.waive(i, waive, (start, then))));
        found.extend(revoke.map(|it| {
            let wire::Revoke { plan, waiver, by, roles, reason } = it;
            Some(ask(by, roles, Action::RevokeWaiver { plan, id: waiver, reason }))
        }));
        found.extend(edit.map(|edit| self.edit(i, edit)));
        found.extend(restart.map(|restart| Some(What::Restart { down: restart.down })));
        found.extend(clock.map(|clock| Some(What::Jump(clock.jump.0.0))));
        found.extend(drift.map(|drift| self.drift(i, drift)));
        found.extend(hear.map(|hear| self.hear(i, hear, then)));
        found.extend(expect.map(|expect| self.expect(i, expect)));
        if found.len() == 1 {
            let mut what = found.pop().flatten()?;
            if let What::Ask(asking) = &mut what {
                (asking.key, asking.seen) = (key, seen);
            } else if key.is_some() || seen.is_some() {
                let message = "`key` and `seen` belong to what somebody asks for";
                self.step_problem(i, "", Rule::Sch007, message, "");
                return None;
            }
            return Some(what);
        }
        let message = format!("a step does one thing, and this does {}", found.len());
        let help = "give each its own `at`: release, pause, resume, approve, reject, abort, retry, \
                    rollback, advance, freeze, lift, writeOff, waive, revoke, edit, restart, clock, \
                    drift, hear or expect";
        self.step_problem(i, "", Rule::Sch007, &message, help);
        None
    }

    fn pause(&mut self, i: usize, field: &str, pause: wire::Pause) -> Option<What> {
        let wire::Pause { plan, ring, release, jurisdiction, everything, by, roles, reason } =
            pause;
        let scope = self.scope(i, field, (plan, ring, release, jurisdiction, everything))?;
        let action = match field {
            "pause" => Action::Pause { scope, reason },
            _ => Action::Resume { scope, reason },
        };
        Some(ask(by, roles, action))
    }

    fn freeze(&mut self, i: usize, freeze: wire::Freeze, start: Timestamp) -> Option<What> {
        let wire::Freeze { id, plan, jurisdiction, everything, until, by, roles, reason } = freeze;
        let scope = self.scope(i, "freeze", (plan, None, None, jurisdiction, everything))?;
        let until = match until {
            None => None,
            Some(text) => Some(End::At(self.instant(i, "freeze", &text, start)?)),
        };
        let id = id.unwrap_or_else(|| format!("freeze-{}", i + 1).into());
        let reason = reason.unwrap_or_default();
        Some(ask(by, roles, Action::Freeze { id, scope, until, reason }))
    }

    /// An instant as it is written, or by the scenario's own time.
    fn instant(
        &mut self,
        i: usize,
        field: &str,
        text: &str,
        start: Timestamp,
    ) -> Option<Timestamp> {
        let relative = text.parse::<Span>().ok();
        let relative = relative.and_then(|s| start.saturating_add(s.to_signed()).ok());
        let instant = relative.or_else(|| text.parse().ok());
        if instant.is_none() {
            let message = format!("`{text}` is neither an instant nor a time such as 3h");
            self.step_problem(i, field, Rule::Sch004, &message, "");
        }
        instant
    }

    /// What the wall clock says at the start, and at the step unless it was set in between.
    fn waive(
        &mut self,
        i: usize,
        waive: wire::Waive,
        (start, then): (Timestamp, Timestamp),
    ) -> Option<What> {
        let wire::Waive { id, plan, release, ring, rule, policy, length, until, by, roles, reason } =
            waive;
        let (plan, release) = match (plan, release) {
            (Some(plan), None) => (plan, None),
            (None, Some(release)) => (release.plan, Some(release.version)),
            (Some(_), Some(_)) | (None, None) => {
                let help = "either {plan: checkout} or {release: checkout@2.14.0}";
                let message = "it is not clear for what the rule is waived";
                self.step_problem(i, "waive", Rule::Sch007, message, help);
                return None;
            }
        };
        let until = match (length, until) {
            (Some(length), None) => then.saturating_add(length.to_signed()).unwrap_or(then),
            (None, Some(text)) => self.instant(i, "waive", &text, start)?,
            (Some(_), Some(_)) | (None, None) => {
                let help = "either {for: 24h} or {until: INSTANT}";
                let message = "it is not clear when the waiver ends";
                self.step_problem(i, "waive", Rule::Sch007, message, help);
                return None;
            }
        };
        let id = id.unwrap_or_else(|| format!("waiver-{}", i + 1).into());
        let reason = reason.unwrap_or_default();
        let until = End::At(until);
        let action = Action::Waive { id, plan, rule, policy, release, ring, until, reason };
        Some(ask(by, roles, action))
    }

    fn judge(&mut self, i: usize, field: &str, approve: wire::Approve) -> Option<What> {
        let wire::Approve { release, ring, plan, waiver, by, jurisdiction, roles, reason } =
            approve;
        let action = match (release, ring, plan, waiver) {
            (Some(release), Some(ring), None, None) => match field {
                "approve" => Action::Approve { release, ring, reason },
                _ => Action::Reject { release, ring, reason },
            },
            (None, None, Some(plan), Some(id)) if field == "approve" => {
                Action::ApproveWaiver { plan, id }
            }
            _ => {
                let help = "{release, ring}, or {plan, waiver} for a waiver that is approved";
                let message = "it is not clear what is agreed to";
                self.step_problem(i, field, Rule::Sch007, message, help);
                return None;
            }
        };
        Some(What::Ask(Asking { jurisdiction, ..asking(Some(by), roles, action) }))
    }

    fn scope(
        &mut self,
        i: usize,
        field: &str,
        given: (Option<PlanName>, Option<RingName>, Option<ReleaseId>, Option<Jurisdiction>, bool),
    ) -> Option<Scope> {
        match given {
            (Some(plan), None, None, None, false) => Some(Scope::Plan(plan)),
            (Some(plan), Some(ring), None, None, false) => Some(Scope::Ring(plan, ring)),
            (None, None, Some(release), None, false) => Some(Scope::Release(release)),
            (None, Some(ring), Some(release), None, false) => {
                Some(Scope::ReleaseRing(release, ring))
            }
            (None, None, None, Some(place), false) => Some(Scope::Jurisdiction(place)),
            (None, None, None, None, true) => Some(Scope::Everything),
            _ => {
                let help = "one of {everything: true}, {jurisdiction}, {plan}, {plan, ring}, \
                            {release}, {release, ring}; a freeze knows the first three";
                self.step_problem(
                    i,
                    field,
                    Rule::Sch007,
                    "the scope is not one of those known",
                    help,
                );
                None
            }
        }
    }

    fn advance(&mut self, i: usize, advance: wire::Override) -> Option<What> {
        let wire::Override { release, ring, by, roles, reason } = advance;
        let Some(ring) = ring else {
            self.step_problem(i, "advance", Rule::Sch003, "`ring` is missing", "name the ring");
            return None;
        };
        Some(ask(by, roles, Action::Advance { release, ring, reason }))
    }

    fn edit(&mut self, i: usize, edit: wire::Edit) -> Option<What> {
        match (edit.file, edit.content, edit.document) {
            (Some(file), Some(content), None) => Some(What::EditFile { file, content }),
            (None, None, Some(document)) => Some(What::EditDocument(document)),
            _ => {
                let help = "either {file: policies/x.yaml, content: |...} or {document: {...}}";
                self.step_problem(i, "edit", Rule::Sch007, "it is not clear what is edited", help);
                None
            }
        }
    }

    fn drift(&mut self, i: usize, drift: wire::Drift) -> Option<What> {
        let wire::Drift { cluster, plan, running, region, jurisdiction } = drift;
        let says = region.is_some() || jurisdiction.is_some();
        match (running, says) {
            (Some(running), false) => Some(What::Drift { cluster, plan, running }),
            (None, true) if plan.is_none() => {
                let regions = region.into_iter().collect();
                let jurisdictions = jurisdiction.into_iter().collect();
                Some(What::Witness(cluster, Witness { regions, jurisdictions }))
            }
            _ => {
                let help = "either the version that somebody put there, {cluster, running}, or what \
                            its nodes say now, {cluster, region} or {cluster, jurisdiction}";
                let message = "it is not clear what drifts";
                self.step_problem(i, "drift", Rule::Sch007, message, help);
                None
            }
        }
    }

    /// `instant` is what the wall clock says then, unless it was set in between.
    fn hear(&mut self, i: usize, hear: wire::Hear, instant: Timestamp) -> Option<What> {
        let event = match (hear.target, hear.found, hear.write, hear.measure) {
            (Some(target), None, None, None) => {
                let (plan, cluster, state) = heard_target(target);
                Event::Observed { plan, cluster, state }
            }
            (None, Some(found), None, None) => {
                let (plan, cluster, state) = heard_target(found);
                Event::Found { plan, cluster, state }
            }
            (None, None, Some(write), None) => {
                let outcome = match write.outcome {
                    wire::OutcomeWord::Done => Outcome::Done,
                    wire::OutcomeWord::Refused => Outcome::Refused(write.why),
                };
                Event::Outcome { plan: plan_of(&write.key), key: write.key, outcome }
            }
            (None, None, None, Some(measure)) => {
                let wire::HearMeasure { key, value, samples, baseline, parts } = measure;
                let reading = |told: wire::Told| match told {
                    wire::Told::Value { value, at } => {
                        Reading::Value { value, at: at.unwrap_or(instant) }
                    }
                    wire::Told::Absent => Reading::Absent,
                    wire::Told::Error(why) => Reading::Error(why),
                };
                let answer = Answer {
                    value: reading(value),
                    samples: samples.map(reading),
                    baseline: baseline.map(reading),
                    parts: parts.into_iter().map(|told| told.0).collect(),
                    infos: Vec::new(),
                };
                Event::Measured { plan: plan_of(&key), key, answer }
            }
            _ => {
                let help = "one of {target: {..}}, {found: {..}}, {write: {..}}, {measure: {..}}";
                self.step_problem(
                    i,
                    "hear",
                    Rule::Sch007,
                    "it is not clear what is heard of",
                    help,
                );
                return None;
            }
        };
        Some(What::Hear(event))
    }

    fn expect(&mut self, i: usize, expect: wire::Expect) -> Option<What> {
        let mut lowered = Expect {
            release: expect.release,
            ring: expect.ring,
            phase: expect.phase.map(|phase| phase.0),
            soak: expect.soak.map(|soak| soak.0),
            held_by: expect.held_by,
            verdict: expect.verdict.map(|verdict| (verdict.gate, verdict.cluster, verdict.is)),
            image: expect.image,
            refused: expect.refused.map(|refused| refused.0),
            release_phase: expect.release_phase.map(|phase| phase.0),
            before: expect.before.map(|before| before.ring),
            invariants: expect.invariants.is_some(),
            audit: expect.audit.map(|audit| audit.contains),
            owes: expect.owes,
            ..Expect::default()
        };
        let on_ring = lowered.ring.is_some();
        for phase in expect.never.iter().flatten() {
            let known = match on_ring {
                true => phase.parse().map(|phase| lowered.never.push(phase)),
                false => phase.parse().map(|phase| lowered.release_never.push(phase)),
            };
            if let Err(error) = known {
                let help = if on_ring { "" } else { "name a `ring` for the phases of a ring" };
                self.step_problem(i, "expect", Rule::Sch005, &error.to_string(), help);
                return None;
            }
        }
        let asks_cluster = expect.running.is_some();
        match (expect.cluster, expect.running) {
            (Some(cluster), Some(running)) => {
                lowered.running = Some((cluster, expect.plan, running));
            }
            (None, None) if expect.plan.is_none() && lowered.image.is_none() => {}
            _ => {
                let help = "as in {cluster: us-east-1, running: 2.14.0}";
                let message = "`cluster` and `running` belong together";
                self.step_problem(i, "expect", Rule::Sch007, message, help);
                return None;
            }
        }
        let asks_ring = lowered.phase.is_some()
            || lowered.soak.is_some()
            || lowered.held_by.is_some()
            || lowered.verdict.is_some()
            || lowered.owes.is_some()
            || lowered.before.is_some();
        let asks_release = lowered.release_phase.is_some() || expect.never.is_some();
        let missing = match (&lowered.release, &lowered.ring) {
            (Some(_), None) | (None, None) if asks_ring => Some("`release` and `ring`"),
            (None, _) if asks_ring || asks_release => Some("`release`"),
            _ => None,
        };
        if let Some(missing) = missing {
            let message = format!("what is expected needs {missing}");
            self.step_problem(i, "expect", Rule::Sch003, &message, "");
            return None;
        }
        let asks_more = asks_cluster || lowered.refused.is_some() || lowered.audit.is_some();
        let asks_more = asks_more || lowered.invariants;
        if !(asks_ring || asks_release || asks_more) {
            let help = "phase, soak, heldBy, verdict, running, refused, releasePhase, never, before, \
                        owes, audit or invariants";
            self.step_problem(i, "expect", Rule::Sch003, "nothing is expected", help);
            return None;
        }
        Some(What::Expect(Box::new(lowered)))
    }

    fn node(&self, list: &str, i: usize) -> &Node {
        let list = self.root.get("spec").and_then(|spec| spec.get(list));
        match list.map(|list| &list.content) {
            Some(Content::Seq(items)) => items.get(i).unwrap_or(self.root),
            Some(Content::Scalar(_) | Content::Map(_)) | None => self.root,
        }
    }

    fn line(&self, list: &str, i: usize) -> usize {
        self.file.line(self.node(list, i).range.start).0
    }

    fn problem(&mut self, node: &Node, rule: Rule, message: &str, help: &str) {
        let problem = Diagnostic::new(rule, message).at(self.file, node.range.clone());
        self.problems.push(problem.help(help));
    }

    fn step_problem(&mut self, i: usize, field: &str, rule: Rule, message: &str, help: &str) {
        let step = self.node("steps", i);
        let range = step.get(field).unwrap_or(step).range.clone();
        let problem = Diagnostic::new(rule, message).at(self.file, range);
        self.problems.push(problem.help(help));
    }
}

fn series(metric: wire::Metric) -> Series {
    let wire::Metric { gate, cluster, plan, series: role, values, samples, from, every } = metric;
    Series { gate, cluster, plan, role, values, samples, from, every }
}

fn site(cluster: wire::Cluster, line: usize) -> Site {
    let stretch = |s: wire::Stretch| Stretch { from: s.from, length: s.length };
    Site {
        name: cluster.name,
        line,
        deploy_time: cluster.deploy_time,
        unreachable: cluster.unreachable.into_iter().map(stretch).collect(),
        unready: cluster.unready.into_iter().map(stretch).collect(),
        never_ready: cluster.never_ready,
        forgetful: cluster.forgetful,
    }
}

fn ask(by: Option<Principal>, roles: Vec<String>, action: Action) -> What {
    What::Ask(asking(by, roles, action))
}

/// Every actor is an operator, and what else they are said to be.
fn asking(by: Option<Principal>, roles: Vec<String>, action: Action) -> Asking {
    let roles = std::iter::once("operator".into()).chain(roles).collect();
    let by = by.unwrap_or_else(somebody);
    Asking { by, roles, jurisdiction: None, key: None, seen: None, action }
}

fn submit(submit: wire::Submit) -> What {
    let release = ReleaseId { plan: submit.plan, version: submit.version };
    let by = submit.by.or_else(|| submit.author.clone());
    let action = Action::Submit {
        artifact: artifact(&release.plan, submit.content.as_ref().unwrap_or(&release.version)),
        release,
        author: submit.author,
        lane: submit.lane,
        reason: submit.reason,
        irreversible: submit.irreversible,
        requires: submit.requires.map(|requires| requires.0),
    };
    ask(by, submit.roles, action)
}

fn abort(abort: wire::Abort) -> What {
    let wire::Abort { release, hold, by, roles, reason } = abort;
    ask(by, roles, Action::Abort { release, hold, reason })
}

fn heard_target(target: wire::HearTarget) -> (PlanName, ClusterName, TargetState) {
    let wire::HearTarget {
        plan,
        cluster,
        status,
        why,
        running,
        intent,
        revision,
        ready_since,
        pause,
    } = target;
    let status = match status {
        wire::StatusWord::Pending => Status::Pending,
        wire::StatusWord::Progressing => Status::Progressing(why),
        wire::StatusWord::Paused => Status::Paused,
        wire::StatusWord::Succeeded => Status::Succeeded,
        wire::StatusWord::Failed => Status::Failed(why),
        wire::StatusWord::Unknown => Status::Unknown(why),
    };
    let image = running.map(|version| artifact(&plan, &version));
    (plan, cluster, TargetState { status, image, intent, revision, ready_since, pause })
}

/// A key begins with the plan that it is of.
fn plan_of(key: &IdempotencyKey) -> PlanName {
    key.as_str().split('@').next().unwrap_or_default().into()
}
