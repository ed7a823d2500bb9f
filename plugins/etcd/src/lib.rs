//! The plugin for etcd: backup by snapshot, rolling update, backout by the supported downgrade or by restore, verify.
//! Every operation works on the whole cluster; the hosts of its target are the members.

pub mod backout;
pub mod backup;
pub mod config;
mod dependents;
pub mod downgrade;
pub mod etcdctl;
pub mod parameters;
mod place;
pub mod restore;
pub mod rolling;
pub mod site;
pub mod update;
pub mod verify;
pub mod version;
pub mod view;

use runner_plugin_sdk::{Depth, Invocation, Operations, Problem, Report, Verification, export_plugin};

/// The plugin.
#[derive(Debug)]
pub struct Etcd;

impl Operations for Etcd {
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

export_plugin!(Etcd);
