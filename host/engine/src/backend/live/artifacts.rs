//! `artifacts`: between a real host and the store, always as a stream in bounded memory.
//!
//! A file or tree is hashed on both sides, and what does not agree neither gets into the store nor appears on the host.
//! None of it has a time that it must be over in: a host that goes silent is noticed by its [`Shell`].
//!
//! [`Shell`]: super::shell::Shell

mod put;
mod restore;
mod survey;
mod talk;
#[cfg(test)]
mod tests;

use super::{LiveHost, LiveRunner};
use crate::backend::{failure, stored};
use crate::contract::artifacts::{Capability, DataOrder, DataRef, PutOrder, RestoreOrder, StoredData};
use crate::contract::files::FileChange;
use crate::contract::types::Artifact;
use crate::contract::{Caller, Performed, Place};

#[async_trait::async_trait]
impl Capability for LiveHost {
    async fn put(&self, _place: &Place, _caller: &Caller, items: Vec<PutOrder>) -> Performed<Artifact> {
        Ok(put::put(self, items).await)
    }

    async fn put_data(&self, place: &Place, _caller: &Caller, items: Vec<DataOrder>) -> Performed<Artifact> {
        Ok(stored::put_data(self.store.as_ref(), place, items).await)
    }

    async fn get_data(&self, _place: &Place, caller: &Caller, items: Vec<DataRef>) -> Performed<StoredData> {
        Ok(stored::get_data(self.store.as_ref(), caller, items).await)
    }

    async fn restore(&self, _place: &Place, _caller: &Caller, items: Vec<RestoreOrder>) -> Performed<FileChange> {
        restore::restore(self, items).await
    }
}

/// Data only: files and trees are on hosts.
#[async_trait::async_trait]
impl Capability for LiveRunner {
    async fn put(&self, _place: &Place, _caller: &Caller, items: Vec<PutOrder>) -> Performed<Artifact> {
        Ok(items.iter().map(|item| Err(no_host(&item.host))).collect())
    }

    async fn put_data(&self, place: &Place, _caller: &Caller, items: Vec<DataOrder>) -> Performed<Artifact> {
        Ok(stored::put_data(self.store.as_ref(), place, items).await)
    }

    async fn get_data(&self, _place: &Place, caller: &Caller, items: Vec<DataRef>) -> Performed<StoredData> {
        Ok(stored::get_data(self.store.as_ref(), caller, items).await)
    }

    async fn restore(&self, _place: &Place, _caller: &Caller, items: Vec<RestoreOrder>) -> Performed<FileChange> {
        Ok(items.iter().map(|item| Err(no_host(&item.host))).collect())
    }
}

fn no_host(host: &str) -> crate::contract::Failure {
    failure::unsupported(host, "files of the machine on which runner runs are reached as those of a host only")
}
