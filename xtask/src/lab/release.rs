//! The shipped releases, with the versions that the lab's package repository has.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::parts::Parts;
use crate::workspace::root;

/// The release that a new lab is at.
const FIRST: &str = "1.0";
/// Debian's packages: their whole version is Debian's affair, so the shipped releases name only its beginning.
const DEBIANS: [&str; 2] = ["docker.io", "containerd"];
/// The client that newer releases of Docker have in a package of its own.
const CLIENT: &str = "docker-cli";

/// The releases.
pub(crate) struct Releases {
    /// Content of the file, as runner reads it.
    pub(crate) file: Value,
}

impl Releases {
    pub(crate) fn read(parts: &Parts) -> Result<Self> {
        let path = root().join("workflows/releases.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: Value = serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
        let images: Vec<&str> = parts.images.keys().copied().collect();
        Self::of(file, &parts.versions, &images)
    }

    fn of(mut file: Value, versions: &BTreeMap<String, Vec<String>>, images: &[&str]) -> Result<Self> {
        if let Some(file) = file.as_object_mut() {
            // It names a file beside the shipped one.
            file.shift_remove("$schema");
        }
        let releases = file.get_mut("releases").and_then(Value::as_object_mut).context("no releases")?;
        for release in releases.values_mut() {
            for component in release.as_object_mut().into_iter().flat_map(|release| release.values_mut()) {
                take_images(component, images)?;
            }
            let docker = release.pointer_mut("/docker/versions").and_then(Value::as_object_mut).context("no docker")?;
            for name in DEBIANS {
                let shipped = docker.get(name).and_then(Value::as_str).unwrap_or_default();
                let begins = shipped.split('-').next().unwrap_or(shipped);
                let known = versions.get(name).map(Vec::as_slice).unwrap_or_default();
                let found = known.iter().find(|version| version.starts_with(begins));
                let found = found.with_context(|| format!("the lab's repository has no {name} {begins}"))?.clone();
                docker.insert(name.to_owned(), json!(found));
            }
            let engine = docker.get("docker.io").and_then(Value::as_str).unwrap_or_default();
            let clients = versions.get(CLIENT).map(Vec::as_slice).unwrap_or_default();
            if clients.iter().any(|client| client == engine) {
                let client = json!(engine);
                docker.insert(CLIENT.to_owned(), client);
            }
        }
        Ok(Self { file })
    }

    /// Packages of a component at the first release, as apt wants them: `name=version`.
    pub(crate) fn first(&self, component: &str, names: &[&str]) -> Result<Vec<String>> {
        let versions = self.file.pointer(&format!("/releases/{FIRST}/{component}/versions"));
        let versions = versions.and_then(Value::as_object).with_context(|| format!("no versions of {component}"))?;
        let wanted = |name: &&str| -> Result<String> {
            let version =
                versions.get(*name).and_then(Value::as_str).with_context(|| format!("no version of {name}"))?;
            Ok(format!("{name}={version}"))
        };
        names.iter().map(wanted).collect()
    }

    /// All packages that make up Docker in any release.
    pub(crate) fn docker_packages(&self) -> Vec<String> {
        let releases = self.file.get("releases").and_then(Value::as_object).into_iter().flatten();
        let mut names: Vec<String> = Vec::new();
        for (_, release) in releases {
            let versions = release.pointer("/docker/versions").and_then(Value::as_object).into_iter().flatten();
            for (name, _) in versions {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
    }
}

/// Puts the images that there are in place of those of the same minor version that a component's release names: of what
/// Debian builds, there is only its newest one.
fn take_images(component: &mut Value, images: &[&str]) -> Result<()> {
    let wanted = component.get("images").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, image) in wanted {
        let image = image.as_str().unwrap_or_default();
        let minor = image.rsplit_once('.').map_or(image, |(minor, _)| minor);
        let same = |found: &&&str| found.rsplit_once('.').is_some_and(|(found, _)| found == minor);
        let exact = images.iter().find(|found| **found == image);
        let found = exact.or_else(|| images.iter().find(same)).with_context(|| format!("the lab has no {image}"))?;
        let tag = |image: &str| image.rsplit(':').next().unwrap_or_default().to_owned();
        for version in component.get_mut("versions").and_then(Value::as_object_mut).into_iter().flatten() {
            if version.1.as_str() == Some(tag(image).as_str()) {
                *version.1 = json!(tag(found));
            }
        }
        if let Some(place) = component.get_mut("images").and_then(|images| images.get_mut(&name)) {
            *place = json!(found);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_s_versions_are_found_by_their_beginning() {
        let file = json!({"$schema": "x", "releases": {
            "1.0": {"docker": {"versions": {"docker.io": "20.10.24-1", "containerd": "1.6.20-1"}}},
            "2.0": {"docker": {"versions": {"docker.io": "26.1.5-1", "containerd": "1.7.24-1"}}},
        }});
        let list = |versions: &[&str]| versions.iter().map(|version| (*version).to_owned()).collect::<Vec<_>>();
        let versions = BTreeMap::from([
            ("docker.io".to_owned(), list(&["20.10.24+dfsg1-1", "26.1.5+dfsg1-9"])),
            ("containerd".to_owned(), list(&["1.6.20~ds1-1", "1.7.24~ds1-6"])),
            ("docker-cli".to_owned(), list(&["26.1.5+dfsg1-9"])),
        ]);
        let releases = Releases::of(file.clone(), &versions, &[]).unwrap();
        assert_eq!(releases.first("docker", &["docker.io"]).unwrap(), ["docker.io=20.10.24+dfsg1-1"]);
        assert_eq!(releases.docker_packages(), ["docker.io", "containerd", "docker-cli"]);
        let second = releases.file.pointer("/releases/2.0/docker/versions").unwrap();
        let wanted =
            json!({"docker.io": "26.1.5+dfsg1-9", "containerd": "1.7.24~ds1-6", "docker-cli": "26.1.5+dfsg1-9"});
        assert_eq!(second, &wanted);
        assert!(releases.file.pointer("/$schema").is_none());
        assert!(Releases::of(file, &BTreeMap::new(), &[]).is_err());
    }

    #[test]
    fn an_image_of_the_same_minor_version_takes_the_place_of_the_shipped_one() {
        let mut component = json!({"versions": {"p": "v2.53.0"}, "images": {"p": "q.example/p:v2.53.0"}});
        take_images(&mut component, &["q.example/p:v2.42.0", "q.example/p:v2.53.3", "q.example/r:v2.53.0"]).unwrap();
        assert_eq!(component, json!({"versions": {"p": "v2.53.3"}, "images": {"p": "q.example/p:v2.53.3"}}));
        let before = component.clone();
        take_images(&mut component, &["q.example/p:v2.53.9", "q.example/p:v2.53.3"]).unwrap();
        assert_eq!(component, before);
        assert!(take_images(&mut component, &["q.example/p:v2.54.0"]).is_err());
        take_images(&mut json!({"versions": {"etcd-server": "3.5.35-1"}}), &[]).unwrap();
    }
}
