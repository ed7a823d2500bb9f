//! What rpm, dnf (4 and 5) and yum say, read. The texts are those of their documentation.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{State, States};

/// Lines of `rpm -q`: name, architecture, version; tabs between them. Of several installed versions the last counts.
pub(super) fn states(text: &str) -> States {
    let mut found = States::new();
    for line in text.lines() {
        if let [name, _architecture, version] = line.split('\t').collect::<Vec<_>>().as_slice() {
            let state = State { version: Some((*version).to_owned()), broken: false, held: false };
            found.insert((*name).to_owned(), state);
        }
    }
    found
}

/// Lines of `dnf repoquery` (name, version) or of `yum list` (name.architecture, version, repository, broken where they
/// are long); newest first.
pub(super) fn offered(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut begun: Vec<&str> = Vec::new();
    for line in text.lines() {
        if !line.starts_with(' ') {
            begun.clear();
        }
        begun.extend(line.trim_end_matches("\\n").split_whitespace());
        let (name, version) = match begun.as_slice() {
            [name, version] if !name.contains("Packages") => (*name, *version),
            [name, version, _repository] => (name.rsplit_once('.').map_or(*name, |(name, _)| name), *version),
            _ => continue,
        };
        // Two words may also be the beginning of a broken line: the name then ends with the architecture.
        let version = version.strip_prefix("0:").unwrap_or(version);
        if version.starts_with(|first: char| first.is_ascii_digit()) {
            let versions = found.entry(name.to_owned()).or_default();
            if !versions.iter().any(|known| known == version) {
                versions.push(version.to_owned());
            }
        }
    }
    for versions in found.values_mut() {
        versions.sort_by(|a, b| compare(b, a));
    }
    found
}

/// Whether `versionlock list` names a package: `NAME-EPOCH:VERSION…`, `EPOCH:NAME-VERSION…` or `Package name: NAME`.
pub(super) fn held(name: &str, locks: &str) -> bool {
    locks.lines().any(|line| {
        let after_epoch = line.split_once(':').filter(|(epoch, _)| epoch.bytes().all(|byte| byte.is_ascii_digit()));
        let line = line.trim();
        let version_follows = |line: &str| {
            let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        line == format!("Package name: {name}")
            || version_follows(line)
            || after_epoch.is_some_and(|(_, rest)| version_follows(rest))
    })
}

/// A package or version that no repository offers, and the line that says it.
pub(super) fn absent(text: &str) -> Option<(String, &str)> {
    text.lines().find_map(|line| {
        let said = line.trim().trim_start_matches("Error: ");
        let name = said
            .strip_prefix("No match for argument: ")
            .or_else(|| said.strip_prefix("Unable to find a match: "))
            .or_else(|| said.strip_prefix("No package ").and_then(|rest| rest.strip_suffix(" available.")))?;
        Some((name.split_whitespace().next().unwrap_or_default().to_owned(), said))
    })
}

/// What stands in the way of a transaction.
pub(super) fn unmet(text: &str) -> Option<Vec<String>> {
    let says = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("Problem")
            || line.starts_with("- ")
            || line.starts_with("Error: Package:")
            || line.starts_with("Requires:")
    };
    let lines: Vec<String> = text.lines().filter(says).map(|line| line.trim().to_owned()).collect();
    (!lines.is_empty()).then_some(lines)
}

/// Configuration files of which rpm kept one version beside the other.
pub(super) fn configuration(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((_, rest)) = line.split_once("warning: ") else { continue };
        let beside = rest.split_once(" created as ").or_else(|| rest.split_once(" saved as "));
        if let Some((path, beside)) = beside
            && [".rpmnew", ".rpmsave", ".rpmorig"].iter().any(|ending| beside.ends_with(ending))
        {
            found.push(path.to_owned());
        }
    }
    found
}

/// Compares versions as rpm does (rpm-version(7)): epoch, version, release, each by pieces of digits and letters.
fn compare(a: &str, b: &str) -> Ordering {
    let ((epoch_a, a), (epoch_b, b)) = (epoch(a), epoch(b));
    let ((version_a, release_a), (version_b, release_b)) = (release(a), release(b));
    epoch_a.cmp(&epoch_b).then_with(|| pieces(version_a, version_b)).then_with(|| pieces(release_a, release_b))
}

fn epoch(text: &str) -> (u64, &str) {
    match text.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, text),
    }
}

fn release(text: &str) -> (&str, &str) {
    text.rsplit_once('-').unwrap_or((text, ""))
}

fn pieces(a: &str, b: &str) -> Ordering {
    let separator = |c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^';
    let (mut a, mut b) = (a, b);
    loop {
        a = a.trim_start_matches(separator);
        b = b.trim_start_matches(separator);
        for (mark, shorter) in [('~', Ordering::Less), ('^', Ordering::Greater)] {
            match (a.strip_prefix(mark), b.strip_prefix(mark)) {
                (Some(rest_a), Some(rest_b)) => return pieces(rest_a, rest_b),
                (Some(_), None) if mark == '^' && !b.is_empty() => return Ordering::Less,
                (None, Some(_)) if mark == '^' && !a.is_empty() => return Ordering::Greater,
                (Some(_), None) => return shorter,
                (None, Some(_)) => return shorter.reverse(),
                (None, None) => {}
            }
        }
        let (Some(first_a), Some(first_b)) = (a.chars().next(), b.chars().next()) else {
            return a.len().cmp(&b.len());
        };
        if first_a.is_ascii_digit() != first_b.is_ascii_digit() {
            // Digits are newer than letters.
            return first_a.is_ascii_digit().cmp(&first_b.is_ascii_digit());
        }
        let digits = first_a.is_ascii_digit();
        let end = |text: &str| {
            text.find(|c: char| !c.is_ascii_alphanumeric() || c.is_ascii_digit() != digits).unwrap_or(text.len())
        };
        let ((piece_a, rest_a), (piece_b, rest_b)) = (a.split_at(end(a)), b.split_at(end(b)));
        let order = match digits {
            true => {
                let (x, y) = (piece_a.trim_start_matches('0'), piece_b.trim_start_matches('0'));
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            false => piece_a.cmp(piece_b),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_rpm() {
        let states = states("kubelet\tx86_64\t1.33.5-150500.1.1\ndocker-ce\tx86_64\t3:26.1.4-1.el9\n");
        assert_eq!(states["kubelet"].version.as_deref(), Some("1.33.5-150500.1.1"));
        assert_eq!(states["docker-ce"].version.as_deref(), Some("3:26.1.4-1.el9"));
    }

    #[test]
    fn versions_of_dnf_and_yum() {
        let dnf = "kubelet 1.33.5-150500.1.1\nkubelet 1.33.13-150500.1.1\n\ndocker-ce 3:26.1.4-1.el9\n";
        assert_eq!(offered(dnf)["kubelet"], ["1.33.13-150500.1.1", "1.33.5-150500.1.1"]);
        assert_eq!(offered(dnf)["docker-ce"], ["3:26.1.4-1.el9"]);
        let yum = "Available Packages\nkubelet.x86_64        1.33.5-0        kubernetes\n\
                   a-package-with-a-long-name.noarch\n                      1:2.0-1.el7     base\n";
        assert_eq!(offered(yum)["kubelet"], ["1.33.5-0"]);
        assert_eq!(offered(yum)["a-package-with-a-long-name"], ["1:2.0-1.el7"]);
    }

    #[test]
    fn locks_of_three_plugins() {
        assert!(held("kubelet", "kubelet-0:1.33.5-150500.1.1.*\n"), "dnf 4");
        assert!(held("kubelet", "0:kubelet-1.33.5-0.*\n"), "yum");
        assert!(
            held("kubelet", "# Added by 'versionlock add' command\nPackage name: kubelet\nevr = 1.33.5-1\n"),
            "dnf 5"
        );
        assert!(!held("kube", "kubelet-0:1.33.5-1.*\n"));
        assert!(!held("kubelet", "kubelet-extra-0:1-1.*\n"));
    }

    #[test]
    fn refusals_of_dnf() {
        let text = "No match for argument: kubelet-9\nError: Unable to find a match: kubelet-9\n";
        assert_eq!(absent(text).unwrap().0, "kubelet-9");
        assert_eq!(absent("No package kubelet-9 available.\n").unwrap().0, "kubelet-9");
        let text = "Error: \n Problem: conflicting requests\n  - nothing provides b >= 2 needed by a-2-1.noarch\n";
        assert_eq!(unmet(text).unwrap().len(), 2);
    }

    #[test]
    fn configuration_that_rpm_kept() {
        let text = "  Upgrading : a-2  1/2\nwarning: /etc/a.conf created as /etc/a.conf.rpmnew\n\
                    warning: /etc/b.conf saved as /etc/b.conf.rpmsave\nwarning: something else\n";
        assert_eq!(configuration(text), ["/etc/a.conf", "/etc/b.conf"]);
    }

    #[test]
    fn the_order_of_rpm() {
        let sorted =
            ["1.0~rc1-1", "1.0-1", "1.0^git1-1", "1.0.a-1", "1.0.1-1", "1.9-1", "1.10-1", "1.10-2.el9", "1:0.1-1"];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }
}
