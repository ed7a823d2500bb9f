//! Parameters of the operations; `manifest.json` holds their schemas.

use runner_plugin_sdk::kubernetes::{COMMON_MANAGERS, MANAGERS_OF_EDITS};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of backup.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Backup {
    /// Namespace of flannel's objects.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// CNI configuration file on the nodes' hosts.
    #[serde(default = "cni_config")]
    pub cni_config: String,
}

/// Parameters of update.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Update {
    /// Versions to go to.
    pub versions: Versions,
    /// Images to run.
    pub images: Images,
    /// Namespace of flannel's objects.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// CNI configuration file on the nodes' hosts.
    #[serde(default = "cni_config")]
    pub cni_config: String,
    /// Network of all Pods, such as 10.244.0.0/16. Left out: as it is. It cannot be changed under running Pods.
    #[serde(default)]
    pub network: Option<String>,
    /// How packets get from node to node. Left out: as it is.
    #[serde(default)]
    pub backend: Option<Backend>,
    /// Version of the CNI configuration. Left out: as it is.
    #[serde(default)]
    pub cni_version: Option<String>,
    /// Directory of CNI plugins on the hosts. Left out: as it is.
    #[serde(default)]
    pub cni_directory: Option<String>,
    /// Arguments of flanneld. Left out: as they are.
    #[serde(default)]
    pub arguments: Option<Vec<String>>,
    /// API server for flanneld, where Services do not work without it. Left out: as it is.
    #[serde(default)]
    pub api_server: Option<ApiServer>,
    /// Field managers whose fields are taken over.
    #[serde(default = "take_over")]
    pub take_over: Vec<String>,
    /// Seconds until every node must run the new Pod.
    #[serde(default = "rollout_seconds")]
    pub rollout_seconds: u32,
}

/// Parameters of backout.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Backout {
    /// Namespace of flannel's objects.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// CNI configuration file on the nodes' hosts.
    #[serde(default = "cni_config")]
    pub cni_config: String,
    /// Field managers whose fields are taken over.
    #[serde(default = "take_over_edits")]
    pub take_over: Vec<String>,
    /// Seconds until every node must run the old Pod again.
    #[serde(default = "rollout_seconds")]
    pub rollout_seconds: u32,
}

/// Parameters of verify.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Verify {
    /// Versions that are expected; left out: any.
    #[serde(default)]
    pub versions: Option<Versions>,
    /// Namespace of flannel's objects.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// CNI configuration file on the nodes' hosts.
    #[serde(default = "cni_config")]
    pub cni_config: String,
    /// File on each host in which flanneld says which subnet it has.
    #[serde(default = "subnet_file")]
    pub subnet_file: String,
    /// Each node is asked from at most this many others, spread evenly.
    #[serde(default = "mesh")]
    pub mesh: usize,
}

/// Versions by part.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Versions {
    /// Version of flannel: the tag of its image.
    pub flannel: String,
}

/// Images by part.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Images {
    /// Image of flanneld.
    pub flannel: String,
    /// Image that brings the CNI plugin; left out: the hosts have the plugin from a package.
    #[serde(default)]
    pub cni_plugin: Option<String>,
}

/// How packets get from node to node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Wrapped, through a device of flannel's.
    Vxlan,
    /// As they are, by routes; the nodes share a network.
    HostGw,
}

impl Backend {
    /// What flannel's configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Vxlan => "vxlan",
            Backend::HostGw => "host-gw",
        }
    }
}

/// Where the API server is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ApiServer {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

fn namespace() -> String {
    "kube-flannel".into()
}

fn cni_config() -> String {
    "/etc/cni/net.d/10-flannel.conflist".into()
}

fn subnet_file() -> String {
    "/run/flannel/subnet.env".into()
}

fn take_over() -> Vec<String> {
    COMMON_MANAGERS.map(Into::into).into()
}

fn take_over_edits() -> Vec<String> {
    MANAGERS_OF_EDITS.map(Into::into).into()
}

fn rollout_seconds() -> u32 {
    600
}

fn mesh() -> usize {
    16
}
