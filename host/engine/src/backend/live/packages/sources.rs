//! Repositories in the files that name them: apt's lists and deb822 stanzas, the `.repo` files of dnf and yum.
//!
//! A list's line is switched off by a comment sign, a stanza and a `.repo` section by `Enabled`; every other byte of the
//! file stays.

use super::Manager;
use crate::contract::packages::Repository;

/// A part of a file that stands for one repository, by its lines.
struct Entry {
    repository: Repository,
    lines: std::ops::Range<usize>,
}

/// The repositories that a file names.
pub(super) fn repositories(manager: Manager, path: &str, content: &[u8]) -> Vec<Repository> {
    let text = String::from_utf8_lossy(content);
    entries(manager, path, &text).into_iter().map(|entry| entry.repository).collect()
}

/// The file with a repository switched.
pub(super) fn switched(manager: Manager, path: &str, content: &[u8], id: &str, enabled: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    let entries = entries(manager, path, &text);
    let within = |index: usize| entries.iter().find(|e| e.repository.id == id && e.lines.contains(&index));
    let mut out = String::with_capacity(text.len() + 16);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let Some(entry) = within(index).filter(|entry| entry.repository.enabled != enabled) else {
            out.push_str(line);
            continue;
        };
        match (manager, is_list(path)) {
            (Manager::Apt, true) if enabled => out.push_str(line.trim_start_matches(['#', ' ', '\t'])),
            (Manager::Apt, true) => {
                out.push_str("# ");
                out.push_str(line);
            }
            (Manager::Apt, false) => {
                if index == entry.lines.start && !enabled {
                    out.push_str("Enabled: no\n");
                }
                if field(line).is_none_or(|(name, _)| !name.eq_ignore_ascii_case("enabled")) {
                    out.push_str(line);
                }
            }
            (Manager::Rpm, _) => {
                let is_switch = line.split('=').next().is_some_and(|name| name.trim() == "enabled");
                if !is_switch {
                    out.push_str(line);
                }
                if index == entry.lines.start {
                    if !line.ends_with('\n') {
                        out.push('\n');
                    }
                    out.push_str(if enabled { "enabled=1\n" } else { "enabled=0\n" });
                }
            }
        }
    }
    out.into_bytes()
}

fn is_list(path: &str) -> bool {
    !path.ends_with(".sources")
}

fn entries(manager: Manager, path: &str, text: &str) -> Vec<Entry> {
    let lines: Vec<&str> = text.lines().collect();
    match manager {
        Manager::Apt if is_list(path) => {
            lines.iter().enumerate().filter_map(|(index, line)| one_line(path, index, line)).collect()
        }
        Manager::Apt => {
            let blank = |line: &&str| line.trim().is_empty();
            sections(&lines, |_, line| blank(&line)).into_iter().filter_map(|at| stanza(path, &lines, at)).collect()
        }
        Manager::Rpm => {
            let begins = |_: usize, line: &str| line.trim_start().starts_with('[');
            let parts = sections(&lines, begins).into_iter();
            parts.filter_map(|at| section(&lines, at)).collect()
        }
    }
}

/// Ranges of lines, a new one wherever `begins` says so.
fn sections(lines: &[&str], begins: impl Fn(usize, &str) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for (index, line) in lines.iter().enumerate() {
        if begins(index, line) {
            found.push(start..index);
            start = index;
        }
    }
    found.push(start..lines.len());
    found.retain(|range| !range.is_empty());
    found
}

/// `deb [options] URI SUITE COMPONENT…`, or the same after a comment sign.
fn one_line(path: &str, index: usize, line: &str) -> Option<Entry> {
    let bare = line.trim_start();
    let enabled = !bare.starts_with('#');
    let entry = bare.trim_start_matches(['#', ' ', '\t']);
    let rest = entry.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t']))?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let words: Vec<&str> = rest.split_whitespace().collect();
    let url = words.first().filter(|url| url.contains(':') && words.len() >= 2)?;
    let id = format!("{path} {}", words.join(" "));
    let repository = Repository { id, url: (*url).to_owned(), enabled };
    Some(Entry { repository, lines: index..index + 1 })
}

/// Name and value of a deb822 line that begins a field.
fn field(line: &str) -> Option<(&str, &str)> {
    if line.starts_with([' ', '\t', '#']) {
        return None;
    }
    line.split_once(':').map(|(name, value)| (name.trim(), value.trim()))
}

fn stanza(path: &str, lines: &[&str], at: std::ops::Range<usize>) -> Option<Entry> {
    let own = lines.get(at.clone())?;
    let value = |wanted: &str| {
        let mut words: Vec<&str> = Vec::new();
        let mut inside = false;
        for line in own.iter().filter(|line| !line.starts_with('#')) {
            match field(line) {
                Some((name, value)) => {
                    inside = name.eq_ignore_ascii_case(wanted);
                    if inside {
                        words.extend(value.split_whitespace());
                    }
                }
                None if inside => words.extend(line.split_whitespace()),
                None => {}
            }
        }
        words
    };
    if !value("Types").contains(&"deb") {
        return None;
    }
    let url = (*value("URIs").first()?).to_owned();
    let words: Vec<&str> = ["URIs", "Suites", "Components"].iter().flat_map(|name| value(name)).collect();
    let off = ["no", "false", "without", "off", "disable", "0"];
    let enabled = !value("Enabled").first().is_some_and(|value| off.contains(&value.to_ascii_lowercase().as_str()));
    let first = own.iter().position(|line| field(line).is_some())?;
    let repository = Repository { id: format!("{path} {}", words.join(" ")), url, enabled };
    Some(Entry { repository, lines: at.start + first..at.end })
}

fn section(lines: &[&str], at: std::ops::Range<usize>) -> Option<Entry> {
    let own = lines.get(at.clone())?;
    let id = own.first()?.trim().strip_prefix('[')?.strip_suffix(']')?.to_owned();
    let value = |wanted: &str| {
        own.iter().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == wanted).then(|| value.trim().to_owned())
        })
    };
    if id == "main" {
        return None;
    }
    let url = ["baseurl", "metalink", "mirrorlist"].iter().find_map(|name| value(name)).unwrap_or_default();
    let off = ["0", "no", "false"];
    let enabled = !value("enabled").is_some_and(|value| off.contains(&value.to_ascii_lowercase().as_str()));
    Some(Entry { repository: Repository { id, url, enabled }, lines: at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(manager: Manager, path: &str, text: &str, id: &str) -> String {
        let state = |text: &[u8]| repositories(manager, path, text).into_iter().find(|r| r.id == id).unwrap().enabled;
        let was = state(text.as_bytes());
        let other = switched(manager, path, text.as_bytes(), id, !was);
        assert_eq!(state(&other), !was);
        let back = switched(manager, path, &other, id, was);
        assert_eq!(state(&back), was);
        let others =
            |text: &[u8]| repositories(manager, path, text).into_iter().filter(|r| r.id != id).collect::<Vec<_>>();
        assert_eq!(others(text.as_bytes()), others(&other));
        assert_eq!(switched(manager, path, text.as_bytes(), id, was), text.as_bytes(), "nothing to switch");
        String::from_utf8(other).unwrap()
    }

    #[test]
    fn lists_of_apt() {
        let text = "# a comment about deb things\ndeb [arch=amd64 trusted=yes] http://x/debian bookworm main contrib\n\
                    #deb http://y ./\ndeb-src http://x/debian bookworm main\n";
        let found = repositories(Manager::Apt, "/l", text.as_bytes());
        let ids: Vec<_> = found.iter().map(|r| (r.id.as_str(), r.url.as_str(), r.enabled)).collect();
        assert_eq!(
            ids,
            [
                ("/l http://x/debian bookworm main contrib", "http://x/debian", true),
                ("/l http://y ./", "http://y", false)
            ]
        );
        let off = there_and_back(Manager::Apt, "/l", text, "/l http://x/debian bookworm main contrib");
        assert!(off.contains("# deb [arch=amd64 trusted=yes] http://x/debian"));
        there_and_back(Manager::Apt, "/l", text, "/l http://y ./");
    }

    #[test]
    fn stanzas_of_apt() {
        let text = "# ours\nTypes: deb\nURIs: http://x/debian\nSuites: bookworm\n bookworm-updates\nComponents: main\n\n\
                    Types: deb\nEnabled: no\nURIs: http://y\nSuites: ./\n\nTypes: deb-src\nURIs: http://z\nSuites: ./\n";
        let path = "/s.sources";
        let found = repositories(Manager::Apt, path, text.as_bytes());
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].id, "/s.sources http://x/debian bookworm bookworm-updates main");
        assert!(!found[1].enabled);
        let off = there_and_back(Manager::Apt, path, text, &found[0].id);
        assert!(off.starts_with("# ours\nEnabled: no\nTypes: deb\n"), "{off}");
        there_and_back(Manager::Apt, path, text, &found[1].id);
    }

    #[test]
    fn files_of_dnf() {
        let text = "[main]\nx=1\n[kubernetes]\nname=Kubernetes\nbaseurl=https://x/rpm/\nenabled=1\ngpgcheck=1\n\n[extra]\nmetalink=https://y\n";
        let found = repositories(Manager::Rpm, "/k.repo", text.as_bytes());
        let ids: Vec<_> = found.iter().map(|r| (r.id.as_str(), r.url.as_str(), r.enabled)).collect();
        assert_eq!(ids, [("kubernetes", "https://x/rpm/", true), ("extra", "https://y", true)]);
        there_and_back(Manager::Rpm, "/k.repo", text, "kubernetes");
        there_and_back(Manager::Rpm, "/k.repo", text, "extra");
    }
}
