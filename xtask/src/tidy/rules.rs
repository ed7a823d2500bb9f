//! The rules that look at one file at a time, and the one that looks at the guests.

use std::fs;

use anyhow::{Context, Result};

use super::Finding;
use super::source::Source;
use crate::workspace::{folders_with, root};

/// Lines that a file may have without saying why it is so long.
const LINES: usize = 600;
/// How a long file says why, near its top.
const LONG: &str = "Long because";

/// Parts of the engine that decide and never act.
const PURE: &[&str] = &[
    "host/engine/src/planner/",
    "host/engine/src/planner.rs",
    "host/engine/src/recovery/",
    "host/engine/src/recovery.rs",
];
/// What acting would need.
const IO: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "SystemTime",
    "Instant",
    "tokio",
    "rustix",
    "crate::backend::live",
    "crate::backend::simulated",
    "crate::gate",
    "crate::executor",
    "Journal",
    "async fn",
    ".await",
];

/// Planner and recovery decide; they do not read, write, wait or ask the clock.
pub(crate) fn pure_parts_do_no_io(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_in(PURE) {
        absent(source, IO, "planner and recovery do no input or output", findings);
    }
}

/// A capability is reached through the gate and knows nothing of wasm.
pub(crate) fn capabilities_know_no_plugin(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_in(&["host/engine/src/capability/"]) {
        absent(source, &["crate::plugin", "super::plugin", "wasmtime"], "a capability knows no plugin", findings);
    }
}

/// Types, engine and plugins hand out values; only the front end, xtask and tests write to the terminal.
pub(crate) fn only_the_front_end_prints(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_in(&["host/types/src/", "host/engine/src/", "plugins/"]) {
        absent(
            source,
            &["println!", "print!", "eprintln!", "eprint!", "io::stdout", "io::stderr"],
            "only cli prints",
            findings,
        );
    }
}

/// A file that grew says why it stays one.
pub(crate) fn long_files_say_why(source: &Source, findings: &mut Vec<Finding>) {
    let says_why = source.lines.iter().take(20).any(|line| line.starts_with("//") && line.contains(LONG));
    if source.lines.len() > LINES && !says_why {
        let message = format!("{} lines; above {LINES} its head must say `{LONG} …`", source.lines.len());
        findings.push(Finding::new(&source.path, 0, message));
    }
}

/// The one place that may be unsafe, taking compiled code from the cache; and generated calls across the boundary of a
/// component, which are the compiler's side of the contract.
const UNSAFE: &[&str] = &["host/engine/src/plugin/precompiled.rs", "plugins/sdk/src/bindings.rs"];

/// Unsafe code and permission for it stand in one place.
pub(crate) fn unsafe_has_one_place(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_in(UNSAFE) {
        return;
    }
    for (at, line) in source.code.iter().enumerate() {
        let words = || line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if words().any(|word| word == "unsafe")
            || (words().any(|word| word == "unsafe_code") && !line.contains("forbid") && !line.contains("deny"))
        {
            findings.push(Finding::new(
                &source.path,
                at + 1,
                format!("unsafe code belongs to {} only", UNSAFE.join(", ")),
            ));
        }
    }
}

/// Where the types of the contract are made from `wit/`.
const GENERATED: &[&str] = &[
    "host/engine/src/contract/",
    "host/engine/build.rs",
    "host/engine/src/plugin/instance.rs",
    "plugins/sdk/src/bindings.rs",
];

/// Types of the contract come from one module on each side.
pub(crate) fn the_contract_is_generated_once(source: &Source, findings: &mut Vec<Finding>) {
    if !source.is_in(GENERATED) {
        let made = &["bindgen!", "wit_bindgen::generate!", "env!(\"\")"];
        absent(source, &made[..2], "types of the contract are generated in one place", findings);
        if source.is_in(&["host/"]) {
            let out = source.product_strings().filter(|(_, text)| *text == "OUT_DIR");
            findings.extend(
                out.map(|(line, _)| {
                    Finding::new(&source.path, line, "types of the contract are generated in one place")
                }),
            );
        }
    }
}

/// The host knows no component by name: what one does comes from its plugin and its manifest. A component that is
/// named like an interface of the contract is that interface here. Help may name one in its examples.
pub(crate) fn no_host_code_names_a_component(source: &Source, components: &[String], findings: &mut Vec<Finding>) {
    if !source.is_in(&["host/"]) {
        return;
    }
    let is_help = |text: &str| text.trim_start_matches("\\n").trim_start().starts_with("Examples:");
    for (line, text) in source.product_strings().filter(|(_, text)| !is_help(text)) {
        let words = || text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let interface = |name: &str| root().join("wit").join(format!("{name}.wit")).is_file();
        for name in components.iter().filter(|name| words().any(|word| word == name.as_str()) && !interface(name)) {
            let message = format!("names the component {name}; the host knows none (in {text:?})");
            findings.push(Finding::new(&source.path, line, message));
        }
    }
}

/// No note of work to be done, and no macro that stands for it.
pub(crate) fn nothing_is_left_for_later(source: &Source, findings: &mut Vec<Finding>) {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    for (at, line) in source.lines.iter().enumerate() {
        if let Some(mark) = marks.iter().find(|mark| line.contains(*mark)) {
            findings.push(Finding::new(&source.path, at + 1, format!("`{mark}`: do it, or write an issue")));
        }
    }
}

/// Every guest that misbehaves is met by a test.
pub(crate) fn guests_without_test() -> Result<Vec<Finding>> {
    let folder = root().join("tests/guests");
    let tests = root().join("tests/guests.rs");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&tests).with_context(|| format!("cannot read {}", tests.display()))?;
    let code = Source::new("host/guests.rs", &text);
    let named = |name: &str| code.strings.iter().any(|(_, text)| text == name);
    let guests = folders_with(&folder, "manifest.json")?;
    Ok(guests
        .iter()
        .filter(|name| !named(name))
        .map(|name| Finding::new(&format!("tests/guests/{name}"), 0, "no test in tests/guests.rs names this guest"))
        .collect())
}

/// One finding for each line of the product's code that holds one of these.
fn absent(source: &Source, what: &[&str], rule: &str, findings: &mut Vec<Finding>) {
    for (line, text) in source.product_code() {
        if let Some(found) = what.iter().find(|what| holds(text, what)) {
            findings.push(Finding::new(&source.path, line, format!("`{found}`: {rule}")));
        }
    }
}

/// Whether the text holds `what` as words of its own.
fn holds(text: &str, what: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(what).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + what.len()..].chars().next();
        let begins = what.starts_with(word);
        let ends = what.ends_with(word);
        !(begins && before.is_some_and(word) || ends && after.is_some_and(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: fn(&Source, &mut Vec<Finding>), path: &str, text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        rule(&Source::new(path, text), &mut findings);
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_planner_that_reads_a_file_is_found() {
        let text = "use std::fs;\nfn f() { tokio::spawn(()); }\n// std::fs\n";
        assert_eq!(found(pure_parts_do_no_io, "host/engine/src/planner/x.rs", text), [1, 2]);
        assert_eq!(found(pure_parts_do_no_io, "host/engine/src/executor/x.rs", text), [] as [usize; 0]);
    }

    #[test]
    fn a_capability_that_imports_the_plugin_module_is_found() {
        let text = "use crate::plugin::Catalog;\nuse crate::plugins;\n";
        assert_eq!(found(capabilities_know_no_plugin, "host/engine/src/capability/exec.rs", text), [1]);
    }

    #[test]
    fn printing_is_found_but_not_in_tests_strings_or_the_front_end() {
        let text = "fn f() { println!(); }\nconst S: &str = \"println!\";\n#[cfg(test)]\nmod tests {\n    fn g() { eprintln!(); }\n}\n";
        assert_eq!(found(only_the_front_end_prints, "host/engine/src/x.rs", text), [1]);
        assert_eq!(found(only_the_front_end_prints, "host/cli/src/x.rs", text), [] as [usize; 0]);
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "fn f() {}\n".repeat(LINES + 1);
        assert_eq!(found(long_files_say_why, "host/types/src/x.rs", &long), [0]);
        let reasoned = format!("//! X.\n//! {LONG} it is one table.\n{long}");
        assert_eq!(found(long_files_say_why, "host/types/src/x.rs", &reasoned), [] as [usize; 0]);
    }

    #[test]
    fn unsafe_is_found_anywhere_but_in_its_place() {
        let text = "unsafe { f() }\n#[allow(unsafe_code, reason = \"\")]\n#![forbid(unsafe_code)]\n";
        assert_eq!(found(unsafe_has_one_place, "host/engine/src/x.rs", text), [1, 2]);
        assert_eq!(found(unsafe_has_one_place, UNSAFE[0], text), [] as [usize; 0]);
    }

    #[test]
    fn a_component_named_in_host_code_is_found() {
        let mut findings = Vec::new();
        let text = "if name == \"flannel\" {}\nlet a = \"kubernetes.get\";\n#[cfg(test)]\nmod tests {\n    const N: &str = \"flannel\";\n}";
        let components = ["flannel".to_owned(), "kubernetes".to_owned()];
        no_host_code_names_a_component(&Source::new("host/engine/src/x.rs", text), &components, &mut findings);
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_note_for_later_is_found() {
        let text = format!("// {}: later\n", concat!("TO", "DO"));
        assert_eq!(found(nothing_is_left_for_later, "host/types/src/x.rs", &text), [1]);
    }
}
