//! JSON Schemas of the files that people write, for editors and for checks elsewhere.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::simulated::{Behaviours, Faults, PlatformSeed};
use crate::{Inventory, InventorySettings, Manifest, Policy, Releases, Workflow};

/// Names of the schemas' files, each with its schema, in the order in which they are listed.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("workflow", schema::<Workflow>("A workflow of runner")),
        ("inventory", schema::<Inventory>("An inventory of runner")),
        ("settings", schema::<InventorySettings>("Settings of runner beside an inventory of Ansible")),
        ("policy", schema::<Policy>("A policy of runner: what plugins may do")),
        ("manifest", schema::<Manifest>("The manifest of a plugin of runner")),
        ("releases", schema::<Releases>("The releases of a platform")),
        ("platform", schema::<PlatformSeed>("What a simulated platform begins as")),
        ("simulated", schema::<Behaviours>("How a component behaves on simulated platforms")),
        ("faults", schema::<Faults>("What goes wrong on a simulated platform")),
    ]
}

fn schema<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), Value::from(title));
    RecursiveTransform(plain_numbers).transform(&mut schema);
    schema.to_value()
}

/// Formats such as `uint32` are no part of JSON Schema; their bounds stand beside them.
fn plain_numbers(schema: &mut Schema) {
    let is_rust = |format: &Value| {
        format
            .as_str()
            .is_some_and(|format| format.starts_with("uint") || format.starts_with("int") || format == "double")
    };
    if schema.get("format").is_some_and(is_rust) {
        schema.remove("format");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;
    use serde_json::json;

    /// Every object of a schema that has properties refuses others, unless it is open on purpose.
    fn open_objects(at: &str, value: &Value, found: &mut Vec<String>) {
        if let Some(members) = value.as_object() {
            if members.contains_key("properties") && members.get("additionalProperties") != Some(&Value::Bool(false)) {
                found.push(at.to_owned());
            }
            for (name, member) in members {
                open_objects(&format!("{at}/{name}"), member, found);
            }
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            open_objects(&format!("{at}/{index}"), item, found);
        }
    }

    #[test]
    fn unknown_fields_are_refused_by_the_schemas_too() {
        let mut found = Vec::new();
        for (name, schema) in schemas() {
            open_objects(name, &schema, &mut found);
        }
        assert_eq!(found, ["releases/$defs/ComponentRelease"]);
    }

    #[test]
    fn every_named_field_is_described() {
        for (name, schema) in schemas() {
            let properties = schema["properties"].as_object().unwrap();
            for (field, of) in properties {
                assert!(of.get("description").is_some(), "{name}: {field}");
            }
            assert_eq!(schema["type"], "object", "{name}");
        }
    }

    fn valid(name: &str, value: &Value) -> bool {
        let schema = schemas().into_iter().find(|(known, _)| *known == name).unwrap().1;
        jsonschema::draft202012::new(&schema).unwrap().is_valid(value)
    }

    /// What the loader takes, the schema takes, and the other way round.
    #[test]
    fn schemas_judge_as_the_loader_does() {
        let step = |step: Value| json!({"name": "w", "steps": [step]});
        let cases = [
            (step(json!({"name": "a", "component": "c", "operation": "update"})), true),
            (step(json!({"name": "a", "component": "c", "operation": "verify", "depth": "health", "needs": []})), true),
            (step(json!({"name": "a", "component": "c"})), false),
            (step(json!({"name": "a", "component": "c", "operation": "rollback"})), false),
            (step(json!({"name": "a", "workflow": "x.json", "inputs": {"a": 1}})), true),
            (step(json!({"name": "a", "workflow": "x.json", "rolling": {}})), false),
            (step(json!({"name": "a", "component": "c", "operation": "update", "timeout": "5 s"})), false),
            (step(json!({"name": "a", "component": "c", "operation": "update", "targets": ["a", "!b"]})), true),
            (
                step(
                    json!({"name": "a", "rolling": {"over": "x", "batch": [1, "25%"], "maintenance": ["k", {"component": "l"}],
                "pause": {"before": {"message": "m"}},
                "steps": [{"name": "b", "component": "c", "operation": "update"}]}}),
                ),
                true,
            ),
            (
                step(
                    json!({"name": "a", "rolling": {"over": "x", "batch": "25", "max-failures": "101%", "steps": []}}),
                ),
                false,
            ),
            (step(json!({"name": "a", "component": "c", "operation": "update", "extra": 1})), false),
            (
                json!({"name": "w", "inputs": {"a": {"type": "bool"}},
                "steps": [{"name": "a", "component": "c", "operation": "update"}]}),
                false,
            ),
        ];
        for (value, wanted) in cases {
            assert_eq!(load::<Workflow>(&value.to_string(), "w").is_ok(), wanted, "loader: {value}");
            assert_eq!(valid("workflow", &value), wanted, "schema: {value}");
        }
        let inventories = [
            (json!({"hosts": {"a": {"become": {"user": "x"}, "port": 22}, "b": {"become": true}}}), true),
            (json!({"hosts": {"a": {"become": "yes"}}}), false),
            (json!({"hosts": {"a": {"port": 70000}}}), false),
            (json!({"hosts": {"a": {}}, "secrets": {"s": {"command": ["x"]}}}), true),
            (json!({"hosts": {"a": {}}, "secrets": {"s": {"env": "x"}}}), false),
        ];
        for (value, wanted) in inventories {
            assert_eq!(load::<Inventory>(&value.to_string(), "i").is_ok(), wanted, "loader: {value}");
            assert_eq!(valid("inventory", &value), wanted, "schema: {value}");
        }
        let policies = [
            (json!({"grants": [{"plugin": "a", "allow": "systemd.stop", "units": ["x"]}]}), true),
            (json!({"grants": [{"plugin": "a", "allow": "systemd.stop", "units": "x"}]}), false),
            (json!({"grants": [{"plugin": "a", "allow": "systemd.stop", "unit": ["x"]}]}), false),
        ];
        for (value, wanted) in policies {
            assert_eq!(load::<Policy>(&value.to_string(), "p").is_ok(), wanted, "loader: {value}");
            assert_eq!(valid("policy", &value), wanted, "schema: {value}");
        }
    }
}
