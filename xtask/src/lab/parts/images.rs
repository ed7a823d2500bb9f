//! Images of what runs in the cluster, by the names under which the shipped releases know them. No registry is asked:
//! each holds a program built here and the little that the manifests expect beside it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::{self, Run};
use super::debian;
use super::golang::{self, Module};
use super::store::{Bench, Part};

/// An image.
pub(super) struct Image {
    /// Its part's name.
    part: &'static str,
    /// Its own name and tag.
    pub(super) name: &'static str,
    pub(super) origin: Origin,
    program: &'static str,
    /// Where the program lies in the image.
    at: &'static str,
    beside: Beside,
    user: &'static str,
    folder: &'static str,
}

/// Where an image's program comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Built(&'static Module),
    /// Debian's Prometheus of this version. Building it would take as long as all of Kubernetes.
    Prometheus(&'static str),
}

impl Origin {
    /// The part that it lies in.
    pub(super) fn part(self) -> Result<Part> {
        match self {
            Self::Built(module) => module.part(),
            Self::Prometheus(_) => Ok(debian::prometheus()),
        }
    }
}

/// What an image holds beside its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// C's library, for a program that is linked with it.
    Library,
    /// A shell and its tools: manifests copy files with `cp`.
    Shell,
    /// That, and iptables.
    Firewall,
}

/// Tools that busybox is, by which name it is called.
const TOOLS: &[&str] = &["cat", "cp", "ls", "mkdir", "mv", "nslookup", "ps", "rm", "sh", "sleep", "wget"];

/// Names of iptables' commands and the programs that carry them out.
const FIREWALL: [(&str, &str); 6] = [
    ("iptables", "iptables-nft"),
    ("iptables-save", "iptables-nft-save"),
    ("iptables-restore", "iptables-nft-restore"),
    ("ip6tables", "ip6tables-nft"),
    ("ip6tables-save", "ip6tables-nft-save"),
    ("ip6tables-restore", "ip6tables-nft-restore"),
];

const PLAIN: Image = Image {
    part: "",
    name: "",
    origin: Origin::Built(&golang::OWN),
    program: "",
    at: "",
    beside: Beside::Nothing,
    user: "",
    folder: "/",
};
const FLANNEL: Image = Image { program: "flanneld", at: "/opt/bin/flanneld", beside: Beside::Firewall, ..PLAIN };
const CNI_PLUGIN: Image = Image {
    origin: Origin::Built(&golang::CNI_PLUGIN),
    program: "flannel",
    at: "/flannel",
    beside: Beside::Shell,
    ..PLAIN
};
const TRAEFIK: Image = Image { program: "traefik", at: "/usr/local/bin/traefik", ..PLAIN };
const PROMETHEUS: Image = Image {
    program: "usr/bin/prometheus",
    at: "/bin/prometheus",
    beside: Beside::Library,
    user: "65534",
    folder: "/prometheus",
    ..PLAIN
};

/// All of them.
pub(super) const IMAGES: [Image; 10] = [
    Image { part: "image-pause", name: "registry.k8s.io/pause:3.10", program: "pause", at: "/pause", ..PLAIN },
    Image { part: "image-web", name: "registry.example/shop/web:7", program: "web", at: "/web", ..PLAIN },
    Image {
        part: "image-flannel-old",
        name: "docker.io/flannel/flannel:v0.25.7",
        origin: Origin::Built(&golang::FLANNEL_OLD),
        ..FLANNEL
    },
    Image {
        part: "image-flannel-new",
        name: "ghcr.io/flannel-io/flannel:v0.26.7",
        origin: Origin::Built(&golang::FLANNEL_NEW),
        ..FLANNEL
    },
    // One program under both releases' names: there is no other that can be had.
    Image { part: "image-cni-plugin-old", name: "docker.io/flannel/flannel-cni-plugin:v1.5.1-flannel2", ..CNI_PLUGIN },
    Image { part: "image-cni-plugin-new", name: "ghcr.io/flannel-io/flannel-cni-plugin:v1.6.2-flannel1", ..CNI_PLUGIN },
    Image {
        part: "image-traefik-old",
        name: "docker.io/library/traefik:v3.5.4",
        origin: Origin::Built(&golang::TRAEFIK_OLD),
        ..TRAEFIK
    },
    Image {
        part: "image-traefik-new",
        name: "docker.io/library/traefik:v3.6.12",
        origin: Origin::Built(&golang::TRAEFIK_NEW),
        ..TRAEFIK
    },
    Image {
        part: "image-prometheus-old",
        name: "quay.io/prometheus/prometheus:v2.42.0",
        origin: Origin::Prometheus("2.42.0"),
        ..PROMETHEUS
    },
    Image {
        part: "image-prometheus-new",
        name: "quay.io/prometheus/prometheus:v2.53.3",
        origin: Origin::Prometheus("2.53.3"),
        ..PROMETHEUS
    },
];

/// File of an image in its part.
pub(super) const FILE: &str = "image.tar";

impl Image {
    /// Its part, which holds [`FILE`].
    pub(super) fn part(&self) -> Result<Part> {
        let part = Part::new(self.part).with_part(&self.origin.part()?);
        let what = [self.name, self.program, self.at, self.user, self.folder].join("\n");
        let part = part.with("image", what).with("beside", format!("{:?}", self.beside));
        let part = if let Origin::Prometheus(version) = self.origin { part.with("version", version) } else { part };
        Ok(match self.beside {
            Beside::Nothing => part,
            Beside::Library | Beside::Shell | Beside::Firewall => {
                let names = FIREWALL.map(|(name, program)| format!("{name} {program}")).join("\n");
                part.with_part(&debian::packages()).with("tools", TOOLS.join(" ")).with("names", names)
            }
        })
    }

    /// Builds it; `origin` is the folder of its origin's part, `packages` that of Debian's packages.
    pub(super) fn build(&self, bench: &mut Bench, origin: &Path, packages: &Path) -> Result<()> {
        let tree = bench.scratch.join("tree");
        fs::create_dir_all(&tree)?;
        let programs = match self.origin {
            Origin::Built(_) => origin.to_owned(),
            Origin::Prometheus(version) => {
                let unpacked = bench.scratch.join("prometheus");
                debian::unpack_prometheus(bench, origin, version, &unpacked)?;
                unpacked
            }
        };
        if self.beside == Beside::Library {
            debian::unpack(bench, packages, &["libc6"], &tree)?;
        }
        if self.beside == Beside::Firewall {
            debian::unpack(bench, packages, &debian::firewall_packages(), &tree)?;
            for (name, program) in FIREWALL {
                let link = folder(&tree, "/usr/sbin")?.join(name);
                symlink(program, &link).with_context(|| format!("cannot link {}", link.display()))?;
            }
            for unneeded in ["usr/share/doc", "usr/share/man"] {
                fs::remove_dir_all(tree.join(unneeded)).with_context(|| format!("there is no {unneeded}"))?;
            }
        }
        if matches!(self.beside, Beside::Shell | Beside::Firewall) {
            self.add_shell(bench, packages, &tree)?;
        }
        for (path, mode) in [("/tmp", 0o1777), (self.folder, if self.user.is_empty() { 0o755 } else { 0o777 })] {
            fs::set_permissions(folder(&tree, path)?, fs::Permissions::from_mode(mode))?;
        }
        let passwd = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
        fs::write(folder(&tree, "/etc")?.join("passwd"), passwd)?;
        let (from, to) = (programs.join(self.program), tree.join(self.at.trim_start_matches('/')));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        let architecture = debian::architecture()?;
        let run = Run {
            image: self.name,
            entry_point: self.at,
            user: self.user,
            folder: self.folder,
            architecture: &architecture,
        };
        archive::write(&tree, &bench.scratch.join("layer.tar"), &bench.out.join(FILE), run)
    }

    fn add_shell(&self, bench: &mut Bench, packages: &Path, tree: &Path) -> Result<()> {
        let unpacked = bench.scratch.join("shell");
        fs::create_dir_all(&unpacked)?;
        debian::unpack(bench, packages, &["busybox-static"], &unpacked)?;
        let bin = folder(tree, "/bin")?;
        fs::copy(unpacked.join("bin/busybox"), bin.join("busybox")).context("Debian's busybox lies elsewhere")?;
        for tool in TOOLS {
            symlink("busybox", bin.join(tool)).with_context(|| format!("cannot link {tool}"))?;
        }
        Ok(())
    }
}

/// A folder of a tree, made if need be.
fn folder(tree: &Path, path: &str) -> Result<PathBuf> {
    let folder = tree.join(path.trim_start_matches('/'));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::root;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn every_image_of_the_shipped_releases_is_made_in_its_minor_version() {
        let text = fs::read_to_string(root().join("workflows/releases.json")).unwrap();
        let releases: Value = serde_json::from_str(&text).unwrap();
        let minor = |image: &str| image.rsplit_once('.').unwrap().0.to_owned();
        // Of what is built here, the very version; of what Debian built, the one that Debian has.
        let known = |image: &Image| match image.origin {
            Origin::Built(_) => image.name.to_owned(),
            Origin::Prometheus(_) => minor(image.name),
        };
        let made: BTreeSet<String> = IMAGES.iter().map(known).collect();
        let mut wanted = Vec::new();
        for release in releases["releases"].as_object().unwrap().values() {
            for component in release.as_object().unwrap().values() {
                let images = component["images"].as_object().into_iter().flatten();
                wanted.extend(images.map(|(_, image)| image.as_str().unwrap().to_owned()));
            }
        }
        assert!(wanted.len() >= 8);
        for image in wanted {
            assert!(made.contains(&image) || made.contains(&minor(&image)), "{image} is not made");
        }
    }

    #[test]
    fn an_image_of_debians_program_is_named_by_its_version() {
        for image in &IMAGES {
            if let Origin::Prometheus(version) = image.origin {
                assert!(image.name.ends_with(&format!(":v{version}")), "{}", image.name);
            }
        }
    }

    #[test]
    fn no_two_images_are_one_part() {
        let parts: BTreeSet<String> = IMAGES.iter().map(|image| image.part().unwrap().id()).collect();
        assert_eq!(parts.len(), IMAGES.len());
    }
}
