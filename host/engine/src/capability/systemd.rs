//! `systemd`: grants name the unit.

use serde_json::Value;

use super::{Capable, Subject, known_all, plain};
use crate::contract::systemd::{DropIn, DropInRef, JournalQuery, RestartOrder, UnitOrder, UnitQuery, UnitRef};
use crate::contract::{Backend, Caller, Place, files, types};

fn unit(name: &str) -> Result<Subject<'_>, String> {
    plain("a unit", name).map(Subject::Unit)
}

async fn status(backend: &dyn Backend, place: &Place, host: &str, units: Vec<&str>) -> Vec<Value> {
    let count = units.len();
    let units = units.into_iter().map(|unit| UnitRef { host: host.to_owned(), unit: unit.to_owned() }).collect();
    known_all(backend.systemd().status(place, &Caller::runner(), units).await, count)
}

macro_rules! on_unit {
    ($($item:ty),* $(,)?) => {$(
        #[async_trait::async_trait]
        impl Capable for $item {
            fn subject(&self) -> Result<Subject<'_>, String> {
                unit(&self.unit)
            }
            fn label(&self) -> String {
                self.unit.clone()
            }
            async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
                let Some(first) = items.first() else { return Vec::new() };
                status(backend, place, &first.host, items.iter().map(|i| i.unit.as_str()).collect()).await
            }
        }
    )*};
}

on_unit!(UnitRef, UnitOrder, RestartOrder);

impl Capable for UnitQuery {
    fn subject(&self) -> Result<Subject<'_>, String> {
        // A pattern is granted when the grant's own pattern covers it as text.
        Ok(Subject::Unit(&self.pattern))
    }
    fn label(&self) -> String {
        self.pattern.clone()
    }
}

impl Capable for JournalQuery {
    fn subject(&self) -> Result<Subject<'_>, String> {
        unit(&self.unit)
    }
    fn label(&self) -> String {
        self.unit.clone()
    }
}

/// Hash of a drop-in's file, by the place where systemd looks for those of the administrator
/// (systemd.unit(5): `/etc/systemd/system/UNIT.d/NAME`).
async fn drop_in_hashes(backend: &dyn Backend, place: &Place, items: Vec<&DropInRef>) -> Vec<Value> {
    let count = items.len();
    let files = items.into_iter().map(|at| files::FileRef { host: at.host.clone(), path: drop_in_path(at) }).collect();
    known_all(backend.files().hash(place, &Caller::runner(), files).await, count)
}

/// Path of a drop-in's file.
#[must_use]
pub(crate) fn drop_in_path(at: &DropInRef) -> types::HostName {
    format!("/etc/systemd/system/{}.d/{}", at.unit, at.name)
}

fn drop_in(at: &DropInRef) -> Result<Subject<'_>, String> {
    plain("a drop-in", &at.name)?;
    if !at.name.ends_with(".conf") {
        return Err(format!("drop-in {:?} must end in .conf, or systemd ignores it", at.name));
    }
    unit(&at.unit)
}

#[async_trait::async_trait]
impl Capable for DropIn {
    fn subject(&self) -> Result<Subject<'_>, String> {
        drop_in(&self.at)
    }
    fn label(&self) -> String {
        format!("{} of {}", self.at.name, self.at.unit)
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        drop_in_hashes(backend, place, items.iter().map(|i| &i.at).collect()).await
    }
}

#[async_trait::async_trait]
impl Capable for DropInRef {
    fn subject(&self) -> Result<Subject<'_>, String> {
        drop_in(self)
    }
    fn label(&self) -> String {
        format!("{} of {}", self.name, self.unit)
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        drop_in_hashes(backend, place, items.iter().collect()).await
    }
}
