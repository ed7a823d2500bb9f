//! Calls a function that its manifest does not request.

use runner_guests::sdk::{Inputs, Invocation, Problem, Report, units};

fn backup(invocation: &Invocation) -> Result<Report, Problem> {
    let host = invocation.host_names().into_iter().next().unwrap_or_default();
    units::stop(&host, &["sshd.service"], 10)?;
    runner_guests::done("stopped sshd")
}

runner_guests::guest!(backup);
