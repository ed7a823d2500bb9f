//! What is measured on the lab, beside other tools on the same hosts in the same run.

mod answers;
mod commands;
mod journal;
mod peers;
mod procedures;
mod site;

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;

use crate::table::Row;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Everything.
    All,
    /// Commands over four hosts.
    Commands,
    /// The shipped workflows.
    Procedures,
}

/// Where things are, and how often.
pub(crate) struct Measurement<'a> {
    /// The binary of runner.
    pub(crate) runner: &'a Path,
    /// Folder of the tests' guests.
    pub(crate) guests: &'a Path,
    /// The lab's directory.
    pub(crate) directory: &'a Path,
    /// How often the commands are run.
    pub(crate) times: u32,
    /// Program `ansible-playbook`; none: it could not be had.
    pub(crate) ansible: Option<&'a Path>,
    /// Program `pyinfra`; none: it could not be had.
    pub(crate) pyinfra: Option<&'a Path>,
}

pub(crate) fn measure(measurement: &Measurement<'_>, part: Part) -> Result<Vec<Row>> {
    let site = site::Site::of(measurement.directory)?;
    let mut rows = Vec::new();
    if matches!(part, Part::All | Part::Commands) {
        rows.extend(commands::measure(measurement, &site)?);
    }
    if matches!(part, Part::All | Part::Procedures) {
        rows.extend(procedures::measure(&site)?);
    }
    Ok(rows)
}
