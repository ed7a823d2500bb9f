//! runner's engine.
#![forbid(unsafe_code)]

pub mod capability;
pub mod contract;
