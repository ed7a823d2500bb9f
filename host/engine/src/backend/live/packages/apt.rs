//! What apt and dpkg say, read. The texts are those of dpkg 1.21 and apt 2.6 with `LC_ALL=C`.

use std::collections::BTreeMap;

use super::{State, States};
use crate::backend::failure;
use crate::contract::Failure;
use crate::contract::packages::PackageVersion;

/// Lines of `dpkg-query`: name, architecture, want, error flag, status, version; tabs between them. Of a package in more
/// than one architecture the first that is installed counts.
pub(super) fn states(text: &str) -> States {
    let mut found = States::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, _architecture, want, flag, status, version] = fields.as_slice() else {
            continue;
        };
        let there = !matches!(*status, "not-installed" | "config-files") && !version.is_empty();
        let state = State {
            version: there.then(|| (*version).to_owned()),
            broken: there && (*status != "installed" || *flag != "ok"),
            held: *want == "hold",
        };
        let known = found.entry((*name).to_owned()).or_default();
        if known.version.is_none() {
            *known = State { held: state.held || known.held, ..state };
        }
    }
    found
}

/// Lines of `apt-cache madison`: name, version, where from; newest first as apt has it. Sources are no packages.
pub(super) fn offered(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split('|').map(str::trim);
        let (Some(name), Some(version), Some(origin)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let versions = found.entry(name.to_owned()).or_default();
        if origin.ends_with("Packages") && !versions.iter().any(|known| known == version) {
            versions.push(version.to_owned());
        }
    }
    found
}

/// A line of a simulated transaction, for people: `Inst NAME [OLD] (NEW ORIGIN [ARCH])`, `Remv NAME [OLD]`, `Conf …`.
pub(super) fn touched(line: &str) -> String {
    let mut words = line.split_whitespace();
    let (Some(verb), Some(name)) = (words.next(), words.next()) else {
        return line.trim().to_owned();
    };
    let rest: Vec<&str> = words.collect();
    let old = rest.iter().find_map(|word| word.strip_prefix('[')).map(|word| word.trim_end_matches(']'));
    let new = rest.iter().find_map(|word| word.strip_prefix('(')).map(|word| word.trim_end_matches(')'));
    match (verb, old, new) {
        ("Inst", Some(old), Some(new)) if rest.first().is_some_and(|word| word.starts_with('[')) => {
            format!("{name} {new} (would replace {old})")
        }
        ("Inst", _, Some(new)) => format!("{name} {new} (would be installed)"),
        ("Conf", _, Some(new)) => format!("{name} {new} (is half done and would be configured)"),
        ("Remv" | "Purg", Some(old), _) => format!("{name} {old} (would be removed)"),
        _ => line.trim().to_owned(),
    }
}

/// A package or version that no repository offers, and the line that says it.
pub(super) fn absent(text: &str) -> Option<(String, &str)> {
    text.lines().find_map(|line| {
        let said = line.strip_prefix("E: ")?;
        let quoted: Vec<&str> = said.split('\'').skip(1).step_by(2).collect();
        if said.starts_with("Version '") && said.ends_with("was not found") {
            return Some(((*quoted.get(1)?).to_owned(), said));
        }
        if said.starts_with("Can't find a source to download version '") {
            // The apostrophe of its first word is no quotation mark.
            let name = said.rsplit('\'').nth(1)?.split(':').next().unwrap_or_default();
            return Some((name.to_owned(), said));
        }
        if let Some(name) = said.strip_prefix("Unable to locate package ") {
            return Some((name.to_owned(), said));
        }
        let lacks = said.ends_with("has no installation candidate");
        lacks.then(|| (quoted.first().copied().unwrap_or_default().to_owned(), said))
    })
}

/// The line that says that somebody else holds a lock.
pub(super) fn busy(text: &str) -> Option<&str> {
    let words = ["Could not get lock", "Unable to acquire the dpkg frontend lock", "is locked by another process"];
    text.lines().find(|line| words.iter().any(|words| line.contains(words))).map(|line| line.trim_start_matches("E: "))
}

/// What stands in the way of a transaction.
pub(super) fn unmet(text: &str) -> Option<Vec<String>> {
    let mut lines = text.lines().skip_while(|line| *line != "The following packages have unmet dependencies:").skip(1);
    let unmet: Vec<String> =
        lines.by_ref().take_while(|line| line.starts_with(' ')).map(|line| line.trim().to_owned()).collect();
    (!unmet.is_empty()).then_some(unmet)
}

/// Configuration files changed on the host for which the package had another version. One that was removed there is
/// none of them.
pub(super) fn configuration(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(path) = line.strip_prefix("Configuration file '").and_then(|rest| rest.split('\'').next()) else {
            continue;
        };
        let mut removed = false;
        while let Some(reason) = lines.next_if(|line| line.trim_start().starts_with("==>")) {
            removed |= reason.contains("==> Deleted");
        }
        if !removed && !found.iter().any(|known| known == path) {
            found.push(path.to_owned());
        }
    }
    found
}

/// Where the files are that `apt-get --print-uris download` names (`'URI' FILE SIZE HASH`), in the order's order.
pub(super) fn fetched(directory: &str, uris: &str, packages: &[PackageVersion]) -> Result<Vec<String>, Failure> {
    let files: Vec<&str> = uris.lines().filter_map(|line| line.rsplit(' ').nth(2)).collect();
    let path = |package: &PackageVersion| {
        let start = format!("{}_{}_", package.name, package.version.replace(':', "%3a"));
        match files.iter().find(|file| file.starts_with(&start)) {
            Some(file) => Ok(format!("{}/{file}", directory.trim_end_matches('/'))),
            None => Err(failure::failed(
                &package.name,
                format!("apt-get download names no file for {} {}", package.name, package.version),
                Some(0),
                uris,
            )),
        }
    };
    packages.iter().map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_dpkg() {
        let text = "aa\tall\thold\tok\tinstalled\t1.0\nbb\tall\tinstall\tok\thalf-configured\t2.0\n\
                    cc\tall\tdeinstall\tok\tconfig-files\t1.0\ndd\tamd64\tinstall\treinstreq\thalf-installed\t3\n\
                    ee\tall\thold\tok\tnot-installed\t\n";
        let states = states(text);
        let state = |version: Option<&str>, broken, held| State { version: version.map(Into::into), broken, held };
        assert_eq!(states["aa"], state(Some("1.0"), false, true));
        assert_eq!(states["bb"], state(Some("2.0"), true, false));
        assert_eq!(states["cc"], state(None, false, false));
        assert_eq!(states["dd"], state(Some("3"), true, false));
        assert_eq!(states["ee"], state(None, false, true));
    }

    #[test]
    fn versions_of_madison() {
        let text = "        aa |        2.0 | file:/r ./ Packages\n        aa | 2.0 | http://x bookworm/main amd64 Packages\n\
                    \x20       aa |        1.0 | file:/r ./ Packages\n  aa | 3.0 | http://x bookworm/main Sources\n";
        assert_eq!(offered(text)["aa"], ["2.0", "1.0"]);
    }

    #[test]
    fn refusals_of_apt() {
        assert_eq!(absent("Reading…\nE: Version '9' for 'aa' was not found\n").unwrap().0, "aa");
        assert_eq!(absent("E: Unable to locate package zz\n").unwrap().0, "zz");
        assert_eq!(absent("E: Package 'aa' has no installation candidate").unwrap().0, "aa");
        assert_eq!(absent("E: Can't find a source to download version '1.0' of 'aa:amd64'").unwrap().0, "aa");
        assert!(absent("E: Broken packages").is_none());
        let text = "The following packages have unmet dependencies:\n aa : Depends: bb (>= 2) but 1.0 is to be installed\n\
                    E: Unable to correct problems, you have held broken packages.\n";
        assert_eq!(unmet(text).unwrap(), ["aa : Depends: bb (>= 2) but 1.0 is to be installed"]);
        assert!(busy("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)").is_some());
    }

    #[test]
    fn what_a_plan_touches() {
        assert_eq!(touched("Inst bb [1.0] (2.0 localhost [all])"), "bb 2.0 (would replace 1.0)");
        assert_eq!(touched("Inst bb (2.0 localhost [all])"), "bb 2.0 (would be installed)");
        assert_eq!(touched("Remv aa [2.0]"), "aa 2.0 (would be removed)");
        assert_eq!(touched("Conf cc (2.0 localhost [all])"), "cc 2.0 (is half done and would be configured)");
    }

    #[test]
    fn configuration_that_dpkg_kept() {
        let text = "Setting up aa (2.0) ...\n\nConfiguration file '/etc/aa/aa.conf'\n\
                    \x20==> Modified (by you or by a script) since installation.\n\
                    \x20==> Package distributor has shipped an updated version.\n\
                    \x20==> Using current old file as you requested.\n\
                    \nConfiguration file '/etc/bb.conf'\n ==> Deleted (by you or by a script) since installation.\n\
                    \x20==> Package distributor has shipped an updated version.\n";
        assert_eq!(configuration(text), ["/etc/aa/aa.conf"]);
    }

    #[test]
    fn files_of_a_download() {
        let wanted = [PackageVersion { name: "docker".to_owned(), version: "5:20.10+a~1-2".to_owned() }];
        let uris = "'http://x/pool/docker_20.deb' docker_5%3a20.10+a~1-2_amd64.deb 123 SHA256:00\n";
        assert_eq!(fetched("/cache/", uris, &wanted).unwrap(), ["/cache/docker_5%3a20.10+a~1-2_amd64.deb"]);
        assert!(fetched("/cache/", "", &wanted).is_err());
    }
}
