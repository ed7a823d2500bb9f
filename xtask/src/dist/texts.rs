//! What the README says of installing: text for the archive, and commands that must work as they stand there.

use anyhow::{Context, Result};

/// Heading of the README's section on installing.
pub(super) const INSTALLATION: &str = "Installation";
/// Heading of its section on what comes next.
const FIRST_HOUR: &str = "A first hour on a real platform";

/// The text that goes into the archive for whoever installs it.
///
/// # Errors
/// When the README lacks a section.
pub(super) fn guide(readme: &str) -> Result<String> {
    let parts = [INSTALLATION, FIRST_HOUR].map(|heading| section(readme, heading));
    let [installation, first_hour] = parts;
    Ok(format!("# {INSTALLATION}\n\n{}\n\n# {FIRST_HOUR}\n\n{}\n", installation?.trim(), first_hour?.trim()))
}

/// Commands of a section's console blocks, block by block, as one types them: without the prompt, each with the lines
/// that continue it.
///
/// # Errors
/// When the README lacks the section.
pub(super) fn commands(readme: &str, heading: &str) -> Result<Vec<Vec<String>>> {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut inside = false;
    let mut continued = false;
    for line in section(readme, heading)?.lines() {
        match line {
            "```console" => {
                inside = true;
                blocks.push(Vec::new());
            }
            line if line.starts_with("```") => inside = false,
            line if inside => {
                let Some(block) = blocks.last_mut() else { continue };
                match (line.strip_prefix("$ "), block.last_mut()) {
                    (Some(command), _) => block.push(command.to_owned()),
                    (None, Some(command)) if continued => command.push_str(&format!("\n{line}")),
                    // What a command printed.
                    (None, _) => continue,
                }
                continued = line.ends_with('\\');
            }
            _ => {}
        }
    }
    Ok(blocks)
}

/// What stands between a heading and the next of its rank.
fn section<'a>(readme: &'a str, heading: &str) -> Result<&'a str> {
    let title = format!("\n## {heading}\n");
    let begin = readme.find(&title).with_context(|| format!("the README has no section {heading:?}"))? + title.len();
    let rest = &readme[begin..];
    Ok(rest.find("\n## ").map_or(rest, |end| &rest[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# x\n\n## Before\n\n```console\n$ no\n```\n\n## Installation\n\nText.\n\n```console\n\
        $ one --a \\\n    --b\nits output\n$ two && three   # why\n```\n\nText.\n\n```\n$ no command\n```\n\n\
        ```console\n$ four\n```\n\n## A first hour on a real platform\n\nLast.\n";

    #[test]
    fn commands_are_what_one_types() {
        let found = commands(README, INSTALLATION).unwrap();
        assert_eq!(found, [vec!["one --a \\\n    --b", "two && three   # why"], vec!["four"]]);
        assert!(commands(README, "Removal").is_err());
    }

    #[test]
    fn the_guide_has_both_sections_and_no_other() {
        let guide = guide(README).unwrap();
        assert!(guide.starts_with("# Installation\n\nText.") && guide.ends_with("platform\n\nLast.\n"), "{guide}");
        assert!(!guide.contains("Before"), "{guide}");
    }
}
