//! How a platform behaves: the rules by which an effect changes facts. One model serves every source of facts.

mod changes;
pub(crate) mod commands;
pub(crate) mod content;
pub(crate) mod files;
mod functions;
pub(crate) mod hosts;
pub(crate) mod keys;
mod needs;
pub(crate) mod packages;
mod scope;
pub(crate) mod units;
pub(crate) mod version;

use std::collections::{BTreeMap, BTreeSet};

use runner_types::Timestamp;

use super::facts::{Change, Facts, Key, Transaction};
use super::fault::{Fault, FaultKind, Occasion, fits};
use super::kubernetes::controllers::Work;
use super::rules::Rules;
use crate::contract::Failure;
use content::Blobs;

pub(crate) use scope::Scope;

/// Effects that behaviours cause in turn may nest this deep.
const DEPTH: u32 = 16;

/// One effect on a platform: reads and writes facts by the platform's rules.
pub(crate) struct Model<'a> {
    pub(crate) tx: Transaction<'a>,
    pub(crate) rules: &'a Rules,
    pub(crate) blobs: &'a Blobs,
    pub(crate) now: Timestamp,
    /// Kubernetes objects that controllers have to look at before the effect ends.
    pub(crate) work: BTreeSet<Work>,
    /// Occurrences of faults: they count even where the effect itself leaves nothing.
    counters: BTreeMap<Key, u64>,
    /// Faults do not strike while the platform comes into being.
    pub(crate) spared: bool,
    keep: bool,
    depth: u32,
}

impl<'a> Model<'a> {
    /// Begins an effect.
    pub(crate) fn new(facts: &'a dyn Facts, rules: &'a Rules, blobs: &'a Blobs, now: Timestamp) -> Self {
        Self {
            tx: Transaction::new(facts),
            rules,
            blobs,
            now,
            work: BTreeSet::new(),
            counters: BTreeMap::new(),
            spared: false,
            keep: false,
            depth: 0,
        }
    }

    /// Keeps what was changed although the effect fails.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Whether it does.
    pub(crate) fn keeps(&self) -> bool {
        self.keep
    }

    /// What the effect changed, given whether it succeeded.
    pub(crate) fn into_change(self, succeeded: bool) -> Change {
        let mut change = match succeeded || self.keep {
            true => self.tx.into_change(),
            false => Change::new(),
        };
        for (key, count) in self.counters {
            change.insert(key, Some(count.to_string().into()));
        }
        change
    }

    /// The fault, if one strikes here and now, for which `also` is true.
    pub(crate) fn fault(
        &mut self,
        kind: FaultKind,
        occasion: Occasion<'_>,
        also: impl Fn(&Fault) -> bool,
    ) -> Result<Option<&'a Fault>, Failure> {
        for (number, fault) in self.rules.faults.iter().enumerate() {
            if self.spared || !fits(fault, kind, occasion) || !also(fault) {
                continue;
            }
            if !fault.counts() {
                return Ok(Some(fault));
            }
            let name = fault.name.clone().unwrap_or_else(|| number.to_string());
            let key = keys::fault(&name);
            let before = match self.counters.get(key.as_str()) {
                Some(count) => *count,
                None => self.tx.get::<u64>(&key)?.unwrap_or(0),
            };
            self.counters.insert(key.into(), before + 1);
            if fault.strikes(before + 1) {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }

    /// Runs what an effect causes in turn, within bounds.
    pub(crate) fn nested<T>(
        &mut self,
        what: &str,
        run: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self.depth >= DEPTH {
            return Err(crate::backend::failure::other("behaviour", what, "behaviours cause each other without end"));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }
}
