//! `runner verify`: looks whether components work.

use clap::Args;
use runner_engine::executor::RunSummary;
use runner_types::{Depth, Verdict};

use crate::args::{Common, Files, RunOutput};
use crate::exit::Exit;
use crate::out;
use crate::paths::Surroundings;
use crate::session::{self, Session};

/// Look whether components work, without changing anything
///
/// Runs the verify operation of each component's plugin. Every check is printed on standard output with what was
/// expected and what was found. Exit code 3: a check failed, or what it looks at could not be found out (UNKNOWN); 4: a
/// host or an API does not answer its plugin; 5: a plugin is not granted what it asks. Of several, the first of these.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// Components to look at [default: all that have a plugin]
    components: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// How much is looked at
    #[arg(long, value_enum, default_value_t)]
    depth: HowMuch,
    /// What goes to standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: RunOutput,
}

const EXAMPLES: &str = "\
Examples:
  runner verify                          every component
  runner verify etcd kubernetes          these two
  runner verify --depth versions         only what is installed
  runner verify --output junit > verify.xml";

/// How much verify looks at.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum HowMuch {
    /// Only what is installed
    Versions,
    /// Everything that tells whether the component works
    #[default]
    Health,
}

impl From<HowMuch> for Depth {
    fn from(much: HowMuch) -> Self {
        match much {
            HowMuch::Versions => Self::Versions,
            HowMuch::Health => Self::Health,
        }
    }
}

impl Verify {
    pub(crate) fn carry_out(&self, common: &Common) -> anyhow::Result<Exit> {
        session::told(common, self.output, self.begin(common))
    }

    fn begin(&self, common: &Common) -> anyhow::Result<Exit> {
        let options = Surroundings::real().options(common, &self.files, None)?;
        let project = session::load(options)?;
        let plan = project.plan_verify(&self.components, self.depth.into())?;
        let session = Session {
            project: &project,
            verbosity: common.verbose,
            output: self.output,
            told: true,
            again: session::this_command(&[]),
            state_option: common.state_option(),
        };
        let ended = session.carry_out(&plan)?;
        match self.output {
            RunOutput::Text => out::stdout(&table(&ended.summary))?,
            RunOutput::Json | RunOutput::Jsonl | RunOutput::Junit => {}
        }
        Ok(ended.exit())
    }
}

/// All checks, those that are not well last: there the eye is when the command ends.
fn table(summary: &RunSummary) -> String {
    let mut checks: Vec<_> = summary
        .reports
        .iter()
        .flat_map(|reported| reported.report.checks.iter().map(move |check| (reported, check)))
        .collect();
    checks.sort_by_key(|(_, check)| !check.verdict.is_pass());
    let rows: Vec<Vec<String>> = checks
        .into_iter()
        .map(|(reported, check)| {
            let verdict = match check.verdict {
                Verdict::Pass => "pass",
                Verdict::Fail => "FAIL",
                Verdict::Unknown => "UNKNOWN",
            };
            vec![
                verdict.to_owned(),
                reported.component.clone(),
                check.name.clone(),
                check.place.to_string(),
                one_line(&check.expected),
                one_line(&check.observed),
            ]
        })
        .collect();
    out::table(&["VERDICT", "COMPONENT", "CHECK", "WHERE", "EXPECTED", "FOUND"], &rows)
}

/// A text that keeps a table's columns.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;
    use runner_engine::executor::Reported;
    use runner_types::{Check, Operation, Place, Recap, Report, RunOutcome, Target};

    #[test]
    fn without_plugins_their_directory_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let options = runner_engine::project::Options {
            inventory: file("inventory.json", r#"{"hosts": {"node-1": {"connection": "local"}}}"#),
            policy: file("policy.json", r#"{"grants": []}"#),
            plugins: vec![folder.path().join("plugins")],
            state: folder.path().join("state"),
            ..Default::default()
        };
        let project = runner_engine::project::Project::load(options).unwrap();
        for components in [Vec::new(), vec!["etcd".to_owned()]] {
            let error = project.plan_verify(&components, Depth::Versions).unwrap_err().into();
            let (text, exit) = crate::error::tell(&error, &Common::default());
            assert_eq!(exit, Exit::Usage);
            assert!(text.contains(&format!("was found in {}/plugins\n", folder.path().display())), "{text}");
            assert!(text.contains("--plugins"), "{text}");
        }
    }

    #[test]
    fn what_is_not_well_stands_last() {
        let check = |name: &str, verdict| Check {
            name: name.to_owned(),
            place: Place::Host("node-1".to_owned()),
            expected: "Ready".to_owned(),
            observed: "not\nReady".to_owned(),
            verdict,
        };
        let report = Report {
            checks: vec![check("node-ready", Verdict::Fail), check("api", Verdict::Pass)],
            ..Report::default()
        };
        let summary = RunSummary {
            run: "r".to_owned(),
            directory: "/r".into(),
            workflow: "verify".to_owned(),
            outcome: RunOutcome::Failed,
            recap: Recap::default(),
            message: None,
            failures: Vec::new(),
            hosts: IndexMap::new(),
            warnings: Vec::new(),
            reports: vec![Reported {
                step: "kubernetes".to_owned(),
                component: "kubernetes".to_owned(),
                operation: Operation::Verify,
                target: Target::Hosts,
                report,
            }],
        };
        assert_eq!(
            table(&summary),
            "VERDICT  COMPONENT   CHECK       WHERE   EXPECTED  FOUND\n\
             pass     kubernetes  api         node-1  Ready     not Ready\n\
             FAIL     kubernetes  node-ready  node-1  Ready     not Ready\n"
        );
    }
}
