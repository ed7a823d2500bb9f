//! Builds, tests and demonstrates runner: `cargo xtask COMMAND`.

mod bench;
mod build;
mod demo;
mod dist;
mod lab;
mod schemas;
mod test;
mod tidy;
mod vendors;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What can be done with a checkout of runner.
#[derive(Parser)]
#[command(name = "cargo xtask", about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds runner and its plugins into target/.
    Build(build::Arguments),
    /// Builds everything, then backs up, updates and backs out a simulated platform.
    Demo(demo::Arguments),
    /// Everything that must hold: format, lints, tidy, schemas, builds, and every test.
    Test(test::Arguments),
    /// Writes the JSON Schemas of all files that people write.
    Schemas(schemas::Arguments),
    /// Checks the rules of the code that neither compiler nor clippy knows.
    Tidy,
    /// Makes one archive that runs where there is no Rust and no network.
    Dist(dist::Arguments),
    /// Measures speed and size, and prints them as a table.
    Bench(bench::Arguments),
    /// A real platform on this machine: hosts with systemd and sshd, etcd, Kubernetes, Docker.
    #[command(subcommand)]
    Lab(lab::Command),
}

fn main() -> ExitCode {
    match carry_out(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:?}` would add a backtrace where the environment asks for one: these are no programming errors.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Build(arguments) => build::command(arguments),
        Command::Demo(arguments) => demo::command(arguments),
        Command::Test(arguments) => test::command(arguments),
        Command::Schemas(arguments) => schemas::command(arguments),
        Command::Tidy => tidy::command(),
        Command::Dist(arguments) => dist::command(arguments),
        Command::Bench(arguments) => bench::command(arguments),
        Command::Lab(command) => lab::command(command),
    }
}
