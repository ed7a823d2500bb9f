//! Parameters of the operations; `manifest.json` holds their schemas.

use runner_plugin_sdk::kubernetes::{COMMON_MANAGERS, MANAGERS_OF_EDITS};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of one operation: its own ones and those that every operation takes.
macro_rules! parameters {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            /// Namespace of Prometheus.
            #[serde(default = "namespace")]
            #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
            pub namespace: String,
            /// Name of the StatefulSet.
            #[serde(default = "name")]
            #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
            pub name: String,
            /// Container of the StatefulSet that is Prometheus.
            #[serde(default = "name")]
            pub container: String,
            /// Claim of the volume that holds the database.
            #[serde(default = "claim")]
            #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
            pub claim: String,
            /// Labels by which the component's objects are found, those of other releases too.
            #[serde(default = "selector")]
            pub selector: String,
            /// Where Prometheus answers, such as http://10.96.0.90:9090.
            #[schemars(regex(pattern = "^https?://.*[^/]$"))]
            pub url: String,
            /// Host through which it is asked; left out: the runner's own machine.
            #[serde(default)]
            pub via: Option<String>,
            /// Host on which the volume's files are: a node or a storage server.
            pub volume_host: String,
            /// Directory on that host that is the volume.
            #[schemars(regex(pattern = "^(/[^/]+){2,}$"))]
            pub volume_path: String,
            /// Directory of the database within the volume; empty: the volume itself.
            #[serde(default)]
            #[schemars(regex(pattern = "^([^/.][^/]*(/[^/.][^/]*)*)?$"))]
            pub data_directory: String,
            /// How long Pods may take to go or to become ready, in seconds.
            #[serde(default = "rollout_seconds")]
            pub rollout_seconds: u32,
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $name {
            /// What every operation takes.
            pub(crate) fn place(&self) -> Place<'_> {
                Place {
                    namespace: &self.namespace,
                    name: &self.name,
                    container: &self.container,
                    claim: &self.claim,
                    selector: &self.selector,
                    url: &self.url,
                    via: self.via.as_deref(),
                    volume_host: &self.volume_host,
                    volume_path: &self.volume_path,
                    data_directory: &self.data_directory,
                    rollout_seconds: self.rollout_seconds,
                }
            }
        }
    };
}

/// Where Prometheus and its volume are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) container: &'a str,
    pub(crate) claim: &'a str,
    pub(crate) selector: &'a str,
    pub(crate) url: &'a str,
    pub(crate) via: Option<&'a str>,
    pub(crate) volume_host: &'a str,
    pub(crate) volume_path: &'a str,
    pub(crate) data_directory: &'a str,
    pub(crate) rollout_seconds: u32,
}

/// How a database is brought to rest for a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// By Prometheus' own snapshot, while it runs; its admin API must be on.
    Snapshot,
    /// By stopping Prometheus: no samples are taken meanwhile.
    ScaleDown,
}

parameters! {
    /// Parameters of backup.
    Backup {
        /// How the database is brought to rest.
        #[serde(default = "method")]
        backup_method: Method,
    }
}

parameters! {
    /// Parameters of update.
    Update {
        /// Versions to go to.
        versions: Versions,
        /// Images to run; left out: the running image with the version as its tag.
        #[serde(default)]
        images: Option<Images>,
        /// Objects of the release, where it brings more than an image: in place of those of the same kind and name.
        #[serde(default)]
        objects: Vec<Value>,
        /// Remove the component's other objects: `objects` are all that the release has.
        #[serde(default)]
        remove_others: bool,
        /// Field managers whose fields are taken over.
        #[serde(default = "take_over")]
        take_over: Vec<String>,
    }
}

parameters! {
    /// Parameters of backout. The version comes from the backup set alone.
    Backout {
        /// Ask before samples taken since the backup are given up.
        #[serde(default = "yes")]
        confirm_lost_samples: bool,
        /// Delete the file `lock` in the volume first, as fix F1013-2021-001 asks for.
        #[serde(default)]
        fix_f1013_2021_001: bool,
        /// Delete the volume's files instead of asking the operator to do so.
        #[serde(default)]
        delete_pv_data: bool,
        /// Field managers whose fields are taken over.
        #[serde(default = "take_over_edits")]
        take_over: Vec<String>,
    }
}

parameters! {
    /// Parameters of verify.
    Verify {
        /// Versions that are expected; left out: any.
        #[serde(default)]
        versions: Option<Versions>,
        /// Query that must have a result.
        #[serde(default = "query")]
        query: String,
        /// How many targets may be down.
        #[serde(default)]
        tolerated_down: u32,
        /// How long targets may take after a start until each was asked once, in seconds.
        #[serde(default = "settle_seconds")]
        settle_seconds: u32,
    }
}

/// Versions by part.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Versions {
    /// Version of Prometheus: the tag of its image, with or without a leading v.
    pub prometheus: String,
}

/// Images by part.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Images {
    /// Image of Prometheus.
    pub prometheus: String,
}

fn namespace() -> String {
    "monitoring".into()
}

fn name() -> String {
    "prometheus".into()
}

fn claim() -> String {
    "prometheus-data".into()
}

fn selector() -> String {
    "app.kubernetes.io/name=prometheus".into()
}

fn rollout_seconds() -> u32 {
    600
}

fn settle_seconds() -> u32 {
    120
}

fn method() -> Method {
    Method::Snapshot
}

fn yes() -> bool {
    true
}

fn query() -> String {
    "up".into()
}

fn take_over() -> Vec<String> {
    COMMON_MANAGERS.map(Into::into).into()
}

fn take_over_edits() -> Vec<String> {
    MANAGERS_OF_EDITS.map(Into::into).into()
}
