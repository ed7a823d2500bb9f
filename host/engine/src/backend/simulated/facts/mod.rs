//! What is known of a platform: facts, each a JSON value under a key of segments joined by `/`.
//!
//! A model reads and writes facts through a [`Transaction`] over any [`Facts`]; what it wrote becomes one change, which
//! the [`Store`] appends to its log before anybody is answered.
//! Another source of facts (one that asks a real platform) implements [`Facts`] and notes what it could not give: a
//! transaction is run again once those facts are there.

mod memory;
mod store;
mod transaction;

pub use memory::Memory;
pub use store::{Store, StoreError};
pub use transaction::Transaction;

use std::collections::BTreeMap;
use std::sync::Arc;

/// A fact's value: compact JSON text. Text, because most facts are stored far more often than looked into.
pub type Fact = Arc<str>;

/// A fact's key.
pub type Key = Arc<str>;

/// Facts that became different (or, with none, ceased to be) by one effect.
pub type Change = BTreeMap<Key, Option<Fact>>;

/// Names, for one fact, the terms under which [`Facts::indexed`] finds it.
pub type Indexer = fn(key: &str, fact: &str) -> Vec<String>;

/// A source of facts.
pub trait Facts: Send + Sync {
    /// The fact under a key.
    fn get(&self, key: &str) -> Option<Fact>;
    /// All facts whose key begins with `prefix`, by key.
    fn below(&self, prefix: &str) -> Vec<(Key, Fact)>;
    /// The first facts, at most `limit`, whose key begins with `prefix` and comes after `after`.
    fn page(&self, prefix: &str, after: &str, limit: usize) -> Vec<(Key, Fact)>;
    /// Keys of the facts that the indexer gave this term, in order.
    fn indexed(&self, term: &str) -> Vec<Key>;
    /// The terms that the indexer gives a fact.
    fn terms(&self, key: &str, fact: &str) -> Vec<String>;
}
