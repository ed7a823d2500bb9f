//! Ends its process, which is not its to end.

use runner_guests::sdk::{Invocation, Problem, Report};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    std::process::exit(0)
}

runner_guests::guest!(backup);
