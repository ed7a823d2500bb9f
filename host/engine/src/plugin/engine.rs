//! The one wasmtime engine of a process, and the clock that interrupts guests.

use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Length of an epoch: a guest yields to other tasks, and its patience is counted, once in this time.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Most linear memory any plugin can be given.
pub(crate) const MAX_MEMORY: usize = 1 << 30;

/// Most plugin instances that exist at a time. A run with more targets waits.
pub(crate) const MAX_INSTANCES: u32 = 256;

/// Core instances of one component; a Python component was seen to take 77.
const CORE_INSTANCES_PER_COMPONENT: u32 = 128;

/// Stack of a guest. Recursion beyond it traps.
const GUEST_STACK: usize = 512 << 10;

/// An engine could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the WebAssembly engine on this machine")]
pub struct EngineError(#[source] wasmtime::Error);

/// Makes the engine: pooled instances where the address space allows it, interruption by epochs, results that do not
/// depend on the machine.
///
/// # Errors
/// When the machine cannot run compiled guests at all.
pub(crate) fn engine() -> Result<Engine, EngineError> {
    let engine = Engine::new(&config(true))
        .or_else(|reason| {
            // A machine with a small address space limit (ulimit -v) still works, only slower.
            tracing::debug!(%reason, "instances are not pooled");
            Engine::new(&config(false))
        })
        .map_err(EngineError)?;
    tick(&engine);
    Ok(engine)
}

fn config(pooled: bool) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(GUEST_STACK + (1 << 20))
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .memory_init_cow(true);
    if pooled {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(MAX_INSTANCES)
            .total_core_instances(MAX_INSTANCES * 16)
            .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
            .total_memories(MAX_INSTANCES * 2)
            .total_tables(MAX_INSTANCES * 16)
            .max_tables_per_component(CORE_INSTANCES_PER_COMPONENT)
            .max_memories_per_component(8)
            .max_tables_per_module(16)
            .total_stacks(MAX_INSTANCES)
            .max_memory_size(MAX_MEMORY);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Moves the epoch on until the engine is gone. A thread of its own: a runtime whose workers are all inside guests
/// would never run a task that interrupts them.
fn tick(engine: &Engine) {
    let engine = engine.weak();
    let ticker = std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    });
    if let Err(error) = ticker {
        // Without the ticker a guest that loops would hold its worker for ever.
        tracing::error!(%error, "no thread for the epoch ticker");
        std::process::abort();
    }
}
