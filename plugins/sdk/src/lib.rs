//! What a plugin for runner is written with in Rust: bindings of the contract in `wit/`, typed parameters, reports, and
//! helpers for what most plugins do with hosts and clusters. It knows no platform component.
//!
//! A plugin is a crate of type `cdylib` for `wasm32-wasip2` with one type that implements [`Operations`], and
//! [`Maintenance`] or [`Resolve`] where it offers them, made known by [`export_plugin!`]. Built natively, the same crate
//! has its imports unreachable, so that its pure logic can be tested by `cargo test`; see [`testing`].

pub mod answers;
pub mod artifacts;
pub mod bindings;
pub mod checks;
pub mod exec;
pub mod files;
pub mod http;
pub mod images;
pub mod invocations;
pub mod json;
pub mod kubernetes;
pub mod nodes;
pub mod objects;
pub mod packages;
pub mod problems;
pub mod reports;
pub mod rollout;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod units;
pub mod wait;

/// The imports of the contract as they are, one module per interface.
pub mod api {
    pub use crate::bindings::runner::plugin::{
        artifacts, clock, exec, files, host, http, kubernetes, log, operator, packages, progress, random, secrets,
        systemd, types,
    };
}

pub use answers::{Answers, Presence};
pub use api::types::{
    Artifact, BackupSet, ComponentVersion, EffectClass, Failure, FailureKind, Finding, HostInfo, Invocation, Label,
    Part, Place, Problem, Report, RetryAdvice, Scope, Target,
};
pub use bindings::exports::runner::plugin::operations::{Check, Depth, Guest as Operations, Verdict, Verification};
pub use bindings::maintenance::exports::runner::plugin::maintenance::Guest as Maintenance;
pub use bindings::resolve::exports::runner::plugin::resolve::{Doubt, Guest as Resolve, Verdict as DoubtVerdict};
pub use checks::Checks;
pub use exec::Command;
pub use invocations::{Backup, Inputs, parse};
pub use json::sha256;
pub use problems::{Findings, declined, failure, finding, refused};
pub use reports::ReportBuilder;

/// Makes a type the plugin: `export_plugin!(Etcd)`, with the optional exports named behind it:
/// `export_plugin!(Kubernetes, maintenance, resolve)`. Nothing is exported in a native build.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ident $(, $optional:ident)* $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::bindings::export_operations!($plugin with_types_in $crate::bindings);
            $($crate::export_plugin!(@ $optional $plugin);)*
        };
    };
    (@ maintenance $plugin:ident) => {
        $crate::bindings::maintenance::export_maintenance!($plugin with_types_in $crate::bindings::maintenance);
    };
    (@ resolve $plugin:ident) => {
        $crate::bindings::resolve::export_resolve!($plugin with_types_in $crate::bindings::resolve);
    };
}
