//! What the types of a manifest cannot say.

use serde_json::Value;
use std::collections::HashSet;

use super::{Manifest, OperationSpec, PromptKind, PromptSpec};
use crate::policy::check_line;
use crate::{Document, JsonPath, Mistakes, Operation, Request, did_you_mean};

const LARGEST_MEMORY_MIB: u32 = 1024;

impl Document for Manifest {
    const KIND: &'static str = "manifest";

    fn check(&self, mistakes: &mut Mistakes) {
        let root = JsonPath::root();
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !self.name.starts_with(|c: char| c.is_ascii_lowercase()) || !self.name.chars().all(is_name) {
            mistakes.add_with_help(
                &root.key("name"),
                format!("{:?} cannot be the name of a component", self.name),
                "small letters of a to z, digits and `-`, beginning with a letter",
            );
        }
        if self.version.trim().is_empty() {
            mistakes.add(&root.key("version"), "the plugin has no version");
        }
        if self.operations.is_empty() {
            mistakes.add(&root.key("operations"), "the plugin offers no operation");
        }
        for (operation, spec) in &self.operations {
            let at = root.key("operations").key(operation.as_str());
            check_parameters(&at.key("parameters"), spec, mistakes);
            if spec.any_hosts && *operation != Operation::Verify {
                mistakes.add_with_help(
                    &at.key("any-hosts"),
                    format!("only verify can be given part of its hosts, {operation} works on all it is given"),
                    "remove it",
                );
            }
        }
        let mut keys = HashSet::new();
        for (index, prompt) in self.prompts.iter().enumerate() {
            let at = root.key("prompts").index(index);
            if !keys.insert(prompt.key.as_str()) {
                mistakes.add(&at.key("key"), format!("prompt {:?} stands here twice", prompt.key));
            }
            self.check_prompt(&at, prompt, mistakes);
        }
        let mut lines: HashSet<(&str, &crate::Patterns)> = HashSet::new();
        for (index, request) in self.capabilities.iter().enumerate() {
            let at = root.key("capabilities").index(index);
            check_line(&at, "capability", &request.capability, &request.patterns, true, mistakes);
            self.check_request(&at, request, mistakes);
            if !lines.insert((&request.capability, &request.patterns)) {
                mistakes.add_with_help(&at, "this request stands here twice", "remove one of them");
            }
        }
        if !(1..=LARGEST_MEMORY_MIB).contains(&self.limits.memory_mib) {
            let message = format!("memory is 1 to {LARGEST_MEMORY_MIB} MiB");
            mistakes.add(&root.key("limits").key("memory-mib"), message);
        }
    }
}

fn check_parameters(at: &JsonPath, spec: &OperationSpec, mistakes: &mut Mistakes) {
    if spec.parameters.get("type") != Some(&Value::from("object")) {
        mistakes.add_with_help(
            at,
            "parameters are an object",
            "write a JSON Schema with \"type\": \"object\" and \"properties\"",
        );
        return;
    }
    if spec.parameters.get("additionalProperties") != Some(&Value::Bool(false)) {
        mistakes.add_with_help(
            at,
            "parameters that nobody knows would pass unnoticed",
            "add \"additionalProperties\": false",
        );
    }
    if spec.parameters.get("properties").is_some_and(|properties| !properties.is_object()) {
        mistakes.add(&at.key("properties"), "expected an object");
    }
}

impl OperationSpec {
    /// Names of its parameters with their schemas.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.parameters
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, schema)| (name.as_str(), schema))
    }

    /// Defaults of its parameters, where they have one.
    #[must_use]
    pub fn defaults(&self) -> serde_json::Map<String, Value> {
        self.properties().filter_map(|(name, schema)| Some((name.to_owned(), schema.get("default")?.clone()))).collect()
    }
}

impl Manifest {
    fn check_prompt(&self, at: &JsonPath, prompt: &PromptSpec, mistakes: &mut Mistakes) {
        if prompt.key.is_empty() || prompt.key.contains('/') {
            mistakes.add(&at.key("key"), format!("{:?} cannot be a prompt's key", prompt.key));
        }
        if prompt.operations.is_empty() {
            mistakes.add(&at.key("operations"), "a prompt of no operation is never asked");
        }
        if !prompt.options.is_empty() && prompt.kind != PromptKind::Choose {
            mistakes.add_with_help(
                &at.key("options"),
                format!("prompt {:?} is no choice and has no options", prompt.key),
                "write \"kind\": \"choose\", or remove `options`",
            );
        }
        for (index, operation) in prompt.operations.iter().enumerate() {
            let Some(spec) = self.operations.get(operation) else {
                let message = format!("the plugin does not offer {operation}");
                mistakes.add(&at.key("operations").index(index), message);
                continue;
            };
            let Some(condition) = &prompt.enabled_by else {
                continue;
            };
            let name = condition.parameter();
            let at = at.key("enabled-by");
            match spec.properties().find(|(known, _)| *known == name) {
                None => {
                    let near = did_you_mean(name, spec.properties().map(|(name, _)| name));
                    mistakes.add_with_help(
                        &at,
                        format!("{operation} has no parameter {name:?}{near}"),
                        "name a boolean parameter of each operation of this prompt, or `!` and one",
                    );
                }
                Some((_, schema)) if schema.get("type") != Some(&Value::from("boolean")) => {
                    mistakes.add(&at, format!("parameter {name:?} of {operation} is not boolean"));
                }
                Some(_) => {}
            }
        }
    }

    fn check_request(&self, at: &JsonPath, request: &Request, mistakes: &mut Mistakes) {
        if request.reason.trim().is_empty() {
            mistakes.add_with_help(
                &at.key("reason"),
                "a request without a reason",
                "say what it is needed for: the operator decides by it",
            );
        }
        for (field, patterns) in &request.patterns.0 {
            for (index, pattern) in patterns.iter().enumerate() {
                for rest in pattern.split("${parameters.").skip(1) {
                    let name = rest.split(['}', '.']).next().unwrap_or_default();
                    if !self.parameters().any(|known| known == name) {
                        let near = did_you_mean(name, self.parameters());
                        let at = at.key(field.as_str()).index(index);
                        mistakes.add(&at, format!("no operation has a parameter {name:?}{near}"));
                    }
                }
            }
        }
    }

    fn parameters(&self) -> impl Iterator<Item = &str> {
        self.operations.values().flat_map(|spec| spec.properties().map(|(name, _)| name))
    }

    /// What the plugin says of an operation.
    #[must_use]
    pub fn operation(&self, operation: Operation) -> Option<&OperationSpec> {
        self.operations.get(&operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputType, load};
    use serde_json::json;

    const GOOD: &str = r#"{
  "name": "etcd", "version": "0.1.0", "api": "0.1.0", "description": "The key-value store.",
  "operations": {
    "update": {"scope": "cluster", "parameters": {"type": "object", "additionalProperties": false,
      "properties": {"config": {"type": "string", "default": "/etc/etcd.yml"}, "force": {"type": "boolean"}}}},
    "verify": {"scope": "cluster", "any-hosts": true}
  },
  "prompts": [{"key": "lose", "operations": ["update"], "enabled-by": "!force", "destructive": true,
    "message": "lose data?"}],
  "capabilities": [
    {"capability": "files.write", "paths": ["${parameters.config}"], "reason": "configuration"},
    {"capability": "systemd.stop", "units": ["etcd.service"], "reason": "update"}
  ],
  "limits": {"memory-mib": 128}
}"#;

    fn changed(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        match load::<Manifest>(&GOOD.replacen(from, to, 1), "m.json") {
            Ok(manifest) => panic!("read as {:?}", manifest.value()),
            Err(errors) => errors.to_string(),
        }
    }

    #[test]
    fn a_whole_manifest_is_read_and_written_back() {
        let manifest = load::<Manifest>(GOOD, "m.json").unwrap();
        let update = manifest.operation(Operation::Update).unwrap();
        assert_eq!(json!(update.defaults()), json!({"config": "/etc/etcd.yml"}));
        let asked = |parameters| manifest.prompts_of(Operation::Update, &parameters).count();
        assert_eq!((asked(json!({})), asked(json!({"force": true}))), (1, 0));
        assert_eq!(manifest.prompts_of(Operation::Verify, &json!({})).count(), 0);
        let again = serde_json::to_string(manifest.value()).unwrap();
        assert_eq!(load::<Manifest>(&again, "m").unwrap().value(), manifest.value());
    }

    #[test]
    fn a_prompt_is_answered_by_values_of_its_kind() {
        let answers = |kind: &str| {
            let text = GOOD.replacen("\"destructive\"", &format!("{kind} \"destructive\""), 1);
            let prompt = load::<Manifest>(&text, "m").unwrap().value().prompts[0].clone();
            let values = [json!(true), json!(false), json!("a"), json!("c"), json!(null)];
            (prompt.answered_by(), values.map(|value| prompt.is_answered(&value)))
        };
        assert_eq!(answers(""), (InputType::Boolean, [true, true, false, false, false]));
        assert_eq!(answers(r#""kind": "pause","#), (InputType::Boolean, [true, false, false, false, false]));
        let choose = r#""kind": "choose", "options": ["a", "b"],"#;
        assert_eq!(answers(choose), (InputType::String, [false, false, true, false, false]));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("\"name\": \"etcd\"", "\"name\": \"Etcd\"", "$.name: \"Etcd\" cannot be the name of a component"),
            ("\"api\": \"0.1.0\"", "\"api\": \"0.1\"", "$.api: \"0.1\" is not a version of three numbers"),
            (
                "\"verify\":",
                "\"verifi\":",
                "$.operations.verifi: \"verifi\" is not known here; did you mean \"verify\"?",
            ),
            ("\"additionalProperties\": false,", "", "$.operations.update.parameters: parameters that nobody knows"),
            (
                "\"any-hosts\": true}",
                "\"any-hosts\": true, \"parameters\": {}}",
                "$.operations.verify.parameters: parameters are an object",
            ),
            (
                "\"!force\"",
                "\"!forse\"",
                "$.prompts[0].enabled-by: update has no parameter \"forse\"; did you mean \"force\"?",
            ),
            ("\"!force\"", "\"config\"", "$.prompts[0].enabled-by: parameter \"config\" of update is not boolean"),
            (
                "\"update\": {",
                "\"update\": {\"any-hosts\": true, ",
                "$.operations.update.any-hosts: only verify can be given part of its hosts",
            ),
            (
                "\"destructive\": true",
                "\"kind\": \"pause\", \"options\": [\"a\"]",
                "$.prompts[0].options: prompt \"lose\" is no choice and has no options",
            ),
            ("[\"update\"]", "[\"backout\"]", "$.prompts[0].operations[0]: the plugin does not offer backout"),
            (
                "${parameters.config}",
                "${parameters.confg}",
                "$.capabilities[0].paths[0]: no operation has a parameter \"confg\"; did you mean \"config\"?",
            ),
            (
                "${parameters.config}",
                "${inputs.config}",
                "$.capabilities[0].paths[0]: \"${inputs.config}\" is no pattern",
            ),
            ("\"reason\": \"update\"", "\"reason\": \"\"", "$.capabilities[1].reason: a request without a reason"),
            (", \"reason\": \"update\"", "", "$.capabilities[1]: field \"reason\" is missing"),
            ("\"memory-mib\": 128", "\"memory-mib\": 0", "$.limits.memory-mib: memory is 1 to 1024 MiB"),
            (
                "\"systemd.stop\"",
                "\"systemd.stop\", \"allow\": \"x\"",
                "$.capabilities[1].allow: unknown field \"allow\"",
            ),
        ];
        for (from, to, wanted) in cases {
            let found = changed(from, to);
            assert!(found.contains(&format!(": {wanted}")), "{to}:\n{found}\nwanted\n{wanted}");
            assert!(found.starts_with("m.json:"), "{found}");
        }
    }
}
