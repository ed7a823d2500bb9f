//! Parameters of the operations. What every operation needs to know of the installation is the same in each of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Versions wanted, by package.
pub type Versions = BTreeMap<String, String>;

/// Where etcd is on its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Package of the server.
    pub server_package: String,
    /// Package of `etcdctl` and `etcdutl`.
    pub client_package: String,
    /// Unit of the server.
    pub unit: String,
    /// Configuration file of the server.
    pub config: String,
    /// Directory of its data.
    pub data_dir: String,
    /// How `etcdctl` proves who it is.
    pub tls: Tls,
    /// Seconds that a member may take to become healthy.
    pub health_timeout: u32,
}

/// Files for `etcdctl`, on the member's host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificate authority.
    pub cacert: Option<String>,
    /// Certificate.
    pub cert: Option<String>,
    /// Key.
    pub key: Option<String>,
}

/// Makes a parameters type: the fields given, and those of [`Settings`].
macro_rules! parameters {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// Package of the server.
            #[serde(default = "default::server_package")]
            pub server_package: String,
            /// Package of etcdctl and etcdutl.
            #[serde(default = "default::client_package")]
            pub client_package: String,
            /// Unit of the server.
            #[serde(default = "default::unit")]
            pub unit: String,
            /// Configuration file of the server (YAML).
            #[serde(default = "default::config")]
            pub config: String,
            /// Directory of the server's data; the configuration must name the same.
            #[serde(default = "default::data_dir")]
            pub data_dir: String,
            /// File on each member with the certificate authority that etcdctl trusts.
            #[serde(default)]
            pub cacert: Option<String>,
            /// File on each member with the certificate of etcdctl.
            #[serde(default)]
            pub cert: Option<String>,
            /// File on each member with the key of etcdctl.
            #[serde(default)]
            pub key: Option<String>,
            /// Seconds that a member may take to become healthy.
            #[serde(default = "default::health_timeout")]
            #[schemars(range(min = 1, max = 86400))]
            pub health_timeout: u32,
        }

        impl $name {
            /// What is the same in every operation.
            pub fn settings(&self) -> Settings {
                Settings {
                    server_package: self.server_package.clone(),
                    client_package: self.client_package.clone(),
                    unit: self.unit.clone(),
                    config: self.config.clone(),
                    data_dir: self.data_dir.trim_end_matches('/').to_owned(),
                    tls: Tls {
                        cacert: self.cacert.clone(),
                        cert: self.cert.clone(),
                        key: self.key.clone(),
                    },
                    health_timeout: self.health_timeout,
                }
            }
        }
    };
}

parameters! {
    /// Parameters of `backup`.
    Backup {
        /// Directory on the member that takes the snapshot where it lies until it is stored.
        #[serde(default = "default::spool")]
        spool: String,
        /// Further files of the configuration, saved and put back with it where they exist.
        #[serde(default)]
        more_configuration: Vec<String>,
    }
}

parameters! {
    /// Parameters of `update`.
    Update {
        /// Version wanted of each package.
        versions: Versions,
        /// Seconds that one transaction of the package manager may take.
        #[serde(default = "default::package_timeout")]
        #[schemars(range(min = 1, max = 86400))]
        package_timeout: u32,
    }
}

parameters! {
    /// Parameters of `backout`.
    Backout {
        /// Restore the backup set's snapshot instead of downgrading in place. What was written since is lost.
        #[serde(default)]
        restore: bool,
        /// What uses etcd and must not run while it is restored. A restore needs it, or standalone.
        #[serde(default)]
        dependents: Dependents,
        /// Nothing uses this etcd that would have to be stopped for a restore.
        #[serde(default)]
        standalone: bool,
        /// By how much a restore raises the revision, so that no client sees it go back.
        #[serde(default = "default::bump_revision")]
        #[schemars(range(min = 1))]
        bump_revision: u64,
        /// Further files of the configuration, put back from the backup set with it.
        #[serde(default)]
        more_configuration: Vec<String>,
        /// Seconds that one transaction of the package manager may take.
        #[serde(default = "default::package_timeout")]
        #[schemars(range(min = 1, max = 86400))]
        package_timeout: u32,
    }
}

parameters! {
    /// Parameters of `verify`.
    Verify {
        /// Version expected of each package; empty: whatever is installed, the same everywhere.
        #[serde(default)]
        versions: Versions,
    }
}

/// Units of other components that use etcd. On each host those count that exist there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Dependents {
    /// Hosts that they are on.
    pub hosts: Vec<String>,
    /// Units that are stopped before a restore and started after it: the API servers.
    pub stop: Vec<String>,
    /// Units that are restarted after it, in this order: whoever keeps what the API servers said.
    pub restart: Vec<String>,
}

/// Defaults of parameters.
mod default {
    pub(super) fn server_package() -> String {
        "etcd-server".into()
    }

    pub(super) fn client_package() -> String {
        "etcd-client".into()
    }

    pub(super) fn unit() -> String {
        "etcd.service".into()
    }

    pub(super) fn config() -> String {
        "/etc/etcd/etcd.conf.yml".into()
    }

    pub(super) fn data_dir() -> String {
        "/var/lib/etcd".into()
    }

    pub(super) fn spool() -> String {
        "/var/tmp/runner-etcd".into()
    }

    pub(super) fn health_timeout() -> u32 {
        120
    }

    pub(super) fn package_timeout() -> u32 {
        900
    }

    /// The number that etcd's documentation works out for a week at a thousand writes a second
    /// (<https://etcd.io/docs/v3.6/op-guide/recovery/#restoring-with-revision-bump>).
    pub(super) fn bump_revision() -> u64 {
        1_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_of_the_data_directory_does_not_matter() {
        let parameters: Result<Verify, _> = serde_json::from_str(r#"{"data-dir":"/data/etcd/"}"#);
        assert_eq!(parameters.map(|p| p.settings().data_dir).ok().as_deref(), Some("/data/etcd"));
    }
}
