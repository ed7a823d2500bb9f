//! `cargo xtask test`: everything that must hold before a change is accepted.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::workspace::{cargo, run};
use crate::{build, lab, schemas, tidy, vendors};

/// Options of `test`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only the tests whose name contains this; the other checks are left out.
    filter: Option<String>,
    /// Whether the tests on the lab, a real platform on this machine, are made.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    lab: Lab,
}

/// When the tests on the lab are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Lab {
    /// Where this machine can host it; parts that are missing are built first.
    #[default]
    Auto,
    /// Always: a machine that cannot host it fails.
    Required,
    /// Never.
    Never,
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
    let mut left_out = String::new();
    if arguments.filter.is_none()
        && let Some(why) = on_the_lab(arguments.lab, places.as_ref().map(|(runner, ..)| runner.as_path()))?
    {
        left_out = format!("; the tests on the lab were SKIPPED: {why}");
    }
    let seconds = begun.elapsed().as_secs();
    match &arguments.filter {
        None => {
            println!("test result: ok. format, tidy, schemas, clippy, build and tests passed in {seconds} s{left_out}");
        }
        Some(filter) => println!("tests with {filter:?} in their name passed in {seconds} s; nothing else was checked"),
    }
    Ok(())
}

/// Makes the tests on the lab. Answers why they were left out, when they were.
fn on_the_lab(when: Lab, runner: Option<&Path>) -> Result<Option<String>> {
    if when == Lab::Never {
        return Ok(Some("--lab never".to_owned()));
    }
    let obstacles = lab::obstacles()?;
    if !obstacles.is_empty() {
        let why = obstacles.join("; ");
        if when == Lab::Required {
            bail!("this machine cannot host the lab: {why}");
        }
        eprintln!("\n--- tests on the lab are SKIPPED: {why}");
        return Ok(Some(why));
    }
    part("lab", || {
        lab::with(|directory| {
            let mut command = cargo(["test", "--package", "runner-tests", "--test", "lab", "--", "--nocapture"]);
            command.env("RUST_BACKTRACE", "0").env("RUNNER_LAB", directory);
            if let Some(runner) = runner {
                command.env("RUNNER_TEST_BINARY", runner);
            }
            run(&mut command)
        })
    })?;
    Ok(None)
}

fn part(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("\n--- {name}");
    let begun = Instant::now();
    check().map_err(|error| error.context(format!("{name} failed")))?;
    eprintln!("--- {name}: ok ({} s)", begun.elapsed().as_secs());
    Ok(())
}
