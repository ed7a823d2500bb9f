//! Reading the files that people wrote.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use indexmap::IndexMap;
use runner_types::{
    Diagnostic, Diagnostics, DiskFiles, Document, Inventory, JsonPath, Located, MAX_FILE_SIZE, PluginLock, Policy,
    Releases, ResolvedInventory, SourceFile, StepAction, Workflow, did_you_mean, load_bytes, load_inventory,
};
use serde_json::{Map, Value, json};

use super::{ProjectError, digest_of, source_file};
use crate::contract::FUNCTIONS;
use crate::plugin::Catalog;

fn read_bytes(path: &Path) -> Result<Vec<u8>, ProjectError> {
    let unreadable = |source| ProjectError::Unreadable { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    // One byte more than allowed: the loader then says that it is too large.
    let limit = MAX_FILE_SIZE as u64 + 1;
    File::open(path).map_err(unreadable)?.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Reads a file of one of the kinds that people write.
///
/// # Errors
/// When it cannot be read, or everything that is wrong with it.
pub fn read<T: Document>(path: &Path) -> Result<Located<T>, ProjectError> {
    load_bytes(&read_bytes(path)?, &path.display().to_string()).map_err(ProjectError::Files)
}

/// Reads a workflow and those that its steps name; answers the name of the first.
pub(super) fn read_workflows(
    path: &Path,
    workflows: &mut IndexMap<String, Located<Workflow>>,
) -> Result<String, ProjectError> {
    let entry = path.display().to_string();
    let file: Located<Workflow> = read(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut inner: Vec<String> = sub_workflows(file.value());
    workflows.insert(entry.clone(), file);
    while let Some(name) = inner.pop() {
        if workflows.contains_key(&name) {
            continue;
        }
        let file: Located<Workflow> = read(&folder.join(&name))?;
        inner.extend(sub_workflows(file.value()));
        workflows.insert(name, file);
    }
    Ok(entry)
}

fn sub_workflows(workflow: &Workflow) -> Vec<String> {
    let named = |action: &StepAction| match action {
        StepAction::Workflow(inner) => Some(inner.workflow.clone()),
        StepAction::Component(_) | StepAction::Rolling(_) => None,
    };
    workflow.steps.iter().filter_map(|step| named(&step.action)).collect()
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
