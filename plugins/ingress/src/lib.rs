//! The ingress controller, Traefik: its DaemonSet with configuration, class, rights and Service.

mod backout;
mod backup;
mod found;
mod objects;
pub mod parameters;
mod update;
mod verify;

use runner_plugin_sdk::{Depth, Invocation, Operations, Problem, Report, Verification, export_plugin};

/// The plugin.
#[derive(Debug)]
pub struct Ingress;

impl Operations for Ingress {
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

export_plugin!(Ingress);
