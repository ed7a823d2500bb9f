//! `systemd`.

use crate::backend::simulated::Simulated;
use crate::backend::simulated::model::files::Entry;
use crate::backend::simulated::model::units::{JournalLine, Unit};
use crate::backend::simulated::model::{Model, keys};
use crate::backend::simulated::pattern::glob;
use crate::capability::drop_in_path;
use crate::contract::systemd::{
    self, Capability, DaemonReload, Disable, DropIn, DropInRef, Enable, Find, JournalExcerpt, JournalQuery, Reload,
    RemoveDropIn, Restart, RestartOrder, Start, Status, Stop, UnitChange, UnitOrder, UnitQuery, UnitRef, UnitStatus,
    WriteDropIn,
};
use crate::contract::{Caller, Failure, Performed, Place};

/// Lines that one answer carries at most.
const MOST_LINES: u32 = 10_000;

#[async_trait::async_trait]
impl Capability for Simulated {
    async fn status(&self, place: &Place, _caller: &Caller, items: Vec<UnitRef>) -> Performed<UnitStatus> {
        self.each::<Status>(place, items, |model, item| model.unit_status(&item.host, &item.unit)).await
    }

    async fn find(&self, place: &Place, _caller: &Caller, items: Vec<UnitQuery>) -> Performed<Vec<UnitStatus>> {
        self.each::<Find>(place, items, find).await
    }

    async fn journal(&self, place: &Place, _caller: &Caller, items: Vec<JournalQuery>) -> Performed<JournalExcerpt> {
        self.each::<systemd::Journal>(place, items, journal).await
    }

    async fn start(&self, place: &Place, _caller: &Caller, items: Vec<UnitOrder>) -> Performed<UnitChange> {
        self.each::<Start>(place, items, |model, item| model.start(&item.host, &item.unit)).await
    }

    async fn stop(&self, place: &Place, _caller: &Caller, items: Vec<UnitOrder>) -> Performed<UnitChange> {
        self.each::<Stop>(place, items, |model, item| model.stop(&item.host, &item.unit)).await
    }

    async fn restart(&self, place: &Place, _caller: &Caller, items: Vec<RestartOrder>) -> Performed<UnitChange> {
        self.each::<Restart>(place, items, |model, item| model.restart(&item.host, &item.unit)).await
    }

    async fn reload(&self, place: &Place, _caller: &Caller, items: Vec<UnitOrder>) -> Performed<UnitChange> {
        self.each::<Reload>(place, items, |model, item| model.reload(&item.host, &item.unit)).await
    }

    async fn enable(&self, place: &Place, _caller: &Caller, items: Vec<UnitRef>) -> Performed<UnitChange> {
        self.each::<Enable>(place, items, |model, item| model.enable(&item.host, &item.unit, true)).await
    }

    async fn disable(&self, place: &Place, _caller: &Caller, items: Vec<UnitRef>) -> Performed<UnitChange> {
        self.each::<Disable>(place, items, |model, item| model.enable(&item.host, &item.unit, false)).await
    }

    async fn write_drop_in(&self, place: &Place, _caller: &Caller, items: Vec<DropIn>) -> Performed<bool> {
        self.each::<WriteDropIn>(place, items, write_drop_in).await
    }

    async fn remove_drop_in(&self, place: &Place, _caller: &Caller, items: Vec<DropInRef>) -> Performed<bool> {
        self.each::<RemoveDropIn>(place, items, remove_drop_in).await
    }

    async fn daemon_reload(&self, place: &Place, _caller: &Caller, items: Vec<String>) -> Performed<()> {
        self.each::<DaemonReload>(place, items, |model, host| model.daemon_reload(host)).await
    }
}

fn find(model: &mut Model<'_>, query: &UnitQuery) -> Result<Vec<UnitStatus>, Failure> {
    let mut found = Vec::new();
    for (name, _) in model.tx.list::<Unit>(&keys::unit(&query.host, ""))? {
        let status = model.unit_status(&query.host, &name)?;
        let wanted = query.active_states.is_empty() || query.active_states.contains(&status.active_state);
        if wanted && glob(&query.pattern, &name) {
            found.push(status);
        }
    }
    Ok(found)
}

fn journal(model: &mut Model<'_>, query: &JournalQuery) -> Result<JournalExcerpt, Failure> {
    let lines: Vec<JournalLine> = model.tx.get(&keys::journal(&query.host, &query.unit))?.unwrap_or_default();
    let host = model.host_facts(&query.host)?.hostname;
    let wanted: Vec<&JournalLine> = lines
        .iter()
        .filter(|line| query.priority.is_none_or(|worst| line.priority <= worst))
        .filter(|line| query.since.as_ref().is_none_or(|since| line.time.to_string() >= *since))
        .collect();
    let most = query.lines.min(MOST_LINES) as usize;
    let skipped = wanted.len().saturating_sub(most);
    let process = query.unit.split('.').next().unwrap_or_default();
    let shown = wanted.iter().skip(skipped);
    Ok(JournalExcerpt {
        lines: shown.map(|line| format!("{} {host} {process}: {}", line.time, line.text)).collect(),
        truncated: skipped > 0,
    })
}

fn write_drop_in(model: &mut Model<'_>, order: &DropIn) -> Result<bool, Failure> {
    let (host, path) = (&order.at.host, drop_in_path(&order.at));
    if model.text(host, &path)?.as_ref() == Some(&order.text) {
        return Ok(false);
    }
    let content = model.blobs.keep(order.text.clone().into_bytes())?;
    let entry = Entry::file(content, model.now);
    model.put(host, &path, &entry)?;
    Ok(true)
}

fn remove_drop_in(model: &mut Model<'_>, order: &DropInRef) -> Result<bool, Failure> {
    let path = drop_in_path(order);
    if model.entry(&order.host, &path)?.is_none() {
        return Ok(false);
    }
    model.delete(&order.host, &path)?;
    let directory = crate::backend::simulated::model::files::parent(&path).to_owned();
    if model.below(&order.host, &directory)?.is_empty() {
        model.delete(&order.host, &directory)?;
    }
    Ok(true)
}
