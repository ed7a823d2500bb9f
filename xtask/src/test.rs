//! `cargo xtask test`: everything that must hold before a change is accepted.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::workspace::{cargo, run};
use crate::{build, schemas, tidy, vendors};

/// Options of `test`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only the tests whose name contains this; the other checks are left out.
    filter: Option<String>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    if arguments.filter.is_none() {
        part("format", || run(&mut cargo(["fmt", "--all", "--check"])))?;
        part("tidy", tidy::check)?;
        part("schemas", || schemas::check(Path::new(schemas::FOLDER)))?;
        part("clippy", || {
            run(&mut cargo(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
        })?;
    }
    let mut places = None;
    part("build", || {
        let runner = build::everything(false)?;
        let guests = build::guests(&runner)?;
        let vendors = vendors::build(&runner)?;
        places = Some((runner, guests, vendors));
        Ok(())
    })?;
    part("tests", || {
        let mut command = cargo(["test", "--workspace", "--no-fail-fast"]);
        // Errors of these tests say what was expected and found; where in the test is in their names.
        command.env("RUST_BACKTRACE", "0");
        if let Some((runner, guests, vendors)) = &places {
            command.env("RUNNER_TEST_BINARY", runner).env("RUNNER_TEST_GUESTS", guests);
            command.env("RUNNER_TEST_VENDORS", vendors);
        }
        command.args(&arguments.filter);
        run(&mut command)
    })?;
    let seconds = begun.elapsed().as_secs();
    match &arguments.filter {
        None => println!("test result: ok. format, tidy, schemas, clippy, build and tests passed in {seconds} s"),
        Some(filter) => println!("tests with {filter:?} in their name passed in {seconds} s; nothing else was checked"),
    }
    Ok(())
}

fn part(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("\n--- {name}");
    let begun = Instant::now();
    check().map_err(|error| error.context(format!("{name} failed")))?;
    eprintln!("--- {name}: ok ({} s)", begun.elapsed().as_secs());
    Ok(())
}
