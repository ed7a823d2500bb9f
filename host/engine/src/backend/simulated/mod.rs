//! The simulated platform.
#![doc = include_str!("FORMAT.md")]

pub mod behaviour;
mod birth;
pub mod facts;
pub mod fault;
mod files;
mod generate;
mod kubernetes;
mod model;
mod pattern;
mod pipe;
mod platform;
mod rules;
pub mod seed;
mod serve;

pub use behaviour::Behaviours;
pub use facts::StoreError as FactsError;
pub use fault::{Fault, FaultKind, Faults};
pub use files::{SeedFile, read_behaviours, read_faults};
pub use generate::{Shape, generate};
pub use platform::{Simulated, SimulatedError};
pub use seed::PlatformSeed;

#[cfg(test)]
mod tests;
