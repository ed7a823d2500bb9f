//! Parameters of the operations; `manifest.json` holds their schemas.

use std::collections::BTreeMap;

use runner_plugin_sdk::packages::Versions;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Parameters of one operation: its own ones and those that every operation takes.
macro_rules! parameters {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            /// Packages that make up Docker and containerd.
            #[serde(default = "packages")]
            pub packages: Vec<String>,
            /// Configuration of Docker.
            #[serde(default = "daemon_file")]
            pub daemon_file: String,
            /// Configuration of containerd.
            #[serde(default = "containerd_file")]
            pub containerd_file: String,
            /// Further files that hold settings of either, such as /etc/default/docker or /etc/sysconfig/docker-storage.
            #[serde(default)]
            pub more_files: Vec<String>,
            /// File on the host in which an update notes what it still owes while it is under way.
            #[serde(default = "owed_file")]
            pub owed_file: String,
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $name {
            /// What every operation takes.
            pub(crate) fn layout(&self) -> Layout<'_> {
                Layout {
                    daemon_file: &self.daemon_file,
                    containerd_file: &self.containerd_file,
                    more_files: &self.more_files,
                    owed_file: &self.owed_file,
                }
            }
        }
    };
}

/// Where things are on a host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a> {
    pub(crate) daemon_file: &'a str,
    pub(crate) containerd_file: &'a str,
    more_files: &'a [String],
    pub(crate) owed_file: &'a str,
}

impl Layout<'_> {
    /// All configuration files.
    pub(crate) fn files(&self) -> Vec<String> {
        let own = [self.daemon_file, self.containerd_file].map(str::to_owned);
        own.into_iter().chain(self.more_files.iter().cloned()).collect()
    }
}

/// Text of drop-ins by unit and file name; null removes one.
pub type DropIns = BTreeMap<String, BTreeMap<String, Option<String>>>;

parameters! {
    /// Parameters of backup.
    Backup {
        /// How long downloading the installed packages may take on a host, in seconds.
        #[serde(default = "fetch_seconds")]
        fetch_seconds: u32,
    }
}

parameters! {
    /// Parameters of update.
    Update {
        /// Version of each package.
        #[serde(default)]
        versions: Versions,
        /// Settings for Docker's configuration, as a merge patch: what is not named stays, null removes.
        #[serde(default)]
        daemon_settings: Map<String, Value>,
        /// Whole content of configuration files other than Docker's.
        #[serde(default)]
        contents: BTreeMap<String, String>,
        /// Drop-ins of docker.service and containerd.service: unit, file name, text; null removes one.
        #[serde(default)]
        drop_ins: DropIns,
        /// Remove all of Docker's containers and images first.
        #[serde(default)]
        remove_containers_and_images: bool,
        /// How long the packages may take, in seconds.
        #[serde(default = "install_seconds")]
        install_seconds: u32,
        /// How long a restart may take, in seconds.
        #[serde(default = "restart_seconds")]
        restart_seconds: u32,
    }
}

parameters! {
    /// Parameters of backout. Versions come from the backup set alone.
    Backout {
        /// Remove all of Docker's containers and images first.
        #[serde(default)]
        remove_containers_and_images: bool,
        /// How long the packages may take, in seconds.
        #[serde(default = "install_seconds")]
        install_seconds: u32,
        /// How long a restart may take, in seconds.
        #[serde(default = "restart_seconds")]
        restart_seconds: u32,
    }
}

parameters! {
    /// Parameters of verify.
    Verify {
        /// Expected version of each package; empty: whatever is installed.
        #[serde(default)]
        versions: Versions,
    }
}

fn packages() -> Vec<String> {
    ["docker.io", "containerd"].map(str::to_owned).into()
}

fn daemon_file() -> String {
    "/etc/docker/daemon.json".to_owned()
}

fn containerd_file() -> String {
    "/etc/containerd/config.toml".to_owned()
}

fn owed_file() -> String {
    "/var/lib/runner-docker-owed.json".to_owned()
}

fn fetch_seconds() -> u32 {
    600
}

fn install_seconds() -> u32 {
    900
}

fn restart_seconds() -> u32 {
    300
}
