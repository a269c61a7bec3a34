//! How the targets' pods do: what the cluster itself knows, without any metric source.

use super::{About, Given, Rule, Ruling, Unusable, figures::figure};
use crate::{
    decide::{
        fact::Verdict,
        part::{Ask, Part, Role, Told},
    },
    model::judge::Kubernetes,
};

impl Rule for Kubernetes {
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        let connection = about.cluster.connection.clone();
        let ask = Ask::Workload { connection, target: about.plan.target.clone() };
        vec![Part { role: Role::Kubernetes, ask }]
    }

    /// Fails where a container crashes again and again, where containers restarted more often than
    /// `maxRestarts` in all, or where fewer replicas are ready than are wanted.
    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        let Some(Told::Workload(seen)) = given.part(Role::Kubernetes) else {
            return Err(Unusable::error("the target's pods were not told"));
        };
        let (ready, wanted, limit) = (seen.ready, seen.wanted, self.max_restarts);
        let (verdict, detail) = if seen.crash_loops > 0 {
            (Verdict::Fail, format!("{} containers crash again and again", seen.crash_loops))
        } else if seen.restarts > limit {
            (Verdict::Fail, format!("{} restarts > {limit}", seen.restarts))
        } else if ready < wanted {
            (Verdict::Fail, format!("{ready} of {wanted} replicas are ready"))
        } else if wanted == 0 {
            (Verdict::Insufficient, "no replica is wanted: nothing runs".to_owned())
        } else {
            let restarts = seen.restarts;
            let detail =
                format!("{ready} of {wanted} replicas ready, {restarts} restarts <= {limit}");
            (Verdict::Pass, detail)
        };
        let mut ruling = Ruling::new(verdict, Some(f64::from(limit)), detail);
        ruling.figures = vec![
            figure("ready", f64::from(ready)),
            figure("wanted", f64::from(wanted)),
            figure("restarts", f64::from(seen.restarts)),
            figure("crashLoops", f64::from(seen.crash_loops)),
        ];
        Ok(ruling)
    }
}
