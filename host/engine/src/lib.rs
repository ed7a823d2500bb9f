//! runner's engine: what carries out a workflow, from its plan to the last journal entry.
#![deny(unsafe_code)]

pub mod artifacts;
pub mod backend;
pub mod backups;
pub mod capability;
pub mod contract;
pub mod executor;
pub mod expression;
pub mod gate;
pub mod journal;
pub mod lock;
pub mod planner;
pub mod plugin;
pub mod project;
mod state;
#[cfg(test)]
mod testing;
