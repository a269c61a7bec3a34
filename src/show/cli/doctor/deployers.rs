//! The deployers beside connections: whether the settings know those that plans name, and let the plans use them.

use super::{Health, Report};
use crate::{config::Settings, declare::Compiled};

pub(super) fn look(settings: &Settings, compiled: &Compiled, report: &mut Report) {
    for plan in compiled.plans.values().flatten() {
        let Some(name) = plan.target.kind.deployer() else { continue };
        for cluster in plan.clusters() {
            let which = format!("{} of {}", plan.name, cluster.name);
            let at = format!("connections.{}.deployers.{name}", cluster.connection);
            let connection = settings.connections.get(&cluster.connection);
            match connection.and_then(|connection| connection.deployers.get(name)) {
                None => report.add(
                    Health::Fail,
                    "deployer",
                    &which,
                    format!("the settings know no deployer `{name}` there"),
                    format!("name its URL and its plans under {at}"),
                ),
                Some(known) if !known.plans.contains(&plan.name) => report.add(
                    Health::Fail,
                    "deployer",
                    &which,
                    format!("the plan may not use deployer `{name}`"),
                    format!("name it under {at}.plans, if it shall"),
                ),
                Some(known) => report.ok("deployer", &which, format!("`{name}` at {}", known.url)),
            }
        }
    }
}
