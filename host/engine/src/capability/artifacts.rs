//! `artifacts`: grants name paths on hosts; small data of the plugin's own is free.

use std::ops::Range;

use serde_json::Value;

use super::{Capable, Subject, absolute, files, plain};
use crate::contract::artifacts::{DataOrder, DataRef, PutOrder, RestoreOrder, Source};
use crate::contract::{Backend, Place};

/// A name within a backup set: relative, of plain segments.
fn name(name: &str) -> Result<(), String> {
    name.split('/').try_for_each(|part| match part {
        "." | ".." => Err(format!("{name:?} is not a name within a backup set")),
        part => plain("an artifact", part).map(|_| ()),
    })
}

impl Capable for PutOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        name(&self.name)?;
        let path = match &self.source {
            Source::File(path) => path,
            Source::Tree(tree) => &tree.path,
        };
        Ok(Subject::Paths(vec![absolute(path)?]))
    }
    fn label(&self) -> String {
        self.name.clone()
    }
    fn stores_file(&self) -> bool {
        matches!(self.source, Source::File(_))
    }
}

impl Capable for DataOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        name(&self.name)?;
        Ok(Subject::Free)
    }
    fn label(&self) -> String {
        self.name.clone()
    }
}

#[async_trait::async_trait]
impl Capable for RestoreOrder {
    fn subject(&self) -> Result<Subject<'_>, String> {
        Ok(Subject::Paths(vec![absolute(&self.path)?]))
    }
    fn label(&self) -> String {
        self.path.clone()
    }
    fn moves(&self) -> Range<usize> {
        0..1
    }
    fn takes(&self) -> Option<&str> {
        Some(&self.digest)
    }
    async fn before(backend: &dyn Backend, place: &Place, items: &[Self]) -> Vec<Value> {
        files::state(backend, place, items.iter().map(|i| (i.host.as_str(), i.path.as_str())).collect()).await
    }
}

impl Capable for DataRef {
    fn subject(&self) -> Result<Subject<'_>, String> {
        Ok(Subject::Data(&self.digest))
    }
    fn takes(&self) -> Option<&str> {
        Some(&self.digest)
    }
    fn label(&self) -> String {
        self.digest.clone()
    }
}
