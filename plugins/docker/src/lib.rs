//! Docker Engine and containerd on hosts: packages, `daemon.json`, containerd's configuration, drop-ins of their units.
//!
//! Pods outlive a restart of containerd, and the plugin checks that they did. Containers that Docker runs outside
//! Kubernetes stop when Docker restarts: the operator confirms that, and each runs again afterwards or is reported.

use runner_plugin_sdk::{Depth, Invocation, Operations, Problem, Report, Verification, export_plugin};

mod backout;
mod backup;
mod change;
mod configuration;
mod containers;
mod engine;
mod owed;
pub mod parameters;
mod removal;
mod update;
mod verify;

/// The plugin.
#[derive(Debug)]
pub struct Docker;

impl Operations for Docker {
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

export_plugin!(Docker);

#[cfg(test)]
mod tests;
