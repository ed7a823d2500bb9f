//! Parameters of the operations.

use schemars::JsonSchema;
use sdk::packages::Versions;
use sdk::{Invocation, Problem};
use serde::{Deserialize, Serialize};

use crate::duration::Seconds;
use crate::parts::Part;
use crate::pods::MANAGERS;

/// Where a host keeps what belongs to Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Backup {
    /// Directory of kubeconfigs, certificates and static configuration.
    #[serde(default = "configuration_directory")]
    pub(crate) configuration_directory: String,
    /// Configuration file of the kubelet.
    #[serde(default = "kubelet_configuration")]
    pub(crate) kubelet_configuration: String,
    /// How long a host may take to download the packages that a backout would need.
    #[serde(default = "fifteen_minutes")]
    pub(crate) fetch_timeout: Seconds,
}

/// What `update` is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Update {
    /// What to update on the host: the API server, the controllers (controller-manager and scheduler), or the node
    /// (kubelet and kube-proxy). API servers come first on every host, nodes last.
    pub(crate) part: Part,
    /// Version of each package, exactly as the package manager writes it.
    pub(crate) versions: Versions,
    /// Directory of kubeconfigs, certificates and static configuration.
    #[serde(default = "configuration_directory")]
    pub(crate) configuration_directory: String,
    /// Configuration file of the kubelet.
    #[serde(default = "kubelet_configuration")]
    pub(crate) kubelet_configuration: String,
    /// The administrator's kubeconfig; a change of it is reported, because copies of it must be replaced.
    #[serde(default = "admin_kubeconfig")]
    pub(crate) admin_kubeconfig: String,
    /// Operating systems that the new version supports, as `debian 12`; empty: any.
    #[serde(default)]
    pub(crate) operating_systems: Vec<String>,
    /// Free space in MiB that /usr and /var must have.
    #[serde(default = "free_space")]
    pub(crate) free_space_mib: u32,
    /// Kinds of controller whose Pods come back by themselves after an eviction.
    #[serde(default = "managers")]
    pub(crate) managed_by: Vec<String>,
    /// How long a package transaction may take.
    #[serde(default = "fifteen_minutes")]
    pub(crate) install_timeout: Seconds,
    /// How long a unit may take to start, and what it runs to become ready.
    #[serde(default = "five_minutes")]
    pub(crate) ready_timeout: Seconds,
}

/// What `backout` is told. It goes to the versions of the backup set and to no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Backout {
    /// What to back out on the host. Nodes come first, API servers last.
    pub(crate) part: Part,
    /// What to do about stored objects of kinds that the old API server does not serve.
    #[serde(default)]
    pub(crate) unserved_objects: Unserved,
    /// Directory of kubeconfigs, certificates and static configuration.
    #[serde(default = "configuration_directory")]
    pub(crate) configuration_directory: String,
    /// Configuration file of the kubelet.
    #[serde(default = "kubelet_configuration")]
    pub(crate) kubelet_configuration: String,
    /// The administrator's kubeconfig; a change of it is reported, because copies of it must be replaced.
    #[serde(default = "admin_kubeconfig")]
    pub(crate) admin_kubeconfig: String,
    /// Free space in MiB that /usr and /var must have.
    #[serde(default = "free_space")]
    pub(crate) free_space_mib: u32,
    /// How long a package transaction may take.
    #[serde(default = "fifteen_minutes")]
    pub(crate) install_timeout: Seconds,
    /// How long a unit may take to start, and what it runs to become ready.
    #[serde(default = "five_minutes")]
    pub(crate) ready_timeout: Seconds,
}

/// What to do about stored objects that the old API server does not serve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unserved {
    /// Refuse, and list them.
    #[default]
    Refuse,
    /// Go on: etcd is restored from the same release's backup afterwards, which removes them.
    Restore,
}

/// What a preflight is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// An update.
    #[default]
    Update,
    /// A backout. Without a backup set only Pods and hosts are looked at; each part looks at the rest before it begins.
    Backout,
}

/// What `verify` is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Verify {
    /// Versions that are expected; empty: whatever is installed.
    #[serde(default)]
    pub(crate) versions: Versions,
    /// Look for what an update or backout would refuse, on every host and in the cluster, in place of the checks of a
    /// running system.
    #[serde(default)]
    pub(crate) preflight: bool,
    /// What the preflight is for: an update goes to `versions`, a backout to the backup set.
    #[serde(default)]
    pub(crate) operation: Direction,
    /// Whether a drain may delete Pods with emptyDir volumes; without it the preflight finds such Pods.
    #[serde(default)]
    pub(crate) delete_emptydir_data: bool,
    /// What to do about stored objects of kinds that the old API server does not serve.
    #[serde(default)]
    pub(crate) unserved_objects: Unserved,
    /// Leave out hosts on which runner began something and did not end it, and nodes that it took out of service: for
    /// the gate of a run that is to finish them. Without it they are checked like all others.
    #[serde(default)]
    pub(crate) leave_out_unfinished: bool,
    /// Workloads that need not be ready, as `namespace/name`.
    #[serde(default)]
    pub(crate) ignore_workloads: Vec<String>,
    /// Directory of kubeconfigs, certificates and static configuration.
    #[serde(default = "configuration_directory")]
    pub(crate) configuration_directory: String,
    /// Configuration file of the kubelet.
    #[serde(default = "kubelet_configuration")]
    pub(crate) kubelet_configuration: String,
    /// Operating systems that the new version supports, as `debian 12`; empty: any.
    #[serde(default)]
    pub(crate) operating_systems: Vec<String>,
    /// Free space in MiB that /usr and /var must have.
    #[serde(default = "free_space")]
    pub(crate) free_space_mib: u32,
    /// Kinds of controller whose Pods come back by themselves after an eviction.
    #[serde(default = "managers")]
    pub(crate) managed_by: Vec<String>,
}

/// What `maintenance` is told, for entering and for leaving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Maintenance {
    /// Evict Pods with emptyDir volumes, whose data is lost by it; without it such Pods are refused.
    #[serde(default)]
    pub(crate) delete_emptydir_data: bool,
    /// Seconds that each Pod gets to end; none: what the Pod itself says.
    #[serde(default)]
    pub(crate) grace_seconds: Option<u32>,
    /// How long the drain of a node may take in all. When it is over, the step fails and the node stays cordoned.
    #[serde(default = "ten_minutes")]
    pub(crate) drain_timeout: Seconds,
    /// How long the Node may take to be ready before it is uncordoned.
    #[serde(default = "five_minutes")]
    pub(crate) node_timeout: Seconds,
    /// How long workloads may take to have their ready count again after the node is uncordoned.
    #[serde(default = "five_minutes")]
    pub(crate) workload_timeout: Seconds,
    /// Kinds of controller whose Pods come back by themselves after an eviction.
    #[serde(default = "managers")]
    pub(crate) managed_by: Vec<String>,
}

/// Where the configuration of a host is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a> {
    pub(crate) directory: &'a str,
    pub(crate) kubelet: &'a str,
}

macro_rules! laid_out {
    ($($parameters:ty),*) => {$(
        impl $parameters {
            /// Where the configuration of a host is.
            pub(crate) fn layout(&self) -> Layout<'_> {
                Layout { directory: self.configuration_directory.trim_end_matches('/'), kubelet: &self.kubelet_configuration }
            }
        }
    )*};
}

laid_out!(Backup, Update, Backout, Verify);

/// Reads the parameters of an operation.
pub(crate) fn of<P: serde::de::DeserializeOwned>(invocation: &Invocation) -> Result<P, Problem> {
    sdk::parse(invocation)
}

fn configuration_directory() -> String {
    "/etc/kubernetes".to_owned()
}

fn kubelet_configuration() -> String {
    "/var/lib/kubelet/config.yaml".to_owned()
}

fn admin_kubeconfig() -> String {
    "/etc/kubernetes/admin.conf".to_owned()
}

fn managers() -> Vec<String> {
    MANAGERS.map(str::to_owned).to_vec()
}

fn free_space() -> u32 {
    512
}

fn five_minutes() -> Seconds {
    Seconds(300)
}

fn ten_minutes() -> Seconds {
    Seconds(600)
}

fn fifteen_minutes() -> Seconds {
    Seconds(900)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_left_out_has_its_default() {
        let read: Result<Maintenance, _> = serde_json::from_value(json!({"drain-timeout": "90s"}));
        let read = read.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.drain_timeout, Seconds(90));
        assert!(!read.delete_emptydir_data);
        assert_eq!(read.managed_by.len(), 5);
    }

    #[test]
    fn unknown_parameters_and_parts_are_refused() {
        assert!(serde_json::from_value::<Maintenance>(json!({"force": true})).is_err());
        assert!(serde_json::from_value::<Backout>(json!({"part": "etcd"})).is_err());
        assert!(serde_json::from_value::<Backout>(json!({"part": "node", "versions": {}})).is_err());
        assert!(
            serde_json::from_value::<Backout>(json!({"part": "kube-apiserver", "unserved-objects": "restore"})).is_ok()
        );
    }
}
