//! A simulated platform: its facts, the rules they follow, and the path of an effect through both.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use runner_types::{Diagnostics, Timestamp};
use tokio::sync::Semaphore;

use super::birth;
use super::facts::{self, Facts as _};
use super::fault::{ApiStatus, FaultKind, Faults, Occasion};
use super::files::{Checked, SeedFile, behaviours_checked};
use super::kubernetes::objects::terms;
use super::model::Model;
use super::model::content::Blobs;
use super::rules::Rules;
use crate::artifacts;
use crate::backend::failure;
use crate::contract::{Backend, Failure, Function, InDoubt, Performed, Place};
use runner_types::simulated::Behaviours;

/// Why a simulated platform cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SimulatedError {
    /// Its facts cannot be read or written.
    #[error("the simulated platform in {}: {source}", directory.display())]
    Facts {
        /// Where it lives.
        directory: PathBuf,
        /// Why.
        source: facts::StoreError,
    },
    /// It was made from another file.
    #[error("the simulated platform in {} was made from another platform file (or an earlier state of it); `runner platform reset` makes it anew", .0.display())]
    OtherSeed(PathBuf),
    /// The seed makes no platform.
    #[error("the platform file makes no platform: {0}")]
    Seed(String),
    /// A file is wrong.
    #[error("{0}")]
    Files(Diagnostics),
}

/// The backend of a simulated platform. Clones share it.
#[derive(Clone)]
pub struct Simulated {
    pub(super) shared: Arc<Shared>,
}

/// Artifacts that are put into the store at the same time.
const PUTS: usize = 32;

pub(super) struct Shared {
    facts: Mutex<facts::Store>,
    pub(super) rules: Rules,
    pub(super) blobs: Blobs,
    pub(super) store: Arc<dyn artifacts::Store>,
    /// Room for what goes into the store: each takes memory and a thread, and a call may name a thousand hosts.
    pub(super) puts: Semaphore,
}

/// What becomes of a call before its first item is performed.
enum Begin {
    Go,
    Fail(Failure),
    Lost { performed: bool, message: String },
}

impl Simulated {
    /// Opens the platform in a directory from files; the first time it is made from its seed. `behaviours` are those
    /// that plugins bring; the seed may name more. `known` is the directory that remembers in which files nothing was
    /// wrong.
    ///
    /// # Errors
    /// As [`Simulated::with`], and when a file is wrong.
    pub fn open(
        directory: &Path,
        seed: &Path,
        behaviours: &[PathBuf],
        faults: Faults,
        store: Arc<dyn artifacts::Store>,
        known: &Path,
    ) -> Result<Self, SimulatedError> {
        let mut checked = Checked::of(known);
        let seed = SeedFile::read_checked(seed, &mut checked).map_err(SimulatedError::Files)?;
        let mut all = behaviours.to_vec();
        all.extend(seed.behaviours.iter().cloned());
        let behaviours = behaviours_checked(&all, &mut checked).map_err(SimulatedError::Files)?;
        let platform = Self::with(directory, &seed, behaviours, faults, store)?;
        checked.keep(known);
        Ok(platform)
    }

    /// Opens the platform in a directory; the first time it is made from the seed.
    ///
    /// # Errors
    /// When another process has it, its files are damaged, it was made from another seed, or the seed makes no platform.
    pub fn with(
        directory: &Path,
        seed: &SeedFile,
        behaviours: Vec<Behaviours>,
        faults: Faults,
        store: Arc<dyn artifacts::Store>,
    ) -> Result<Self, SimulatedError> {
        let wrong = |source| SimulatedError::Facts { directory: directory.to_owned(), source };
        let rules = Rules::new(&seed.platform, behaviours, faults.faults);
        let blobs = Blobs::new(directory.join("blobs"));
        let known = facts::Store::open(directory, terms).map_err(wrong)?;
        let facts = match known {
            Some(known) if known.origin() != seed.digest => {
                return Err(SimulatedError::OtherSeed(directory.to_owned()));
            }
            Some(known) => known,
            None => {
                let change = birth::platform(&seed.platform, &rules, &blobs, now())
                    .map_err(|failure| SimulatedError::Seed(format!("{}: {}", failure.subject, failure.message)))?;
                facts::Store::create(directory, &seed.digest, change, terms).map_err(wrong)?
            }
        };
        let shared = Shared { facts: Mutex::new(facts), rules, blobs, store, puts: Semaphore::new(PUTS) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// All facts below a prefix, as JSON texts by key: what `runner platform show` prints.
    #[must_use]
    pub fn facts(&self, prefix: &str) -> Vec<(String, String)> {
        let facts = self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let found = facts.facts().below(prefix).into_iter();
        found.map(|(key, fact)| (key.to_string(), fact.to_string())).collect()
    }

    /// Performs the items of a call, each as one transaction, off the async threads.
    pub(super) async fn each<F: Function>(
        &self,
        place: &Place,
        items: Vec<F::Item>,
        act: impl Fn(&mut Model<'_>, &F::Item) -> Result<F::Answer, Failure> + Send + 'static,
    ) -> Performed<F::Answer> {
        self.call::<F>(place, items, move |shared, items| {
            in_order::<F>(shared, items, |model, _, item| act(model, item))
        })
        .await
    }

    /// Performs a call as a whole, after what faults do to it.
    pub(super) async fn call<F: Function>(
        &self,
        place: &Place,
        items: Vec<F::Item>,
        act: impl FnOnce(&Shared, &[F::Item]) -> Vec<Result<F::Answer, Failure>> + Send + 'static,
    ) -> Performed<F::Answer> {
        let write = items.iter().any(|item| F::class(item).is_write());
        let begin = self.begin(place, F::NAME, write).await;
        let lost = match begin {
            Begin::Go => None,
            Begin::Fail(failure) => return Ok(refused(failure, items.len(), write)),
            Begin::Lost { performed: false, message } => return Err(InDoubt { item: 0, message }.into()),
            Begin::Lost { performed: true, message } => Some(message),
        };
        let shared = Arc::clone(&self.shared);
        let count = items.len();
        let answers =
            blocking(move || act(&shared, &items)).await.unwrap_or_else(|failure| refused(failure, count, write));
        match lost {
            Some(message) => Err(InDoubt { item: 0, message }.into()),
            None => Ok(answers),
        }
    }

    /// Waits as slow faults want it, and finds what stands in a call's way.
    async fn begin(&self, place: &Place, function: &'static str, write: bool) -> Begin {
        if self.shared.rules.faults.is_empty() {
            return match self.shared.answers(place) {
                Ok(()) => Begin::Go,
                Err(failure) => Begin::Fail(failure),
            };
        }
        let found = self.shared.transact(|model| Ok(obstacles(model, place, function, write)));
        let (delay, obstacle) = match found {
            Ok(Ok(found)) => found,
            Ok(Err(failure)) | Err(failure) => return Begin::Fail(failure),
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match obstacle {
            Begin::Go => match self.shared.answers(place) {
                Ok(()) => Begin::Go,
                Err(failure) => Begin::Fail(failure),
            },
            obstacle => obstacle,
        }
    }
}

impl Shared {
    /// Runs an effect, saves what it changed, and answers.
    pub(super) fn transact<T>(&self, act: impl FnOnce(&mut Model<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut model = Model::new(facts.facts(), &self.rules, &self.blobs, now());
        let answer = act(&mut model).and_then(|answer| model.settle().map(|()| answer));
        if answer.is_err() && model.keeps() {
            // What a failed effect leaves behind has consequences, too.
            model.settle()?;
        }
        let change = model.into_change(answer.is_ok());
        facts.commit(change).map_err(|error| {
            let mut message = error.to_string();
            if let Some(cause) = std::error::Error::source(&error) {
                message = format!("{message}: {cause}");
            }
            failure::other("simulator", "platform", message)
        })?;
        answer
    }

    /// Whether a host is one of the platform.
    fn answers(&self, place: &Place) -> Result<(), Failure> {
        match place {
            Place::Host(host) => self.transact(|model| model.known_host(host).map(|_| ())),
            Place::Cluster(_) | Place::Runner => Ok(()),
        }
    }
}

/// Performs items in their order, each as one transaction; the first write that fails is the last one. `act` is given
/// the item with its index.
pub(super) fn in_order<F: Function>(
    shared: &Shared,
    items: &[F::Item],
    act: impl Fn(&mut Model<'_>, usize, &F::Item) -> Result<F::Answer, Failure>,
) -> Vec<Result<F::Answer, Failure>> {
    let mut answers: Vec<Result<F::Answer, Failure>> = Vec::with_capacity(items.len());
    let mut stopped = false;
    for (index, item) in items.iter().enumerate() {
        if stopped {
            answers.push(Err(failure::not_attempted("")));
            continue;
        }
        let answer = shared.transact(|model| act(model, index, item));
        stopped = answer.is_err() && F::class(item).is_write();
        answers.push(answer);
    }
    answers
}

/// Runs on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(act).await.map_err(|error| failure::other("simulator", "platform", error.to_string()))
}

/// The answers of a call of which nothing was performed.
pub(super) fn refused<A>(failure: Failure, items: usize, write: bool) -> Vec<Result<A, Failure>> {
    (0..items)
        .map(|index| match write && index > 0 {
            true => Err(failure::not_attempted(failure.subject.clone())),
            false => Err(failure.clone()),
        })
        .collect()
}

/// The moment as it is.
fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn obstacles(model: &mut Model<'_>, place: &Place, function: &str, write: bool) -> Result<(Duration, Begin), Failure> {
    let (host, cluster) = match place {
        Place::Host(host) => (Some(host.as_str()), None),
        Place::Cluster(cluster) => (None, Some(cluster.as_str())),
        Place::Runner => (None, None),
    };
    let name = host.or(cluster).unwrap_or("runner");
    let occasion = Occasion { function, host, cluster };
    let said = |message: &Option<String>, default: String| message.clone().unwrap_or(default);
    let mut delay = Duration::ZERO;
    if place != &Place::Runner
        && let Some(fault) = model.fault(FaultKind::Slow, occasion, |_| true)?
    {
        delay = fault.delay();
    }
    if host.is_some()
        && let Some(fault) = model.fault(FaultKind::Unreachable, occasion, |_| true)?
    {
        let message = said(&fault.message, format!("{name}: connection timed out"));
        return Ok((delay, Begin::Fail(failure::unreachable(name, message))));
    }
    if cluster.is_some()
        && let Some(fault) = model.fault(FaultKind::Api, occasion, |_| true)?
    {
        let message = said(&fault.message, format!("the API server of {name} fails"));
        let failure = match fault.status {
            ApiStatus::Unreachable => failure::unreachable(name, message),
            ApiStatus::Conflict => failure::conflict(name, message, Vec::new(), None),
            ApiStatus::Failed => failure::failed(name, message, None, ""),
        };
        return Ok((delay, Begin::Fail(failure)));
    }
    if write
        && place != &Place::Runner
        && let Some(fault) = model.fault(FaultKind::ConnectionLost, occasion, |_| true)?
    {
        let message = said(&fault.message, format!("the connection to {name} was lost while {function} was under way"));
        return Ok((delay, Begin::Lost { performed: fault.performed, message }));
    }
    Ok((delay, Begin::Go))
}

impl Backend for Simulated {
    fn real_paths<'a>(&'a self, place: &'a Place, paths: Vec<String>) -> BoxFuture<'a, Vec<Result<String, Failure>>> {
        Box::pin(async move {
            let Place::Host(host) = place else {
                return paths.into_iter().map(Ok).collect();
            };
            let (shared, host, count) = (Arc::clone(&self.shared), host.clone(), paths.len());
            let resolved = blocking(move || {
                let all =
                    |model: &mut Model<'_>| Ok(paths.iter().map(|path| model.resolve(&host, path, true)).collect());
                shared.transact(all)
            });
            resolved.await.and_then(|resolved| resolved).unwrap_or_else(|failure| vec![Err(failure); count])
        })
    }
    fn systemd(&self) -> &dyn crate::contract::systemd::Capability {
        self
    }
    fn packages(&self) -> &dyn crate::contract::packages::Capability {
        self
    }
    fn files(&self) -> &dyn crate::contract::files::Capability {
        self
    }
    fn exec(&self) -> &dyn crate::contract::exec::Capability {
        self
    }
    fn host(&self) -> &dyn crate::contract::host::Capability {
        self
    }
    fn kubernetes(&self) -> &dyn crate::contract::kubernetes::Capability {
        self
    }
    fn http(&self) -> &dyn crate::contract::http::Capability {
        self
    }
    fn artifacts(&self) -> &dyn crate::contract::artifacts::Capability {
        self
    }
}
