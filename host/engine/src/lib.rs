//! runner's engine: what carries out a workflow, from its plan to the last journal entry.
#![deny(unsafe_code)]

pub mod artifacts;
pub mod backups;
pub mod backend;
pub mod capability;
pub mod contract;
pub mod expression;
pub mod gate;
pub mod journal;
pub mod lock;
pub mod planner;
pub mod plugin;
