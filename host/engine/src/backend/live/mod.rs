//! Real platforms: hosts by SSH or on this machine, clusters by the Kubernetes API.
//!
//! One backend a host ([`LiveHost`]), one a cluster; each capability is in the file of its name and knows neither plugin
//! nor gate. What a host needs: sshd, a POSIX shell, coreutils, and what the component itself brings.

mod artifacts;
pub mod check;
mod curl;
mod exec;
mod files;
mod host;
mod http;
pub mod kubernetes;
mod local;
mod packages;
pub mod process;
mod records;
mod rights;
pub mod secrets;
pub mod shell;
pub mod ssh;
mod systemd;
mod tls;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::artifacts::Store;
use crate::contract::{self, Backend, Failure, Place};

pub use local::LocalHost;
use secrets::Secrets;
use shell::Shell;

/// A real host.
pub struct LiveHost {
    /// Its name in the inventory.
    pub name: String,
    /// Runs scripts there.
    pub shell: Arc<dyn Shell>,
    /// Values of secrets, put in at the last moment.
    pub secrets: Arc<Secrets>,
    /// The runner's store of artifacts.
    pub store: Arc<dyn Store>,
}

impl Backend for LiveHost {
    fn real_paths<'a>(&'a self, _place: &'a Place, paths: Vec<String>) -> BoxFuture<'a, Vec<Result<String, Failure>>> {
        Box::pin(async move { self.resolved(&paths).await })
    }
    fn files(&self) -> &dyn contract::files::Capability {
        self
    }
    fn http(&self) -> &dyn contract::http::Capability {
        self
    }
    fn systemd(&self) -> &dyn contract::systemd::Capability {
        self
    }
    fn exec(&self) -> &dyn contract::exec::Capability {
        self
    }
    fn host(&self) -> &dyn contract::host::Capability {
        self
    }
    fn packages(&self) -> &dyn contract::packages::Capability {
        self
    }
    fn artifacts(&self) -> &dyn contract::artifacts::Capability {
        self
    }
}

/// The machine on which runner runs, as far as it is no host of the inventory: HTTP from here, data of the store.
pub struct LiveRunner {
    /// Values of secrets, put in at the last moment.
    pub secrets: Arc<Secrets>,
    /// The runner's store of artifacts.
    pub store: Arc<dyn Store>,
}

impl Backend for LiveRunner {
    fn http(&self) -> &dyn contract::http::Capability {
        self
    }
    fn artifacts(&self) -> &dyn contract::artifacts::Capability {
        self
    }
}

#[cfg(test)]
mod tests;
