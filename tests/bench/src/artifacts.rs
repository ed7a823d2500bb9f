//! A large file of a host on its way into the store.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use runner_engine::artifacts::DirectoryStore;
use runner_engine::backend::simulated::{Faults, SeedFile, Simulated};
use runner_engine::contract::Caller;
use runner_engine::contract::artifacts::{PutOrder, Source};
use runner_engine::contract::{Backend, Place};
use serde_json::json;

use crate::platforms::resident;
use crate::table::Row;

const SIZE: u64 = 2 << 30;

pub(crate) async fn measure() -> Result<Vec<Row>> {
    let home = tempfile::tempdir()?;
    let seed = json!({
        "name": "bench",
        "hosts": {"host": {"address": "192.0.2.1", "files": {"/data": {"size": "2GiB"}}}},
    });
    let seed = SeedFile::made(serde_json::from_value(seed)?);
    let store = Arc::new(DirectoryStore::open(&home.path().join("store"))?);
    let platform = Simulated::with(&home.path().join("platform"), &seed, Vec::new(), Faults::default(), store)?;
    let order = PutOrder {
        host: "host".to_owned(),
        source: Source::File("/data".to_owned()),
        name: "data".to_owned(),
        labels: Vec::new(),
    };
    // The most that was resident is counted from here on (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5")?;
    let before = resident(std::process::id()).context("no resident memory is known")?;
    let begun = Instant::now();
    let place = Place::Host("host".to_owned());
    let answers =
        platform.artifacts().put(&place, &Caller::runner(), vec![order]).await.map_err(|stop| anyhow!("{stop}"))?;
    let time = begun.elapsed();
    let after = resident(std::process::id()).context("no resident memory is known")?;
    let stored = answers.into_iter().next().context("no answer")?.map_err(|failure| anyhow!(failure.message))?;
    ensure!(stored.size == SIZE, "{} bytes were stored", stored.size);
    let mut row = Row::alone(
        "a file of 2 GiB into the store",
        format!("{time:.2?}, {:.1} MiB more resident", after.saturating_sub(before) as f64 / 1024.0),
    );
    row.beside = format!("{:.0} MiB/s", (SIZE >> 20) as f64 / time.as_secs_f64());
    Ok(vec![row])
}
