//! Behaves: runs the commands and writes the files that it is given, on its host. What there is to measure about
//! commands is measured with it.

use runner_guests::sdk::exec::{self, Command};
use runner_guests::sdk::files::at;
use runner_guests::sdk::{
    Answers, Checks, Depth, Inputs, Invocation, Operations, Place, Problem, Report, Verification, api, export_plugin,
};
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

struct Commands;

impl Operations for Commands {
    fn backup(invocation: Invocation) -> Result<Report, Problem> {
        runner_guests::done(&done(&invocation)?)
    }

    fn update(_: Invocation) -> Result<Report, Problem> {
        runner_guests::done("nothing to update")
    }

    fn backout(_: Invocation) -> Result<Report, Problem> {
        runner_guests::done("nothing to back out")
    }

    fn verify(invocation: Invocation, _: Depth) -> Result<Verification, Problem> {
        let place = Place::Host(invocation.host()?.name.clone());
        Ok(Checks::new().check("commands", place, "they succeed", done(&invocation)?, true).finish())
    }
}

/// Does it all, and says how much that was.
fn done(invocation: &Invocation) -> Result<String, Problem> {
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
    Ok(format!("ran {} commands, wrote {} files", ran.len(), parameters.files.len()))
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

export_plugin!(Commands);

// Only a component exports it; natively it would look unused.
const _: fn(Invocation) -> Result<Report, Problem> = <Commands as Operations>::backup;
