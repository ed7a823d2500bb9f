//! Container images that hosts have.
//!
//! Asked with `ctr`, which comes with containerd itself: Node objects list no more than fifty images, and other clients
//! have to be installed.

use serde_json::Value;

use crate::exec::{Command, run, stdout};
use crate::json::At;
use crate::{Answers, Failure};

/// The command that lists the images the kubelet's containerd has, for a request in a manifest.
pub const LIST: [&str; 6] = ["ctr", "-n", "k8s.io", "images", "ls", "-q"];

/// Images that are missing on hosts, as (host, image).
pub fn missing(hosts: &[String], images: &[String]) -> Result<Vec<(String, String)>, Failure> {
    if hosts.is_empty() || images.is_empty() {
        return Ok(Vec::new());
    }
    let commands = hosts.iter().map(|host| Command::read(host, LIST).reads(["images"]).output_limit(1024 * 1024));
    let outputs = run(commands).all()?;
    let mut missing = Vec::new();
    for (host, output) in hosts.iter().zip(&outputs) {
        let list = stdout(output)?;
        let here: Vec<&str> = list.lines().map(str::trim).collect();
        for image in images {
            if !names(image).iter().any(|name| here.contains(&name.as_str())) {
                missing.push((host.clone(), image.clone()));
            }
        }
    }
    Ok(missing)
}

/// Images of a workload's Pod template, each once.
pub fn of_workload(workload: &Value) -> Vec<String> {
    let template = ["initContainers", "containers"].map(|list| workload.items(&format!("/spec/template/spec/{list}")));
    let mut images: Vec<String> =
        template.concat().iter().filter_map(|container| container.text("/image")).map(Into::into).collect();
    images.sort();
    images.dedup();
    images
}

/// Tag of an image reference, without its digest.
pub fn tag(image: &str) -> Option<&str> {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map(|(_, tag)| tag)
}

/// Names under which containerd may hold an image: in full, and by digest where the reference has one.
fn names(image: &str) -> Vec<String> {
    let full = full_name(image);
    match full.split_once('@') {
        Some((name, digest)) => {
            let repository = match tag(name) {
                Some(tag) => name.strip_suffix(&format!(":{tag}")).unwrap_or(name),
                None => name,
            };
            vec![full.clone(), format!("{repository}@{digest}"), digest.to_owned()]
        }
        None if tag(&full).is_none() => vec![format!("{full}:latest")],
        None => vec![full],
    }
}

/// Registry and namespace of short references are those of Docker.
fn full_name(image: &str) -> String {
    match image.split_once('/') {
        None => format!("docker.io/library/{image}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => image.to_owned(),
        Some(_) => format!("docker.io/{image}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_from_ports_and_digests() {
        assert_eq!(tag("ghcr.io/flannel-io/flannel:v0.26.7"), Some("v0.26.7"));
        assert_eq!(tag("registry:5000/a/b"), None);
        assert_eq!(tag("registry:5000/a/b:1@sha256:00"), Some("1"));
        assert_eq!(tag("a/b@sha256:00"), None);
    }

    #[test]
    fn short_references_are_docker_s() {
        assert_eq!(names("busybox:1"), ["docker.io/library/busybox:1"]);
        assert_eq!(names("flannel/flannel"), ["docker.io/flannel/flannel:latest"]);
        assert_eq!(names("localhost/x:1"), ["localhost/x:1"]);
        assert_eq!(names("q.io/a:1@sha256:00"), ["q.io/a:1@sha256:00", "q.io/a@sha256:00", "sha256:00"]);
    }
}
