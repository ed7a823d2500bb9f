//! Workflows as parts of others: by which path each is known, and that following them ends.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use runner_types::{Diagnostic, JsonPath, Located, StepAction, Workflow};

/// Workflows may nest this deep, the first not counted.
const MAX_DEPTH: usize = 8;

/// Steps of a workflow with those of its parts, each counted as often as it is named.
const MAX_STEPS: u64 = 10_000;

/// Path of the workflow that a step of the file `from` names, relative to that file, without needless `.` and `..`: one
/// file has one path, however it is named.
#[must_use]
pub fn part_path(from: &Path, named: &str) -> PathBuf {
    plain_path(&from.parent().unwrap_or(Path::new("")).join(named))
}

/// The same path without needless `.` and `..`.
#[must_use]
pub fn plain_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match (component, plain.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                plain.pop();
            }
            (component, _) => plain.push(component),
        }
    }
    plain
}

/// The key of the workflow that a step of another names.
pub(super) fn part_key(from: &str, named: &str) -> String {
    part_path(Path::new(from), named).display().to_string()
}

/// Checks that a workflow is not within itself, and that it and its parts are neither too deep nor too many. `files` are
/// keyed by their plain paths; what is not among them is left out.
///
/// # Errors
/// The first place that is wrong.
pub fn check_parts(files: &IndexMap<String, Located<Workflow>>, workflow: &str) -> Result<(), Diagnostic> {
    let mut parts = Parts { files, chain: Vec::new(), known: HashMap::new() };
    parts.extent(workflow).map(drop)
}

struct Parts<'a> {
    files: &'a IndexMap<String, Located<Workflow>>,
    /// From the first workflow to the one that is looked at.
    chain: Vec<&'a str>,
    known: HashMap<&'a str, Extent>,
}

/// How much a workflow is with all its parts.
#[derive(Clone, Copy)]
struct Extent {
    steps: u64,
    /// Workflows within each other, itself included.
    depth: usize,
}

impl<'a> Parts<'a> {
    fn extent(&mut self, name: &str) -> Result<Extent, Diagnostic> {
        let mut extent = Extent { steps: 0, depth: 1 };
        let Some((name, file)) = self.files.get_key_value(name) else {
            return Ok(extent);
        };
        self.chain.push(name);
        for (index, step) in file.value().steps.iter().enumerate() {
            let at = JsonPath::root().key("steps").index(index);
            extent.steps += 1;
            match &step.action {
                StepAction::Component(_) => {}
                StepAction::Rolling(block) => extent.steps += block.steps.len() as u64,
                StepAction::Workflow(of) => {
                    let part = self.part(&part_key(name, &of.workflow)).map_err(|wrong| match wrong {
                        Wrong::Here(message, help) => file.source().at(&at.key("workflow"), message).help(help),
                        Wrong::There(diagnostic) => diagnostic,
                    })?;
                    extent.steps += part.steps;
                    extent.depth = extent.depth.max(part.depth + 1);
                }
            }
            if extent.steps > MAX_STEPS {
                let message = format!("with this step there are more than {MAX_STEPS} steps to plan");
                let help =
                    "a workflow that steps name counts as often as they name it: split the work into several runs";
                return Err(file.source().at(&at, message).help(help));
            }
        }
        self.chain.pop();
        self.known.insert(name, extent);
        Ok(extent)
    }

    /// The same of a workflow that the last of the chain names.
    fn part(&mut self, name: &str) -> Result<Extent, Wrong> {
        if let Some(first) = self.chain.iter().position(|outer| *outer == name) {
            let mut chain = self.chain.get(first..).unwrap_or_default().to_vec();
            chain.push(name);
            let message = format!("this workflow is a part of itself: {}", chain.join(" -> "));
            return Err(Wrong::Here(message, "name another workflow, or remove the step".to_owned()));
        }
        let too_deep = || {
            let message = format!("workflows nest deeper than {MAX_DEPTH}");
            Wrong::Here(message, "name the steps of the inner ones here, or begin them as runs of their own".to_owned())
        };
        if self.chain.len() > MAX_DEPTH {
            return Err(too_deep());
        }
        let extent = match self.known.get(name) {
            Some(known) => *known,
            None => self.extent(name).map_err(Wrong::There)?,
        };
        if self.chain.len() + extent.depth > MAX_DEPTH + 1 {
            return Err(too_deep());
        }
        Ok(extent)
    }
}

/// What is wrong with a part.
enum Wrong {
    /// With the naming of it: what, and what to do.
    Here(String, String),
    /// Within it.
    There(Diagnostic),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the first of these workflows, each given as its path and the workflows that its steps name, so often.
    fn check(files: &[(&str, &[&str], usize)]) -> Result<(), String> {
        let located = files.iter().map(|(path, named, times)| {
            let named: Vec<&str> = named.iter().copied().cycle().take(named.len() * times).collect();
            let steps: Vec<String> = match named.as_slice() {
                [] => (0..*times)
                    .map(|n| format!(r#"{{"name": "s{n}", "component": "p", "operation": "verify"}}"#))
                    .collect(),
                named => named
                    .iter()
                    .enumerate()
                    .map(|(n, named)| format!(r#"{{"name": "s{n}", "workflow": "{named}"}}"#))
                    .collect(),
            };
            let text = format!("{{\"name\": \"w\", \"steps\": [\n{}]}}", steps.join(",\n"));
            (path.to_string(), runner_types::load(&text, path).unwrap())
        });
        let located: IndexMap<String, Located<Workflow>> = located.collect();
        check_parts(&located, files[0].0).map_err(|diagnostic| diagnostic.to_string())
    }

    #[test]
    fn a_workflow_within_itself_is_refused_with_the_chain() {
        let itself = check(&[("w.json", &["w.json"], 12)]).unwrap_err();
        let expected = "w.json:2:28: $.steps[0].workflow: this workflow is a part of itself: w.json -> w.json\n  \
             help: name another workflow, or remove the step";
        assert_eq!(itself, expected);
        let others = [
            ("w/main.json", ["parts/a.json"].as_slice(), 1),
            ("w/parts/a.json", &["./b.json"], 2),
            ("w/parts/b.json", &["../parts/../parts/a.json"], 12),
        ];
        let chain = check(&others).unwrap_err();
        let expected = "w/parts/b.json:2:28: $.steps[0].workflow: this workflow is a part of itself: \
             w/parts/a.json -> w/parts/b.json -> w/parts/a.json\n";
        assert!(chain.starts_with(expected), "{chain}");
    }

    #[test]
    fn workflows_nest_so_deep_and_no_deeper() {
        let names: Vec<String> = (0..11).map(|n| format!("w{n}.json")).collect();
        let inner: Vec<[&str; 1]> = names[1..].iter().map(|name| [name.as_str()]).collect();
        let chain = |last: usize| {
            let mut files: Vec<(&str, &[&str], usize)> =
                (0..last).map(|n| (names[n].as_str(), inner[n].as_slice(), 1)).collect();
            files.push((&names[last], &[], 1));
            files
        };
        assert_eq!(check(&chain(8)), Ok(()));
        let deep = check(&chain(9)).unwrap_err();
        assert!(deep.starts_with("w8.json:2:28: $.steps[0].workflow: workflows nest deeper than 8"), "{deep}");
        // Known from a shorter way already.
        let mut files = chain(9);
        files[0].1 = &["w2.json", "w1.json"];
        let again = check(&files).unwrap_err();
        assert!(again.contains("workflows nest deeper than 8"), "{again}");
    }

    #[test]
    fn so_many_steps_are_planned_and_no_more() {
        let halves = |last: usize| check(&[("w", &["a"], 100), ("a", &["b"], 3), ("b", &[], last)]);
        assert_eq!(halves(32), Ok(()), "100 + 100 * 3 + 100 * 3 * 32");
        let more = halves(33).unwrap_err();
        assert!(more.contains("$.steps[97]: with this step there are more than 10000 steps to plan"), "{more}");
        let names: Vec<String> = (0..9).map(|n| format!("w{n}")).collect();
        let inner: Vec<[&str; 1]> = names[1..].iter().map(|name| [name.as_str()]).collect();
        let mut files: Vec<(&str, &[&str], usize)> = (0..8).map(|n| (names[n].as_str(), &inner[n][..], 12)).collect();
        files.push((&names[8], &[], 12));
        assert!(check(&files).unwrap_err().contains("more than 10000 steps"), "12^9 plans");
    }

    #[test]
    fn one_file_has_one_path() {
        for (from, named, expected) in [
            ("main.json", "part.json", "part.json"),
            ("w/main.json", "./parts/a.json", "w/parts/a.json"),
            ("w/parts/a.json", "../main.json", "w/main.json"),
            ("../w/a.json", "../b.json", "../b.json"),
            ("a.json", "../b.json", "../b.json"),
            ("../a.json", "../b.json", "../../b.json"),
            ("/a.json", "../../b.json", "/b.json"),
            ("w/a.json", "/etc/b.json", "/etc/b.json"),
        ] {
            assert_eq!(part_path(Path::new(from), named), Path::new(expected), "{from} names {named}");
        }
    }
}
