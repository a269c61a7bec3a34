//! How the targets' pods do: what the cluster itself knows, without any metric source. A container crashes again
//! and again where its `state.waiting.reason` is `CrashLoopBackOff`; restarts are the sum of `restartCount` over
//! the pods that run the release's image (Kubernetes, "Pod lifecycle" and the API's `ContainerStatus`).

use super::{About, Given, Rule, Ruling, Unusable, figures::figure};
use crate::{
    decide::{
        fact::Verdict,
        part::{Ask, Part, Role, Told, Workload},
    },
    model::judge::Kubernetes,
};

impl Rule for Kubernetes {
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        let connection = about.cluster.connection.clone();
        let ask = Ask::Workload { connection, target: about.plan.target.clone() };
        vec![Part { role: Role::Kubernetes, ask }]
    }

    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        match given.part(Role::Kubernetes) {
            Some(Told::Workload(seen)) => Ok(judge(*seen, self.max_restarts)),
            Some(
                Told::Number(_)
                | Told::Range(_)
                | Told::Alerts(_)
                | Told::Ruled { .. }
                | Told::Error(_),
            )
            | None => Err(Unusable::error("the target's pods were not told")),
        }
    }
}

/// Fails where a container crashes again and again, where containers restarted more often than `limit` in all,
/// or where fewer replicas are ready than are wanted; where none is wanted nobody can tell.
pub fn judge(seen: Workload, limit: u32) -> Ruling {
    let Workload { wanted, ready, restarts, crash_loops } = seen;
    let (verdict, detail) = match crash_loops {
        0 if restarts > limit => (Verdict::Fail, format!("{restarts} restarts > {limit}")),
        0 if ready < wanted => (Verdict::Fail, format!("{ready} of {wanted} replicas are ready")),
        0 if wanted == 0 => {
            (Verdict::Insufficient, "no replica is wanted: nothing runs".to_owned())
        }
        0 => {
            let detail =
                format!("{ready} of {wanted} replicas ready, {restarts} restarts <= {limit}");
            (Verdict::Pass, detail)
        }
        1 => (Verdict::Fail, "1 container crashes again and again".to_owned()),
        many => (Verdict::Fail, format!("{many} containers crash again and again")),
    };
    let mut ruling = Ruling::new(verdict, Some(f64::from(limit)), detail);
    ruling.figures = vec![
        figure("ready", f64::from(ready)),
        figure("wanted", f64::from(wanted)),
        figure("restarts", f64::from(restarts)),
        figure("crashLoops", f64::from(crash_loops)),
    ];
    ruling
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_come_before_restarts_and_those_before_replicas() {
        use Verdict::{Fail, Insufficient, Pass};
        let cases = [
            ((2, 2, 0, 0), Pass, "2 of 2 replicas ready, 0 restarts <= 2"),
            ((2, 2, 2, 0), Pass, "2 of 2 replicas ready, 2 restarts <= 2"),
            ((2, 2, 3, 0), Fail, "3 restarts > 2"),
            ((2, 1, 0, 0), Fail, "1 of 2 replicas are ready"),
            ((2, 1, 3, 1), Fail, "1 container crashes again and again"),
            ((2, 0, 9, 2), Fail, "2 containers crash again and again"),
            ((0, 0, 0, 0), Insufficient, "no replica is wanted: nothing runs"),
            // More than are wanted, as while a rollout surges.
            ((2, 3, 0, 0), Pass, "3 of 2 replicas ready, 0 restarts <= 2"),
        ];
        for ((wanted, ready, restarts, crash_loops), verdict, detail) in cases {
            let ruling = judge(Workload { wanted, ready, restarts, crash_loops }, 2);
            assert_eq!((ruling.verdict, ruling.detail.as_str()), (verdict, detail));
            assert_eq!(ruling.figures.len(), 4);
        }
    }
}
