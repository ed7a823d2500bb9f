//! Parameters of the operations; `manifest.json` holds their schemas.

use runner_plugin_sdk::kubernetes::{COMMON_MANAGERS, MANAGERS_OF_EDITS};
use schemars::JsonSchema;
use serde::Deserialize;

/// Parameters of backup.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Backup {
    /// Namespace of the controller.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// Class of the Ingresses it serves.
    #[serde(default = "ingress_class")]
    pub ingress_class: String,
}

/// Parameters of update.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Update {
    /// Versions to go to.
    pub versions: Versions,
    /// Images to run.
    pub images: Images,
    /// Namespace of the controller.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// Class of the Ingresses it serves.
    #[serde(default = "ingress_class")]
    pub ingress_class: String,
    /// Traefik's static configuration, YAML. Left out: as it is; where there is none, HTTP on `port` for Ingresses.
    #[serde(default)]
    pub configuration: Option<String>,
    /// Port on each node, where there is no configuration yet.
    #[serde(default = "port")]
    pub port: u16,
    /// API server for the controller, where Services do not work for it. Left out: as it is.
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
    /// Namespace of the controller.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// Class of the Ingresses it serves.
    #[serde(default = "ingress_class")]
    pub ingress_class: String,
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
    /// Namespace of the controller.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// Class of the Ingresses it serves.
    #[serde(default = "ingress_class")]
    pub ingress_class: String,
    /// Port on each node.
    #[serde(default = "port")]
    pub port: u16,
    /// Requests sent to every node that runs the controller.
    #[serde(default = "requests")]
    pub requests: Vec<Request>,
    /// From where they are sent.
    #[serde(default)]
    pub from: From,
    /// Address of a node that is asked.
    #[serde(default)]
    pub address: Address,
}

/// Versions by part.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Versions {
    /// Version of Traefik: the tag of its image.
    pub traefik: String,
}

/// Images by part.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Images {
    /// Image of Traefik.
    pub traefik: String,
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

/// A request and what it should be answered with.
#[derive(Debug, Clone, Deserialize, JsonSchema, serde::Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// Host header: the host of an Ingress. Left out: the node's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Path, with its leading slash.
    #[serde(default = "path")]
    pub path: String,
    /// Status that is expected.
    #[serde(default = "status")]
    pub status: u16,
    /// Text that the answer must hold; left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// From where requests are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The machine on which runner runs.
    #[default]
    Runner,
    /// The node itself, where nothing else reaches it.
    Node,
}

/// Address of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// The Node's InternalIP.
    #[default]
    InternalIp,
    /// The address in the inventory.
    Inventory,
}

fn namespace() -> String {
    "traefik".into()
}

fn ingress_class() -> String {
    "traefik".into()
}

fn port() -> u16 {
    80
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

/// Without an Ingress to ask for, the controller's own "not found" shows that it serves.
fn requests() -> Vec<Request> {
    vec![Request { host: None, path: path(), status: 404, contains: None }]
}

fn path() -> String {
    "/".into()
}

fn status() -> u16 {
    200
}
