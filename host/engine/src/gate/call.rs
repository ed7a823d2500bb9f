//! One call on its way through the gate.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use futures::future::join_all;
use runner_types::{Artifact, CallId, EffectItem, End, Entry, EventKind, ItemEnd, ItemOutcome, Start};
use serde_json::Value;

use super::authorise::failure;
use super::runner::Runner;
use super::{Attempt, Stop};
use crate::backend::budget::Budget;
use crate::backend::failure::NO_RIGHTS;
use crate::backend::live::secrets::Secrets;
use crate::capability::{Capable, place_name};
use crate::contract::{Backend, Class, Cut, Failure, FailureKind, Function, InDoubt, Place, RetryAdvice};
use crate::journal::Durability;

/// Calls that an attempt may make (rule 8 of the contract).
pub(crate) const MAX_CALLS: u32 = 100_000;
/// Items that a call may carry.
const MAX_ITEMS: usize = 10_000;
/// Bytes of arguments that a call may carry, and that an answer may have.
const MAX_BYTES: usize = 8 << 20;
/// Bytes that all answers of a call may have.
const MAX_ANSWERS: usize = 4 * MAX_BYTES;

/// One call on its way, judged.
pub(super) struct Call<F: Function> {
    pub(super) attempt: Arc<Attempt>,
    pub(super) call: CallId,
    pub(super) class: runner_types::EffectClass,
    pub(super) items: Vec<F::Item>,
    pub(super) verdicts: Vec<Result<(), Failure>>,
    /// Items that may be performed, by place, in order.
    pub(super) places: Vec<(Place, Vec<usize>)>,
    /// Where each item's paths really are.
    pub(super) real: Vec<Vec<String>>,
    /// What all its answers may hold together.
    pub(super) budget: Budget,
}

/// What is known of a call's answers.
struct Answers<A> {
    /// One for each item that has ended.
    known: Vec<Option<Result<A, Failure>>>,
    /// Bytes that further ones may have as JSON.
    left: usize,
}

impl<F: Function> Call<F> {
    pub(super) async fn make(mut self) -> Result<Vec<Result<F::Answer, Failure>>, Stop> {
        let gate = Arc::clone(&self.attempt.gate);
        let places = std::mem::take(&mut self.places);
        let asked = serde_json::to_value(&self.items).map_err(|error| unwritable(&error))?;
        if let Some(refusal) = too_large(&asked) {
            return Ok(self.items.iter().map(|_| Err(refusal.clone())).collect());
        }
        let mut before = Vec::new();
        if self.class.is_write() && !places.is_empty() {
            before = self.before(&places).await;
            for state in &mut before {
                gate.platform.secrets.mask_json(state);
            }
        }
        let start = Start {
            call: self.call.clone(),
            function: F::NAME.to_owned(),
            class: self.class,
            destructive: F::DESTRUCTIVE || self.items.iter().any(Capable::destroys),
            count: u32::try_from(self.items.len()).unwrap_or(u32::MAX),
            items: gate.payload(asked).await?,
            before,
        };
        let durability =
            if self.class.is_write() && !places.is_empty() { Durability::Flushed } else { Durability::Lazy };
        gate.journal.append(Entry::Start(start), durability).await?;
        gate.observer.observe(EventKind::EffectBegun {
            call: self.call.clone(),
            function: F::NAME.to_owned(),
            class: self.class,
            items: self.items.iter().map(|item| effect_item::<F>(item, item.label())).collect(),
        });

        let count = self.items.len();
        let mut answers = Answers { known: (0..count).map(|_| None).collect(), left: MAX_ANSWERS };
        let mut refused = Vec::new();
        for (index, verdict) in std::mem::take(&mut self.verdicts).into_iter().enumerate() {
            if let Err(failure) = verdict {
                refused.push((index, Err(failure)));
            }
        }
        if !refused.is_empty() {
            // The gate's own words about the plugin's: to look for values there would tell who guesses them.
            self.end(&mut answers, refused, None).await?;
        }
        let mut stop = None;
        let performing = places.into_iter().map(|(place, indices)| self.perform(place, indices));
        // Places do not wait for each other; each has its End when it is done.
        let mut performing: futures::stream::FuturesUnordered<_> = performing.collect();
        while let Some((known, cut)) = futures::StreamExt::next(&mut performing).await {
            let secrets = Some(&*gate.platform.secrets);
            let ended = if known.is_empty() { Ok(()) } else { self.end(&mut answers, known, secrets).await };
            stop = Stop::graver(stop, Stop::graver(cut, ended.err()));
        }
        drop(performing);
        if let Some(stop) = stop {
            return Err(stop);
        }
        self.attempt.note_time();
        self.report(&answers.known);
        let missing = || Err(failure(FailureKind::Unsupported, F::NAME.to_owned(), "no answer".to_owned()));
        Ok(answers.known.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect())
    }

    /// State before a write, place by place.
    async fn before(&self, places: &[(Place, Vec<usize>)]) -> Vec<Value> {
        let mut before = vec![Value::Null; self.items.len()];
        let reading = places.iter().map(|(place, indices)| async move {
            let items: Vec<F::Item> = indices.iter().filter_map(|index| self.items.get(*index).cloned()).collect();
            match self.backend(place) {
                Some(backend) => F::Item::before(&*backend, place, &items).await,
                None => Vec::new(),
            }
        });
        for ((_, indices), values) in places.iter().zip(join_all(reading).await) {
            for (index, value) in indices.iter().zip(values) {
                if let Some(slot) = before.get_mut(*index) {
                    *slot = value;
                }
            }
        }
        if before.iter().all(Value::is_null) { Vec::new() } else { before }
    }

    /// Performs the items at a place: the ends that are known, and why there are no more.
    async fn perform(
        &self,
        place: Place,
        indices: Vec<usize>,
    ) -> (Vec<(usize, Result<F::Answer, Failure>)>, Option<Stop>) {
        let items: Vec<F::Item> = indices.iter().filter_map(|index| self.items.get(*index).cloned()).collect();
        let wanted = items.len();
        let performed = match self.backend(&place) {
            Some(backend) => {
                let caller = self.attempt.caller(self.call.clone(), indices.clone()).within(&self.budget);
                F::perform(&*backend, &place, &caller, items).await
            }
            None => Ok(Vec::new()),
        };
        let (known, cut) = match performed {
            Ok(mut answers) => {
                let missing = || {
                    let message = format!("{} answered fewer items than it was asked", place_name(&place));
                    Err(failure(FailureKind::Other("backend".to_owned()), F::NAME.to_owned(), message))
                };
                answers.resize_with(wanted, missing);
                (answers.into_iter().enumerate().collect(), None)
            }
            Err(Cut { stop: Stop::InDoubt(doubt), known }) => (known, Some(self.named(&place, &indices, doubt).into())),
            Err(Cut { stop, known }) => (known, Some(stop)),
        };
        let mut known: Vec<(usize, Result<F::Answer, Failure>)> =
            known.into_iter().filter_map(|(at, answer)| Some((*indices.get(at)?, answer))).collect();
        blame_the_host::<F>(&place, known.iter_mut().map(|(_, answer)| answer));
        (known, cut)
    }

    /// A doubt that says what it is about: `packages.install containerd on node-1: the connection was lost`.
    fn named(&self, place: &Place, indices: &[usize], doubt: InDoubt) -> InDoubt {
        let item = indices.get(doubt.item).and_then(|index| self.items.get(*index));
        let label = item.map_or_else(String::new, |item| format!(" {}", item.label()));
        let said = self.attempt.gate.platform.secrets.mask(doubt.message);
        InDoubt { message: format!("{}{label} on {}: {said}", F::NAME, place_name(place)), ..doubt }
    }

    fn backend(&self, place: &Place) -> Option<Arc<dyn Backend>> {
        match place {
            Place::Runner => Some(Arc::new(Runner(Arc::clone(&self.attempt)))),
            Place::Host(_) | Place::Cluster(_) => self.attempt.gate.platform.backend(place).cloned(),
        }
    }

    /// Whether the answer comes from a host or a server, or from a host's file in the store. What the runner answers itself,
    /// from its own memory and from what plugins gave it, holds no value but by chance or by a guess.
    fn asks_others(&self, item: &F::Item) -> bool {
        F::place(item) != Place::Runner
            || F::NAME.starts_with("http.")
            || item.takes().is_some_and(|digest| self.attempt.is_of_a_file(digest))
    }

    /// Journals the end of some items and keeps their answers, the values of these secrets left out of both.
    async fn end(
        &self,
        answers: &mut Answers<F::Answer>,
        ended: Vec<(usize, Result<F::Answer, Failure>)>,
        secrets: Option<&Secrets>,
    ) -> Result<(), Stop> {
        let gate = &self.attempt.gate;
        let mut items = Vec::with_capacity(ended.len());
        for (index, answer) in ended {
            let changed;
            let item = self.items.get(index);
            let secrets = secrets.filter(|_| item.is_some_and(|item| self.asks_others(item)));
            let done = answer.is_ok();
            let (answer, outcome) = match answer.and_then(|answer| fits::<F>(answer, secrets, &mut answers.left)) {
                Ok((answer, value)) => {
                    changed = self.class.is_write() && has_changed(&value, item.map(F::class));
                    if F::OPENS
                        && let Value::String(handle) = &value
                    {
                        self.attempt.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(handle.clone());
                    }
                    if F::STORES
                        && let Ok(artifact) = serde_json::from_value(value.clone())
                    {
                        self.keep(index, artifact);
                    }
                    (Ok(answer), ItemOutcome::Ok(gate.payload(value).await?))
                }
                Err(failure) => {
                    // Done, and its answer does not fit.
                    changed = done && item.is_some_and(|item| F::class(item).is_write());
                    let failure = match secrets {
                        Some(_) => gate.masked(failure),
                        None => failure,
                    };
                    let value = serde_json::to_value(&failure).map_err(|error| unwritable(&error))?;
                    (Err(failure), ItemOutcome::Failed(value))
                }
            };
            if changed {
                self.attempt.changed.store(true, Ordering::Relaxed);
            }
            items.push(ItemEnd { item: u32::try_from(index).unwrap_or(u32::MAX), outcome, changed });
            if let Some(slot) = answers.known.get_mut(index) {
                *slot = Some(answer);
            }
        }
        let end = End { call: self.call.clone(), items };
        gate.journal.append(Entry::End(end), Durability::Lazy).await?;
        Ok(())
    }

    /// Remembers what an item put into the store.
    fn keep(&self, index: usize, artifact: Artifact) {
        let is_file = self.items.get(index).is_some_and(Capable::stores_file);
        let file = self.real.get(index).and_then(|real| real.first()).filter(|_| is_file).cloned();
        let artifact = Artifact { file, ..artifact };
        self.attempt.gate.stored.add(&self.attempt.spec.plugin, artifact.clone());
        self.attempt.stored.lock().unwrap_or_else(PoisonError::into_inner).push(artifact);
    }

    fn report(&self, answers: &[Option<Result<F::Answer, Failure>>]) {
        let failed = self
            .items
            .iter()
            .zip(answers)
            .filter_map(|(item, answer)| match answer {
                Some(Err(failure)) => Some(effect_item::<F>(item, failure.message.clone())),
                _ => None,
            })
            .collect();
        self.attempt.gate.observer.observe(EventKind::EffectEnded {
            call: self.call.clone(),
            function: F::NAME.to_owned(),
            failed,
            changed: self.class.is_write() && self.attempt.has_changed(),
            replayed: false,
        });
    }
}

/// Items that may be performed, by place, in order.
pub(super) fn by_place<F: Function>(items: &[F::Item], verdicts: &[Result<(), Failure>]) -> Vec<(Place, Vec<usize>)> {
    let mut places: Vec<(Place, Vec<usize>)> = Vec::new();
    for (index, (item, verdict)) in items.iter().zip(verdicts).enumerate() {
        if verdict.is_err() {
            continue;
        }
        let place = F::place(item);
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, indices)) => indices.push(index),
            None => places.push((place, vec![index])),
        }
    }
    places
}

pub(super) fn too_much(index: u32, items: usize) -> Option<Failure> {
    let message = if index >= MAX_CALLS {
        format!("the attempt made {MAX_CALLS} calls; it may make no more")
    } else if items > MAX_ITEMS {
        format!("a call may carry {MAX_ITEMS} items, not {items}")
    } else {
        return None;
    };
    Some(Failure { kind: FailureKind::TooLarge, retry: RetryAdvice::No, subject: "call".to_owned(), message })
}

fn too_large(asked: &Value) -> Option<Failure> {
    (super::weight(asked, MAX_BYTES) > MAX_BYTES).then(|| Failure {
        kind: FailureKind::TooLarge,
        retry: RetryAdvice::No,
        subject: "call".to_owned(),
        message: format!("a call may carry {} MiB", MAX_BYTES >> 20),
    })
}

/// The answer and its JSON without the values of these secrets, unless it is more than a call may bring. `left`: what
/// that still is.
fn fits<F: Function>(
    mut answer: F::Answer,
    secrets: Option<&Secrets>,
    left: &mut usize,
) -> Result<(F::Answer, Value), Failure> {
    let unwritable = |error: serde_json::Error| Failure {
        kind: FailureKind::Other("answer".to_owned()),
        retry: RetryAdvice::No,
        subject: F::NAME.to_owned(),
        message: format!("the answer cannot be written down: {error}"),
    };
    let mut value = serde_json::to_value(&answer).map_err(unwritable)?;
    if secrets.is_some_and(|secrets| secrets.mask_json(&mut value)) {
        answer = serde::Deserialize::deserialize(&value).map_err(unwritable)?;
    }
    let weight = super::weight(&value, MAX_BYTES);
    if weight > MAX_BYTES {
        let message = format!("the answer is more than {} MiB; ask for less, or page", MAX_BYTES >> 20);
        return Err(failure(FailureKind::TooLarge, F::NAME.to_owned(), message));
    }
    let Some(rest) = left.checked_sub(weight) else {
        let message = format!("the call's answers are more than {} MiB; ask for fewer at a time", MAX_ANSWERS >> 20);
        return Err(failure(FailureKind::TooLarge, F::NAME.to_owned(), message));
    };
    *left = rest;
    Ok((answer, value))
}

/// Whether an answer of a write says that something changed; a command or request that writes always counts.
fn has_changed(answer: &Value, class: Option<Class>) -> bool {
    match answer {
        Value::Bool(changed) => *changed,
        Value::Object(fields) => match fields.get("changed") {
            Some(changed) => changed.as_bool().unwrap_or(true),
            None => class.is_some_and(Class::is_write),
        },
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

fn effect_item<F: Function>(item: &F::Item, subject: String) -> EffectItem {
    let place = match F::place(item) {
        Place::Host(name) => runner_types::Place::Host(name),
        Place::Cluster(name) => runner_types::Place::Cluster(name),
        Place::Runner => runner_types::Place::Runner,
    };
    EffectItem { place, subject }
}

fn unwritable(error: &serde_json::Error) -> Stop {
    Stop::Journal(crate::journal::JournalError::Append {
        path: "the journal".to_owned(),
        reason: format!("a call cannot be written down: {error}"),
    })
}

fn is_the_hosts(kind: &FailureKind) -> bool {
    matches!(kind, FailureKind::Unreachable) || matches!(kind, FailureKind::Other(kind) if kind == NO_RIGHTS)
}

/// What does not answer, or gives no rights, is the host, whatever it was asked for: recaps count by that. A request's
/// failure names its URL, which may be somewhere else.
fn blame_the_host<'a, F: Function>(place: &Place, answers: impl Iterator<Item = &'a mut Result<F::Answer, Failure>>) {
    let Place::Host(host) = place else { return };
    if F::NAME.starts_with("http.") {
        return;
    }
    for answer in answers {
        if let Err(failure) = answer
            && is_the_hosts(&failure.kind)
        {
            failure.subject.clone_from(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::artifacts::{GetData, StoredData};

    #[test]
    fn answers_count_together() {
        let answer = || StoredData { data: vec![0; 5 << 20] };
        let mut left = MAX_ANSWERS;
        let fitting = (0..100).filter(|_| fits::<GetData>(answer(), None, &mut left).is_ok()).count();
        assert!((2..=6).contains(&fitting), "{fitting} answers of 5 MiB in {MAX_ANSWERS} bytes");
        let tiny = fits::<GetData>(StoredData { data: Vec::new() }, None, &mut left);
        assert!(tiny.is_ok(), "what still fits is not lost");
    }
}
