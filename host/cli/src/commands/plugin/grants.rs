//! `runner plugin grants`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use indexmap::IndexMap;
use runner_engine::plugin::Package;
use runner_engine::project::read as read_file;
use runner_types::{DiskFiles, Grant, Manifest, Operation, Policy, StepAction, Workflow, load, load_inventory};
use serde_json::{Map, Value};

use super::{catalog, file, read};
use crate::args::Plugins;
use crate::error::Problem;
use crate::exit::Exit;
use crate::out;
use crate::paths::Surroundings;

/// Print a policy to start from: everything that plugins request, one grant a line
///
/// Parameters in the requests are replaced by their defaults, by the settings of the inventory, and by what the named
/// workflows give. Remove the lines that you do not want to grant: what is not in the policy is denied.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner plugin grants etcd
  runner plugin grants --all -i inventory.json > policy.json
  runner plugin grants etcd docker -i inventory.json --workflow workflows/update-all.json
  runner plugin grants vendor-lb.wasm")]
pub(super) struct Grants {
    /// Files, or names of plugins
    #[arg(value_name = "PLUGIN", required_unless_present = "all")]
    named: Vec<String>,
    /// All plugins that are found
    #[arg(long, conflicts_with = "named")]
    all: bool,
    /// Inventory whose settings replace the parameters' defaults
    #[arg(short, long, value_name = "FILE", env = "RUNNER_INVENTORY", hide_env = true)]
    inventory: Option<PathBuf>,
    /// Workflow whose parameters are used; may be repeated
    #[arg(long, value_name = "FILE")]
    workflow: Vec<PathBuf>,
    #[command(flatten)]
    plugins: Plugins,
}

impl Grants {
    pub(super) fn carry_out(&self) -> anyhow::Result<Exit> {
        let workflows = self.workflow.iter().map(|path| read_file::<Workflow>(path)).collect::<Result<Vec<_>, _>>()?;
        let mut names = Vec::new();
        let mut all = Vec::new();
        for manifest in self.manifests()? {
            let settings = self.settings(&manifest.name)?;
            let mut values = Vec::new();
            workflows.iter().for_each(|workflow| used(workflow, &manifest.name, &mut values));
            let (grants, open) = lines(&manifest, &settings, &values);
            for parameter in open {
                out::stderr(&format!(
                    "warning: parameter {parameter} of {} has no value: fill it in, or name a --workflow\n",
                    manifest.name
                ));
            }
            names.push(format!("{} {}", manifest.name, manifest.version));
            all.extend(grants);
        }
        let verb = if names.len() == 1 { "requests" } else { "request" };
        let description = format!("What {} {verb}", names.join(", "));
        out::stdout(&Policy { schema: None, description, grants: all }.to_text())?;
        Ok(Exit::Succeeded)
    }

    fn manifests(&self) -> anyhow::Result<Vec<Manifest>> {
        if self.all {
            let found: Vec<Manifest> =
                catalog(&self.plugins)?.manifests().map(|(_, _, manifest)| Manifest::clone(manifest)).collect();
            return match found.is_empty() {
                true => Err(Problem::usage("no plugin was found").hint("name their directory with --plugins").into()),
                false => Ok(found),
            };
        }
        let one = |named: &String| {
            let path = file(named, &self.plugins)?;
            let cannot = || format!("cannot use {}", path.display());
            let package = Package::read(&read(&path)?).with_context(cannot)?;
            let source = package.manifest().with_context(cannot)?;
            Ok(load::<Manifest>(source, &format!("the manifest in {}", path.display()))?.into_parts().0)
        };
        self.named.iter().map(one).collect()
    }

    fn settings(&self, component: &str) -> anyhow::Result<IndexMap<String, Value>> {
        let path = match &self.inventory {
            Some(path) => path.clone(),
            None => match Surroundings::real().inventory(None, None) {
                Ok(path) => path,
                // Without an inventory the manifest's defaults stand.
                Err(_) => return Ok(IndexMap::new()),
            },
        };
        let inventory = load_inventory(&DiskFiles, &path)?.inventory;
        Ok(inventory.components.get(component).cloned().unwrap_or_default())
    }
}

/// Parameters that a workflow gives a component, by operation; those that hold expressions are known only in a run.
fn used(workflow: &Workflow, component: &str, values: &mut Vec<(Operation, Map<String, Value>)>) {
    let known = |with: &IndexMap<String, Value>| -> Map<String, Value> {
        with.iter()
            .filter(|(_, value)| !value.to_string().contains("${"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    for step in workflow.component_steps() {
        if step.component == component {
            values.push((step.operation, known(&step.with)));
        }
    }
    for step in &workflow.steps {
        if let StepAction::Rolling(block) = &step.action {
            for part in block.maintenance.iter().filter(|part| part.component == component) {
                values.push((Operation::Maintenance, known(&part.with)));
            }
        }
    }
}

/// The grants that all requests come to, and the parameters that have no value.
fn lines(
    manifest: &Manifest,
    settings: &IndexMap<String, Value>,
    given: &[(Operation, Map<String, Value>)],
) -> (Vec<Grant>, Vec<String>) {
    let mut parameters: Vec<Value> = Vec::new();
    for (operation, spec) in &manifest.operations {
        let mut steps: Vec<Map<String, Value>> =
            given.iter().filter(|(of, _)| of == operation).map(|(_, values)| values.clone()).collect();
        if steps.is_empty() {
            steps.push(Map::new());
        }
        let properties = spec.parameters.get("properties").and_then(Value::as_object);
        for with in steps {
            let mut values: Map<String, Value> = properties
                .into_iter()
                .flatten()
                .filter_map(|(name, schema)| Some((name.clone(), schema.get("default")?.clone())))
                .collect();
            let known = settings.iter().filter(|(name, _)| properties.is_some_and(|known| known.contains_key(*name)));
            values.extend(known.map(|(name, value)| (name.clone(), value.clone())));
            values.extend(with);
            parameters.push(Value::Object(values));
        }
    }
    let mut grants: Vec<Grant> = Vec::new();
    let mut open: BTreeMap<String, ()> = BTreeMap::new();
    for request in &manifest.capabilities {
        let mut made = Vec::new();
        let mut missing = Vec::new();
        for values in &parameters {
            match request.to_grant(&manifest.name, values) {
                Ok(grant) => made.push(grant),
                Err(error) => missing.push(error.parameter),
            }
        }
        if made.is_empty() {
            // As requested: the operator sees what is to be filled in.
            made.push(Grant {
                plugin: manifest.name.clone(),
                capability: request.capability.clone(),
                patterns: request.patterns.clone(),
            });
            open.extend(missing.into_iter().map(|parameter| (parameter, ())));
        }
        for grant in made {
            let is_empty = grant.patterns.0.values().any(Vec::is_empty);
            if !is_empty && !grants.contains(&grant) {
                grants.push(grant);
            }
        }
    }
    (grants, open.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::super::inspect::tests::MANIFEST;
    use super::*;
    use serde_json::json;

    fn texts(grants: &[Grant]) -> Vec<String> {
        grants.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn settings_and_steps_take_the_place_of_defaults() {
        let manifest = load::<Manifest>(MANIFEST, "m.json").unwrap();
        let (grants, open) = lines(&manifest, &IndexMap::new(), &[]);
        assert_eq!(
            texts(&grants),
            [
                r#"{"plugin":"lb","allow":"systemd.status","units":["lb.service"]}"#,
                r#"{"plugin":"lb","allow":"systemd.restart","units":["lb.service"]}"#
            ]
        );
        assert!(open.is_empty());
        let settings = IndexMap::from([("unit".to_owned(), json!("haproxy.service")), ("other".to_owned(), json!(1))]);
        assert!(texts(&lines(&manifest, &settings, &[]).0)[0].contains("haproxy.service"));
        let step = json!({"unit": "edge.service"}).as_object().cloned().unwrap();
        let grants = texts(&lines(&manifest, &settings, &[(Operation::Update, step)]).0);
        assert_eq!(grants.len(), 4, "verify has the setting, update its step's value: {grants:?}");
    }

    #[test]
    fn what_has_no_value_is_named_and_left_to_be_filled_in() {
        let text = MANIFEST.replace(", \"default\": \"lb.service\"", "");
        let manifest = load::<Manifest>(&text, "m.json").unwrap();
        let (grants, open) = lines(&manifest, &IndexMap::new(), &[]);
        assert_eq!(open, ["unit"]);
        assert!(texts(&grants)[0].contains("${parameters.unit}"), "{grants:?}");
    }
}
