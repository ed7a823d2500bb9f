//! WASI 0.2 with an empty context.
//!
//! Guests of most languages import parts of WASI whether they need them or not. What is here answers without reaching
//! the machine: no arguments, no environment, no directories; the clock stands at the last journalled time, randomness
//! comes from the attempt's seed, and output becomes log lines. Every other `wasi:` import traps when it is called.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentType, Lift, Linker, Lower, Resource, ResourceType};
use wasmtime::{Engine, Result, StoreContextMut, bail};

/// What the imports below need of a guest's state.
pub(crate) trait Wasi: Send + 'static {
    /// The last journalled time, in milliseconds since 1970.
    fn last_time(&self) -> u64;
    /// Bytes from the attempt's seed.
    fn random(&mut self, count: usize) -> Vec<u8>;
    /// Counts a handle that the guest is given.
    ///
    /// # Errors
    /// When it has had too many.
    fn handle(&mut self) -> Result<()>;
    /// Output of the guest. `error`: to standard error.
    fn output(&mut self, error: bool, bytes: &[u8]);
}

/// Bytes that one write may carry.
const WRITE: u64 = 64 << 10;
/// Most random bytes a call gives.
const RANDOM: u64 = 64 << 10;
/// Representations of the stream resources.
const OUT: u32 = 1;
const ERR: u32 = 2;

enum InputStream {}
enum OutputStream {}
enum IoError {}
enum Pollable {}
enum TerminalInput {}
enum TerminalOutput {}
enum Descriptor {}

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
struct Datetime {
    #[component(name = "seconds")]
    seconds: u64,
    #[component(name = "nanoseconds")]
    nanoseconds: u32,
}

/// Makes every resource of WASI that a component imports known, those of the interfaces that trap included. Interfaces
/// name each other's resources, so that one name must be one resource everywhere.
///
/// # Errors
/// When a name is in the linker already.
pub(crate) fn link_resources<T: Wasi>(linker: &mut Linker<T>, component: &Component, engine: &Engine) -> Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else {
            continue;
        };
        if !name.starts_with("wasi:") {
            continue;
        }
        for (resource, export) in interface.exports(engine) {
            if matches!(export.ty, ComponentItem::Resource(_)) {
                linker.instance(name)?.resource(resource, resource_type(resource), |_, _| Ok(()))?;
            }
        }
    }
    Ok(())
}

fn resource_type(name: &str) -> ResourceType {
    match name {
        "input-stream" => ResourceType::host::<InputStream>(),
        "output-stream" => ResourceType::host::<OutputStream>(),
        "error" | "io-error" => ResourceType::host::<IoError>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "terminal-input" => ResourceType::host::<TerminalInput>(),
        "terminal-output" => ResourceType::host::<TerminalOutput>(),
        "descriptor" => ResourceType::host::<Descriptor>(),
        // Never made: only functions that trap would give one. A number for each name tells them apart.
        other => {
            let number = |sum: u32, byte: u8| sum.wrapping_mul(16_777_619) ^ u32::from(byte);
            ResourceType::host_dynamic(other.bytes().fold(2_166_136_261, number))
        }
    }
}

/// Puts the interfaces that do answer into the linker, under the version that a component imports: a stub under the
/// exact name would win over an answer under a compatible one.
///
/// # Errors
/// When a name is in the linker already.
pub(crate) fn link<T: Wasi>(linker: &mut Linker<T>, version: &str) -> Result<()> {
    io(linker, version)?;
    cli(linker, version)?;
    clocks(linker, version)?;
    random(linker, version)?;
    let mut preopens = linker.instance(&format!("wasi:filesystem/preopens@{version}"))?;
    preopens.func_wrap("get-directories", |_: StoreContextMut<'_, T>, (): ()| {
        Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
    })?;
    Ok(())
}

fn io<T: Wasi>(linker: &mut Linker<T>, version: &str) -> Result<()> {
    let mut poll = linker.instance(&format!("wasi:io/poll@{version}"))?;
    // Nothing is ever waited for here: whatever is polled is ready.
    poll.func_wrap("[method]pollable.ready", |_: StoreContextMut<'_, T>, (_,): (Resource<Pollable>,)| Ok((true,)))?;
    poll.func_wrap("[method]pollable.block", |_: StoreContextMut<'_, T>, (_,): (Resource<Pollable>,)| Ok(()))?;
    poll.func_wrap("poll", |_: StoreContextMut<'_, T>, (list,): (Vec<Resource<Pollable>>,)| {
        Ok(((0..u32::try_from(list.len()).unwrap_or(u32::MAX)).collect::<Vec<u32>>(),))
    })?;

    let mut streams = linker.instance(&format!("wasi:io/streams@{version}"))?;
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        streams.func_wrap(name, |_: StoreContextMut<'_, T>, (_, _): (Resource<InputStream>, u64)| {
            Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
        })?;
    }
    streams.func_wrap(
        "[method]input-stream.subscribe",
        |mut store: StoreContextMut<'_, T>, (_,): (Resource<InputStream>,)| {
            store.data_mut().handle()?;
            Ok((Resource::<Pollable>::new_own(0),))
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.subscribe",
        |mut store: StoreContextMut<'_, T>, (_,): (Resource<OutputStream>,)| {
            store.data_mut().handle()?;
            Ok((Resource::<Pollable>::new_own(0),))
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.check-write",
        |_: StoreContextMut<'_, T>, (_,): (Resource<OutputStream>,)| Ok((Ok::<u64, StreamError>(WRITE),)),
    )?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        streams.func_wrap(
            name,
            |mut store: StoreContextMut<'_, T>, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                store.data_mut().output(stream.rep() == ERR, &bytes);
                Ok((Ok::<(), StreamError>(()),))
            },
        )?;
    }
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        streams.func_wrap(name, |_: StoreContextMut<'_, T>, (_,): (Resource<OutputStream>,)| {
            Ok((Ok::<(), StreamError>(()),))
        })?;
    }
    Ok(())
}

fn cli<T: Wasi>(linker: &mut Linker<T>, version: &str) -> Result<()> {
    let mut environment = linker.instance(&format!("wasi:cli/environment@{version}"))?;
    environment
        .func_wrap("get-environment", |_: StoreContextMut<'_, T>, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    environment.func_wrap("get-arguments", |_: StoreContextMut<'_, T>, (): ()| Ok((Vec::<String>::new(),)))?;
    environment.func_wrap("initial-cwd", |_: StoreContextMut<'_, T>, (): ()| Ok((None::<String>,)))?;
    let mut exit = linker.instance(&format!("wasi:cli/exit@{version}"))?;
    exit.func_wrap("exit", |_: StoreContextMut<'_, T>, (status,): (Result<(), ()>,)| -> Result<()> {
        bail!("the plugin called exit ({})", if status.is_ok() { "success" } else { "failure" })
    })?;
    for (interface, function) in [("stdout", "get-stdout"), ("stderr", "get-stderr")] {
        let stream = if interface == "stderr" { ERR } else { OUT };
        let mut instance = linker.instance(&format!("wasi:cli/{interface}@{version}"))?;
        instance.func_wrap(function, move |mut store: StoreContextMut<'_, T>, (): ()| {
            store.data_mut().handle()?;
            Ok((Resource::<OutputStream>::new_own(stream),))
        })?;
    }
    let mut stdin = linker.instance(&format!("wasi:cli/stdin@{version}"))?;
    stdin.func_wrap("get-stdin", |mut store: StoreContextMut<'_, T>, (): ()| {
        store.data_mut().handle()?;
        Ok((Resource::<InputStream>::new_own(0),))
    })?;
    let mut terminal = linker.instance(&format!("wasi:cli/terminal-stdin@{version}"))?;
    terminal
        .func_wrap("get-terminal-stdin", |_: StoreContextMut<'_, T>, (): ()| Ok((None::<Resource<TerminalInput>>,)))?;
    for (interface, function) in
        [("terminal-stdout", "get-terminal-stdout"), ("terminal-stderr", "get-terminal-stderr")]
    {
        let mut instance = linker.instance(&format!("wasi:cli/{interface}@{version}"))?;
        instance.func_wrap(function, |_: StoreContextMut<'_, T>, (): ()| Ok((None::<Resource<TerminalOutput>>,)))?;
    }
    Ok(())
}

fn clocks<T: Wasi>(linker: &mut Linker<T>, version: &str) -> Result<()> {
    const MILLI: u64 = 1_000_000;
    let mut wall = linker.instance(&format!("wasi:clocks/wall-clock@{version}"))?;
    wall.func_wrap("now", |store: StoreContextMut<'_, T>, (): ()| {
        let now = store.data().last_time();
        let nanoseconds = u32::try_from(now % 1000 * MILLI).unwrap_or_default();
        Ok((Datetime { seconds: now / 1000, nanoseconds },))
    })?;
    wall.func_wrap("resolution", |_: StoreContextMut<'_, T>, (): ()| {
        Ok((Datetime { seconds: 0, nanoseconds: 1_000_000 },))
    })?;
    let mut monotonic = linker.instance(&format!("wasi:clocks/monotonic-clock@{version}"))?;
    monotonic.func_wrap("now", |store: StoreContextMut<'_, T>, (): ()| {
        Ok((store.data().last_time().saturating_mul(MILLI),))
    })?;
    monotonic.func_wrap("resolution", |_: StoreContextMut<'_, T>, (): ()| Ok((MILLI,)))?;
    Ok(())
}

fn random<T: Wasi>(linker: &mut Linker<T>, version: &str) -> Result<()> {
    for (interface, bytes, number) in [
        ("random", "get-random-bytes", "get-random-u64"),
        ("insecure", "get-insecure-random-bytes", "get-insecure-random-u64"),
    ] {
        let mut instance = linker.instance(&format!("wasi:random/{interface}@{version}"))?;
        instance.func_wrap(bytes, |mut store: StoreContextMut<'_, T>, (count,): (u64,)| {
            if count > RANDOM {
                bail!("the plugin asked for {count} random bytes; at most {RANDOM} a call");
            }
            Ok((store.data_mut().random(usize::try_from(count).unwrap_or_default()),))
        })?;
        instance.func_wrap(number, |mut store: StoreContextMut<'_, T>, (): ()| Ok((number_from(store.data_mut()),)))?;
    }
    let mut seed = linker.instance(&format!("wasi:random/insecure-seed@{version}"))?;
    seed.func_wrap("insecure-seed", |mut store: StoreContextMut<'_, T>, (): ()| {
        Ok(((number_from(store.data_mut()), number_from(store.data_mut())),))
    })?;
    Ok(())
}

fn number_from<T: Wasi>(state: &mut T) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(state.random(8)) {
        *to = from;
    }
    u64::from_le_bytes(bytes)
}
