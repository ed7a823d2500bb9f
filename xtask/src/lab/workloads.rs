//! What runs in the cluster, as a site's own manifests would have it: flannel, Traefik, Prometheus and the canary.

use std::fs;
use std::os::unix::fs::chown;

use anyhow::{Context, Result};

use super::platform::Platform;
use super::site::{METRICS_VOLUME, Site};
use crate::workspace::root;

/// Manifests in the order in which they are applied, each with what must come up.
const WORKLOADS: [(&str, &str, &str); 4] = [
    ("flannel", "kube-flannel", "daemonset/kube-flannel-ds"),
    ("traefik", "traefik", "daemonset/traefik"),
    ("prometheus", "monitoring", "statefulset/prometheus"),
    ("canary", "shop", "deployment/web"),
];
/// The workload without which no node is ready.
const NETWORK: &str = "flannel";
/// The workload that must not notice anything.
const CANARY: &str = "canary";
/// How long one may take to come up.
const PATIENCE: &str = "--timeout=180s";
/// User and group of Prometheus.
const NOBODY: u32 = 65534;

/// Applies what is not there, and waits until all of it runs.
pub(crate) fn up(platform: &Platform<'_>) -> Result<()> {
    volume(platform.hosts.site)?;
    for (name, namespace, workload) in WORKLOADS {
        if name != NETWORK {
            // Else all Pods would go to the node that is ready first.
            platform.kubectl(&["wait", "--for=condition=Ready", "node", "--all", PATIENCE])?;
        }
        // What is there may be of another release by now; the canary is of none.
        if name == CANARY || platform.kubectl(&["get", "--namespace", namespace, workload]).is_err() {
            let file = root().join(format!("tests/lab/workloads/{name}.json"));
            platform.kubectl(&["apply", "--filename", &file.to_string_lossy()])?;
        }
    }
    for (_, namespace, workload) in WORKLOADS {
        platform.kubectl(&["rollout", "status", "--namespace", namespace, workload, PATIENCE])?;
    }
    Ok(())
}

/// The volume of Prometheus, on the file server that all hosts share.
fn volume(site: &Site) -> Result<()> {
    let path = site.volumes().join(METRICS_VOLUME);
    if path.exists() {
        return Ok(());
    }
    let make = || -> std::io::Result<()> {
        fs::create_dir_all(&path)?;
        fs::write(path.join("site-notes.txt"), "kept by the operator\n")?;
        for path in [path.join("site-notes.txt"), path.clone()] {
            chown(path, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(())
    };
    make().with_context(|| format!("cannot make {}", path.display()))
}
