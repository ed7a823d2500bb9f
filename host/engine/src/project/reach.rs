//! What stands for the hosts and clusters of a platform: real ones, each by its connection, and the simulated platform.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runner_types::{Connection, ResolvedHost};

use super::{Project, ProjectError};
use crate::artifacts::Store;
use crate::backend::live::kubernetes::{Kubeconfig, LiveCluster};
use crate::backend::live::process::ProcessShell;
use crate::backend::live::secrets::Secrets;
use crate::backend::live::shell::Shell;
use crate::backend::live::ssh::SshShell;
use crate::backend::live::{LiveHost, LiveRunner, LocalHost};
use crate::backend::simulated::Simulated;
use crate::contract::Backend;
use crate::gate::Platform;

impl Project {
    /// Whether anything of the platform is simulated.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.world.inventory.hosts.values().any(|host| host.connection == Connection::Simulated)
            || self.world.clusters.iter().any(|name| self.inventory.is_simulated(name))
    }

    /// The backends of all hosts and clusters. Nothing is connected yet: each is when it is first asked.
    pub(super) fn reach(&self, store: Arc<dyn Store>) -> Result<Platform, ProjectError> {
        for host in self.world.inventory.hosts.values() {
            host.check_available().map_err(|error| ProjectError::Unavailable(error.to_string()))?;
        }
        let secrets = Arc::new(Secrets::new(&self.inventory.secrets, self.folder()));
        let simulated: Option<Arc<dyn Backend>> = match self.is_simulated() {
            true => Some(Arc::new(self.simulated(Arc::clone(&store))?)),
            false => None,
        };
        let mut host_backends = BTreeMap::new();
        for (name, host) in &self.world.inventory.hosts {
            let backend: Arc<dyn Backend> = match (&simulated, host.connection) {
                (Some(simulated), Connection::Simulated) => Arc::clone(simulated),
                _ => real(
                    LiveHost {
                        name: name.clone(),
                        shell: self.shell(host, &secrets),
                        secrets: Arc::clone(&secrets),
                        store: Arc::clone(&store),
                    },
                    host,
                )?,
            };
            host_backends.insert(name.clone(), backend);
        }
        let mut cluster_backends = BTreeMap::new();
        for name in &self.world.clusters {
            let backend: Arc<dyn Backend> = match &simulated {
                Some(simulated) if self.inventory.is_simulated(name) => Arc::clone(simulated),
                _ => Arc::new(self.cluster(name, &secrets)?),
            };
            cluster_backends.insert(name.clone(), backend);
        }
        let runner_backend = match simulated {
            Some(simulated) => simulated,
            None => Arc::new(LiveRunner { secrets: Arc::clone(&secrets), store }),
        };
        Ok(Platform {
            hosts: self.world.inventory.hosts.clone(),
            host_backends,
            cluster_backends,
            secrets,
            runner_backend,
        })
    }

    /// What carries scripts to a real host.
    fn shell(&self, host: &ResolvedHost, secrets: &Arc<Secrets>) -> Arc<dyn Shell> {
        match host.connection {
            Connection::Local => {
                let effects = (!is_itself(host)).then(|| host.r#become.user.clone());
                Arc::new(ProcessShell { effects })
            }
            Connection::Ssh | Connection::Simulated => {
                Arc::new(SshShell::new(host, self.folder(), Arc::clone(secrets)))
            }
        }
    }

    fn cluster(&self, name: &str, secrets: &Arc<Secrets>) -> Result<LiveCluster, ProjectError> {
        let cluster = self.inventory.clusters.get(name).cloned().unwrap_or_default();
        let path = cluster.kubeconfig.map(|path| self.folder().join(path));
        let kubeconfig = Kubeconfig::open(path.as_deref(), cluster.context.as_deref())
            .map_err(|error| ProjectError::Connection { cluster: name.to_owned(), reason: error.to_string() })?;
        Ok(LiveCluster::new(name, kubeconfig, Arc::clone(secrets)))
    }

    /// The inventory's folder, from which paths in it go.
    fn folder(&self) -> &Path {
        self.options.inventory.parent().unwrap_or(Path::new("."))
    }

    /// Opens the simulated platform.
    ///
    /// # Errors
    /// When its seed, its behaviours or its state are wrong.
    pub fn simulated(&self, store: Arc<dyn Store>) -> Result<Simulated, ProjectError> {
        let seed = self.folder().join(self.inventory.platform.as_deref().unwrap_or("platform.json"));
        let behaviours: Vec<PathBuf> = self
            .catalog
            .manifests()
            .map(|(path, _, _)| path.with_extension("simulated.json"))
            .filter(|path| path.is_file())
            .collect();
        let directory = self.platform_directory();
        let known = self.options.cache.as_deref().unwrap_or(&directory);
        Simulated::open(&directory, &seed, &behaviours, self.faults.clone(), store, known)
            .map_err(|error| ProjectError::Simulated(error.to_string()))
    }
}

/// Whether effects on this machine are those of the user who runs runner.
fn is_itself(host: &ResolvedHost) -> bool {
    !host.r#become.enabled || (host.r#become.user == "root" && rustix::process::geteuid().is_root())
}

/// A real host; the files of this machine by directory handles, where no other user is needed for them.
fn real(scripts: LiveHost, host: &ResolvedHost) -> Result<Arc<dyn Backend>, ProjectError> {
    if host.connection != Connection::Local || !is_itself(host) {
        return Ok(Arc::new(scripts));
    }
    let local = LocalHost::new(scripts).map_err(|error| {
        ProjectError::Unavailable(format!("the root directory of this machine cannot be opened: {error}"))
    })?;
    Ok(Arc::new(local))
}
