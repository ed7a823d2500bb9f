//! Calls of one attempt of a step over one target.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use runner_types::{CallId, Entry, EventKind, Grant, LogLevel, LogLine, Operation, PromptSpec};
use sha2::{Digest as _, Sha256};
use tokio_util::task::TaskTracker;

use super::authorise::{effect_class, failure};
use super::call::{Call, by_place, too_much};
use super::moved::refuse_moved;
use super::runner::Runner;
use super::{Gate, Stop};
use crate::backend::budget::Budget;
use crate::capability::{Capable, Subject, place_name};
use crate::contract::{Caller, Class, Failure, FailureKind, Function, InDoubt, Listener, Place, log};

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
    /// Artifacts of the backup set that it was given.
    pub saved: Vec<runner_types::Artifact>,
}

/// What was found of the items of a call.
struct Judged {
    verdicts: Vec<Result<(), Failure>>,
    /// Items that may be performed, by place, in order.
    places: Vec<(Place, Vec<usize>)>,
    /// Where each item's paths really are.
    real: Vec<Vec<String>>,
}

/// The path of one attempt's calls through the gate.
pub struct Attempt {
    pub(super) gate: Arc<Gate>,
    pub(super) spec: AttemptSpec,
    /// Names of the run and of the plugin, as each call tells them to its backend.
    run: Arc<str>,
    plugin: Arc<str>,
    calls: AtomicU32,
    lines: AtomicU32,
    shown: AtomicU32,
    pub(super) changed: AtomicBool,
    pub(super) stored: Mutex<Vec<runner_types::Artifact>>,
    /// Handles of the secrets that this attempt opened, as it was answered.
    pub(super) opened: Mutex<BTreeSet<String>>,
    last_time: AtomicU64,
    random: Mutex<StdRng>,
    pub(super) begun: Instant,
    /// Its writes under way.
    effects: TaskTracker,
}

impl Attempt {
    /// An attempt that has made no call yet.
    #[must_use]
    pub fn new(gate: Arc<Gate>, spec: AttemptSpec) -> Arc<Self> {
        let seed =
            Sha256::new().chain_update(gate.seed.to_le_bytes()).chain_update(spec.id.to_string().as_bytes()).finalize();
        let run = gate.journal.directory().file_name().unwrap_or_default().to_string_lossy().into();
        let plugin = spec.plugin.as_str().into();
        Arc::new(Self {
            gate,
            spec,
            run,
            plugin,
            calls: AtomicU32::new(0),
            lines: AtomicU32::new(0),
            shown: AtomicU32::new(0),
            changed: AtomicBool::new(false),
            stored: Mutex::default(),
            opened: Mutex::default(),
            last_time: AtomicU64::new(unix_millis()),
            random: Mutex::new(StdRng::from_seed(seed.into())),
            begun: Instant::now(),
            effects: TaskTracker::new(),
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

    /// Waits for its writes under way, when its instance is dropped: each ends in the time that its backend gives it.
    pub async fn settled(&self) {
        self.effects.close();
        self.effects.wait().await;
    }

    /// Artifacts that this attempt put into the store.
    #[must_use]
    pub fn stored(&self) -> Vec<runner_types::Artifact> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// Stops a call before it begins.
    ///
    /// # Errors
    /// When the run was asked to stop.
    pub fn check_stop(&self) -> Result<(), Stop> {
        if self.gate.is_cancelled() { Err(Stop::Cancelled) } else { Ok(()) }
    }

    /// Writes a line for people. What is beyond the quota is dropped; the last line says so.
    pub fn log(&self, level: log::Level, message: &str, fields: &[crate::contract::types::Label]) {
        let number = self.lines.fetch_add(1, Ordering::Relaxed);
        if number > MAX_LINES {
            return;
        }
        let (level, message) = if number == MAX_LINES {
            (LogLevel::Warn, format!("{MAX_LINES} lines logged; further ones are dropped"))
        } else {
            (log_level(level), printable(message))
        };
        let fields: Vec<runner_types::Label> = fields
            .iter()
            .take(32)
            .map(|label| runner_types::Label { name: printable(&label.name), value: printable(&label.value) })
            .collect();
        let line = LogLine { attempt: self.spec.id.clone(), level, message, fields };
        let event = EventKind::Log { attempt: line.attempt.clone(), level: line.level, message: line.message.clone() };
        // A line that cannot be journalled stops the run at its next call, which fails for the same reason.
        if self.gate.journal.append_lazily(Entry::Log(line)).is_ok() {
            self.gate.observer.observe(event);
        }
    }

    /// Shows how far the attempt is.
    pub(super) fn show(&self, message: &str, done: Option<u32>, total: Option<u32>) {
        if self.shown.fetch_add(1, Ordering::Relaxed) < MAX_PROGRESS {
            let attempt = self.spec.id.clone();
            self.gate.observer.observe(EventKind::Progress { attempt, message: printable(message), done, total });
        }
    }

    /// Makes a call: the one path of every effect.
    ///
    /// # Errors
    /// When the run must stop here. Then only those items have an End whose end is known.
    pub async fn call<F: Function>(
        self: &Arc<Self>,
        items: Vec<F::Item>,
    ) -> Result<Vec<Result<F::Answer, Failure>>, Stop> {
        self.check_stop()?;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        if F::CLASS == Class::None {
            let answers = F::perform(&Runner(Arc::clone(self)), &Place::Runner, &Caller::runner(), items).await;
            return answers.map_err(|cut| cut.stop);
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
        let class = items.iter().map(F::class).map(effect_class).max().unwrap_or(runner_types::EffectClass::Read);
        let Judged { verdicts, places, real } = self.judge_all::<F>(&items, class.is_write()).await;
        let budget = Budget::default();
        let call = Call::<F> { attempt: Arc::clone(self), call, class, items, verdicts, places, real, budget };
        if class.is_write() {
            // In a task of its own: when the instance is dropped, the effect still goes to its End, or leaves its doubt.
            let attempt = Arc::clone(self);
            let broken = |error| InDoubt { item: 0, message: format!("the task of {} broke down: {error}", F::NAME) };
            let effect = async move {
                let made = tokio::spawn(call.make()).await.unwrap_or_else(|error| Err(broken(error).into()));
                if let Err(Stop::InDoubt(doubt)) = &made {
                    attempt.gate.leave(&attempt.spec.id, doubt);
                }
                made
            };
            self.gate.effects.spawn(self.effects.track_future(effect)).await.map_err(broken)?
        } else {
            // A wait may be long, and nothing is lost with it. Most calls are answered at once: the call is looked at first.
            tokio::select! {
                biased;
                answers = call.make() => answers,
                () = self.gate.cancelled() => Err(Stop::Cancelled),
            }
        }
    }

    /// A verdict for each item, and the items that may be performed by their place; one refused item of a write keeps back
    /// all of them.
    async fn judge_all<F: Function>(&self, items: &[F::Item], write: bool) -> Judged {
        let mut verdicts: Vec<_> = items.iter().map(|item| self.authorise::<F>(item)).collect();
        let mut places = by_place::<F>(items, &verdicts);
        let allowed = |verdicts: &[Result<(), Failure>]| verdicts.iter().filter(|verdict| verdict.is_ok()).count();
        let before = allowed(&verdicts);
        let mut real = vec![Vec::new(); items.len()];
        for (place, indices) in &places {
            self.judge_links::<F>(items, place, indices, &mut verdicts, &mut real).await;
            refuse_moved::<F>(items, indices, &real, &mut verdicts);
        }
        if write && verdicts.iter().any(Result::is_err) {
            for (verdict, item) in verdicts.iter_mut().zip(items) {
                if verdict.is_ok() {
                    let message = "another item of the same call was refused".to_owned();
                    *verdict = Err(failure(FailureKind::NotAttempted, item.label(), message));
                }
            }
        }
        if allowed(&verdicts) != before {
            places = by_place::<F>(items, &verdicts);
        }
        Judged { verdicts, places, real }
    }

    /// Paths are granted by where they really are: symbolic links are followed first. One that cannot be followed was not
    /// judged, and its item is not performed.
    async fn judge_links<F: Function>(
        &self,
        items: &[F::Item],
        place: &Place,
        indices: &[usize],
        verdicts: &mut [Result<(), Failure>],
        places: &mut [Vec<String>],
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
        let mut real = backend.real_paths(place, asked).await.into_iter();
        for (index, path) in &paths {
            let real = real.next().unwrap_or_else(|| {
                let message = format!("{} does not tell where {path} really is", place_name(place));
                Err(failure(FailureKind::Other("backend".to_owned()), path.clone(), message))
            });
            let (Some(item), Some(verdict)) = (items.get(*index), verdicts.get_mut(*index)) else { continue };
            if let (Ok(real), Some(places)) = (&real, places.get_mut(*index)) {
                places.push(real.clone());
            }
            if verdict.is_ok() {
                *verdict = match real {
                    Ok(real) if real == *path => continue,
                    Ok(real) => self.authorise_paths::<F>(item, &[real]),
                    Err(failure) => Err(self.gate.masked(failure)),
                };
            }
        }
    }

    /// This attempt as backends are told who asks. `items` are the indices in the call of those at one place.
    pub(super) fn caller(self: &Arc<Self>, call: CallId, items: Vec<usize>) -> Caller {
        let (plugin, run) = (Arc::clone(&self.plugin), Arc::clone(&self.run));
        Caller::plugin(plugin, run, call, items, Arc::clone(self) as Arc<dyn Listener>)
    }

    pub(super) fn note_time(&self) {
        self.last_time.store(unix_millis(), Ordering::Relaxed);
    }
}

impl Listener for Attempt {
    fn show(&self, message: &str) {
        Self::show(self, &self.gate.platform.secrets.mask(message.to_owned()), None, None);
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.gate.cancelled())
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("spec", &self.spec).finish_non_exhaustive()
    }
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
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
