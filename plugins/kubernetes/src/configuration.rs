//! Configuration files of a host: which there are, how they are saved, and how a backout brings them back.

use std::collections::{BTreeMap, BTreeSet};

use sdk::api::artifacts::{self, PutOrder, RestoreOrder, Source};
use sdk::api::files::{self, Attributes, FileKind, FileRef, FileStatus, ListingOrder, Precondition};
use sdk::{Answers, Artifact, Backup, Failure, Label, Place, Presence, Problem};

use crate::parameters::Layout;
use crate::parts::{Part, RUNNING};
use crate::record;

/// Where administrators put units and drop-ins.
const UNITS: &str = "/etc/systemd/system";
/// Where Debian keeps what units read as their environment.
const DEFAULTS: &str = "/etc/default";
/// Entries of a configuration directory; more is something else.
const ENTRIES: u32 = 4096;

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) hash: String,
    /// What restoring it where it is gone must set; none where only its content was looked at.
    pub(crate) attributes: Option<(u32, String, String)>,
}

/// Configuration files by path.
pub(crate) type Files = BTreeMap<String, File>;

/// What of a host decides where its configuration may be.
#[derive(Debug, Clone)]
pub(crate) struct Whose<'a> {
    pub(crate) host: &'a str,
    pub(crate) installed: BTreeSet<&'a str>,
    pub(crate) drop_ins: Vec<&'a str>,
}

/// Configuration of a host, with the links that are noted but not saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) files: Files,
    pub(crate) links: BTreeMap<String, String>,
}

/// Looks at the configuration of hosts; three calls for all of them.
pub(crate) fn look(hosts: &[Whose<'_>], layout: Layout<'_>) -> Vec<Result<Found, Failure>> {
    let orders: Vec<ListingOrder> = hosts
        .iter()
        .map(|whose| ListingOrder {
            host: whose.host.to_owned(),
            path: layout.directory.to_owned(),
            depth: 16,
            limit: ENTRIES,
        })
        .collect();
    let listed: Vec<Result<Vec<FileStatus>, Failure>> =
        files::entries(&orders).into_iter().map(|entries| Ok(entries.present()?.unwrap_or_default())).collect();
    let mut refs = Vec::new();
    for (whose, entries) in hosts.iter().zip(&listed) {
        let Ok(entries) = entries else { continue };
        let regular = entries.iter().filter(|entry| entry.kind == FileKind::Regular).map(|entry| entry.path.clone());
        let paths: BTreeSet<String> =
            regular.chain(candidates(whose, layout)).filter(|path| *path != record::path(layout.directory)).collect();
        refs.extend(paths.into_iter().map(|path| FileRef { host: whose.host.to_owned(), path }));
    }
    let mut hashes = refs.iter().zip(files::hash(&refs)).peekable();
    hosts
        .iter()
        .zip(listed)
        .map(|(whose, entries)| {
            let entries = entries?;
            let mut found = Found::default();
            let mut broken = None;
            while let Some((at, hash)) = hashes.next_if(|(at, _)| at.host == whose.host) {
                match hash.present() {
                    Ok(Some(hash)) => {
                        found.files.insert(at.path.clone(), File { hash, attributes: None });
                    }
                    Ok(None) => {}
                    Err(failure) => broken = broken.or(Some(failure)),
                }
            }
            for entry in entries {
                if let Some(file) = found.files.get_mut(&entry.path) {
                    file.attributes = Some((entry.mode, entry.owner, entry.group));
                } else if let Some(link) = entry.link {
                    found.links.insert(entry.path, link);
                }
            }
            broken.map_or(Ok(found), Err)
        })
        .collect()
}

/// Files outside the configuration directory that may be there.
fn candidates(whose: &Whose<'_>, layout: Layout<'_>) -> impl Iterator<Item = String> {
    let running = RUNNING.into_iter().filter(|name| whose.installed.contains(name));
    let mut paths: Vec<String> =
        running.flat_map(|name| [format!("{DEFAULTS}/{name}"), format!("{UNITS}/{name}.service")]).collect();
    if whose.installed.contains("kubelet") {
        paths.push(layout.kubelet.to_owned());
    }
    let ours = whose.drop_ins.iter().filter(|path| path.starts_with(&format!("{UNITS}/")));
    paths.extend(ours.map(|path| (*path).to_owned()));
    paths.into_iter()
}

/// The orders that save a host's configuration, one artifact a file, so that each can be compared and brought back by
/// itself.
pub(crate) fn saving(host: &str, files: &Files) -> Vec<PutOrder> {
    let label = |name: &str, value: String| Label { name: name.to_owned(), value };
    files
        .iter()
        .map(|(path, file)| {
            let mut labels = vec![label("path", path.clone())];
            if let Some((mode, owner, group)) = &file.attributes {
                labels.push(label("mode", format!("{mode:o}")));
                labels.push(label("owner", owner.clone()));
                labels.push(label("group", group.clone()));
            }
            PutOrder {
                host: host.to_owned(),
                source: Source::File(path.clone()),
                name: artifact_name(host, path),
                labels,
            }
        })
        .collect()
}

/// The name of a file within a backup set, of characters that a name may have.
fn artifact_name(host: &str, path: &str) -> String {
    let segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| {
            let plain: String =
                segment.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect();
            if plain.starts_with('-') { format!("_{plain}") } else { plain }
        })
        .collect();
    format!("{host}/{}", segments.join("/"))
}

/// A file as a backup set has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    digest: String,
    mode: Option<u32>,
    owner: Option<String>,
    group: Option<String>,
}

/// What a backup set has of one host's configuration.
pub(crate) fn saved(set: Backup<'_>, host: &str) -> BTreeMap<String, Saved> {
    let place = Place::Host(host.to_owned());
    set.0.artifacts.iter().filter(|artifact| artifact.origin == place).filter_map(one_saved).collect()
}

fn one_saved(artifact: &Artifact) -> Option<(String, Saved)> {
    let label = |name: &str| artifact.labels.iter().find(|label| label.name == name).map(|label| label.value.clone());
    let saved = Saved {
        digest: artifact.digest.clone(),
        mode: label("mode").and_then(|mode| u32::from_str_radix(&mode, 8).ok()),
        owner: label("owner"),
        group: label("group"),
    };
    Some((label("path")?, saved))
}

/// What has to be brought back for a part of a host, so that its files are those of the set.
pub(crate) fn restoring(
    whose: &Whose<'_>,
    part: Part,
    saved: &BTreeMap<String, Saved>,
    now: &Files,
) -> Vec<RestoreOrder> {
    saved
        .iter()
        .filter(|(path, _)| Part::owner(path, &whose.installed) == part)
        .filter(|(path, saved)| now.get(*path).is_none_or(|file| file.hash != saved.digest))
        .map(|(path, saved)| {
            let seen = now.get(path);
            RestoreOrder {
                digest: saved.digest.clone(),
                host: whose.host.to_owned(),
                path: path.clone(),
                precondition: seen.map_or(Precondition::Absent, |file| Precondition::Hash(file.hash.clone())),
                attributes: Some(Attributes {
                    mode: saved.mode,
                    owner: saved.owner.clone(),
                    group: saved.group.clone(),
                    context: None,
                }),
            }
        })
        .collect()
}

/// Files of a part that came after the set was made, for people: they stay.
pub(crate) fn added<'a>(
    whose: &Whose<'_>,
    part: Part,
    saved: &BTreeMap<String, Saved>,
    now: &'a Files,
) -> Vec<&'a str> {
    now.keys()
        .filter(|path| Part::owner(path, &whose.installed) == part && !saved.contains_key(*path))
        .map(String::as_str)
        .collect()
}

/// Brings files back; true: something was written. What is there now goes into the store before: keys and certificates
/// that were renewed since the backup are nowhere else.
pub(crate) fn restore(orders: &[RestoreOrder]) -> Result<bool, Problem> {
    if orders.is_empty() {
        return Ok(false);
    }
    let replaced = replaced(orders);
    if !replaced.is_empty() {
        artifacts::put(&replaced).all()?;
    }
    Ok(artifacts::restore(orders).all()?.iter().any(|change| change.changed))
}

/// The files that orders replace, each for the store.
fn replaced(orders: &[RestoreOrder]) -> Vec<PutOrder> {
    orders
        .iter()
        .filter(|order| order.precondition != Precondition::Absent)
        .map(|order| PutOrder {
            host: order.host.clone(),
            source: Source::File(order.path.clone()),
            name: artifact_name(&order.host, &order.path),
            labels: vec![Label { name: "path".to_owned(), value: order.path.clone() }],
        })
        .collect()
}

/// One hash over what a part reads.
pub(crate) fn digest(whose: &Whose<'_>, part: Part, files: &Files) -> String {
    let text: String = files
        .iter()
        .filter(|(path, _)| Part::owner(path, &whose.installed) == part)
        .map(|(path, file)| format!("{path}\n{}\n", file.hash))
        .collect();
    sdk::sha256(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sdk::{BackupSet, Inputs, Invocation, Scope, Target};

    /// Files with made-up hashes.
    pub(crate) fn files(pairs: &[(&str, &str)]) -> Files {
        pairs
            .iter()
            .map(|(path, hash)| ((*path).to_owned(), File { hash: (*hash).to_owned(), attributes: None }))
            .collect()
    }

    fn master<'a>() -> Whose<'a> {
        Whose { host: "m1", installed: BTreeSet::from(["kube-apiserver", "kube-scheduler"]), drop_ins: Vec::new() }
    }

    fn set_of(orders: Vec<PutOrder>, files: &Files) -> Invocation {
        let artifacts = orders
            .into_iter()
            .zip(files.values())
            .map(|(order, file)| Artifact {
                digest: file.hash.clone(),
                size: 1,
                name: order.name,
                origin: Place::Host(order.host),
                labels: order.labels,
            })
            .collect();
        let backup =
            BackupSet { id: "s".into(), created: String::new(), versions: vec![], artifacts, notes: "{}".into() };
        Invocation {
            run: String::new(),
            step: String::new(),
            attempt: 1,
            stamp: String::new(),
            target: Target { scope: Scope::Host, cluster: None, hosts: vec![] },
            parameters: "{}".into(),
            backup: Some(backup),
        }
    }

    #[test]
    fn what_was_saved_comes_back_where_it_differs() {
        let mut before = files(&[
            ("/etc/kubernetes/admin.conf", "a"),
            ("/etc/kubernetes/pki/ca.crt", "b"),
            ("/etc/kubernetes/scheduler.conf", "c"),
        ]);
        if let Some(file) = before.get_mut("/etc/kubernetes/admin.conf") {
            file.attributes = Some((0o600, "root".into(), "ops".into()));
        }
        let invocation = set_of(saving("m1", &before), &before);
        let set = invocation.backup_set().unwrap_or_else(|_| panic!("there is a set"));
        let saved = saved(set, "m1");
        assert_eq!(saved.len(), 3);
        assert!(super::saved(set, "m2").is_empty());

        let now = files(&[
            ("/etc/kubernetes/pki/ca.crt", "b"),
            ("/etc/kubernetes/scheduler.conf", "x"),
            ("/etc/kubernetes/new.conf", "n"),
        ]);
        let orders = restoring(&master(), Part::KubeApiserver, &saved, &now);
        assert_eq!(orders.len(), 1);
        assert_eq!((orders[0].path.as_str(), orders[0].digest.as_str()), ("/etc/kubernetes/admin.conf", "a"));
        assert_eq!(orders[0].precondition, Precondition::Absent);
        let attributes = orders[0].attributes.as_ref();
        assert_eq!(attributes.and_then(|a| a.mode), Some(0o600));
        assert_eq!(attributes.and_then(|a| a.group.as_deref()), Some("ops"));

        assert!(replaced(&orders).is_empty(), "nothing is there now");

        let orders = restoring(&master(), Part::Controllers, &saved, &now);
        assert_eq!(orders[0].precondition, Precondition::Hash("x".into()));
        let kept = replaced(&orders);
        assert_eq!(kept[0].source, Source::File("/etc/kubernetes/scheduler.conf".into()));
        assert_eq!((kept.len(), kept[0].host.as_str()), (1, "m1"));
        assert!(restoring(&master(), Part::Node, &saved, &now).is_empty());
        assert_eq!(added(&master(), Part::KubeApiserver, &saved, &now), ["/etc/kubernetes/new.conf"]);
    }

    #[test]
    fn names_within_the_set_are_plain() {
        assert_eq!(artifact_name("m1", "/etc/kubernetes/pki/ca.crt"), "m1/etc/kubernetes/pki/ca.crt");
        assert_eq!(artifact_name("m1", "/etc/x/a b/-c"), "m1/etc/x/a_b/_-c");
    }

    #[test]
    fn the_hash_of_a_part_follows_its_own_files_only() {
        let before = files(&[("/etc/kubernetes/admin.conf", "a"), ("/etc/kubernetes/scheduler.conf", "c")]);
        let after = files(&[("/etc/kubernetes/admin.conf", "a"), ("/etc/kubernetes/scheduler.conf", "d")]);
        let digest = |part, files| digest(&master(), part, files);
        assert_eq!(digest(Part::KubeApiserver, &before), digest(Part::KubeApiserver, &after));
        assert_ne!(digest(Part::Controllers, &before), digest(Part::Controllers, &after));
    }

    #[test]
    fn files_are_looked_for_where_the_host_has_the_package() {
        let layout = Layout { directory: "/etc/kubernetes", kubelet: "/var/lib/kubelet/config.yaml" };
        let mut node = master();
        node.installed = BTreeSet::from(["kubelet"]);
        node.drop_ins =
            vec!["/etc/systemd/system/kubelet.service.d/10-x.conf", "/lib/systemd/system/kubelet.service.d/y.conf"];
        let paths: Vec<String> = candidates(&node, layout).collect();
        assert_eq!(
            paths,
            [
                "/etc/default/kubelet",
                "/etc/systemd/system/kubelet.service",
                "/var/lib/kubelet/config.yaml",
                "/etc/systemd/system/kubelet.service.d/10-x.conf"
            ]
        );
    }
}
