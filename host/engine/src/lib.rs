//! runner's engine: what carries out a workflow, from its plan to the last journal entry.
#![deny(unsafe_code)]

pub mod artifacts;
pub mod capability;
pub mod backend;
pub mod contract;
pub mod gate;
pub mod journal;
pub mod plugin;
