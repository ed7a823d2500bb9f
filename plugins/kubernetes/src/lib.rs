//! Kubernetes: the control plane and the nodes, with kube-proxy and CoreDNS where they are present.
//!
//! A host is updated part by part: first every API server, then the controllers, then node by node, each drained by
//! [`maintenance`]. A backout goes the other way round, to the versions and the configuration of the backup set.

extern crate runner_plugin_sdk as sdk;

mod backout;
mod backup;
mod budgets;
mod change;
mod cluster;
mod configuration;
mod cordon;
mod discovery;
mod drain;
mod duration;
mod gate;
mod health;
mod hosts;
mod leaders;
mod maintenance;
mod nodes;
mod parameters;
mod parts;
mod pods;
mod preflight;
mod quantity;
mod record;
mod resolv;
mod selectors;
mod update;
mod verify;
mod version;
mod workloads;

/// The plugin.
#[derive(Debug)]
pub struct Kubernetes;

impl sdk::Operations for Kubernetes {
    fn backup(invocation: sdk::Invocation) -> Result<sdk::Report, sdk::Problem> {
        backup::run(&invocation)
    }

    fn update(invocation: sdk::Invocation) -> Result<sdk::Report, sdk::Problem> {
        update::run(&invocation)
    }

    fn backout(invocation: sdk::Invocation) -> Result<sdk::Report, sdk::Problem> {
        backout::run(&invocation)
    }

    fn verify(invocation: sdk::Invocation, depth: sdk::Depth) -> Result<sdk::Verification, sdk::Problem> {
        verify::run(&invocation, depth)
    }
}

impl sdk::Maintenance for Kubernetes {
    fn enter(invocation: sdk::Invocation) -> Result<sdk::Report, sdk::Problem> {
        maintenance::enter(&invocation)
    }

    fn leave(invocation: sdk::Invocation, entered: Option<String>) -> Result<sdk::Report, sdk::Problem> {
        maintenance::leave(&invocation, entered.as_deref())
    }
}

sdk::export_plugin!(Kubernetes, maintenance);

#[cfg(test)]
mod tests {
    use crate::parameters;

    #[test]
    fn the_manifest_is_that_of_the_crate() {
        let mut manifest = sdk::testing::Manifest::of(env!("CARGO_MANIFEST_DIR"));
        manifest.assert_parameters::<parameters::Backup>("backup");
        manifest.assert_parameters::<parameters::Update>("update");
        manifest.assert_parameters::<parameters::Backout>("backout");
        manifest.assert_parameters::<parameters::Verify>("verify");
        manifest.assert_parameters::<parameters::Maintenance>("maintenance");
        let operations = ["backup", "update", "backout", "verify", "maintenance"];
        manifest.assert_identity("kubernetes", env!("CARGO_PKG_VERSION"), &operations);
    }
}
