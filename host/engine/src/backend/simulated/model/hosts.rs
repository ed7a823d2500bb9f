//! Hosts as a whole.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::units::Unit;
use super::{Model, keys};
use crate::backend::failure;
use crate::contract::Failure;
use crate::contract::host::HostFacts;

/// What a host is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) address: String,
    pub(crate) hostname: String,
    /// The Node that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// The cluster of that Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    pub(crate) os: String,
    pub(crate) os_version: String,
    pub(crate) kernel: String,
    pub(crate) architecture: String,
    pub(crate) processors: u32,
    pub(crate) memory: u32,
    /// How often it was booted.
    pub(crate) boots: u64,
}

impl Host {
    /// Its boot marker: a name-like hash of the host and its number of boots.
    fn boot(&self, name: &str) -> String {
        let hash = hex::encode(Sha256::digest(format!("{name} {}", self.boots).as_bytes()));
        format!("{}-{}-{}-{}-{}", &hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..32])
    }
}

impl Model<'_> {
    /// A host.
    pub(crate) fn host(&self, host: &str) -> Result<Option<Host>, Failure> {
        self.tx.get(&keys::host(host))
    }

    /// A host that must be there.
    pub(crate) fn known_host(&self, host: &str) -> Result<Host, Failure> {
        self.host(host)?.ok_or_else(|| failure::unreachable(host, format!("the simulated platform has no host {host}")))
    }

    /// Names of all hosts.
    pub(crate) fn hosts(&self) -> Result<Vec<String>, Failure> {
        Ok(self.tx.below("hosts/").into_iter().map(|(key, _)| key["hosts/".len()..].to_owned()).collect())
    }

    /// The host that an address, host name or InternalIP means.
    pub(crate) fn host_at(&self, address: &str) -> Result<Option<String>, Failure> {
        if self.tx.has(&keys::host(address)) {
            return Ok(Some(address.to_owned()));
        }
        self.tx.get(&keys::address(address))
    }

    /// A host as expressions see it.
    pub(crate) fn host_value(&self, name: &str) -> Result<Value, Failure> {
        let Some(host) = self.host(name)? else {
            return Ok(Value::Null);
        };
        Ok(json!({
            "name": name,
            "address": host.address,
            "node": host.node.as_deref().unwrap_or(""),
            "hostname": host.hostname,
            "boot": host.boot(name),
            "os": host.os,
            "os_version": host.os_version,
            "cluster": host.cluster.as_deref().unwrap_or(""),
        }))
    }

    /// What the contract says of a host.
    pub(crate) fn host_facts(&self, name: &str) -> Result<HostFacts, Failure> {
        let host = self.known_host(name)?;
        Ok(HostFacts {
            boot: host.boot(name),
            os: host.os,
            os_version: host.os_version,
            kernel: host.kernel,
            architecture: host.architecture,
            time: self.now.to_string(),
            processors: host.processors,
            memory: host.memory,
            memory_available: host.memory / 2,
            hostname: host.hostname,
        })
    }

    /// Reboots a host: every unit stops, what is in memory is gone, enabled units start.
    pub(crate) fn reboot(&mut self, name: &str) -> Result<HostFacts, Failure> {
        let mut host = self.known_host(name)?;
        host.boots += 1;
        let units = self.tx.list::<Unit>(&keys::unit(name, ""))?;
        for (unit, state) in units.iter().rev() {
            match state.is_active() {
                true => self.stop(name, unit).map(drop)?,
                // What failed is remembered in memory only.
                false => self.force_unit(name, unit, "inactive")?,
            }
        }
        self.tx.set(&keys::host(name), &host)?;
        for memory in ["/run", "/tmp"] {
            if self.entry(name, memory)?.is_some() {
                self.delete(name, memory)?;
            }
        }
        self.daemon_reload(name)?;
        for (unit, state) in &units {
            // A unit that fails to start fails alone: the host is up all the same.
            if state.enabled || (state.is_active() && unit.ends_with(".socket")) {
                let _ = self.start(name, unit);
            }
        }
        self.host_rebooted(name)?;
        self.host_facts(name)
    }
}
