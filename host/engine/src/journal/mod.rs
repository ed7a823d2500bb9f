//! The journal of a run: what recovery reads.
//!
//! A run is a directory with `run.json` (the header) and `journal.jsonl`, hash-chained JSON Lines. It appears whole or
//! not at all, before the first effect, and one process at a time has it.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Damage, Journal as Record, header, read};
pub use writer::{Durability, Journal, JournalError};

/// Name of the header's file.
pub const HEADER: &str = "run.json";
/// Name of the journal's file.
pub const ENTRIES: &str = "journal.jsonl";
