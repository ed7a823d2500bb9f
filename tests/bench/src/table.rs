//! The table and the machine that it was made on.

use std::fs;
use std::time::Duration;

/// One measurement.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) value: String,
    /// What it is held against, measured in the same run.
    pub(crate) beside: String,
    pub(crate) ratio: String,
}

impl Row {
    pub(crate) fn alone(what: impl Into<String>, value: impl Into<String>) -> Self {
        Self { what: what.into(), value: value.into(), beside: String::new(), ratio: String::new() }
    }

    /// A time beside the time of a peer or of a limit.
    pub(crate) fn against(what: &str, value: Duration, peer: &str, beside: Duration) -> Self {
        let ratio = value.as_secs_f64() / beside.as_secs_f64().max(f64::MIN_POSITIVE);
        Self {
            what: what.to_owned(),
            value: format!("{value:.2?}"),
            beside: format!("{peer} {beside:.2?}"),
            ratio: format!("{ratio:.2}"),
        }
    }
}

/// The middle one of some times.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "a bench prints its table")]
pub(crate) fn print(rows: &[Row]) {
    println!("{}", machine());
    println!("| what | measured | beside | ratio |\n|---|---|---|---|");
    for row in rows {
        println!("| {} | {} | {} | {} |", row.what, row.value, row.beside, row.ratio);
    }
}

fn machine() -> String {
    let line = |path: &str, key: &str| -> Option<String> {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = line("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = line("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{processor}, {cores} cores, {memory}, kernel {}, load {}", kernel.trim(), load.trim())
}
