//! Says more than anybody will read, and ends well: what is beyond the quota is dropped.

use runner_guests::sdk::api::{log, progress};
use runner_guests::sdk::{Invocation, Problem, Report};

fn backup(_: &Invocation) -> Result<Report, Problem> {
    let long = "x".repeat(100_000);
    for number in 0..20_000 {
        log::write(log::Level::Info, &format!("line {number}"), &[]);
        progress::show("busy", Some(number), Some(20_000));
    }
    log::write(log::Level::Warn, &long, &[]);
    println!("{long}");
    runner_guests::done("said it all")
}

runner_guests::guest!(backup);
