//! `import`: what teams have for other tools, as declarations.

use std::{collections::BTreeMap, fs, io::Read as _};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{
    context::{Context, Format},
    failure::Failure,
};
use crate::{
    declare::{Diagnostic, diagnostic::Severity, report, text::MAX_BYTES},
    import::{self, Imported, Mesh, Target, Upstream},
    show::exit::Exit,
};

/// Turn what other tools judge releases by into declarations
///
/// Writes GateTemplates, RingPolicies and RingPlans to standard output, and to standard error what was not carried
/// over or is judged otherwise here: where, why, and what to do. Nothing is contacted and nothing is guessed: a
/// condition that is more than a comparison with numbers is refused by its name. What is written passes `check`.
#[derive(Debug, Subcommand)]
#[command(after_help = "EXIT CODES
  0  something was carried over (there may be warnings)
  1  nothing was, a file cannot be read, or there are warnings with --strict
  2  usage

EXAMPLES
  ringward import argo-rollouts analysis.yaml rollout.yaml > policies/checkout.yaml
  kubectl get canaries,metrictemplates -A -o yaml | ringward import flagger --mesh istio -
  ringward import kubefleet strategy.yaml --target Deployment/shop/checkout/app")]
pub enum Import {
    ArgoRollouts(ArgoRollouts),
    Flagger(Flagger),
    #[command(name = "kubefleet")]
    KubeFleet(KubeFleet),
}

/// What every import takes.
#[derive(Debug, Args)]
pub struct Files {
    /// The files, with any number of documents each; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// End with 1 where anything was not carried over as it was.
    #[arg(long)]
    strict: bool,
}

/// AnalysisTemplates, ClusterAnalysisTemplates and Rollouts
///
/// A metric becomes a GateTemplate and a gate, a Rollout the policy of whoever goes through rings with it. Give
/// Rollouts and the templates that they use together: the values of arguments are theirs.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward import argo-rollouts analysis.yaml rollout.yaml
  ringward import argo-rollouts analysis.yaml --arg service-name=checkout.shop.svc.cluster.local")]
pub struct ArgoRollouts {
    #[command(flatten)]
    files: Files,
    /// The value of an argument that no Rollout gives; as often as there are some.
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = argument)]
    args: Vec<(String, String)>,
}

/// Canaries and MetricTemplates of Flagger
///
/// A Canary's analysis becomes a policy. How traffic is shifted inside of a cluster stays Flagger's, where the Canary
/// is the plan's target.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward import flagger canary.yaml metrics.yaml
  ringward import flagger --mesh linkerd canary.yaml")]
pub struct Flagger {
    #[command(flatten)]
    files: Files,
    /// The mesh that Flagger's own metrics are of, where a Canary does not name it: istio or linkerd.
    #[arg(long, value_name = "MESH", value_enum, hide_possible_values = true)]
    mesh: Option<MeshName>,
}

/// Staged update strategies of KubeFleet
///
/// A stage becomes a policy, and with a target a ring: what it waits for afterwards is the soak, and whom it asks is
/// asked before the ring after it.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward import kubefleet strategy.yaml
  ringward import kubefleet strategy.yaml --target Deployment/shop/checkout/app")]
pub struct KubeFleet {
    #[command(flatten)]
    files: Files,
    /// What a release changes in each cluster; without it there are policies and no plan.
    #[arg(long, value_name = "KIND/NAMESPACE/NAME/CONTAINER")]
    target: Option<Target>,
}

/// A mesh, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MeshName {
    Istio,
    Linkerd,
}

fn argument(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("an argument is NAME=VALUE")?;
    if name.is_empty() {
        return Err("an argument has a name, as in NAME=VALUE".into());
    }
    Ok((name.into(), value.into()))
}

/// Runs `import`.
///
/// # Errors
/// A file cannot be read.
pub fn run(context: &Context, command: &Import) -> Result<Exit, Failure> {
    let (files, upstream) = match command {
        Import::ArgoRollouts(ArgoRollouts { files, args }) => {
            let args: BTreeMap<_, _> = args.iter().cloned().collect();
            (files, Upstream::ArgoRollouts { args })
        }
        Import::Flagger(Flagger { files, mesh }) => {
            let mesh = mesh.map(|mesh| match mesh {
                MeshName::Istio => Mesh::Istio,
                MeshName::Linkerd => Mesh::Linkerd,
            });
            (files, Upstream::Flagger { mesh })
        }
        Import::KubeFleet(KubeFleet { files, target }) => {
            (files, Upstream::KubeFleet { target: target.clone() })
        }
    };
    let read: Vec<_> = files.files.iter().map(|name| read(name)).collect::<Result<_, _>>()?;
    let imported = import::import(&upstream, &read);
    let Imported { documents, remarks, .. } = &imported;
    let text = match context.shared.output {
        Format::Table | Format::Wide | Format::Yaml => imported.yaml(),
        Format::Name => {
            let lines =
                documents.iter().map(|document| format!("{}/{}\n", document.kind, document.name));
            lines.collect()
        }
        Format::Json => {
            let items: Vec<_> = documents.iter().map(import::Document::json).collect();
            format!("{:#}\n", json!({"documents": items, "remarks": remarks}))
        }
    };
    context.print(&text)?;
    let said = report::text(remarks, false);
    if context.shared.output != Format::Json && !said.is_empty() {
        context.progress(said.trim_end());
        context.progress("");
    }
    context.progress(&summary(&imported));
    let failed =
        documents.is_empty() || imported.has_errors() || files.strict && imported.has_warnings();
    Ok(if failed { Exit::Error } else { Exit::Done })
}

/// A file's name, as remarks have it, and its bytes; one more than a file may have is enough to see that it is too
/// large.
fn read(name: &str) -> Result<(String, Vec<u8>), Failure> {
    let most = MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let done = match name {
        "-" => std::io::stdin().take(most).read_to_end(&mut bytes),
        path => fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    let name = if name == "-" { "standard input" } else { name };
    match done {
        Ok(_) => Ok((name.into(), bytes)),
        Err(error) => Err(Failure::new(format!("{name} cannot be read: {error}"))),
    }
}

fn summary(imported: &Imported) -> String {
    let Imported { documents, remarks, read } = imported;
    let many = |n: usize, of: &str| format!("{n} {of}{}", if n == 1 { "" } else { "s" });
    let count = |severity| {
        remarks.iter().filter(|remark: &&Diagnostic| remark.severity == severity).count()
    };
    let mut text = match documents.len() {
        0 => format!("nothing was carried over from {}", many(*read, "document")),
        n => format!("{} from {}", many(n, "declaration"), many(*read, "document")),
    };
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        match count(severity) {
            0 => {}
            n => text.push_str(&format!(", {}", many(n, severity.name()))),
        }
    }
    text
}
