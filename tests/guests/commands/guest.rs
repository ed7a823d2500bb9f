//! Behaves: runs the commands and writes the files that it is given, on its host. What there is to measure about
//! commands is measured with it.

use runner_guests::sdk::exec::{self, Command};
use runner_guests::sdk::files::at;
use runner_guests::sdk::{Answers, Inputs, Invocation, Problem, Report, api};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Parameters {
    /// Programs with their arguments.
    #[serde(default)]
    commands: Vec<Vec<String>>,
    /// Whether they write.
    #[serde(default)]
    writes: bool,
    /// Whether each is a call of its own.
    #[serde(default)]
    one_by_one: bool,
    /// Files to write, in one call.
    #[serde(default)]
    files: Vec<String>,
}

fn backup(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Parameters = runner_guests::sdk::parse(invocation)?;
    let host = &invocation.host()?.name;
    let command = |argv: &Vec<String>| match parameters.writes {
        true => Command::write(host, argv),
        false => Command::read(host, argv),
    };
    let commands: Vec<Command> = parameters.commands.iter().map(command).collect();
    let ran = match parameters.one_by_one {
        true => commands.into_iter().map(Command::run).collect::<Result<Vec<_>, _>>()?,
        false => exec::run(commands).all()?,
    };
    if !parameters.files.is_empty() {
        api::files::write(&parameters.files.iter().map(|path| order(host, path)).collect::<Vec<_>>()).all()?;
    }
    runner_guests::done(&format!("ran {} commands, wrote {} files", ran.len(), parameters.files.len()))
}

fn order(host: &str, path: &str) -> api::files::WriteOrder {
    let api::files::FileRef { host, path } = at(host, path);
    api::files::WriteOrder {
        host,
        path,
        content: vec![runner_guests::sdk::Part::Text("a line\n".to_owned())],
        precondition: api::files::Precondition::Anything,
        attributes: None,
        sensitive: false,
    }
}

runner_guests::guest!(backup);
