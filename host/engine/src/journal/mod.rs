//! The journal of a run: what recovery reads.
//!
//! A run is a directory with `run.json` (the header) and `journal.jsonl`, hash-chained JSON Lines. It appears whole or
//! not at all, before the first effect, and one process at a time has it. Each line ends with the hash of what stands
//! before that in it, and names the hash of the line before: a changed, removed, swapped or inserted line is found
//! wherever it stands. Lines removed at the end are not: only what is kept elsewhere could tell.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use runner_types::Digest;

pub use reader::{Damage, Journal as Record, header, read};
pub use writer::{Durability, Journal, JournalError};

/// Name of the header's file.
pub const HEADER: &str = "run.json";
/// Name of the journal's file.
pub const ENTRIES: &str = "journal.jsonl";
/// What stands between the hashed text of a line and its hash.
const HASH_FIELD: &str = ",\"hash\":\"";
/// What follows the hash.
const LINE_END: &str = "\"}";
/// Bytes of a line, without its line break, that are not hashed.
const NOT_HASHED: usize = HASH_FIELD.len() + Digest::DIGITS + LINE_END.len();
