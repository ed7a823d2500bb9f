//! `kubernetes` over the API of a real cluster.

mod api;
mod certificate;
mod cluster;
mod evict;
mod failures;
mod follow;
mod kinds;
mod kubeconfig;
mod ownership;
mod read;
mod request;
mod wait;
mod write;

pub use cluster::LiveCluster;
pub use kubeconfig::{Kubeconfig, KubeconfigError};
