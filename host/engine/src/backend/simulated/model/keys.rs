//! Keys of facts.

/// A host.
pub(crate) fn host(host: &str) -> String {
    format!("hosts/{host}")
}

/// A unit; with an empty name the prefix of all.
pub(crate) fn unit(host: &str, unit: &str) -> String {
    format!("host/{host}/unit/{unit}")
}

/// A package; with an empty name the prefix of all.
pub(crate) fn package(host: &str, package: &str) -> String {
    format!("host/{host}/package/{package}")
}

/// A file by its absolute path.
pub(crate) fn file(host: &str, path: &str) -> String {
    format!("host/{host}/file/{path}")
}

/// A file system by its mount point; with an empty name the prefix of all.
pub(crate) fn disk(host: &str, mount: &str) -> String {
    format!("host/{host}/disk/{mount}")
}

/// Whether a repository is enabled on a host.
pub(crate) fn repository(host: &str, id: &str) -> String {
    format!("host/{host}/repository/{id}")
}

/// Lines of the system journal of a unit.
pub(crate) fn journal(host: &str, unit: &str) -> String {
    format!("host/{host}/journal/{unit}")
}

/// State of a component, or of a component on a host.
pub(crate) fn component(component: &str, host: Option<&str>) -> String {
    match host {
        Some(host) => format!("host/{host}/component/{component}"),
        None => format!("component/{component}"),
    }
}

/// A cluster.
pub(crate) fn cluster(cluster: &str) -> String {
    format!("cluster/{cluster}")
}

/// A Kubernetes object by its kind as grants name it; namespace empty when there is none.
pub(crate) fn object(cluster: &str, kind: &str, namespace: &str, name: &str) -> String {
    format!("cluster/{cluster}/object/{kind}/{namespace}/{name}")
}

/// Prefix of all objects of a cluster.
pub(crate) fn objects(cluster: &str) -> String {
    format!("cluster/{cluster}/object/")
}

/// How often a fault had occasion to strike.
pub(crate) fn fault(name: &str) -> String {
    format!("fault/{name}")
}

/// The hosts that an address, host name or node's InternalIP may mean.
pub(crate) fn address(address: &str) -> String {
    format!("address/{address}")
}

/// The host that a node is.
pub(crate) fn node_host(cluster: &str, node: &str) -> String {
    format!("cluster/{cluster}/host/{node}")
}
