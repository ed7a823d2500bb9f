//! Calls of one attempt of a step over one target.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use runner_types::{
    CallId, EffectItem, End, Entry, EventKind, Grant, ItemEnd, ItemOutcome, LogLevel, LogLine,
    Operation, PromptSpec, Start,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::authorise::{effect_class, failure};
use super::runner::Runner;
use super::{Gate, Stop};
use crate::capability::{Capable, Subject, place_name};
use crate::contract::{Backend, Class, Failure, FailureKind, Function, Place, RetryAdvice, log};
use crate::journal::Durability;

/// Calls that an attempt may make (rule 8 of the contract).
const MAX_CALLS: u32 = 100_000;
/// Items that a call may carry.
const MAX_ITEMS: usize = 10_000;
/// Bytes of arguments that a call may carry, and of answers that it may bring.
const MAX_BYTES: usize = 8 << 20;
/// Lines that an attempt may log.
const MAX_LINES: u32 = 10_000;
/// Times that an attempt may show its progress.
const MAX_PROGRESS: u32 = 100_000;
/// Longest line; the rest is cut.
const MAX_LINE: usize = 4 << 10;

/// What an attempt is, and what its plugin may do in it.
#[derive(Debug, Clone)]
pub struct AttemptSpec {
    /// Step, target and number.
    pub id: runner_types::Attempt,
    /// Name of the plugin.
    pub plugin: String,
    /// Operation.
    pub operation: Operation,
    /// Writes are denied.
    pub reads_only: bool,
    /// Hosts of the target.
    pub hosts: Vec<String>,
    /// Cluster of the target.
    pub cluster: Option<String>,
    /// What the manifest requests, with this step's parameters.
    pub requests: Vec<Grant>,
    /// Prompts that the manifest lists for this operation and these parameters.
    pub prompts: Vec<PromptSpec>,
}

/// The path of one attempt's calls through the gate.
pub struct Attempt {
    pub(super) gate: Arc<Gate>,
    pub(super) spec: AttemptSpec,
    calls: AtomicU32,
    lines: AtomicU32,
    shown: AtomicU32,
    changed: AtomicBool,
    stored: Mutex<Vec<runner_types::Artifact>>,
    last_time: AtomicU64,
    random: Mutex<StdRng>,
    pub(super) begun: Instant,
}

impl Attempt {
    /// An attempt that has made no call yet.
    #[must_use]
    pub fn new(gate: Arc<Gate>, spec: AttemptSpec) -> Arc<Self> {
        let seed = Sha256::new()
            .chain_update(gate.seed.to_le_bytes())
            .chain_update(spec.id.to_string().as_bytes())
            .finalize();
        Arc::new(Self {
            gate,
            spec,
            calls: AtomicU32::new(0),
            lines: AtomicU32::new(0),
            shown: AtomicU32::new(0),
            changed: AtomicBool::new(false),
            stored: Mutex::default(),
            last_time: AtomicU64::new(unix_millis()),
            random: Mutex::new(StdRng::from_seed(seed.into())),
            begun: Instant::now(),
        })
    }

    /// What this attempt is.
    #[must_use]
    pub fn spec(&self) -> &AttemptSpec {
        &self.spec
    }

    /// Whether the host saw an effect of this attempt change something.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Artifacts that this attempt put into the store.
    #[must_use]
    pub fn stored(&self) -> Vec<runner_types::Artifact> {
        self.stored
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The last journalled time, in milliseconds since 1970.
    #[must_use]
    pub fn last_time(&self) -> u64 {
        self.last_time.load(Ordering::Relaxed)
    }

    /// Bytes from the attempt's seed: the same ones when the attempt is replayed.
    #[must_use]
    pub fn random(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(&mut bytes);
        bytes
    }

    /// Stops a call before it begins.
    ///
    /// # Errors
    /// When the run was asked to stop.
    pub fn check_stop(&self) -> Result<(), Stop> {
        if self.gate.is_cancelled() {
            Err(Stop::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Writes a line for people. What is beyond the quota is dropped; the last line says so.
    pub fn log(&self, level: log::Level, message: &str, fields: &[crate::contract::types::Label]) {
        let number = self.lines.fetch_add(1, Ordering::Relaxed);
        if number > MAX_LINES {
            return;
        }
        let (level, message) = if number == MAX_LINES {
            (
                LogLevel::Warn,
                format!("{MAX_LINES} lines logged; further ones are dropped"),
            )
        } else {
            (log_level(level), printable(message))
        };
        let fields: Vec<runner_types::Label> = fields
            .iter()
            .take(32)
            .map(|label| runner_types::Label {
                name: printable(&label.name),
                value: printable(&label.value),
            })
            .collect();
        let line = LogLine {
            attempt: self.spec.id.clone(),
            level,
            message,
            fields,
        };
        let event = EventKind::Log {
            attempt: line.attempt.clone(),
            level: line.level,
            message: line.message.clone(),
        };
        // A line that cannot be journalled stops the run at its next call, which fails for the same reason.
        if self.gate.journal.append_lazily(Entry::Log(line)).is_ok() {
            self.gate.observer.observe(event);
        }
    }

    /// Shows how far the attempt is.
    pub(super) fn show(&self, message: &str, done: Option<u32>, total: Option<u32>) {
        if self.shown.fetch_add(1, Ordering::Relaxed) < MAX_PROGRESS {
            let attempt = self.spec.id.clone();
            self.gate.observer.observe(EventKind::Progress {
                attempt,
                message: printable(message),
                done,
                total,
            });
        }
    }

    /// Makes a call: the one path of every effect.
    ///
    /// # Errors
    /// When the run must stop here. Then nothing is journalled as the call's answer.
    pub async fn call<F: Function>(
        self: &Arc<Self>,
        items: Vec<F::Item>,
    ) -> Result<Vec<Result<F::Answer, Failure>>, Stop> {
        self.check_stop()?;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        if F::CLASS == Class::None {
            let answers = F::perform(&Runner(Arc::clone(self)), &Place::Runner, items).await?;
            return Ok(answers);
        }
        let index = self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(refusal) = too_much(index, items.len()) {
            return Ok(items.iter().map(|_| Err(refusal.clone())).collect());
        }
        let call = CallId {
            step: self.spec.id.step.clone(),
            target: self.spec.id.target.clone(),
            attempt: self.spec.id.attempt,
            index,
        };
        let class = items
            .iter()
            .map(F::class)
            .map(effect_class)
            .max()
            .unwrap_or(runner_types::EffectClass::Read);
        let verdicts = self.judge_all::<F>(&items, class.is_write()).await;
        let call = Call::<F> {
            attempt: Arc::clone(self),
            call,
            class,
            items,
            verdicts,
        };
        if class.is_write() {
            // In a task of its own: when the instance is dropped, the effect still goes to its End.
            let effect = self.gate.effects.spawn(call.make());
            effect.await.map_err(|error| crate::contract::InDoubt {
                item: 0,
                message: format!("its task broke down: {error}"),
            })?
        } else {
            call.make().await
        }
    }

    /// A verdict for each item; one refused item of a write keeps back all of them.
    async fn judge_all<F: Function>(
        &self,
        items: &[F::Item],
        write: bool,
    ) -> Vec<Result<(), Failure>> {
        let mut verdicts: Vec<_> = items.iter().map(|item| self.authorise::<F>(item)).collect();
        for (place, indices) in by_place::<F>(items, &verdicts) {
            self.judge_links::<F>(items, &place, &indices, &mut verdicts)
                .await;
        }
        if write && verdicts.iter().any(Result::is_err) {
            for (verdict, item) in verdicts.iter_mut().zip(items) {
                if verdict.is_ok() {
                    let message = "another item of the same call was refused".to_owned();
                    *verdict = Err(failure(FailureKind::NotAttempted, item.label(), message));
                }
            }
        }
        verdicts
    }

    /// Paths are granted by where they really are: symbolic links are followed first.
    async fn judge_links<F: Function>(
        &self,
        items: &[F::Item],
        place: &Place,
        indices: &[usize],
        verdicts: &mut [Result<(), Failure>],
    ) {
        let mut paths = Vec::new();
        for index in indices {
            if let Some(Ok(Subject::Paths(found))) = items.get(*index).map(Capable::subject) {
                paths.extend(found.into_iter().map(|path| (*index, path.into_owned())));
            }
        }
        if paths.is_empty() {
            return;
        }
        let Some(backend) = self.gate.platform.backend(place) else {
            return;
        };
        let asked = paths.iter().map(|(_, path)| path.clone()).collect();
        let real = backend.real_paths(place, asked).await;
        for ((index, path), real) in paths.iter().zip(real) {
            if *path == real {
                continue;
            }
            if let (Some(item), Some(verdict)) = (items.get(*index), verdicts.get_mut(*index))
                && verdict.is_ok()
            {
                *verdict = self.authorise_paths::<F>(item, &[real]);
            }
        }
    }

    fn note_time(&self) {
        self.last_time.store(unix_millis(), Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// One call on its way, judged.
struct Call<F: Function> {
    attempt: Arc<Attempt>,
    call: CallId,
    class: runner_types::EffectClass,
    items: Vec<F::Item>,
    verdicts: Vec<Result<(), Failure>>,
}

impl<F: Function> Call<F> {
    async fn make(mut self) -> Result<Vec<Result<F::Answer, Failure>>, Stop> {
        let gate = Arc::clone(&self.attempt.gate);
        let places = by_place::<F>(&self.items, &self.verdicts);
        let asked = serde_json::to_value(&self.items).map_err(|error| unwritable(&error))?;
        if let Some(refusal) = too_large(&asked) {
            return Ok(self.items.iter().map(|_| Err(refusal.clone())).collect());
        }
        let mut before = Vec::new();
        if self.class.is_write() && !places.is_empty() {
            before = self.before(&places).await;
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
        let durability = if self.class.is_write() && !places.is_empty() {
            Durability::Flushed
        } else {
            Durability::Lazy
        };
        gate.journal.append(Entry::Start(start), durability).await?;
        gate.observer.observe(EventKind::EffectBegun {
            call: self.call.clone(),
            function: F::NAME.to_owned(),
            class: self.class,
            items: self
                .items
                .iter()
                .map(|item| effect_item::<F>(item, item.label()))
                .collect(),
        });

        let count = self.items.len();
        let mut answers: Vec<Option<Result<F::Answer, Failure>>> =
            (0..count).map(|_| None).collect();
        let mut refused = Vec::new();
        for (index, verdict) in std::mem::take(&mut self.verdicts).into_iter().enumerate() {
            if let Err(failure) = verdict {
                refused.push((index, Err(failure)));
            }
        }
        if !refused.is_empty() {
            self.end(&mut answers, refused).await?;
        }
        let mut stop = None;
        let performing = places
            .into_iter()
            .map(|(place, indices)| self.perform(place, indices));
        // Places do not wait for each other; each has its End when it is done.
        let mut performing: futures::stream::FuturesUnordered<_> = performing.collect();
        while let Some((indices, performed)) = futures::StreamExt::next(&mut performing).await {
            match performed {
                Ok(done) => {
                    self.end(&mut answers, indices.into_iter().zip(done).collect())
                        .await?
                }
                Err(reason) => stop = Some(reason),
            }
        }
        drop(performing);
        if let Some(stop) = stop {
            return Err(stop);
        }
        self.attempt.note_time();
        self.report(&answers);
        let missing = || {
            Err(failure(
                FailureKind::Unsupported,
                F::NAME.to_owned(),
                "no answer".to_owned(),
            ))
        };
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(missing))
            .collect())
    }

    /// State before a write, place by place.
    async fn before(&self, places: &[(Place, Vec<usize>)]) -> Vec<Value> {
        let mut before = vec![Value::Null; self.items.len()];
        let reading = places.iter().map(|(place, indices)| async move {
            let items: Vec<F::Item> = indices
                .iter()
                .filter_map(|index| self.items.get(*index).cloned())
                .collect();
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
        if before.iter().all(Value::is_null) {
            Vec::new()
        } else {
            before
        }
    }

    async fn perform(
        &self,
        place: Place,
        indices: Vec<usize>,
    ) -> (Vec<usize>, Result<Vec<Result<F::Answer, Failure>>, Stop>) {
        let items: Vec<F::Item> = indices
            .iter()
            .filter_map(|index| self.items.get(*index).cloned())
            .collect();
        let wanted = items.len();
        let performed = match self.backend(&place) {
            Some(backend) => F::perform(&*backend, &place, items).await,
            None => Ok(Vec::new()),
        };
        let performed = performed.map(|mut answers| {
            let missing = || {
                let message = format!(
                    "{} answered fewer items than it was asked",
                    place_name(&place)
                );
                Err(failure(
                    FailureKind::Other("backend".to_owned()),
                    F::NAME.to_owned(),
                    message,
                ))
            };
            answers.resize_with(wanted, missing);
            answers
        });
        (indices, performed)
    }

    fn backend(&self, place: &Place) -> Option<Arc<dyn Backend>> {
        match place {
            Place::Runner => Some(Arc::new(Runner(Arc::clone(&self.attempt)))),
            Place::Host(_) | Place::Cluster(_) => {
                self.attempt.gate.platform.backend(place).cloned()
            }
        }
    }

    /// Journals the end of some items and keeps their answers.
    async fn end(
        &self,
        answers: &mut [Option<Result<F::Answer, Failure>>],
        ended: Vec<(usize, Result<F::Answer, Failure>)>,
    ) -> Result<(), Stop> {
        let gate = &self.attempt.gate;
        let mut items = Vec::with_capacity(ended.len());
        for (index, answer) in ended {
            let answer = answer.and_then(|answer| fits::<F>(answer));
            let mut changed = false;
            let outcome = match &answer {
                Ok((_, value)) => {
                    changed = self.class.is_write()
                        && has_changed(value, self.items.get(index).map(F::class));
                    ItemOutcome::Ok(gate.payload(value.clone()).await?)
                }
                Err(failure) => ItemOutcome::Failed(
                    serde_json::to_value(failure).map_err(|error| unwritable(&error))?,
                ),
            };
            if F::STORES
                && let Ok((_, value)) = &answer
                && let Ok(artifact) = serde_json::from_value(value.clone())
            {
                self.attempt
                    .stored
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(artifact);
            }
            if changed {
                self.attempt.changed.store(true, Ordering::Relaxed);
            }
            items.push(ItemEnd {
                item: u32::try_from(index).unwrap_or(u32::MAX),
                outcome,
                changed,
            });
            if let Some(slot) = answers.get_mut(index) {
                *slot = Some(answer.map(|(answer, _)| answer));
            }
        }
        let end = End {
            call: self.call.clone(),
            items,
        };
        gate.journal
            .append(Entry::End(end), Durability::Lazy)
            .await?;
        Ok(())
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
fn by_place<F: Function>(
    items: &[F::Item],
    verdicts: &[Result<(), Failure>],
) -> Vec<(Place, Vec<usize>)> {
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

fn too_much(index: u32, items: usize) -> Option<Failure> {
    let message = if index >= MAX_CALLS {
        format!("the attempt made {MAX_CALLS} calls; it may make no more")
    } else if items > MAX_ITEMS {
        format!("a call may carry {MAX_ITEMS} items, not {items}")
    } else {
        return None;
    };
    Some(Failure {
        kind: FailureKind::TooLarge,
        retry: RetryAdvice::No,
        subject: "call".to_owned(),
        message,
    })
}

fn too_large(asked: &Value) -> Option<Failure> {
    (super::weight(asked, MAX_BYTES) > MAX_BYTES).then(|| Failure {
        kind: FailureKind::TooLarge,
        retry: RetryAdvice::No,
        subject: "call".to_owned(),
        message: format!("a call may carry {} MiB", MAX_BYTES >> 20),
    })
}

/// The answer and its JSON, unless it is more than a call may bring.
fn fits<F: Function>(answer: F::Answer) -> Result<(F::Answer, Value), Failure> {
    let value = serde_json::to_value(&answer).map_err(|error| Failure {
        kind: FailureKind::Other("answer".to_owned()),
        retry: RetryAdvice::No,
        subject: F::NAME.to_owned(),
        message: format!("the answer cannot be written down: {error}"),
    })?;
    if super::weight(&value, MAX_BYTES) > MAX_BYTES {
        let message = format!(
            "the answer is more than {} MiB; ask for less, or page",
            MAX_BYTES >> 20
        );
        return Err(failure(FailureKind::TooLarge, F::NAME.to_owned(), message));
    }
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

fn log_level(level: log::Level) -> LogLevel {
    match level {
        log::Level::Debug => LogLevel::Debug,
        log::Level::Info => LogLevel::Info,
        log::Level::Warn => LogLevel::Warn,
        log::Level::Error => LogLevel::Error,
    }
}

/// Text that cannot move a terminal's cursor or forge a line: control characters become visible.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_LINE));
    for c in text.chars() {
        if out.len() >= MAX_LINE {
            out.push('…');
            break;
        }
        match c {
            '\t' => out.push(' '),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn unix_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
