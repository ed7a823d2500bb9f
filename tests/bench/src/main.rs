//! `cargo xtask bench`: what runner costs, beside what the machine or wasmtime alone costs in the same run. Numbers are
//! printed, never judged: a shared machine would lie.
#![forbid(unsafe_code)]

mod artifacts;
mod calls;
mod platforms;
mod start;
mod table;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use table::Row;

/// Where things are.
#[derive(Parser)]
struct Arguments {
    /// The binary of runner, as a release is built.
    #[arg(long)]
    runner: PathBuf,
    /// Folder of the tests' guests.
    #[arg(long)]
    guests: PathBuf,
    /// Hosts of the simulated platforms.
    #[arg(long, value_delimiter = ',')]
    hosts: Vec<u32>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(start::measure(&arguments.runner)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    rows.extend(runtime.block_on(calls::measure(&arguments.guests))?);
    rows.extend(runtime.block_on(artifacts::measure())?);
    rows.extend(platforms::measure(&arguments.runner, &arguments.hosts)?);
    table::print(&rows);
    Ok(())
}
