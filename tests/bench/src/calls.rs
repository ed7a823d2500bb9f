//! Instances, calls of the gate and journalled writes, beside wasmtime and the disk alone.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indexmap::IndexMap;
use runner_engine::artifacts::DirectoryStore;
use runner_engine::backend::live::secrets::Secrets;
use runner_engine::contract::{Backend, clock};
use runner_engine::gate::{Answer, Ask, Asked, Attempt, AttemptSpec, Gate, Nobody, Observer, Platform};
use runner_engine::journal::{Durability, Journal};
use runner_engine::plugin::Catalog;
use runner_types::{Entry, EventKind, LogLevel, LogLine, Operation, Policy, RunHeader, Target};
use serde_json::json;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::table::{Row, median};

const ROUNDS: usize = 2_000;
const FLUSHES: usize = 200;

struct Nothing;

impl Backend for Nothing {}

impl Observer for Nothing {
    fn observe(&self, _event: EventKind) {}
}

#[async_trait::async_trait]
impl Ask for Nothing {
    async fn ask(&self, _asked: Asked) -> Result<Answer, Nobody> {
        Err(Nobody { option: None })
    }
}

pub(crate) async fn measure(guests: &Path) -> Result<Vec<Row>> {
    let home = tempfile::tempdir()?;
    let mut rows = Vec::new();
    rows.extend(instances(home.path(), guests).await?);
    rows.extend(calls(home.path()).await?);
    rows.extend(flushes(home.path()).await?);
    Ok(rows)
}

fn attempt(gate: &Arc<Gate>) -> Arc<Attempt> {
    let id = runner_types::Attempt { step: "bench".to_owned(), target: Target::Hosts, attempt: 1 };
    let spec = AttemptSpec {
        id,
        plugin: "bench".to_owned(),
        operation: Operation::Verify,
        reads_only: true,
        hosts: Vec::new(),
        cluster: None,
        requests: Vec::new(),
        prompts: Vec::new(),
        saved: Vec::new(),
    };
    Attempt::new(Arc::clone(gate), spec)
}

fn header() -> Result<RunHeader> {
    let digest = "0".repeat(64);
    Ok(serde_json::from_value(json!({
        "format": 1, "runner": "bench", "api": "0.1.0", "run": "bench", "stamp": "2026-01-01T00:00:00.000Z", "seed": 1,
        "platform": "bench", "workflows": [], "inputs": {}, "plugins": {}, "started": "2026-01-01T00:00:00.000Z",
        "inventory": {"path": "", "digest": digest, "content": null},
        "policy": {"path": "", "digest": digest}, "operator": {"user": "bench", "host": "bench"}
    }))?)
}

fn gate(folder: &Path) -> Result<Arc<Gate>> {
    let nothing: Arc<dyn Backend> = Arc::new(Nothing);
    let platform = Platform {
        hosts: IndexMap::new(),
        host_backends: BTreeMap::new(),
        cluster_backends: BTreeMap::new(),
        secrets: Arc::new(Secrets::new(&IndexMap::new(), folder)),
        runner_backend: nothing,
    };
    Ok(Arc::new(Gate::new(
        Arc::new(Journal::create(folder, &header()?)?),
        Arc::new(platform),
        Arc::new(Policy::default()),
        Arc::new(DirectoryStore::open(&folder.join("store"))?),
        Arc::new(Nothing),
        Arc::new(Nothing),
        1,
    )))
}

async fn instances(home: &Path, guests: &Path) -> Result<Vec<Row>> {
    let catalog = Catalog::open(&[guests.to_owned()], None)?;
    let plugin = catalog.load("good")?;
    let gate = gate(&home.join("instances"))?;
    let mut ours = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let attempt = attempt(&gate);
        let begun = Instant::now();
        let instance = plugin.instance(attempt).await?;
        ours.push(begun.elapsed());
        drop(instance);
    }
    let path = catalog
        .manifests()
        .find(|(_, _, manifest)| manifest.name == "good")
        .map(|(path, _, _)| path.to_owned())
        .context("no guest `good`")?;
    let raw = raw(&std::fs::read(path)?).await.map_err(|error| anyhow::anyhow!("{error:#}"))?;
    Ok(vec![Row::against("an instance of a plugin", median(ours), "raw wasmtime", median(raw))])
}

/// The same component in an engine configured alike, with stubs for its imports.
async fn raw(bytes: &[u8]) -> wasmtime::Result<Vec<Duration>> {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
    let engine = Engine::new(&config)?;
    let component = Component::from_binary(&engine, bytes)?;
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&component)?;
    let pre = linker.instantiate_pre(&component)?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let instance = pre.instantiate_async(&mut store).await?;
        times.push(begun.elapsed());
        let _ = instance;
    }
    Ok(times)
}

async fn calls(home: &Path) -> Result<Vec<Row>> {
    let gate = gate(&home.join("calls"))?;
    let attempt = attempt(&gate);
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        attempt.call::<clock::Elapsed>(vec![clock::ElapsedQuestion {}]).await?;
    }
    let each = begun.elapsed() / u32::try_from(ROUNDS)?;
    Ok(vec![Row::against("a journalled call without a flush", each, "goal", Duration::from_micros(2))])
}

fn line(number: usize) -> Entry {
    Entry::Log(LogLine {
        attempt: runner_types::Attempt { step: "bench".to_owned(), target: Target::Hosts, attempt: 1 },
        level: LogLevel::Info,
        message: format!("{number:0>300}"),
        fields: Vec::new(),
    })
}

async fn flushes(home: &Path) -> Result<Vec<Row>> {
    let folder = home.join("flushes");
    let journal = Arc::new(Journal::create(&folder, &header()?)?);
    let begun = Instant::now();
    for number in 0..FLUSHES {
        journal.append(line(number), Durability::Flushed).await?;
    }
    let one = begun.elapsed() / u32::try_from(FLUSHES)?;

    let begun = Instant::now();
    for _ in 0..FLUSHES / 16 {
        let mut together = tokio::task::JoinSet::new();
        for number in 0..16 {
            let journal = Arc::clone(&journal);
            together.spawn(async move { journal.append(line(number), Durability::Flushed).await });
        }
        while let Some(done) = together.join_next().await {
            done??;
        }
    }
    let many = begun.elapsed() / u32::try_from(FLUSHES / 16 * 16)?;

    let mut file = OpenOptions::new().create_new(true).append(true).open(home.join("bare"))?;
    let bytes = serde_json::to_vec(&line(0))?;
    let begun = Instant::now();
    for _ in 0..FLUSHES {
        file.write_all(&bytes)?;
        file.sync_data()?;
    }
    let bare = begun.elapsed() / u32::try_from(FLUSHES)?;
    Ok(vec![
        Row::against("a flushed entry", one, "bare fdatasync", bare),
        Row::against("a flushed entry, 16 targets at a time", many, "bare fdatasync", bare),
    ])
}
