//! For native tests of a plugin: its manifest held against its types.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::json::At;

/// Set to anything, it makes [`Manifest::assert_parameters`] write the schemas into the manifest.
pub const UPDATE: &str = "RUNNER_UPDATE_MANIFESTS";

/// A plugin's `manifest.json` under test.
#[derive(Debug)]
pub struct Manifest {
    path: PathBuf,
    /// What it holds.
    pub value: Value,
}

impl Manifest {
    /// Reads the manifest of the crate whose `CARGO_MANIFEST_DIR` is given.
    ///
    /// # Panics
    /// When there is none, or it is no JSON.
    pub fn of(crate_folder: &str) -> Self {
        let path = Path::new(crate_folder).join("manifest.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, value }
    }

    /// Holds the schema of an operation's parameters against the type that the plugin parses them into.
    ///
    /// # Panics
    /// When they differ, unless [`UPDATE`] is set: then the manifest is written anew.
    pub fn assert_parameters<P: JsonSchema>(&mut self, operation: &str) {
        let expected = parameters_schema::<P>();
        let pointer = format!("/operations/{operation}/parameters");
        if self.value.pointer(&pointer) == Some(&expected) {
            return;
        }
        if std::env::var_os(UPDATE).is_some() {
            self.value.put(&pointer, expected);
            std::fs::write(&self.path, rendered(&self.value))
                .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
            return;
        }
        let found = self.value.pointer(&pointer).map_or("nothing".to_owned(), pretty);
        panic!(
            "{}: {pointer} is not the schema of the type ({UPDATE}=1 writes it).\nexpected:\n{}\nfound:\n{found}",
            self.path.display(),
            pretty(&expected),
        );
    }

    /// Holds what the manifest says about the crate against the crate.
    ///
    /// # Panics
    /// When name, version or operations are not as they should be, or a request gives no reason.
    pub fn assert_identity(&self, name: &str, version: &str, operations: &[&str]) {
        assert_eq!(self.value.text("/name"), Some(name));
        assert_eq!(self.value.text("/version"), Some(version));
        let mut listed: Vec<&str> = match self.value.pointer("/operations").and_then(Value::as_object) {
            Some(listed) => listed.keys().map(String::as_str).collect(),
            None => panic!("{} lists no operations", self.path.display()),
        };
        let mut wanted = operations.to_vec();
        listed.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(listed, wanted);
        for request in self.value.items("/capabilities") {
            assert!(request.text("/capability").is_some(), "a request names no capability: {request}");
            assert!(request.text("/reason").is_some_and(|reason| !reason.is_empty()), "no reason is given: {request}");
        }
    }
}

/// The JSON Schema of a parameters type as manifests hold it: everything in one place, without a title.
pub fn parameters_schema<P: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<P>().to_value();
    schema.cut("/title");
    schema.cut("/description");
    schema
}

/// The manifest as text: requests and prompts one a line, since each is one line of a policy or a dialogue.
fn rendered(manifest: &Value) -> String {
    let mut outer = manifest.clone();
    let mut lines = Vec::new();
    for list in ["capabilities", "prompts"] {
        let Some(items) = outer.get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        for (index, item) in items.iter_mut().enumerate() {
            let mark = format!("@{list}-{index}@");
            lines.push((mark.clone(), item.to_string()));
            *item = Value::String(mark);
        }
    }
    let mut text = pretty(&outer);
    for (mark, line) in lines {
        text = text.replace(&format!("\"{mark}\""), &line);
    }
    text.push('\n');
    text
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Parameters {
        /// How many.
        #[serde(default = "three")]
        how_many: u8,
        inner: Option<Inner>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Inner {
        name: String,
    }

    fn three() -> u8 {
        3
    }

    #[test]
    fn the_schema_stands_alone() {
        let schema = parameters_schema::<Parameters>();
        assert_eq!(schema.pointer("/additionalProperties"), Some(&json!(false)));
        assert_eq!(schema.pointer("/properties/how-many/default"), Some(&json!(3)));
        assert!(!schema.to_string().contains("$ref"));
        assert_eq!(schema.pointer("/$schema"), None);
    }

    #[test]
    fn requests_stand_one_a_line() {
        let text = rendered(&json!({"name": "x", "capabilities": [{"capability": "a.b", "reason": "r"}]}));
        assert!(text.contains("\n    {\"capability\":\"a.b\",\"reason\":\"r\"}\n"), "{text}");
        assert_eq!(
            serde_json::from_str::<Value>(&text).ok().and_then(|v| v.text("/name").map(str::to_owned)),
            Some("x".into())
        );
    }
}
