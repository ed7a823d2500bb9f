//! JSON Schemas of the files that people write, for editors and for checks elsewhere.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::{Inventory, InventorySettings, Manifest, Policy, Releases, Workflow};

/// Names of the schemas' files, each with its schema, in the order in which they are listed.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("workflow", schema::<Workflow>("A workflow of runner")),
        ("inventory", schema::<Inventory>("An inventory of runner")),
        (
            "settings",
            schema::<InventorySettings>("Settings of runner beside an inventory of Ansible"),
        ),
        (
            "policy",
            schema::<Policy>("A policy of runner: what plugins may do"),
        ),
        (
            "manifest",
            schema::<Manifest>("The manifest of a plugin of runner"),
        ),
        ("releases", schema::<Releases>("The releases of a platform")),
    ]
}

fn schema<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>();
    schema.insert("title".to_owned(), Value::from(title));
    RecursiveTransform(plain_numbers).transform(&mut schema);
    schema.to_value()
}

/// Formats such as `uint32` are no part of JSON Schema; their bounds stand beside them.
fn plain_numbers(schema: &mut Schema) {
    let is_rust = |format: &Value| {
        format.as_str().is_some_and(|format| {
            format.starts_with("uint") || format.starts_with("int") || format == "double"
        })
    };
    if schema.get("format").is_some_and(is_rust) {
        schema.remove("format");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every object of a schema that has properties refuses others, unless it is open on purpose.
    fn open_objects(at: &str, value: &Value, found: &mut Vec<String>) {
        if let Some(members) = value.as_object() {
            if members.contains_key("properties")
                && members.get("additionalProperties") != Some(&Value::Bool(false))
            {
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
}
