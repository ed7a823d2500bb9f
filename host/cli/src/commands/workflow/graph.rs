//! `runner workflow graph`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indexmap::IndexMap;
use runner_engine::planner::part_path;
use runner_engine::project::read_workflows;
use runner_types::{ComponentStep, Located, OnFailure, Rolling, Step, StepAction, Workflow};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::out;

/// Draw the steps of a workflow
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runner workflow graph workflows/update-all.json
  runner workflow graph workflows/update-all.json --output dot | dot -Tsvg > update-all.svg
  runner workflow graph workflows/update-all.json --output json")]
pub(super) struct Graph {
    /// The workflow's JSON file
    workflow: PathBuf,
    /// How it is drawn
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Form {
    /// A tree for people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// For Graphviz
    Dot,
}

impl Graph {
    pub(super) fn carry_out(&self) -> anyhow::Result<Exit> {
        let files = read_workflows(&self.workflow)?;
        let (name, nodes) = drawn(&files);
        match self.output {
            Form::Text => {
                out::stdout(&shown(name, &nodes))?;
            }
            Form::Json => {
                out::json(&json!({"workflow": name, "steps": nodes.iter().map(document).collect::<Vec<_>>()}))?
            }
            Form::Dot => out::stdout(&dot(name, &nodes))?,
        }
        Ok(Exit::Succeeded)
    }
}

/// A step as it is drawn.
struct Node {
    path: String,
    name: String,
    /// Kind of the step: `component`, `rolling` or `workflow`.
    kind: &'static str,
    /// What it does, in a few words.
    what: String,
    /// Paths of the steps that it waits for.
    needs: Vec<String>,
    /// Whether it waits for anything but the step before it.
    needs_named: bool,
    /// What is worth a remark: conditions, policies.
    notes: Vec<String>,
    inner: Vec<Node>,
}

/// The first of these workflows with all that its steps name: its name and its steps.
fn drawn(files: &IndexMap<String, Located<Workflow>>) -> (&str, Vec<Node>) {
    let Some((path, file)) = files.first() else {
        return ("", Vec::new());
    };
    (&file.value().name, nodes(file.value(), path, files, ""))
}

/// Steps of the workflow at a path. That following them ends was found out when the files were read.
fn nodes(workflow: &Workflow, path: &str, files: &IndexMap<String, Located<Workflow>>, prefix: &str) -> Vec<Node> {
    list(&workflow.steps, prefix, &|step, at| match &step.action {
        StepAction::Component(of) => ("component", component(of), Vec::new()),
        StepAction::Rolling(block) => ("rolling", rolling(block), block_steps(block, at)),
        StepAction::Workflow(of) => {
            let file = part_path(Path::new(path), &of.workflow).display().to_string();
            let inner = files.get(&file).map(|inner| nodes(inner.value(), &file, files, at)).unwrap_or_default();
            ("workflow", format!("workflow {}", of.workflow), inner)
        }
    })
}

type Drawn = (&'static str, String, Vec<Node>);

fn list(steps: &[Step], prefix: &str, draw: &dyn Fn(&Step, &str) -> Drawn) -> Vec<Node> {
    let at = |name: &str| {
        if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
    };
    let mut before: Option<&str> = None;
    let mut drawn = Vec::with_capacity(steps.len());
    for step in steps {
        let path = at(&step.name);
        let (kind, what, inner) = draw(step, &path);
        let needs = match &step.needs {
            Some(needs) => needs.iter().map(|need| at(need)).collect(),
            None => before.map(at).into_iter().collect(),
        };
        let mut notes = Vec::new();
        if let Some(when) = &step.when {
            notes.push(format!("when {}", when.as_str()));
        }
        match step.on_failure {
            OnFailure::Stop => {}
            OnFailure::Continue => notes.push("on failure: continue".to_owned()),
            OnFailure::BackOut => notes.push("on failure: back out".to_owned()),
        }
        drawn.push(Node {
            path,
            name: step.name.clone(),
            kind,
            what,
            needs,
            needs_named: step.needs.is_some(),
            notes,
            inner,
        });
        before = Some(&step.name);
    }
    drawn
}

fn component(of: &ComponentStep) -> String {
    let targets = of.targets.as_ref().map_or_else(String::new, |targets| format!(" on {}", targets.0.join(", ")));
    format!("{} {}{targets}", of.operation, of.component)
}

fn rolling(block: &Rolling) -> String {
    let batch = match serde_json::to_value(&block.batch) {
        Ok(Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    };
    let mut text = format!("over {}, {batch} at a time", block.over.0.join(", "));
    if block.canaries > 0 {
        let _ = write!(text, ", {} canaries first", block.canaries);
    }
    if !block.maintenance.is_empty() {
        let names: Vec<&str> = block.maintenance.iter().map(|part| part.component.as_str()).collect();
        let _ = write!(text, ", out of service by {}", names.join(", "));
    }
    if block.pause.before.is_some() || block.pause.after.is_some() {
        text.push_str(", with pauses");
    }
    if !block.health.is_empty() {
        let names: Vec<&str> = block.health.iter().map(|gate| gate.component.as_str()).collect();
        let _ = write!(text, ", health of {} between batches", names.join(", "));
    }
    text
}

fn block_steps(block: &Rolling, prefix: &str) -> Vec<Node> {
    list(&block.steps, prefix, &|step, _| match &step.action {
        StepAction::Component(of) => ("component", component(of), Vec::new()),
        // The checks of workflows refuse these within a block.
        StepAction::Rolling(_) => ("rolling", String::new(), Vec::new()),
        StepAction::Workflow(of) => ("workflow", of.workflow.clone(), Vec::new()),
    })
}

/// The tree for people: names and conditions are the file's, and may hold anything.
fn shown(name: &str, nodes: &[Node]) -> String {
    let mut text = format!("{name}\n");
    tree(nodes, "", &mut text);
    out::printable(&text).into_owned()
}

fn tree(nodes: &[Node], indent: &str, text: &mut String) {
    for (index, node) in nodes.iter().enumerate() {
        let last = index + 1 == nodes.len();
        let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let mut line = format!("{indent}{branch}{}  {}", node.name, node.what);
        if node.needs_named {
            let needs: Vec<&str> = node.needs.iter().filter_map(|need| need.rsplit('/').next()).collect();
            let needs = if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") };
            let _ = write!(line, "  (needs {needs})");
        }
        for note in &node.notes {
            let _ = write!(line, "  [{note}]");
        }
        let _ = writeln!(text, "{}", line.trim_end());
        tree(&node.inner, &format!("{indent}{below}"), text);
    }
}

fn document(node: &Node) -> Value {
    json!({
        "path": node.path,
        "kind": node.kind,
        "what": node.what,
        "needs": node.needs,
        "notes": node.notes,
        "steps": node.inner.iter().map(document).collect::<Vec<_>>(),
    })
}

fn dot(name: &str, nodes: &[Node]) -> String {
    let mut text = format!("digraph {} {{\n  rankdir=LR;\n  compound=true;\n  node [shape=box];\n", quoted(name));
    dot_nodes(nodes, "  ", &mut text);
    text.push_str("}\n");
    text
}

fn dot_nodes(nodes: &[Node], indent: &str, text: &mut String) {
    for node in nodes {
        let label = quoted(&format!("{}\n{}", node.name, node.what));
        if node.inner.is_empty() {
            let _ = writeln!(text, "{indent}{} [label={label}];", quoted(&node.path));
        } else {
            let _ = writeln!(text, "{indent}subgraph {} {{", quoted(&format!("cluster {}", node.path)));
            let _ = writeln!(text, "{indent}  label={label};");
            // Edges to and from the block end at this point.
            let _ = writeln!(text, "{indent}  {} [shape=point];", quoted(&node.path));
            dot_nodes(&node.inner, &format!("{indent}  "), text);
            let _ = writeln!(text, "{indent}}}");
        }
        for need in &node.needs {
            let _ = writeln!(text, "{indent}{} -> {};", quoted(need), quoted(&node.path));
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const INNER: &str =
        r#"{"name": "inner", "steps": [{"name": "flannel", "component": "flannel", "operation": "update"}]}"#;
    const OUTER: &str = r#"{"name": "outer", "steps": [
        {"name": "etcd", "component": "etcd", "operation": "update", "targets": "etcd"},
        {"name": "nodes", "when": "inputs.all", "rolling": {"over": "nodes", "batch": "25%", "canaries": 1,
            "maintenance": ["kubernetes"], "health": [{"component": "kubernetes"}],
            "steps": [{"name": "docker", "component": "docker", "operation": "update"},
                      {"name": "kubelet", "component": "kubernetes", "operation": "update"}]}},
        {"name": "net", "needs": ["etcd"], "workflow": "inner.json"}],
        "inputs": {"all": {"type": "boolean", "default": true}}}"#;

    fn outer() -> Vec<Node> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outer.json");
        fs::write(&path, OUTER).unwrap();
        fs::write(folder.path().join("inner.json"), INNER).unwrap();
        drawn(&read_workflows(&path).unwrap()).1
    }

    #[test]
    fn the_tree_shows_order_and_conditions() {
        let mut text = String::new();
        tree(&outer(), "", &mut text);
        assert_eq!(
            text,
            "├─ etcd  update etcd on etcd\n\
             ├─ nodes  over nodes, 25% at a time, 1 canaries first, out of service by kubernetes, health of kubernetes between batches  [when inputs.all]\n\
             │  ├─ docker  update docker\n\
             │  └─ kubelet  update kubernetes\n\
             └─ net  workflow inner.json  (needs etcd)\n   \
                └─ flannel  update flannel\n"
        );
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let mut nodes = outer();
        nodes[0].notes.push("when \x1b[2J\u{9b}\u{202e}".to_owned());
        let text = shown("ou\x1bter", &nodes);
        assert!(text.starts_with("ou\u{fffd}ter\n├─ etcd") && text.contains("[when \u{fffd}[2J"), "{text}");
        assert!(!text.contains(['\x1b', '\u{9b}', '\u{202e}']), "{text}");
    }

    #[test]
    fn dot_has_every_step_and_every_need() {
        let text = dot("outer", &outer());
        for line in [
            "  \"etcd\" [label=\"etcd\\nupdate etcd on etcd\"];",
            "  \"etcd\" -> \"nodes\";",
            "    \"nodes/docker\" -> \"nodes/kubelet\";",
            "  \"etcd\" -> \"net\";",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} is missing in:\n{text}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    #[test]
    fn the_document_nests_as_the_workflow_does() {
        let document = document(&outer()[1]);
        assert_eq!(document["kind"], "rolling");
        assert_eq!(document["steps"][1]["needs"][0], "nodes/docker");
    }
}
