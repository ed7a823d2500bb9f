//! `runner plugin inspect`.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::Args;
use runner_engine::plugin::Package;
use runner_types::{Manifest, Scope, load};
use serde_json::{Value, json};

use super::{file, read};
use crate::args::{ListOutput, Plugins};
use crate::exit::Exit;
use crate::out;

/// Print what a plugin says of itself and what it imports, without running anything
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner plugin inspect vendor-lb.wasm
  runner plugin inspect etcd                 by name, from the directories of plugins
  runner plugin inspect etcd --output json   the manifest as it is, with digest and imports")]
pub(super) struct Inspect {
    /// A file, or the name of a plugin
    plugin: String,
    #[command(flatten)]
    plugins: Plugins,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    output: ListOutput,
}

impl Inspect {
    pub(super) fn carry_out(&self) -> anyhow::Result<Exit> {
        let path = file(&self.plugin, &self.plugins)?;
        let bytes = read(&path)?;
        let cannot = || format!("cannot inspect {}", path.display());
        let package = Package::read(&bytes).with_context(cannot)?;
        let source = package.manifest().with_context(cannot)?;
        match self.output {
            ListOutput::Json => {
                let manifest: Value = serde_json::from_str(source)?;
                out::json(&json!({
                    "file": path,
                    "size": bytes.len(),
                    "digest": package.digest,
                    "manifest": manifest,
                    "imports": package.imports,
                    "exports": package.exports,
                }))?;
            }
            ListOutput::Text => {
                let name = format!("the manifest in {}", path.display());
                let manifest = load::<Manifest>(source, &name)?;
                let mut text = format!("file        {} ({} bytes)\n", path.display(), bytes.len());
                text.push_str(&described(&manifest, &package));
                out::stdout(&out::printable(&text))?;
            }
        }
        Ok(Exit::Succeeded)
    }
}

fn described(manifest: &Manifest, package: &Package) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "digest      {}", package.digest);
    let _ = writeln!(text, "plugin      {} {}", manifest.name, manifest.version);
    let _ = writeln!(text, "contract    runner:plugin@{}", manifest.api);
    let _ = writeln!(text, "            {}", manifest.description);
    let _ = writeln!(text, "memory      {} MiB", manifest.limits.memory_mib);
    text.push_str("\noperations\n");
    for (operation, spec) in &manifest.operations {
        let scope = match spec.scope {
            Scope::Cluster => "cluster",
            Scope::Host => "host",
        };
        let _ = writeln!(text, "  {operation} (one instance a {scope})");
        let properties = spec.parameters.get("properties").and_then(Value::as_object);
        let required = spec.parameters.get("required").and_then(Value::as_array);
        for (name, schema) in properties.into_iter().flatten() {
            let is_required = required.is_some_and(|names| names.iter().any(|required| required == name));
            let default = match schema.get("default") {
                Some(default) => format!(" [default: {default}]"),
                None if is_required => " [required]".to_owned(),
                None => String::new(),
            };
            let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            let _ = writeln!(text, "    {name}{default}  {about}");
        }
    }
    if !manifest.prompts.is_empty() {
        text.push_str("\nquestions it may ask\n");
    }
    for prompt in &manifest.prompts {
        let operations: Vec<&str> = prompt.operations.iter().map(|operation| operation.as_str()).collect();
        let destructive = if prompt.destructive { ", a yes destroys" } else { "" };
        let when = prompt.enabled_by.as_ref().map_or_else(String::new, |condition| format!(", when {}", condition.0));
        let _ = writeln!(text, "  {} ({}{destructive}{when})", prompt.key, operations.join(", "));
        let _ = writeln!(text, "    {}", prompt.message.replace('\n', "\n    "));
    }
    text.push_str("\ncapabilities it requests\n");
    if manifest.capabilities.is_empty() {
        text.push_str("  none\n");
    }
    for request in &manifest.capabilities {
        let mut line = request.capability.clone();
        for (field, patterns) in &request.patterns.0 {
            let _ = write!(line, "  {}: {}", field.as_str(), patterns.join(" "));
        }
        let _ = writeln!(text, "  {line}\n      {}", request.reason.replace('\n', "\n      "));
    }
    for (title, names) in [("imports", &package.imports), ("exports", &package.exports)] {
        let _ = writeln!(text, "\n{title}");
        for name in names {
            let _ = writeln!(text, "  {name}");
        }
    }
    text
}

#[cfg(test)]
pub(in crate::commands::plugin) mod tests {
    use super::*;

    pub(in crate::commands::plugin) const MANIFEST: &str = r#"{
        "name": "lb", "version": "1.2.0", "api": "0.1.0", "description": "A load balancer",
        "operations": {
            "verify": {"scope": "cluster", "parameters": {"type": "object", "additionalProperties": false, "properties": {
                "unit": {"type": "string", "default": "lb.service", "description": "Its unit."}}}},
            "update": {"scope": "host", "parameters": {"type": "object", "additionalProperties": false,
                "required": ["versions"], "properties": {
                "versions": {"type": "object", "description": "Versions to go to."},
                "unit": {"type": "string", "default": "lb.service"}}}}
        },
        "prompts": [{"key": "cut", "operations": ["update"], "destructive": true, "message": "Cut connections?"}],
        "capabilities": [
            {"capability": "systemd.status", "units": ["${parameters.unit}"], "reason": "To see it."},
            {"capability": "systemd.restart", "units": ["${parameters.unit}"], "reason": "To load it."}
        ]
    }"#;

    #[test]
    fn everything_an_operator_decides_by_is_shown() {
        let manifest = load::<Manifest>(MANIFEST, "m.json").unwrap();
        let package = Package {
            digest: "d".repeat(64),
            imports: vec!["runner:plugin/systemd@0.1.0".to_owned()],
            ..Package::default()
        };
        let text = described(&manifest, &package);
        for part in [
            "plugin      lb 1.2.0\n",
            "  update (one instance a host)\n    versions [required]  Versions to go to.\n",
            "    unit [default: \"lb.service\"]  Its unit.\n",
            "  cut (update, a yes destroys)\n    Cut connections?\n",
            "  systemd.restart  units: ${parameters.unit}\n      To load it.\n",
            "\nimports\n  runner:plugin/systemd@0.1.0\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }
}
