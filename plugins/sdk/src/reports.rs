//! Reports of operations.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Artifact, ComponentVersion, Finding, Place, Report, finding};

/// A report in the making. What changed is seen by the host anyway; a plugin adds what only it can know.
#[derive(Debug, Default)]
pub struct ReportBuilder {
    changed: bool,
    outputs: Map<String, Value>,
    artifacts: Vec<String>,
    versions: Vec<ComponentVersion>,
    warnings: Vec<Finding>,
}

impl ReportBuilder {
    /// An empty report: nothing changed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to whether something changed.
    pub fn changed(&mut self, changed: bool) -> &mut Self {
        self.changed |= changed;
        self
    }

    /// Whether something changed so far.
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// An output for later steps, or a note of the backup set. A value that is no JSON becomes null.
    pub fn output(&mut self, name: impl Into<String>, value: impl Serialize) -> &mut Self {
        self.outputs.insert(name.into(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }

    /// Outputs from a type of the plugin's own, which [`crate::Backup::notes`] reads back.
    pub fn outputs(&mut self, value: &impl Serialize) -> &mut Self {
        if let Ok(Value::Object(fields)) = serde_json::to_value(value) {
            self.outputs.extend(fields);
        }
        self
    }

    /// An artifact that belongs to the backup set.
    pub fn artifact(&mut self, artifact: &Artifact) -> &mut Self {
        self.artifacts.push(artifact.digest.clone());
        self
    }

    /// Several of them.
    pub fn artifacts<'a>(&mut self, artifacts: impl IntoIterator<Item = &'a Artifact>) -> &mut Self {
        self.artifacts.extend(artifacts.into_iter().map(|artifact| artifact.digest.clone()));
        self
    }

    /// A version of a part on a host.
    pub fn host_version(&mut self, host: &str, part: &str, version: &str) -> &mut Self {
        self.version(Place::Host(host.to_owned()), part, version)
    }

    /// A version of a part of the cluster.
    pub fn cluster_version(&mut self, cluster: &str, part: &str, version: &str) -> &mut Self {
        self.version(Place::Cluster(cluster.to_owned()), part, version)
    }

    /// A version of a part at a place.
    pub fn version(&mut self, place: Place, part: &str, version: &str) -> &mut Self {
        self.versions.push(ComponentVersion { part: part.to_owned(), version: version.to_owned(), place });
        self
    }

    /// Several versions.
    pub fn versions(&mut self, versions: impl IntoIterator<Item = ComponentVersion>) -> &mut Self {
        self.versions.extend(versions);
        self
    }

    /// A warning.
    pub fn warn(&mut self, code: &str, subject: impl Into<String>, message: impl Into<String>) -> &mut Self {
        self.warnings.push(finding(code, subject, message));
        self
    }

    /// Several warnings.
    pub fn warnings(&mut self, warnings: impl IntoIterator<Item = Finding>) -> &mut Self {
        self.warnings.extend(warnings);
        self
    }

    /// The report, with its line for people.
    pub fn finish(&mut self, summary: impl Into<String>) -> Report {
        let this = std::mem::take(self);
        Report {
            changed: this.changed,
            summary: summary.into(),
            outputs: Value::Object(this.outputs).to_string(),
            artifacts: this.artifacts,
            versions: this.versions,
            warnings: this.warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_keeps_what_it_was_given() {
        let mut builder = ReportBuilder::new();
        builder.changed(true).changed(false).output("replicas", 2).host_version("n1", "kubelet", "1.34.4-1");
        assert!(builder.has_changed());
        let report = builder.finish("done");
        assert!(report.changed);
        assert_eq!(report.outputs, r#"{"replicas":2}"#);
        assert_eq!(report.versions[0].place, Place::Host("n1".into()));
    }
}
