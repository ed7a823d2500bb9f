//! `cargo xtask tidy`: rules of the code that neither compiler nor clippy knows. Each is phrased as an absence.

mod crates;
mod rules;
mod source;

use anyhow::{Result, bail};

use source::Source;

/// Something that a rule does not allow.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    /// File, from the root of the checkout.
    file: String,
    /// Line; 0: the file as a whole.
    line: usize,
    /// What is wrong, and what the rule is.
    message: String,
}

impl Finding {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, message: message.into() }
    }
}

pub(crate) fn command() -> Result<()> {
    check()?;
    eprintln!("tidy");
    Ok(())
}

/// Fails with every finding.
pub(crate) fn check() -> Result<()> {
    let sources = source::all()?;
    let components = crate::workspace::folders_with(&crate::workspace::root().join("plugins"), "manifest.json")?;
    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(of_source(source, &components));
    }
    findings.extend(crates::check()?);
    findings.extend(rules::guests_without_test()?);
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        match finding.line {
            0 => eprintln!("{}: {}", finding.file, finding.message),
            line => eprintln!("{}:{line}: {}", finding.file, finding.message),
        }
    }
    bail!("{} findings", findings.len());
}

fn of_source(source: &Source, components: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    rules::pure_parts_do_no_io(source, &mut findings);
    rules::capabilities_know_no_plugin(source, &mut findings);
    rules::only_the_front_end_prints(source, &mut findings);
    rules::long_files_say_why(source, &mut findings);
    rules::unsafe_has_one_place(source, &mut findings);
    rules::the_contract_is_generated_once(source, &mut findings);
    rules::no_host_code_names_a_component(source, components, &mut findings);
    rules::nothing_is_left_for_later(source, &mut findings);
    findings
}
