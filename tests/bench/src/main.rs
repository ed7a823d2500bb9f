//! `cargo xtask bench`: what runner costs, beside what the machine, wasmtime or other tools cost in the same run. Numbers
//! are printed, never judged: a shared machine would lie.
#![forbid(unsafe_code)]

mod artifacts;
mod calls;
mod lab;
mod platforms;
mod start;
mod table;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use lab::Part;
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
    /// The lab's directory: only what is measured there is.
    #[arg(long, requires = "part")]
    lab: Option<PathBuf>,
    /// What of it.
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// How often.
    #[arg(long, default_value_t = 5)]
    times: u32,
    /// Program of ansible-core, where it could be had.
    #[arg(long)]
    ansible: Option<PathBuf>,
    /// Program of pyinfra, where it could be had.
    #[arg(long)]
    pyinfra: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let rows = match (&arguments.lab, arguments.part) {
        (Some(lab), Some(part)) => lab::measure(&arguments.lab_measurement(lab), part)?,
        _ => arguments.without_lab()?,
    };
    table::print(&rows);
    Ok(())
}

impl Arguments {
    fn lab_measurement<'a>(&'a self, directory: &'a std::path::Path) -> lab::Measurement<'a> {
        lab::Measurement {
            runner: &self.runner,
            guests: &self.guests,
            directory,
            times: self.times,
            ansible: self.ansible.as_deref(),
            pyinfra: self.pyinfra.as_deref(),
        }
    }

    fn without_lab(&self) -> Result<Vec<Row>> {
        let mut rows = start::measure(&self.runner)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        rows.extend(runtime.block_on(calls::measure(&self.guests))?);
        rows.extend(runtime.block_on(artifacts::measure())?);
        rows.extend(platforms::measure(&self.runner, &self.hosts)?);
        Ok(rows)
    }
}
