//! Capabilities: what plugins request and operators grant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod check;
mod glob;
mod line;
mod patterns;
mod usage;

pub(crate) use check::check_line;
pub use glob::*;
pub use line::*;
pub use patterns::*;
pub use usage::*;

/// What an operator grants. Everything else is denied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Policy {
    /// JSON Schema of this file, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The grants, one a line.
    pub grants: Vec<Grant>,
}

impl Policy {
    /// The first grant to that plugin that covers this use.
    #[must_use]
    pub fn covering(&self, plugin: &str, usage: &Use<'_>) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.plugin == plugin && grant.allows(usage))
    }

    /// Whether this very line stands in the policy, whatever the order of its patterns.
    #[must_use]
    pub fn holds(&self, line: &Grant) -> bool {
        self.grants.contains(line)
    }

    /// The policy as it is written: one grant a line, so that a difference shows grants.
    #[must_use]
    pub fn to_text(&self) -> String {
        use std::fmt::Write;
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let mut out = String::from("{\n");
        if let Some(schema) = &self.schema {
            let _ = writeln!(out, "  \"$schema\": {},", text(schema));
        }
        if !self.description.is_empty() {
            let _ = writeln!(out, "  \"description\": {},", text(&self.description));
        }
        out.push_str("  \"grants\": [");
        for (index, grant) in self.grants.iter().enumerate() {
            let _ = write!(out, "{}\n    {grant}", if index == 0 { "" } else { "," });
        }
        out.push_str(if self.grants.is_empty() { "]\n}\n" } else { "\n  ]\n}\n" });
        out
    }
}

#[cfg(test)]
mod tests;
