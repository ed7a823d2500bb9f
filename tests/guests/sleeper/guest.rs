//! Sleeps far longer than its step may take.

use runner_guests::sdk::api::clock;
use runner_guests::sdk::{Invocation, Problem, Report};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    clock::sleep(u32::MAX);
    runner_guests::done("slept well")
}

runner_guests::guest!(backup);
