//! Behaves: reads what it may, and reports it.

use runner_guests::sdk::files::{at, read_text};
use runner_guests::sdk::{Inputs, Invocation, Problem, Report};

fn backup(invocation: &Invocation) -> Result<Report, Problem> {
    let files: Vec<_> = invocation.host_names().iter().map(|host| at(host, "/etc/hostname")).collect();
    let read = read_text(&files)?;
    runner_guests::done(&format!("read {} files", read.iter().flatten().count()))
}

runner_guests::guest!(backup);
