//! Kubernetes clusters: objects as the API server keeps them, and what its controllers, schedulers and kubelets make of
//! them. Nothing waits: an effect ends when nothing would change any more by itself.

pub(crate) mod apply;
pub(crate) mod budgets;
pub(crate) mod controllers;
mod daemons;
mod fields;
pub(crate) mod kinds;
mod lifecycle;
pub(crate) mod objects;
pub(crate) mod patch;
mod pods;
mod quantity;
mod schedule;
mod services;
mod snapshot;
mod stateful;
mod volumes;
pub(crate) mod wait;
mod workloads;
pub(crate) mod write;
