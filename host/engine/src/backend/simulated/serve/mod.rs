//! The contract's capabilities on a simulated platform: each item is one transaction of the model.

mod artifacts;
mod exec;
mod files;
mod host;
mod http;
mod kubernetes;
mod packages;
mod systemd;
