//! Facts in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::{Change, Fact, Facts, Indexer, Key};

/// Facts in memory with their index.
#[derive(Debug)]
pub struct Memory {
    facts: BTreeMap<Key, Fact>,
    index: HashMap<String, BTreeSet<Key>>,
    indexer: Indexer,
}

impl Memory {
    /// No facts yet.
    #[must_use]
    pub fn new(indexer: Indexer) -> Self {
        Self { facts: BTreeMap::new(), index: HashMap::new(), indexer }
    }

    /// Applies a change.
    pub fn apply(&mut self, change: Change) {
        for (key, fact) in change {
            self.set(key, fact);
        }
    }

    /// Sets or removes one fact.
    pub fn set(&mut self, key: Key, fact: Option<Fact>) {
        if let Some(old) = self.facts.get(&key) {
            for term in (self.indexer)(&key, old) {
                if let Some(keys) = self.index.get_mut(&term) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.index.remove(&term);
                    }
                }
            }
        }
        match fact {
            Some(fact) => {
                for term in (self.indexer)(&key, &fact) {
                    self.index.entry(term).or_default().insert(Arc::clone(&key));
                }
                self.facts.insert(key, fact);
            }
            None => {
                self.facts.remove(&key);
            }
        }
    }

    /// All facts by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Fact)> {
        self.facts.iter()
    }
}

impl Facts for Memory {
    fn get(&self, key: &str) -> Option<Fact> {
        self.facts.get(key).cloned()
    }

    fn below(&self, prefix: &str) -> Vec<(Key, Fact)> {
        self.facts
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, fact)| (Arc::clone(key), Arc::clone(fact)))
            .collect()
    }

    fn page(&self, prefix: &str, after: &str, limit: usize) -> Vec<(Key, Fact)> {
        let from = match after < prefix {
            true => Bound::Included(prefix),
            false => Bound::Excluded(after),
        };
        self.facts
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, fact)| (Arc::clone(key), Arc::clone(fact)))
            .collect()
    }

    fn indexed(&self, term: &str) -> Vec<Key> {
        self.index.get(term).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    fn terms(&self, key: &str, fact: &str) -> Vec<String> {
        (self.indexer)(key, fact)
    }
}
