//! The simulated platform.
#![doc = include_str!("FORMAT.md")]

mod birth;
pub mod facts;
mod fault;
mod files;
mod generate;
mod kubernetes;
mod model;
pub(crate) mod pattern;
mod platform;
mod rules;
mod serve;

pub use facts::StoreError as FactsError;
pub use files::{SeedFile, read_behaviours, read_faults};
pub use generate::{Shape, generate};
pub use platform::{Simulated, SimulatedError};
pub use runner_types::simulated::{Behaviours, Fault, FaultKind, Faults, PlatformSeed};

#[cfg(test)]
mod tests;
