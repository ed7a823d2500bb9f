//! Where the time of a run went, by its journal.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use runner_types::{CallId, EffectClass, Entry};

/// Parts of a run's time; together they are all of it, from its first to its last entry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Something was being changed, or waited for until it is so.
    pub(crate) waiting: Duration,
    /// Nothing of that, but something was being read.
    pub(crate) reading: Duration,
    /// Neither: runner, its plugins, its questions, and the soaks that the workflow asks for.
    pub(crate) own: Duration,
}

/// A time within a run, from its first entry on.
type Span = (Duration, Duration);

impl Spent {
    /// Of the last run in a state directory whose name holds that of the workflow.
    pub(crate) fn of(state: &Path, workflow: &str) -> Result<Self> {
        let mut runs = std::fs::read_dir(state.join("runs"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        runs.retain(|run| run.file_name().is_some_and(|name| name.to_string_lossy().contains(workflow)));
        runs.sort();
        let record = runner_engine::journal::read(runs.last().with_context(|| format!("no run of {workflow}"))?)?;
        let first = record.lines.first().context("an empty journal")?.time;
        let mut begun: HashMap<CallId, (Duration, bool)> = HashMap::new();
        let (mut waits, mut reads): (Vec<Span>, Vec<Span>) = (Vec::new(), Vec::new());
        let mut last = Duration::ZERO;
        for line in &record.lines {
            last = line.time.since(first);
            match &line.entry {
                Entry::Start(start) => {
                    let waits = start.class != EffectClass::Read
                        || matches!(start.function.as_str(), "clock.sleep" | "kubernetes.wait-for");
                    begun.insert(start.call.clone(), (last, waits));
                }
                // Items end on their own: each prolongs the call.
                Entry::End(end) => {
                    if let Some((from, is_wait)) = begun.get(&end.call) {
                        if *is_wait { &mut waits } else { &mut reads }.push((*from, last));
                    }
                }
                _ => {}
            }
        }
        let waiting = covered(waits.clone());
        let busy = covered([waits, reads].concat());
        Ok(Self { waiting, reading: busy - waiting, own: last.saturating_sub(busy) })
    }
}

/// How much time spans cover together.
fn covered(mut spans: Vec<Span>) -> Duration {
    spans.sort();
    let mut covered = Duration::ZERO;
    let mut until = Duration::ZERO;
    for (from, to) in spans {
        covered += to.saturating_sub(from.max(until));
        until = until.max(to);
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_counts_once() {
        let span = |from: u64, to: u64| (Duration::from_secs(from), Duration::from_secs(to));
        assert_eq!(covered(vec![span(5, 6), span(0, 3), span(1, 2), span(2, 4)]), Duration::from_secs(5));
        assert_eq!(covered(Vec::new()), Duration::ZERO);
    }
}
