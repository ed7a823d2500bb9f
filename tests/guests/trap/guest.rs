//! Traps at once.

use runner_guests::sdk::{Invocation, Problem, Report};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    panic!("this guest traps")
}

runner_guests::guest!(backup);
