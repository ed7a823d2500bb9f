//! `runner versions`: what is installed, against the releases.

use clap::Args;
use runner_engine::executor::Reported;
use runner_types::{Depth, Place, Releases, did_you_mean};
use serde::Serialize;

use crate::args::{Common, Files, ListOutput, RunOutput};
use crate::error::Problem;
use crate::exit::Exit;
use crate::out;
use crate::paths::Surroundings;
use crate::session::{self, Session};

/// Show what is installed, per component and host, against the releases
///
/// Asks each component's plugin for the versions it finds. With --release, everything must be at that release: what is
/// not is marked, and gives exit code 3.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Versions {
    /// Components to look at [default: all that have a plugin]
    components: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Compare with this release
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
}

const EXAMPLES: &str = "\
Examples:
  runner versions                            everything, with the release each version belongs to
  runner versions kubernetes                 one component
  runner versions --release 2.0              is everything at 2.0?
  runner versions --output json";

/// A version that was found.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Found {
    component: String,
    part: String,
    place: Place,
    installed: String,
    /// Releases to which it belongs.
    releases: Vec<String>,
    /// What the release compared with holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<String>,
}

impl Found {
    fn differs(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| *wanted != self.installed)
    }
}

impl Versions {
    pub(crate) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        let options = Surroundings::real().options(common, &self.files, None)?;
        let project = session::load(options)?;
        let none = Releases::default();
        let releases = project.releases().unwrap_or(&none);
        if let Some(release) = &self.release
            && !releases.releases.contains_key(release)
        {
            let near = did_you_mean(release, releases.releases.keys().map(String::as_str));
            return Err(Problem::usage(format!("there is no release {release:?}{near}"))
                .hint("name the file of the releases with --releases")
                .into());
        }
        let plan = project.plan_verify(&self.components, Depth::Versions)?;
        let session = Session {
            project: &project,
            verbosity: common.verbose,
            output: RunOutput::Text,
            told: common.verbose > 0,
            again: session::this_command(&[]),
            state_option: common.state_option(),
        };
        let ended = session.carry_out(&plan)?;
        let summary = &ended.summary;
        let found = found(&summary.reports, releases, self.release.as_deref());
        match self.output {
            ListOutput::Text => {
                if project.is_simulated() {
                    out::stderr(crate::reporter::SIMULATED);
                }
                out::stdout(&table(&found))?;
            }
            ListOutput::Json => out::json(&found)?,
        }
        for failure in &summary.failures {
            for finding in &failure.findings {
                out::stderr(&format!("{}: {}: {}\n", failure.step, failure.outcome, finding.message));
            }
        }
        // What verify expects of versions is not what was asked for here: only what could not be found out counts.
        let unknown = summary.failures.iter().any(|failure| !failure.outcome.is_success());
        let differs = found.iter().any(Found::differs);
        Ok(match (unknown, differs) {
            (true, _) => ended.exit(),
            (false, true) => Exit::Failed,
            (false, false) => Exit::Succeeded,
        })
    }
}

fn found(reports: &[Reported], releases: &Releases, release: Option<&str>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for reported in reports {
        let of_release =
            |release: &str, part: &str| releases.component(release, &reported.component)?.versions.get(part).cloned();
        for version in &reported.report.versions {
            let of = Found {
                component: reported.component.clone(),
                part: version.part.clone(),
                place: version.place.clone(),
                installed: version.version.clone(),
                releases: releases
                    .releases
                    .keys()
                    .filter(|release| of_release(release, &version.part).as_ref() == Some(&version.version))
                    .cloned()
                    .collect(),
                wanted: release.and_then(|release| of_release(release, &version.part)),
            };
            if !found.contains(&of) {
                found.push(of);
            }
        }
    }
    // Reports come as their steps end.
    found.sort_by(|a, b| a.component.cmp(&b.component));
    found
}

fn table(found: &[Found]) -> String {
    let compared = found.iter().any(|found| found.wanted.is_some());
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|of| {
            let releases = if of.releases.is_empty() { "-".to_owned() } else { of.releases.join(", ") };
            let mut row =
                vec![of.component.clone(), of.part.clone(), of.place.to_string(), of.installed.clone(), releases];
            if compared {
                row.push(match &of.wanted {
                    None => "-".to_owned(),
                    Some(wanted) if of.differs() => format!("{wanted}  DIFFERS"),
                    Some(wanted) => wanted.clone(),
                });
            }
            row
        })
        .collect();
    let headings = ["COMPONENT", "PART", "WHERE", "INSTALLED", "RELEASE", "WANTED"];
    out::table(headings.get(..if compared { 6 } else { 5 }).unwrap_or_default(), &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_types::{ComponentVersion, Operation, Report, Target, load};

    fn reports() -> Vec<Reported> {
        let version = |part: &str, version: &str, host: &str| ComponentVersion {
            part: part.to_owned(),
            version: version.to_owned(),
            place: Place::Host(host.to_owned()),
        };
        let versions = vec![
            version("etcd-server", "3.5.35-1", "master-1"),
            version("etcd-server", "3.6.16-1", "node-1"),
            version("extra", "1", "node-1"),
        ];
        vec![Reported {
            step: "etcd".to_owned(),
            component: "etcd".to_owned(),
            operation: Operation::Verify,
            target: Target::Hosts,
            report: Report { versions, ..Report::default() },
        }]
    }

    fn releases() -> Releases {
        let text = r#"{"releases": {"1.0": {"etcd": {"versions": {"etcd-server": "3.5.35-1"}}},
                                    "2.0": {"etcd": {"versions": {"etcd-server": "3.6.16-1"}}}}}"#;
        load::<Releases>(text, "releases.json").unwrap().into_parts().0
    }

    #[test]
    fn versions_are_named_by_their_release() {
        assert_eq!(
            table(&found(&reports(), &releases(), None)),
            "COMPONENT  PART         WHERE     INSTALLED  RELEASE\n\
             etcd       etcd-server  master-1  3.5.35-1   1.0\n\
             etcd       etcd-server  node-1    3.6.16-1   2.0\n\
             etcd       extra        node-1    1          -\n"
        );
    }

    #[test]
    fn a_comparison_marks_what_differs() {
        let found = found(&reports(), &releases(), Some("2.0"));
        assert_eq!(found.iter().map(Found::differs).collect::<Vec<_>>(), [true, false, false]);
        assert!(table(&found).contains("3.5.35-1   1.0      3.6.16-1  DIFFERS\n"), "{}", table(&found));
    }
}
