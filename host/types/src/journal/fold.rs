//! The status of a run: a fold over its journal. What cannot follow from what stood before is damage, and an error.

use indexmap::IndexMap;
use std::collections::BTreeMap;

use super::{
    Attempt, CallId, Decision, DecisionEntry, End, Entry, RunEnded, RunOutcome, Start, StepBegun, StepEnded,
    StepOutcome,
};
use crate::{EffectClass, Operation, Target};

/// An entry that cannot stand where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    /// Something happened after the run's end without somebody going on with it.
    #[error("an entry follows the run's end, and nobody resumed the run")]
    AfterEnd,
    /// The run was resumed after an end that is final.
    #[error("the run was resumed after it ended for good ({0})")]
    ResumedForGood(RunOutcome),
    /// An attempt began twice, or out of order.
    #[error("attempt {0} begins, and {1}")]
    Begun(Attempt, &'static str),
    /// Something happened in an attempt that had not begun or had ended.
    #[error("{0} goes on, and {1}")]
    Attempt(Attempt, &'static str),
    /// A call began twice, or out of order.
    #[error("call {0} begins, and {1}")]
    Started(CallId, &'static str),
    /// A call ended that had not begun, or an item of it twice.
    #[error("call {0} ends, and {1}")]
    Ended(CallId, &'static str),
}

/// Where a run stands.
#[derive(Debug, Clone, Default)]
pub struct RunStatus {
    attempts: IndexMap<(String, Target), Vec<AttemptStatus>>,
    skipped: IndexMap<String, String>,
    ended: Option<RunEnded>,
    resumptions: u32,
    unwinding: bool,
    cancelled: bool,
}

/// Where an attempt stands.
#[derive(Debug, Clone)]
pub struct AttemptStatus {
    /// Its beginning.
    pub begun: StepBegun,
    /// Its end.
    pub ended: Option<StepEnded>,
    /// Whether the host saw something change.
    pub changed: bool,
    /// Calls by their index.
    pub calls: BTreeMap<u32, CallStatus>,
}

/// Where a call stands.
#[derive(Debug, Clone)]
pub struct CallStatus {
    /// `interface.function`.
    pub function: String,
    /// Its class.
    pub class: EffectClass,
    /// For each item whether it has ended.
    pub items: Vec<bool>,
    /// The how manieth going-on with the run it belongs to.
    resumption: u32,
}

impl CallStatus {
    /// Whether all its items ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.items.iter().all(|ended| *ended)
    }
}

/// A write of which an item has no end: under way, or in doubt when nobody runs the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWrite {
    /// Call.
    pub call: CallId,
    /// `interface.function`.
    pub function: String,
    /// Places in the call's list that have no end.
    pub items: Vec<u32>,
}

impl RunStatus {
    /// The status after all these entries.
    ///
    /// # Errors
    /// The first entry that cannot stand where it stands, by its index.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<Self, (usize, IllegalTransition)> {
        let mut status = Self::default();
        for (index, entry) in entries.into_iter().enumerate() {
            status.apply(entry).map_err(|error| (index, error))?;
        }
        Ok(status)
    }

    /// Goes on by one entry.
    ///
    /// # Errors
    /// When it cannot follow; the status is as before then.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), IllegalTransition> {
        if self.ended.is_some() && !is_resumption(entry) {
            return Err(IllegalTransition::AfterEnd);
        }
        match entry {
            Entry::StepBegun(begun) => self.begin(begun),
            Entry::Start(start) => self.start(start),
            Entry::End(end) => self.end(end),
            Entry::Decision(decision) => self.decide(decision),
            Entry::Log(line) => self.open(&line.attempt).map(|_| ()),
            Entry::StepEnded(ended) => {
                let attempt = self.open(&ended.attempt)?;
                attempt.changed |= ended.outcome == StepOutcome::Changed;
                attempt.ended = Some(ended.clone());
                Ok(())
            }
            Entry::RunEnded(ended) => {
                self.ended = Some(ended.clone());
                Ok(())
            }
        }
    }

    fn begin(&mut self, begun: &StepBegun) -> Result<(), IllegalTransition> {
        let refuse = |why| Err(IllegalTransition::Begun(begun.attempt.clone(), why));
        let key = (begun.attempt.step.clone(), begun.attempt.target.clone());
        let earlier = self.attempts.get(&key).map_or(&[][..], Vec::as_slice);
        if u32::try_from(earlier.len() + 1) != Ok(begun.attempt.attempt) {
            return refuse("it is not the next one");
        }
        match earlier.last().map(|last| last.outcome()) {
            Some(None) => return refuse("the one before it has not ended"),
            Some(Some(outcome)) if outcome.is_success() => {
                return refuse("the one before it succeeded");
            }
            Some(Some(_)) | None => {}
        }
        self.attempts.entry(key).or_default().push(AttemptStatus {
            begun: begun.clone(),
            ended: None,
            changed: false,
            calls: BTreeMap::new(),
        });
        Ok(())
    }

    fn find(&mut self, attempt: &Attempt) -> Result<&mut AttemptStatus, IllegalTransition> {
        // Borrowing the key would need a copy of it for each entry; there are few attempts of a step.
        let number = usize::try_from(attempt.attempt).unwrap_or(usize::MAX);
        self.attempts
            .get_mut(&(attempt.step.clone(), attempt.target.clone()))
            .and_then(|attempts| attempts.get_mut(number.checked_sub(1)?))
            .ok_or_else(|| IllegalTransition::Attempt(attempt.clone(), "it never began"))
    }

    fn open(&mut self, attempt: &Attempt) -> Result<&mut AttemptStatus, IllegalTransition> {
        let found = self.find(attempt)?;
        if found.ended.is_some() {
            return Err(IllegalTransition::Attempt(attempt.clone(), "it ended before"));
        }
        Ok(found)
    }

    fn start(&mut self, start: &Start) -> Result<(), IllegalTransition> {
        let refuse = |why| Err(IllegalTransition::Started(start.call.clone(), why));
        let resumption = self.resumptions;
        let attempt = self.open(&start.call.of())?;
        match attempt.calls.get(&start.call.index) {
            // Asked again after a stop: reads always are, a write when it was found not to have happened.
            Some(known) if known.resumption == resumption => return refuse("it began before"),
            Some(known) if known.function != start.function => {
                return refuse("it was another function before");
            }
            Some(known) if known.class.is_write() && known.is_over() => {
                return refuse("it is over");
            }
            Some(_) => {}
            None if attempt.calls.last_key_value().is_some_and(|(last, _)| *last > start.call.index) => {
                return refuse("a later one began before it");
            }
            None => {}
        }
        let call = CallStatus {
            function: start.function.clone(),
            class: start.class,
            items: vec![false; usize::try_from(start.count).unwrap_or_default()],
            resumption,
        };
        attempt.calls.insert(start.call.index, call);
        Ok(())
    }

    /// An end may come after its attempt's: a time-out ends the waiting, not the effect.
    fn end(&mut self, end: &End) -> Result<(), IllegalTransition> {
        let refuse = |why| Err(IllegalTransition::Ended(end.call.clone(), why));
        let attempt = self.find(&end.call.of())?;
        let Some(call) = attempt.calls.get_mut(&end.call.index) else {
            return refuse("it never began");
        };
        let mut items = call.items.clone();
        for item in &end.items {
            match usize::try_from(item.item).ok().and_then(|index| items.get_mut(index)) {
                None => return refuse("it has no such item"),
                Some(true) => return refuse("this item ended before"),
                Some(ended) => *ended = true,
            }
        }
        call.items = items;
        attempt.changed |= end.items.iter().any(|item| item.changed);
        Ok(())
    }

    fn decide(&mut self, entry: &DecisionEntry) -> Result<(), IllegalTransition> {
        match &entry.what {
            Decision::Resumed { .. } => {
                if let Some(ended) = &self.ended
                    && ended.outcome.is_terminal()
                {
                    return Err(IllegalTransition::ResumedForGood(ended.outcome));
                }
                self.ended = None;
                self.resumptions += 1;
                self.cancelled = false;
            }
            Decision::Skipped { reason } => {
                if let Some(step) = &entry.step {
                    self.skipped.insert(step.clone(), reason.clone());
                }
            }
            Decision::Unwinding { .. } => self.unwinding = true,
            Decision::Cancelled { .. } => self.cancelled = true,
            Decision::Fixed { .. }
            | Decision::Gate { .. }
            | Decision::Batch { .. }
            | Decision::Threshold { .. }
            | Decision::Retry { .. }
            | Decision::TimedOut { .. }
            | Decision::Answered { .. }
            | Decision::BackupSet { .. } => {}
        }
        Ok(())
    }

    /// How it ended; none: somebody runs it, or it was cut off.
    #[must_use]
    pub const fn ended(&self) -> Option<&RunEnded> {
        self.ended.as_ref()
    }

    /// How often somebody went on with it.
    #[must_use]
    pub const fn resumptions(&self) -> u32 {
        self.resumptions
    }

    /// Whether it backs out what it did.
    #[must_use]
    pub const fn is_unwinding(&self) -> bool {
        self.unwinding
    }

    /// Whether it was asked to stop since somebody last went on with it.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Why a step was left out, when it was.
    #[must_use]
    pub fn skipped(&self, step: &str) -> Option<&str> {
        self.skipped.get(step).map(String::as_str)
    }

    /// Steps with their targets in the order in which they first began, each with its attempts.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &Target, &[AttemptStatus])> {
        self.attempts.iter().map(|((step, target), attempts)| (step.as_str(), target, attempts.as_slice()))
    }

    /// The last attempt of a step over a target.
    #[must_use]
    pub fn last_attempt(&self, step: &str, target: &Target) -> Option<&AttemptStatus> {
        self.attempts.get(&(step.to_owned(), target.clone()))?.last()
    }

    /// Writes of which an item has no end: under way, or in doubt when nobody runs the run.
    #[must_use]
    pub fn open_writes(&self) -> Vec<OpenWrite> {
        let mut found = Vec::new();
        for attempt in self.attempts.values().flatten() {
            for (index, call) in &attempt.calls {
                if !call.class.is_write() || call.is_over() {
                    continue;
                }
                let Attempt { step, target, attempt } = attempt.begun.attempt.clone();
                found.push(OpenWrite {
                    call: CallId { step, target, attempt, index: *index },
                    function: call.function.clone(),
                    items: (0u32..).zip(&call.items).filter(|(_, ended)| !**ended).map(|(item, _)| item).collect(),
                });
            }
        }
        found
    }
}

impl AttemptStatus {
    /// How it ended; none: it goes on, or was cut off.
    #[must_use]
    pub fn outcome(&self) -> Option<StepOutcome> {
        self.ended.as_ref().map(|ended| ended.outcome)
    }

    /// What it does.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.begun.operation
    }
}

const fn is_resumption(entry: &Entry) -> bool {
    matches!(entry, Entry::Decision(DecisionEntry { what: Decision::Resumed { .. }, .. }))
}

#[cfg(test)]
mod tests;
