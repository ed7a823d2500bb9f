//! What packages need of each other.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::packages::Package;
use super::{Model, keys, version};
use crate::backend::failure;
use crate::contract::Failure;

impl Model<'_> {
    /// Refuses a transaction that would touch what is not named: unmet needs of what it installs, and installed
    /// packages whose needs it would break. Answers which of the allowed removals must happen.
    pub(super) fn resolve_needs(
        &self,
        host: &str,
        target: &BTreeMap<String, String>,
        gone: &BTreeSet<&str>,
        removable: &[String],
    ) -> Result<Vec<String>, Failure> {
        let mut after: BTreeMap<String, String> = BTreeMap::new();
        for (name, package) in self.tx.list::<Package>(&keys::package(host, ""))? {
            if let Some(version) = package.version
                && !gone.contains(name.as_str())
            {
                after.insert(name, version);
            }
        }
        after.extend(target.clone());
        let (mut touched, mut removed) = (Vec::new(), Vec::new());
        for (name, version) in &after {
            let Some(content) = self.rules.package(name, version) else {
                continue;
            };
            for need in &content.depends {
                if satisfied(need, &after) {
                    continue;
                }
                if target.contains_key(name) {
                    let wanted = need.split_whitespace().next().unwrap_or(need);
                    let newest = self.available(host, wanted)?.into_iter().next();
                    touched.push(match newest {
                        Some(version) => format!(
                            "{wanted} {version} (would be installed: {name} {version} needs {need})",
                            version = version
                        ),
                        None => format!("{need} (needed by {name} {version}, offered nowhere)"),
                    });
                } else if removable.contains(name) {
                    removed.push(name.clone());
                } else {
                    touched.push(format!("{name} {version} (would be removed: it needs {need})"));
                }
                break;
            }
        }
        if touched.is_empty() {
            return Ok(removed);
        }
        Err(failure::conflict(
            target.keys().cloned().collect::<Vec<_>>().join(" "),
            format!("the transaction on {host} would touch packages that are not named: {}", touched.join(", ")),
            touched,
            None,
        ))
    }
}

/// Whether `name` or `name (>= version)` is met.
fn satisfied(need: &str, installed: &BTreeMap<String, String>) -> bool {
    let (name, bound) = match need.split_once('(') {
        Some((name, bound)) => (name.trim(), Some(bound.trim_end_matches(')').trim())),
        None => (need.trim(), None),
    };
    let Some(version) = installed.get(name) else {
        return false;
    };
    let Some(bound) = bound else { return true };
    let (relation, wanted) = bound.split_once(' ').unwrap_or(("=", bound));
    let order = version::compare(version, wanted.trim());
    match relation {
        ">=" => order != Ordering::Less,
        "<=" => order != Ordering::Greater,
        ">>" => order == Ordering::Greater,
        "<<" => order == Ordering::Less,
        _ => order == Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs() {
        let installed = BTreeMap::from([("a".to_owned(), "1.2-1".to_owned())]);
        for (need, met) in [
            ("a", true),
            ("b", false),
            ("a (>= 1.2)", true),
            ("a (>> 1.2-1)", false),
            ("a (<< 2)", true),
            ("a (= 1.2-1)", true),
            ("a (<= 1.1)", false),
        ] {
            assert_eq!(satisfied(need, &installed), met, "{need}");
        }
    }
}
