//! Makes more calls than an attempt may make.

use runner_guests::sdk::api::files;
use runner_guests::sdk::files::at;
use runner_guests::sdk::{Inputs, Invocation, Problem, Report};

fn backup(invocation: &Invocation) -> Result<Report, Problem> {
    let host = invocation.host_names().into_iter().next().unwrap_or_default();
    for _ in 0..200_000 {
        files::stat(&[at(&host, "/etc/hostname")]);
    }
    runner_guests::done("made every call")
}

runner_guests::guest!(backup);
