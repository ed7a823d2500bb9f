//! Prometheus as a StatefulSet with one volume: its objects in Kubernetes, and its database in the volume.
//!
//! A live database is never copied: a backup takes Prometheus' own snapshot or stops it. A backout puts the database of
//! the backup set in place of the one that is there, so that samples taken since are lost; it says so beforehand.

use runner_plugin_sdk::{Depth, Invocation, Operations, Problem, Report, Verification, export_plugin};

mod backout;
mod backup;
mod found;
pub mod parameters;
mod prometheus;
mod release;
mod stage;
mod update;
mod verify;
mod volume;

/// The plugin.
#[derive(Debug)]
pub struct Metrics;

impl Operations for Metrics {
    fn backup(invocation: Invocation) -> Result<Report, Problem> {
        backup::run(&invocation)
    }

    fn update(invocation: Invocation) -> Result<Report, Problem> {
        update::run(&invocation)
    }

    fn backout(invocation: Invocation) -> Result<Report, Problem> {
        backout::run(&invocation)
    }

    fn verify(invocation: Invocation, depth: Depth) -> Result<Verification, Problem> {
        verify::run(&invocation, depth)
    }
}

export_plugin!(Metrics);
