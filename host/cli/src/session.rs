//! One run from the front end's side: reporters, terminal, signals, and the end told to everybody.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use indexmap::IndexMap;
use runner_engine::executor::RunSummary;
use runner_engine::planner::Plan;
use runner_engine::project::{Project, RunOptions};
use runner_types::{InputSpec, RunOutcome};
use serde_json::Value;

use crate::args::{Common, RunOutput};
use crate::console::{Console, InAdvance, Terminal, operator};
use crate::exit::Exit;
use crate::out::{self, Paint, quoted};
use crate::reporter::{
    Ending, HostState, Json, JsonLines, Junit, Lines, Progress, Reporter, Reporters, Wording, refused,
};
use crate::signals::{self, Stoppable};

/// Reads everything that a run rests on, and says what should be looked at in it.
pub(crate) fn load(options: runner_engine::project::Options) -> anyhow::Result<Project> {
    let project = Project::load(options)?;
    for warning in project.warnings() {
        out::stderr(&format!("warning: {warning}\n"));
    }
    Ok(project)
}

/// How a run is shown and steered.
pub(crate) struct Session<'a> {
    /// What it rests on.
    pub(crate) project: &'a Project,
    /// How much is shown.
    pub(crate) verbosity: u8,
    /// What goes to standard output.
    pub(crate) output: RunOutput,
    /// Whether people see what happens, on standard error.
    pub(crate) told: bool,
    /// The command to run again after the cause of a failure was mended.
    pub(crate) again: String,
    /// The option that names the directory of the state to commands, see [`Common::state_option`].
    pub(crate) state_option: String,
}

impl Session<'_> {
    /// Carries out a plan, showing what happens.
    ///
    /// # Errors
    /// When the run cannot begin, or its journal cannot be written.
    pub(crate) fn carry_out(&self, plan: &Plan) -> anyhow::Result<Ended> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let terminal = Terminal::open();
        let reporters = Arc::new(Reporters::start(self.reporters(terminal.is_some()))?);
        let summary = runtime.block_on(self.run(plan, terminal, &reporters));
        let lost = match &summary {
            Ok(summary) => reporters.finish(self.ending(plan, summary)),
            Err(_) => {
                reporters.give_up();
                Vec::new()
            }
        };
        // A thread that waits for the terminal would keep the runtime for ever.
        runtime.shutdown_background();
        for lost in &lost {
            out::stderr(&format!("error: {lost}\n"));
        }
        Ok(Ended { summary: summary?, is_told: lost.is_empty() })
    }

    async fn run(
        &self,
        plan: &Plan,
        terminal: Option<Terminal>,
        reporters: &Arc<Reporters>,
    ) -> anyhow::Result<RunSummary> {
        let stoppable = Stoppable::default();
        signals::listen(stoppable.clone())?;
        let options = plan
            .prompts(self.project.world())
            .into_iter()
            .filter_map(|prompt| {
                Some(InAdvance { component: prompt.component, key: prompt.key, option: prompt.option? })
            })
            .collect();
        let who = operator();
        let interactive = terminal.is_some();
        let console = Console::new(terminal, options, Arc::clone(reporters), who.clone());
        let options = RunOptions {
            observer: Arc::clone(reporters) as Arc<dyn runner_engine::gate::Observer>,
            operator: Arc::new(console),
            interactive,
            who,
            on_begin: Box::new(move |gate| stoppable.begun(gate)),
        };
        Ok(self.project.run(plan, options).await?)
    }

    fn reporters(&self, interactive: bool) -> Vec<Box<dyn Reporter>> {
        let mut reporters: Vec<Box<dyn Reporter>> = Vec::new();
        let is_terminal = io::stderr().is_terminal();
        if self.told {
            let wording = Wording::new(self.verbosity, Paint::for_stderr(), interactive && is_terminal);
            // A dumb terminal cannot move its cursor.
            let able = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
            reporters.push(if is_terminal && able {
                Box::new(Progress::new(wording))
            } else {
                Box::new(Lines::new(wording))
            });
        }
        match self.output {
            RunOutput::Text => {}
            RunOutput::Json => reporters.push(Box::new(Json::new(io::stdout()))),
            RunOutput::Jsonl => reporters.push(Box::new(JsonLines::new(io::stdout()))),
            RunOutput::Junit => reporters.push(Box::new(Junit::new(io::stdout()))),
        }
        reporters
    }

    fn ending(&self, plan: &Plan, summary: &RunSummary) -> Ending {
        let inputs = self.project.workflow().map(|workflow| &workflow.value().inputs);
        let again = match may_have_changed(summary) {
            true => format!("{}{}", self.again, inputs.map_or_else(String::new, |inputs| extras(inputs, &plan.inputs))),
            false => self.again.clone(),
        };
        Ending {
            run: summary.run.clone(),
            directory: summary.directory.clone(),
            outcome: summary.outcome,
            recap: summary.recap.clone(),
            message: summary.message.clone(),
            hosts: summary
                .hosts
                .iter()
                .map(|(host, known)| HostState {
                    host: host.clone(),
                    last: (known.step.clone(), known.outcome),
                    out_of_service: known.out_of_service,
                })
                .collect(),
            next: next(summary, &again, &self.state_option),
        }
    }
}

/// A run that is over.
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) summary: RunSummary,
    /// Whether standard output holds all that was asked for.
    is_told: bool,
}

impl Ended {
    /// The exit code: what became of the platform counts before what became of the output.
    pub(crate) fn exit(&self) -> Exit {
        match Exit::of(self.summary.outcome) {
            Exit::Succeeded if !self.is_told => Exit::Internal,
            exit => exit,
        }
    }
}

/// Whether the platform may be other than before.
fn may_have_changed(summary: &RunSummary) -> bool {
    matches!(summary.outcome, RunOutcome::InDoubt) || summary.recap.0.values().any(|host| host.changed > 0)
}

/// Options with the values that a run needs which goes on after this one.
fn extras(inputs: &IndexMap<String, InputSpec>, given: &IndexMap<String, Value>) -> String {
    let wanted = inputs.iter().filter_map(|(name, input)| Some((name, input.again.as_ref()?)));
    let missing = wanted.filter(|(name, value)| given.get(*name) != Some(value));
    missing
        .map(|(name, value)| match value {
            Value::Bool(true) => format!(" -e {name}=True"),
            Value::Bool(false) => format!(" -e {name}=False"),
            value => format!(" -e '{name}={value}'"),
        })
        .collect()
}

/// Commands that lead on after a bad end.
fn next(summary: &RunSummary, again: &str, state_option: &str) -> Vec<String> {
    let show = format!("runner runs journal {}{state_option}    # what it did, call by call", summary.run);
    let mut next = Vec::new();
    match summary.outcome {
        RunOutcome::Succeeded => return next,
        RunOutcome::Denied => {
            next.push("add the grant lines quoted above to the policy, if that is what you want; then".to_owned());
            next.push(format!("{again}    # goes on where this run stopped: what is done is not done again"));
        }
        RunOutcome::Refused => {
            next.push("mend what was refused; then".to_owned());
            next.push(again.to_owned());
        }
        // At the workflow's own question nothing has been begun.
        RunOutcome::Declined if summary.failures.is_empty() => {
            next.push(again.to_owned());
            return next;
        }
        RunOutcome::Declined => {
            next.push(format!("{again}    # asks again; what is done is not done again"));
        }
        RunOutcome::Unanswerable => {
            next.push("begin it at a terminal, or answer in advance; then".to_owned());
            next.push(again.to_owned());
        }
        RunOutcome::Unreachable | RunOutcome::Failed | RunOutcome::Cancelled => {
            next.push(format!("{again}    # once the cause is mended; what is done is not done again"));
        }
        RunOutcome::InDoubt => {
            next.push("look at the host: did the effect named above happen? then".to_owned());
            next.push(format!("{again}    # what is done is not done again"));
        }
        RunOutcome::BackedOut => next.push(format!("{again}    # once the cause is mended")),
        RunOutcome::Stuck => next.push("mend what keeps the backout from ending, by hand if need be".to_owned()),
    }
    next.push(show);
    next
}

/// The command line that was given, for people who want to give it again. `concealed` are arguments of options, each with
/// what is shown in its place.
pub(crate) fn this_command(concealed: &[(String, String)]) -> String {
    command(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()), concealed)
}

fn command(words: impl Iterator<Item = String>, concealed: &[(String, String)]) -> String {
    // An option and its argument may be one word: `-eNAME=VALUE`, `--extra-vars=NAME=VALUE`.
    let shown = |word: String| {
        let hidden =
            concealed.iter().find_map(|(argument, shown)| Some((word.strip_suffix(argument.as_str())?, shown)));
        hidden.map(|(before, shown)| format!("{before}{shown}")).unwrap_or(word)
    };
    let words = words.map(|word| quoted(&shown(word)));
    std::iter::once("runner".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Tells a machine that a run could not begin, in the form it asked for. Events there are none.
///
/// # Errors
/// The error itself, for people.
pub(crate) fn told(common: &Common, output: RunOutput, result: anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    if let Err(error) = &result {
        let (text, exit) = crate::error::tell(error, common);
        let message = text.trim_end();
        let told = match output {
            RunOutput::Text | RunOutput::Jsonl => Ok(()),
            RunOutput::Json => out::json(&serde_json::json!({
                "run": null,
                "outcome": exit.name(),
                "exit-code": exit.code(),
                "message": message,
            })),
            RunOutput::Junit => out::stdout(&refused(message, exit)).map_err(Into::into),
        };
        // Why the run could not begin is what people want to know.
        if let Err(lost) = told {
            out::stderr(&format!("error: standard output cannot be written: {lost}\n"));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use runner_types::Recap;

    fn summary(outcome: RunOutcome) -> RunSummary {
        RunSummary {
            run: "r1".to_owned(),
            directory: "/s/runs/r1".into(),
            workflow: "w".to_owned(),
            outcome,
            recap: Recap::default(),
            message: None,
            failures: Vec::new(),
            hosts: IndexMap::new(),
            warnings: Vec::new(),
            reports: Vec::new(),
        }
    }

    #[test]
    fn a_run_that_goes_on_is_given_what_it_needs() {
        let inputs: IndexMap<String, InputSpec> = serde_json::from_value(serde_json::json!({
            "partial": {"type": "boolean", "default": false, "again": true},
            "other": {"type": "boolean", "default": false},
        }))
        .unwrap();
        let given = |partial: bool| IndexMap::from([("partial".to_owned(), Value::Bool(partial))]);
        assert_eq!(extras(&inputs, &given(false)), " -e partial=True");
        assert_eq!(extras(&inputs, &given(true)), "");
        let mut failed = summary(RunOutcome::Failed);
        assert!(!may_have_changed(&failed));
        failed.recap.0.insert("a".to_owned(), runner_types::HostRecap { changed: 1, ..Default::default() });
        assert!(may_have_changed(&failed) && may_have_changed(&summary(RunOutcome::InDoubt)));
    }

    #[test]
    fn the_command_to_give_again_holds_no_secret() {
        let hidden = [("pw=hunter2 a=1".to_owned(), "pw=… a=1".to_owned()), ("pw=x".to_owned(), "pw=…".to_owned())];
        let words = ["run", "w.json", "-e", "pw=hunter2 a=1", "-vepw=x", "--extra-vars=pw=x", "-i", "my hosts"];
        assert_eq!(
            command(words.into_iter().map(str::to_owned), &hidden),
            "runner run w.json -e 'pw=… a=1' -vepw=… --extra-vars=pw=… -i 'my hosts'"
        );
    }

    #[test]
    fn a_lost_output_is_a_failure_where_the_run_was_none() {
        let exit = |outcome, is_told| Ended { summary: summary(outcome), is_told }.exit();
        assert_eq!(exit(RunOutcome::Succeeded, true), Exit::Succeeded);
        assert_eq!(exit(RunOutcome::Succeeded, false), Exit::Internal);
        assert_eq!(exit(RunOutcome::InDoubt, false), Exit::InDoubt);
    }

    #[test]
    fn every_bad_end_names_a_command() {
        assert!(next(&summary(RunOutcome::Succeeded), "runner run w.json", "").is_empty());
        for outcome in [
            RunOutcome::Refused,
            RunOutcome::Denied,
            RunOutcome::Unreachable,
            RunOutcome::Failed,
            RunOutcome::Declined,
            RunOutcome::Unanswerable,
            RunOutcome::Cancelled,
            RunOutcome::InDoubt,
            RunOutcome::BackedOut,
            RunOutcome::Stuck,
        ] {
            let next = next(&summary(outcome), "runner run w.json --state-dir s", " --state-dir s");
            let mut commands = next.iter().filter(|line| line.starts_with("runner ")).peekable();
            assert!(commands.peek().is_some(), "{outcome}: {next:?}");
            assert!(commands.all(|line| line.contains(" --state-dir s")), "{outcome}: {next:?}");
        }
    }
}
