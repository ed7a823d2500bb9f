//! One effect's view of the facts: its own writes over what is below.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Change, Fact, Facts, Key};
use crate::backend::failure;
use crate::contract::Failure;

/// Reads fall through, writes stay here until they are taken as one [`Change`].
pub struct Transaction<'a> {
    below: &'a dyn Facts,
    changes: Change,
    index: HashMap<String, BTreeSet<Key>>,
}

impl<'a> Transaction<'a> {
    /// Begins over what is there.
    #[must_use]
    pub fn new(below: &'a dyn Facts) -> Self {
        Self { below, changes: Change::new(), index: HashMap::new() }
    }

    /// What was written, less what came out as it was before.
    #[must_use]
    pub fn into_change(self) -> Change {
        let Self { below, changes, .. } = self;
        changes.into_iter().filter(|(key, fact)| below.get(key) != *fact).collect()
    }

    /// Whether something is different from before.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.changes.iter().any(|(key, fact)| self.below.get(key) != *fact)
    }

    /// The text of a fact.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<Fact> {
        match self.changes.get(key) {
            Some(fact) => fact.clone(),
            None => self.below.get(key),
        }
    }

    /// Whether there is such a fact.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.text(key).is_some()
    }

    /// A fact.
    ///
    /// # Errors
    /// When it is not of this type: the platform's files were changed by something else.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        self.text(key).map(|text| decode(key, &text)).transpose()
    }

    /// Sets a fact.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Failure> {
        let text =
            serde_json::to_string(value).map_err(|error| failure::other("damaged-platform", key, error.to_string()))?;
        // Null stands for no fact in the log.
        match text.as_str() {
            "null" => self.remove(key),
            _ => self.set_text(key.into(), text.into()),
        }
        Ok(())
    }

    /// Sets a fact by its text, which must be compact JSON.
    pub fn set_text(&mut self, key: Key, text: Fact) {
        self.forget_terms(&key);
        for term in self.below.terms(&key, &text) {
            self.index.entry(term).or_default().insert(Arc::clone(&key));
        }
        self.changes.insert(key, Some(text));
    }

    /// Removes a fact.
    pub fn remove(&mut self, key: &str) {
        if self.has(key) {
            let key: Key = key.into();
            self.forget_terms(&key);
            self.changes.insert(key, None);
        }
    }

    /// All facts whose key begins with `prefix`, by key.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Vec<(Key, Fact)> {
        let changes = self
            .changes
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let mut changes = changes.peekable();
        if changes.peek().is_none() {
            return self.below.below(prefix);
        }
        let mut found: BTreeMap<Key, Fact> = self.below.below(prefix).into_iter().collect();
        for (key, fact) in changes {
            match fact {
                Some(fact) => found.insert(Arc::clone(key), Arc::clone(fact)),
                None => found.remove(key),
            };
        }
        found.into_iter().collect()
    }

    /// The first facts, at most `limit`, whose key begins with `prefix` and comes after `after`.
    #[must_use]
    pub fn page(&self, prefix: &str, after: &str, limit: usize) -> Vec<(Key, Fact)> {
        let written = |(key, _): (&Key, &Option<Fact>)| key.starts_with(prefix);
        let mut changes = self.changes.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        if !changes.next().is_some_and(written) {
            return self.below.page(prefix, after, limit);
        }
        let all = self.below(prefix).into_iter();
        all.filter(|(key, _)| key.as_ref() > after).take(limit).collect()
    }

    /// All facts below a prefix, decoded, with the rest of their key.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn list<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, Failure> {
        self.below(prefix)
            .into_iter()
            .map(|(key, text)| Ok((key[prefix.len()..].to_owned(), decode(&key, &text)?)))
            .collect()
    }

    /// Keys of the facts that have a term, in order.
    #[must_use]
    pub fn indexed(&self, term: &str) -> Vec<Key> {
        let mut keys: Vec<Key> =
            self.below.indexed(term).into_iter().filter(|key| !self.changes.contains_key(key)).collect();
        if let Some(own) = self.index.get(term) {
            keys.extend(own.iter().cloned());
            keys.sort_unstable();
        }
        keys
    }

    fn forget_terms(&mut self, key: &Key) {
        if let Some(Some(old)) = self.changes.get(key) {
            for term in self.below.terms(key, old) {
                if let Some(keys) = self.index.get_mut(&term) {
                    keys.remove(key);
                }
            }
        }
    }
}

fn decode<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        failure::other("damaged-platform", key, format!("the simulated platform's fact is not readable: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    fn words(_key: &str, fact: &str) -> Vec<String> {
        vec![fact.trim_matches('"').to_owned()]
    }

    fn memory() -> Memory {
        let mut memory = Memory::new(words);
        for (key, value) in [("a/1", "\"x\""), ("a/2", "\"y\""), ("b/1", "\"x\"")] {
            memory.set(key.into(), Some(value.into()));
        }
        memory
    }

    fn keys(keys: &[Key]) -> Vec<&str> {
        keys.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn reads_see_writes_and_fall_through() -> Result<(), Failure> {
        let memory = memory();
        let mut tx = Transaction::new(&memory);
        tx.set("a/3", "x")?;
        tx.remove("a/1");
        assert_eq!(tx.list::<String>("a/")?, [("2".to_owned(), "y".to_owned()), ("3".to_owned(), "x".to_owned())]);
        assert_eq!(keys(&tx.indexed("x")), ["a/3", "b/1"]);
        tx.set("a/3", "z")?;
        assert_eq!(keys(&tx.indexed("x")), ["b/1"]);
        assert_eq!(keys(&tx.indexed("z")), ["a/3"]);
        assert_eq!(tx.get::<String>("b/1")?.as_deref(), Some("x"));
        let page = |prefix, after| {
            let found = tx.page(prefix, after, 1);
            found.first().map(|(key, _)| key.to_string())
        };
        assert_eq!(page("a/", "").as_deref(), Some("a/2"));
        assert_eq!(page("a/", "a/2").as_deref(), Some("a/3"));
        assert_eq!(page("a/", "a/3"), None);
        assert_eq!(page("b/", "").as_deref(), Some("b/1"));
        Ok(())
    }

    #[test]
    fn a_write_of_the_same_is_no_change() -> Result<(), Failure> {
        let mut memory = memory();
        let mut tx = Transaction::new(&memory);
        tx.set("a/1", "other")?;
        tx.set("a/1", "x")?;
        assert!(!tx.changed());
        tx.set("b/1", "w")?;
        tx.remove("a/2");
        let change = tx.into_change();
        assert_eq!(change.len(), 2);
        memory.apply(change);
        assert!(memory.get("a/2").is_none());
        assert_eq!(keys(&memory.indexed("w")), ["b/1"]);
        assert_eq!(keys(&memory.indexed("x")), ["a/1"]);
        Ok(())
    }
}
