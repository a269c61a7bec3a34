use super::{Invariant, Step};
use crate::{
    decide::{
        command::Command,
        fact::{Fact, Verdict},
        world::Phase,
    },
    model::{policy::OnBreach, time::Span},
};

/// A running soak is a healthy one; a breach or a write has set it to zero where it must.
#[derive(Debug, Default)]
pub(super) struct ZeroAndFreeze;

impl Invariant for ZeroAndFreeze {
    fn number(&self) -> u8 {
        2
    }

    fn says(&self) -> &'static str {
        "a redeploy or a resetting breach sets the soak to zero, and anything unknown freezes it"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for command in &step.decision.commands {
            if let Command::Deploy(write) = command.as_ref() {
                let credited = step.on(&write.release, &write.ring)?.run.soak.credited;
                if credited > Span::ZERO {
                    return Err(format!("{} is sent and {credited} stay credited", write.key));
                }
            }
        }
        for fact in &step.decision.facts {
            if let Fact::Measured { release, ring, gate, judged, .. } = fact
                && judged.verdict == Verdict::Fail
            {
                let on = step.on(release, ring)?;
                let required = on.ring.policy.gates.iter().any(|g| g.name == *gate && g.required);
                if !required || on.run.phase != Phase::Soaking {
                    continue;
                }
                let before = step.before.run(release, ring).map(|run| run.soak.credited);
                let broken = match on.ring.policy.soak.on_breach {
                    OnBreach::Reset => on.run.soak.credited > Span::ZERO,
                    OnBreach::Freeze => Some(on.run.soak.credited) > before,
                    OnBreach::Fail => true,
                };
                if broken {
                    let breach = on.ring.policy.soak.on_breach;
                    let credited = on.run.soak.credited;
                    return Err(format!("{gate} failed under {breach:?}, credited is {credited}"));
                }
            }
        }
        for (_, plan) in step.changed() {
            for release in plan.releases.values() {
                let rings = release.rings.iter().filter(|(_, run)| run.phase == Phase::Soaking);
                for (ring, run) in rings.filter(|(_, run)| run.soak.healthy_at.is_some()) {
                    let on = step.on(&release.id, ring)?;
                    let runs = |why: String| format!("{} soaks on {ring} though {why}", release.id);
                    on.healthy(step.after).map_err(runs)?;
                    if let Some((pause, _)) = step.after.shared.paused(release, on.ring).next() {
                        return Err(runs(format!("{pause:?} is paused since {:?}", run.entered)));
                    }
                }
            }
        }
        Ok(())
    }
}
