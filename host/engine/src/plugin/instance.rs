//! One instance of a plugin: a guest in its own store, made for one attempt and gone with it.

use std::sync::Arc;

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Linker, Lower};
use wasmtime::{ResourceLimiter, Store, StoreContextMut, UpdateDeadline};

use super::wasi::Wasi;
use crate::contract::types::{Invocation, Problem, Report};
use crate::contract::{Class, Failure, Function, log, operations, resolve};
use crate::gate::{Attempt, MAX_CALLS, Stop};

/// What the generated linking needs of a guest's state: one generic call, whatever the function.
pub(crate) trait Calls: Send + 'static {
    /// Makes a call of a function that takes a list.
    fn call<F: Function>(
        &mut self,
        items: Vec<F::Item>,
    ) -> impl Future<Output = wasmtime::Result<Vec<Result<F::Answer, Failure>>>> + Send;

    /// Makes a call of a function that takes one thing.
    fn call_one<F: Function>(
        &mut self,
        item: F::Item,
    ) -> impl Future<Output = wasmtime::Result<Result<F::Answer, Failure>>> + Send {
        async move {
            let answers = self.call::<F>(vec![item]).await?;
            answers.into_iter().next().ok_or_else(|| wasmtime::Error::msg("a call of one item has no answer"))
        }
    }
}

/// A failure of a function that has none in its type: a limit was reached.
fn plain_failure(failure: Failure) -> wasmtime::Error {
    wasmtime::Error::msg(format!("{}: {}", failure.subject, failure.message))
}

mod generated {
    use super::{Calls, plain_failure};
    include!(concat!(env!("OUT_DIR"), "/link.rs"));
}

/// Ticks of [`super::engine::TICK`] that a guest may compute between two calls of the host.
const PATIENCE: u64 = 1_000;
/// Bytes that one call may bring from the guest (rule 8 of the contract: 8 MiB, and room for its framing).
const CALL_BYTES: usize = 16 << 20;
/// Elements of all tables of a guest together.
const TABLE_ELEMENTS: usize = 100_000;
/// Handles of WASI resources that a guest may be given.
const HANDLES: u32 = 100_000;
/// Calls without an effect, such as lines of the log, that an attempt may make beside those of [`MAX_CALLS`].
const REMARKS: u32 = 1_000_000;
/// Length at which a line of output without end is cut.
const LINE: usize = 4 << 10;

/// State of a guest.
pub(crate) struct Guest {
    attempt: Arc<Attempt>,
    limits: Limits,
    ticks: u64,
    handles: u32,
    calls: u32,
    remarks: u32,
    output: [Vec<u8>; 2],
}

struct Limits {
    memory: usize,
    used: usize,
    table_elements: usize,
}

impl Calls for Guest {
    async fn call<F: Function>(&mut self, items: Vec<F::Item>) -> wasmtime::Result<Vec<Result<F::Answer, Failure>>> {
        // An answer would not end a guest that does not look at answers.
        let (made, most) = match F::CLASS {
            Class::None => (&mut self.remarks, REMARKS),
            Class::Read | Class::WriteIdempotent | Class::WriteOnce | Class::Stated => (&mut self.calls, MAX_CALLS),
        };
        *made += 1;
        if *made > most {
            wasmtime::bail!("it made {most} calls; an attempt may make no more");
        }
        let answers = self.attempt.call::<F>(items).await.map_err(wasmtime::Error::new)?;
        // The deadline is armed anew: patience is for a guest that never calls, not for a long operation.
        self.ticks = 0;
        Ok(answers)
    }
}

impl Wasi for Guest {
    fn last_time(&self) -> u64 {
        self.attempt.last_time()
    }

    fn random(&mut self, count: usize) -> Vec<u8> {
        self.attempt.random(count)
    }

    fn handle(&mut self) -> wasmtime::Result<()> {
        self.handles += 1;
        if self.handles > HANDLES {
            wasmtime::bail!("it was given {HANDLES} WASI handles; it may have no more");
        }
        Ok(())
    }

    fn output(&mut self, error: bool, bytes: &[u8]) {
        let level = if error { log::Level::Warn } else { log::Level::Info };
        let pending = &mut self.output[usize::from(error)];
        for byte in bytes {
            if *byte != b'\n' {
                pending.push(*byte);
            }
            if *byte == b'\n' || pending.len() >= LINE {
                self.attempt.log(level, &String::from_utf8_lossy(pending), &[]);
                pending.clear();
            }
        }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used + desired.saturating_sub(current);
        if used > self.memory {
            wasmtime::bail!(Exhausted { limit: self.memory >> 20 });
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.table_elements += desired.saturating_sub(current);
        if self.table_elements > TABLE_ELEMENTS {
            wasmtime::bail!("its tables would hold more than {TABLE_ELEMENTS} elements");
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        256
    }

    fn memories(&self) -> usize {
        16
    }

    fn tables(&self) -> usize {
        256
    }
}

/// A guest wanted more memory than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it wanted more than its {limit} MiB of memory; a larger `limits.memory-mib` stands in the plugin's manifest")]
struct Exhausted {
    limit: usize,
}

/// A guest computed too long without calling the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it computed for {} s without a call", PATIENCE * super::engine::TICK.as_millis() as u64 / 1000)]
struct Spinning;

/// How an operation of a guest ended, when not with an answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The run must stop here; no answer was given.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// The guest broke down; the instance is gone. Carries the reason for people.
    #[error("the plugin broke down: {0}")]
    Trapped(String),
}

/// Makes the linker that every plugin gets: the contract.
///
/// # Errors
/// When two parts define the same name.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    generated::link(&mut linker)?;
    Ok(linker)
}

/// Indices of what a plugin exports, looked up once.
#[derive(Debug, Clone)]
pub(crate) struct Exports {
    operations: [ComponentExportIndex; 4],
    maintenance: Option<[ComponentExportIndex; 2]>,
    resolve: Option<ComponentExportIndex>,
}

const INTERFACE: &str = "runner:plugin";

impl Exports {
    /// Finds the exports of a component.
    ///
    /// # Errors
    /// Names the function that is missing.
    pub(crate) fn find(component: &wasmtime::component::Component) -> Result<Self, String> {
        let version = crate::contract::API_VERSION;
        let find = |interface: &str, function: &str| {
            let name = format!("{INTERFACE}/{interface}@{version}");
            let instance = component.get_export_index(None, &name)?;
            component.get_export_index(Some(&instance), function)
        };
        let required = |function: &str| find("operations", function).ok_or_else(|| format!("operations.{function}"));
        let maintenance = match (find("maintenance", "enter"), find("maintenance", "leave")) {
            (Some(enter), Some(leave)) => Some([enter, leave]),
            _ => None,
        };
        Ok(Self {
            operations: [required("backup")?, required("update")?, required("backout")?, required("verify")?],
            maintenance,
            resolve: find("resolve", "settle"),
        })
    }

    /// Whether the plugin can take targets out of service.
    pub(crate) fn has_maintenance(&self) -> bool {
        self.maintenance.is_some()
    }

    /// Whether the plugin can decide about effects in doubt.
    pub(crate) fn has_resolve(&self) -> bool {
        self.resolve.is_some()
    }
}

/// A fresh guest, ready for one operation.
pub struct PluginInstance {
    store: Store<Guest>,
    instance: Instance,
    exports: Exports,
    _room: tokio::sync::OwnedSemaphorePermit,
}

impl PluginInstance {
    /// Instantiates a plugin for an attempt.
    ///
    /// # Errors
    /// When the guest traps while it starts, or its minimum memory is beyond its limit.
    pub(crate) async fn new(
        pre: &InstancePre<Guest>,
        exports: &Exports,
        memory: usize,
        attempt: Arc<Attempt>,
        room: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Self, GuestError> {
        let guest = Guest {
            attempt,
            limits: Limits { memory, used: 0, table_elements: 0 },
            ticks: 0,
            handles: 0,
            calls: 0,
            remarks: 0,
            output: [Vec::new(), Vec::new()],
        };
        let mut store = Store::new(pre.engine(), guest);
        store.limiter(|guest| &mut guest.limits);
        store.set_hostcall_fuel(CALL_BYTES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store: StoreContextMut<'_, Guest>| {
            let guest = store.data_mut();
            guest.ticks += 1;
            if guest.ticks > PATIENCE {
                return Err(wasmtime::Error::new(Spinning));
            }
            guest.attempt.check_stop().map_err(wasmtime::Error::new)?;
            Ok(UpdateDeadline::Yield(1))
        });
        let instance = pre.instantiate_async(&mut store).await.map_err(broke)?;
        Ok(Self { store, instance, exports: exports.clone(), _room: room })
    }

    /// Runs `backup`.
    ///
    /// # Errors
    /// When the run stops or the guest breaks down.
    pub async fn backup(&mut self, invocation: &Invocation) -> Result<Result<Report, Problem>, GuestError> {
        let index = self.exports.operations[0];
        self.run::<_, (Result<Report, Problem>,)>(index, (invocation,)).await.map(|(result,)| result)
    }

    /// Runs `update`.
    ///
    /// # Errors
    /// When the run stops or the guest breaks down.
    pub async fn update(&mut self, invocation: &Invocation) -> Result<Result<Report, Problem>, GuestError> {
        let index = self.exports.operations[1];
        self.run::<_, (Result<Report, Problem>,)>(index, (invocation,)).await.map(|(result,)| result)
    }

    /// Runs `backout`.
    ///
    /// # Errors
    /// When the run stops or the guest breaks down.
    pub async fn backout(&mut self, invocation: &Invocation) -> Result<Result<Report, Problem>, GuestError> {
        let index = self.exports.operations[2];
        self.run::<_, (Result<Report, Problem>,)>(index, (invocation,)).await.map(|(result,)| result)
    }

    /// Runs `verify`.
    ///
    /// # Errors
    /// When the run stops or the guest breaks down.
    pub async fn verify(
        &mut self,
        invocation: &Invocation,
        depth: operations::Depth,
    ) -> Result<Result<operations::Verification, Problem>, GuestError> {
        let index = self.exports.operations[3];
        self.run::<_, (Result<operations::Verification, Problem>,)>(index, (invocation, depth))
            .await
            .map(|(result,)| result)
    }

    /// Runs `maintenance.enter`.
    ///
    /// # Errors
    /// When the run stops, the guest breaks down or does not export it.
    pub async fn enter(&mut self, invocation: &Invocation) -> Result<Result<Report, Problem>, GuestError> {
        let [index, _] = self.maintenance()?;
        self.run::<_, (Result<Report, Problem>,)>(index, (invocation,)).await.map(|(result,)| result)
    }

    /// Runs `maintenance.leave` with the outputs of the enter of this run.
    ///
    /// # Errors
    /// When the run stops, the guest breaks down or does not export it.
    pub async fn leave(
        &mut self,
        invocation: &Invocation,
        entered: Option<&str>,
    ) -> Result<Result<Report, Problem>, GuestError> {
        let [_, index] = self.maintenance()?;
        self.run::<_, (Result<Report, Problem>,)>(index, (invocation, entered)).await.map(|(result,)| result)
    }

    /// Runs `resolve.settle` on an effect in doubt.
    ///
    /// # Errors
    /// When the run stops, the guest breaks down or does not export it.
    pub async fn settle(
        &mut self,
        invocation: &Invocation,
        doubt: &resolve::Doubt,
    ) -> Result<Result<resolve::Verdict, Problem>, GuestError> {
        let index = self.exports.resolve.ok_or_else(|| missing("resolve"))?;
        self.run::<_, (Result<resolve::Verdict, Problem>,)>(index, (invocation, doubt)).await.map(|(result,)| result)
    }

    fn maintenance(&self) -> Result<[ComponentExportIndex; 2], GuestError> {
        self.exports.maintenance.ok_or_else(|| missing("maintenance"))
    }

    async fn run<Params, Answer>(&mut self, index: ComponentExportIndex, params: Params) -> Result<Answer, GuestError>
    where
        Params: ComponentNamedList + Lower + Send + Sync,
        Answer: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let function = self.instance.get_typed_func::<Params, Answer>(&mut self.store, index).map_err(broke)?;
        let answer = function.call_async(&mut self.store, params).await;
        let guest = self.store.data_mut();
        // A last line without its end still counts.
        for error in [false, true] {
            if !guest.output[usize::from(error)].is_empty() {
                guest.output(error, b"\n");
            }
        }
        answer.map_err(broke)
    }
}

fn missing(interface: &str) -> GuestError {
    GuestError::Trapped(format!("it does not export `{interface}`"))
}

/// Tells a stop of the run from a breakdown of the guest.
fn broke(error: wasmtime::Error) -> GuestError {
    match error.downcast::<Stop>() {
        Ok(stop) => GuestError::Stopped(stop),
        Err(error) => GuestError::Trapped(reason(&error)),
    }
}

/// The cause, without the addresses of the guest's stack; those go to the diagnostics.
fn reason(error: &wasmtime::Error) -> String {
    tracing::debug!(?error, "a guest broke down");
    error.root_cause().to_string()
}

impl std::fmt::Debug for PluginInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginInstance").finish_non_exhaustive()
    }
}
