//! Reading the files that people wrote.

use std::path::Path;

use indexmap::IndexMap;
use runner_types::{
    Diagnostic, Diagnostics, DiskFiles, Document, Inventory, JsonPath, Located, MAX_FILE_SIZE, PluginLock, Policy,
    Releases, ResolvedInventory, SourceFile, StepAction, Workflow, did_you_mean, load_bytes, load_inventory,
    read_limited,
};
use serde_json::{Map, Value, json};

use super::{ProjectError, digest_of, source_file};
use crate::contract::FUNCTIONS;
use crate::planner::{check_parts, part_path, plain_path};
use crate::plugin::Catalog;

fn read_bytes(path: &Path) -> Result<Vec<u8>, ProjectError> {
    read_limited(path, MAX_FILE_SIZE as u64)
        .map_err(|source| ProjectError::Unreadable { path: path.display().to_string(), source })
}

/// Reads a file of one of the kinds that people write.
///
/// # Errors
/// When it cannot be read, or everything that is wrong with it.
pub fn read<T: Document>(path: &Path) -> Result<Located<T>, ProjectError> {
    load_bytes(&read_bytes(path)?, &path.display().to_string()).map_err(ProjectError::Files)
}

/// Reads a workflow and those that its steps name, each relative to the file that names it. They are kept by their paths;
/// the first is the one that was asked for.
///
/// # Errors
/// When one cannot be read, everything that is wrong with it, and where following them would not end or lead to too many
/// steps.
pub fn read_workflows(path: &Path) -> Result<IndexMap<String, Located<Workflow>>, ProjectError> {
    let mut workflows = IndexMap::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let plain = plain_path(&path);
        let key = plain.display().to_string();
        if workflows.contains_key(&key) {
            continue;
        }
        let file: Located<Workflow> = read(&path)?;
        waiting.extend(sub_workflows(file.value()).map(|named| part_path(&plain, named)));
        workflows.insert(key, file);
    }
    if let Some(first) = workflows.keys().next() {
        check_parts(&workflows, first).map_err(|wrong| ProjectError::Files(wrong.into()))?;
    }
    Ok(workflows)
}

fn sub_workflows(workflow: &Workflow) -> impl Iterator<Item = &str> {
    workflow.steps.iter().filter_map(|step| match &step.action {
        StepAction::Workflow(inner) => Some(inner.workflow.as_str()),
        StepAction::Component(_) | StepAction::Rolling(_) => None,
    })
}

/// An inventory of any kind that is read, in native form, and what should be looked at in it.
pub(super) fn inventory(path: &Path) -> Result<(Inventory, SourceFile, Vec<String>), ProjectError> {
    let loaded = load_inventory(&DiskFiles, path).map_err(ProjectError::Files)?;
    let source = match &loaded.source {
        Some(source) => source_file(source),
        None => {
            let content = serde_json::to_value(&loaded.inventory).unwrap_or_default();
            let digest = digest_of(&content.to_string());
            SourceFile { path: path.display().to_string(), digest, content }
        }
    };
    Ok((loaded.inventory, source, loaded.warnings))
}

/// The platform's name: that of its folder in the state directory.
pub(super) fn platform_name(inventory: &Inventory, path: &Path) -> Result<String, ProjectError> {
    if let Some(name) = &inventory.name {
        return Ok(name.clone());
    }
    let stem = path.file_stem().map_or_else(|| "platform".to_owned(), |stem| stem.to_string_lossy().into_owned());
    if stem.chars().all(|c| c == '.') {
        let file = path.display().to_string();
        let wrong = Diagnostic::of_file(&file, format!("after this file the platform would be named {stem:?}"))
            .help("rename the file, or give the platform its `name`");
        return Err(ProjectError::Files(wrong.into()));
    }
    Ok(stem)
}

/// A grant of a capability that no plugin can ever ask for would be a line without effect.
pub(super) fn check_capabilities(policy: &Located<Policy>) -> Result<(), ProjectError> {
    let root = JsonPath::root().key("grants");
    let wrong =
        policy.value().grants.iter().enumerate().filter(|(_, grant)| !FUNCTIONS.contains(&grant.capability.as_str()));
    let wrong: Vec<Diagnostic> = wrong
        .map(|(index, grant)| {
            let near = did_you_mean(&grant.capability, FUNCTIONS.iter().copied());
            let message = format!("there is no capability {:?}{near}", grant.capability);
            policy.source().at(&root.index(index).key("allow"), message)
        })
        .collect();
    Diagnostics::check(wrong).map_err(ProjectError::Files)
}

/// Whether a lock file names the plugins; every one that it does not name as it is, is refused.
pub(super) fn check_trust(catalog: &Catalog, lock: Option<&Path>) -> Result<bool, ProjectError> {
    let Some(path) = lock.filter(|path| path.exists()) else {
        return Ok(false);
    };
    let lock: Located<PluginLock> = read(path)?;
    for (_, digest, manifest) in catalog.manifests() {
        let trusted = lock.value().plugins.get(&manifest.name);
        if trusted != Some(digest) {
            return Err(ProjectError::Untrusted {
                name: manifest.name.clone(),
                found: digest.to_string(),
                lock: path.display().to_string(),
                trusted: trusted.map(ToString::to_string),
            });
        }
    }
    Ok(true)
}

/// `inventory`, as expressions see it.
pub(super) fn inventory_value(inventory: &Inventory, resolved: &ResolvedInventory) -> Value {
    let hosts: Map<String, Value> =
        resolved.hosts.values().map(|host| (host.name.clone(), crate::planner::host_value(host, None))).collect();
    let groups: Map<String, Value> =
        resolved.groups.iter().map(|(name, hosts)| (name.clone(), json!({ "hosts": hosts }))).collect();
    json!({
        "hosts": hosts,
        "groups": groups,
        "clusters": inventory.clusters.keys().collect::<Vec<_>>(),
        "components": inventory.components,
    })
}

pub(super) fn releases_value(releases: &Releases) -> Value {
    serde_json::to_value(&releases.releases).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, inner) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let step = match *inner {
                "" => r#""component": "p", "operation": "verify""#.to_owned(),
                inner => format!(r#""workflow": "{inner}""#),
            };
            let text = format!(r#"{{"name": "{}", "steps": [{{"name": "a", {step}}}]}}"#, name.replace('/', "-"));
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_part_is_read_from_beside_the_file_that_names_it() {
        let folder = folder_of(&[
            ("main.json", "parts/a.json"),
            ("parts/a.json", "./b.json"),
            ("parts/b.json", "../c.json"),
            ("b.json", "nowhere.json"),
            ("c.json", ""),
        ]);
        let workflows = read_workflows(&folder.path().join("./main.json")).unwrap();
        let names: Vec<&str> = workflows.values().map(|file| file.value().name.as_str()).collect();
        assert_eq!(names, ["main.json", "parts-a.json", "parts-b.json", "c.json"]);
        let keys: Vec<&Path> =
            workflows.keys().map(|key| Path::new(key).strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(keys, ["main.json", "parts/a.json", "parts/b.json", "c.json"].map(Path::new));
        std::fs::remove_file(folder.path().join("c.json")).unwrap();
        let error = read_workflows(&folder.path().join("main.json")).unwrap_err().to_string();
        assert!(error.contains("c.json"), "{error}");
    }

    #[test]
    fn a_workflow_that_leads_back_to_itself_is_refused() {
        let folder = folder_of(&[("main.json", "parts/a.json"), ("parts/a.json", "../main.json")]);
        let error = read_workflows(&folder.path().join("main.json")).unwrap_err().to_string();
        let main = folder.path().join("main.json").display().to_string();
        let a = folder.path().join("parts/a.json").display().to_string();
        let expected =
            format!("{a}:1:62: $.steps[0].workflow: this workflow is a part of itself: {main} -> {a} -> {main}");
        assert!(error.starts_with(&expected), "{error}\n{expected}");
    }

    #[test]
    fn a_file_gives_a_platform_no_name_that_leads_elsewhere() {
        let named = |name: Option<&str>, path: &str| {
            let inventory = Inventory { name: name.map(str::to_owned), ..Inventory::default() };
            platform_name(&inventory, Path::new(path)).map_err(|error| error.to_string())
        };
        assert_eq!(named(None, "i/prod.json"), Ok("prod".to_owned()));
        assert_eq!(named(Some("p"), "i/...json"), Ok("p".to_owned()));
        for (path, stem) in [("i/...json", ".."), ("i/..json", ".")] {
            let wrong = named(None, path).unwrap_err();
            let expected =
                format!("{path}: after this file the platform would be named {stem:?}\n  help: rename the file");
            assert!(wrong.starts_with(&expected), "{wrong}");
        }
    }
}
