//! One member after the other: what update and the downgrade have in common.

use runner_plugin_sdk::api::{artifacts, files as file_api, progress};
use runner_plugin_sdk::packages::{self, Installation, Installed};
use runner_plugin_sdk::{Answers, Failure, FailureKind, Problem, ReportBuilder, failure, files};

use crate::parameters::Versions;
use crate::site::{Expected, Site};
use crate::version::Version;
use crate::view::{View, messages, next_member};

/// Seconds for a cluster to settle that nobody has touched: an election may be under way.
const GRACE: u32 = 15;

/// A configuration file as a backup set has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFile {
    /// Where it belongs.
    pub path: String,
    /// Its artifact, which is its content's hash.
    pub digest: String,
}

/// What a member should become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    /// Its host.
    pub host: String,
    /// Versions of its packages.
    pub versions: Versions,
    /// Configuration to put back; empty: it stays as it is.
    pub files: Vec<SavedFile>,
}

impl Goal {
    /// Version of the server that is to run.
    pub fn server(&self, package: &str) -> Option<Version> {
        self.versions.get(package).and_then(|version| Version::parse(version))
    }
}

/// How members are brought there.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Versions may go down.
    pub downgrade: bool,
    /// Seconds for a transaction of the package manager.
    pub package_timeout: u32,
}

/// What a member still lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Packages to install.
    pub versions: Versions,
    /// Files to put back.
    pub files: Vec<SavedFile>,
    /// The server that runs is not the one installed, or none runs.
    pub restart: bool,
}

impl Lacking {
    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What a member lacks, from what was seen of it. A server that runs another version than its package was started before
/// the package changed.
pub fn lacking(goal: &Goal, server: &str, installed: &Installed, hashes: &[Option<String>], view: &View) -> Lacking {
    let nothing = Default::default();
    let found = installed.get(&goal.host).unwrap_or(&nothing);
    let files = goal.files.iter().zip(hashes).filter(|(file, hash)| hash.as_ref() != Some(&file.digest));
    let running = view.on(&goal.host).and_then(|seen| seen.running());
    Lacking {
        versions: packages::differing(found, &goal.versions),
        files: files.map(|(file, _)| file.clone()).collect(),
        restart: running != goal.server(server),
    }
}

/// Brings the cluster to health first, as far as starting what should run can do it, and refuses with all findings if it
/// is not healthy then. Members on `except` are not started: their packages are to be mended first.
pub fn healthy_before(site: &Site, except: &[String]) -> Result<View, Problem> {
    let started = site.start_what_should_run(except)?;
    let patience = if started { site.settings.health_timeout } else { GRACE };
    // A member that is mended first may be down, but only one: the others must be able to agree.
    let except = except.first().map(String::as_str);
    let (view, open) = site.look_until(patience, &Expected::default(), |view| messages(&view.findings(except)))?;
    if open.is_empty() { Ok(view) } else { Err(Problem::Refused(view.findings(except))) }
}

/// Hosts where the package manager was stopped half-way.
pub fn broken(installed: &Installed) -> Vec<String> {
    let is_broken = |packages: &std::collections::BTreeMap<String, _>| {
        packages.values().any(|status: &runner_plugin_sdk::api::packages::PackageStatus| status.broken)
    };
    installed.iter().filter(|(_, packages)| is_broken(packages)).map(|(host, _)| host.clone()).collect()
}

/// Brings members to their goals, one at a time and the leader last, each only while all others are healthy, and goes on
/// only when everybody is healthy again and nobody has lost a revision.
pub fn roll(
    site: &Site,
    goals: &[Goal],
    manner: Manner,
    mut view: View,
    report: &mut ReportBuilder,
) -> Result<View, Problem> {
    let server = site.settings.server_package.as_str();
    let hosts: Vec<String> = goals.iter().map(|goal| goal.host.clone()).collect();
    let installed = packages::status(&hosts, &[server, site.settings.client_package.as_str()])?;
    let mut waiting = Vec::new();
    for goal in goals {
        let refs: Vec<_> = goal.files.iter().map(|file| files::at(&goal.host, &file.path)).collect();
        let hashes = if refs.is_empty() { Vec::new() } else { files::hashes(&refs)? };
        let lacking = lacking(goal, server, &installed, &hashes, &view);
        if !lacking.is_nothing() {
            waiting.push((goal, lacking));
        }
    }
    let total = waiting.len();
    let mut done = 0;
    loop {
        let hosts: Vec<&str> = waiting.iter().map(|(goal, _)| goal.host.as_str()).collect();
        let Some(next) = next_member(&view, &hosts).map(str::to_owned) else {
            break;
        };
        let Some(index) = waiting.iter().position(|(goal, _)| goal.host == next) else {
            break;
        };
        let (goal, lacking) = waiting.remove(index);
        progress::show(&format!("etcd on {next}"), Some(count(done)), Some(count(total)));
        view = bring(site, goal, &lacking, manner, &view, report)?;
        done += 1;
    }
    Ok(view)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn bring(
    site: &Site,
    goal: &Goal,
    lacking: &Lacking,
    manner: Manner,
    last: &View,
    report: &mut ReportBuilder,
) -> Result<View, Problem> {
    let settings = &site.settings;
    let host = goal.host.as_str();
    let others = |view: &View| messages(&view.findings(Some(host)));
    let (before, open) = site.look_until(settings.health_timeout, &Expected::as_seen(last), others)?;
    if !open.is_empty() {
        return Err(Problem::Refused(before.findings(Some(host))));
    }
    let revision = before.revision().unwrap_or(0);

    site.stop(std::slice::from_ref(&goal.host))?;
    put_back(host, &lacking.files)?;
    let how = Installation { allow_downgrade: manner.downgrade, removals: &[], seconds: manner.package_timeout };
    if let Some(transaction) = packages::install(host, &lacking.versions, how)? {
        for path in transaction.configuration {
            let message =
                format!("{path} on host {host} was edited by hand and stays; the package has another version of it");
            report.warn("edited-configuration", host, message);
        }
    }
    site.start(std::slice::from_ref(&goal.host))?;

    let wanted = goal.server(&settings.server_package);
    let expected = match wanted {
        Some(version) => Expected::as_seen(&before).with_version(host, version),
        None => Expected::as_seen(&before),
    };
    let missing = |view: &View| {
        let mut missing = messages(&view.findings(None));
        let running = view.on(host).and_then(|seen| seen.running());
        if running != wanted {
            let shown = |version: Option<Version>| version.map_or("nothing".to_owned(), |version| version.to_string());
            missing.push(format!("host {host} runs {}, not {}", shown(running), shown(wanted)));
        }
        missing.extend(view.behind(revision));
        missing
    };
    let (after, open) = site.look_until(settings.health_timeout, &expected, missing)?;
    if open.is_empty() {
        return Ok(after);
    }
    let message =
        format!("etcd is not healthy {} s after host {host} was changed: {}", settings.health_timeout, open.join("; "));
    Err(timed_out(host, message).into())
}

/// A wait that was in vain.
pub fn timed_out(subject: &str, message: String) -> Failure {
    failure(FailureKind::TimedOut, subject, message)
}

/// Puts configuration back as the backup set has it.
pub fn put_back(host: &str, saved: &[SavedFile]) -> Result<(), Failure> {
    let orders: Vec<_> = saved
        .iter()
        .map(|file| artifacts::RestoreOrder {
            digest: file.digest.clone(),
            host: host.to_owned(),
            path: file.path.clone(),
            precondition: file_api::Precondition::Anything,
            attributes: None,
        })
        .collect();
    if orders.is_empty() { Ok(()) } else { artifacts::restore(&orders).all().map(|_| ()) }
}

/// Versions after an operation, for its report.
pub fn report_versions(site: &Site, report: &mut ReportBuilder) -> Result<(), Failure> {
    let settings = &site.settings;
    let installed =
        packages::status(&site.hosts(), &[settings.server_package.as_str(), settings.client_package.as_str()])?;
    report.versions(packages::versions(&installed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{cluster, member};
    use runner_plugin_sdk::api::packages::PackageStatus;
    use std::collections::BTreeMap;

    fn installed(version: &str, broken: bool) -> Installed {
        let status = PackageStatus {
            name: "etcd-server".into(),
            version: Some(version.into()),
            broken,
            held: false,
            available: vec![],
        };
        BTreeMap::from([("h1".to_owned(), BTreeMap::from([("etcd-server".to_owned(), status)]))])
    }

    fn goal() -> Goal {
        Goal {
            host: "h1".into(),
            versions: Versions::from([("etcd-server".into(), "3.6.16-1".into())]),
            files: vec![SavedFile { path: "/c".into(), digest: "d".into() }],
        }
    }

    #[test]
    fn nothing_is_lacking_where_all_is_as_it_should_be() {
        let view = cluster(vec![member(1, "3.6.16", "3.6.0")]);
        let lacking = lacking(&goal(), "etcd-server", &installed("3.6.16-1", false), &[Some("d".into())], &view);
        assert!(lacking.is_nothing(), "{lacking:?}");
    }

    #[test]
    fn each_place_where_a_stop_may_have_happened_is_seen() {
        let view = cluster(vec![member(1, "3.5.35", "")]);
        let found = lacking(&goal(), "etcd-server", &installed("3.5.35-1", false), &[None], &view);
        assert_eq!(found.versions.len(), 1);
        assert_eq!(found.files.len(), 1);
        assert!(found.restart);
        // Installed, but the old server still runs.
        let found = lacking(&goal(), "etcd-server", &installed("3.6.16-1", false), &[Some("d".into())], &view);
        assert!(found.versions.is_empty() && found.files.is_empty() && found.restart);
        // Installed, but nothing runs.
        let mut down = view.clone();
        down.seen[0].status = Err("down".into());
        let found = lacking(&goal(), "etcd-server", &installed("3.6.16-1", false), &[Some("d".into())], &down);
        assert!(found.restart);
        // Half installed.
        let view = cluster(vec![member(1, "3.6.16", "3.6.0")]);
        let found = lacking(&goal(), "etcd-server", &installed("3.6.16-1", true), &[Some("d".into())], &view);
        assert_eq!(found.versions.len(), 1);
        assert_eq!(broken(&installed("3.6.16-1", true)), ["h1"]);
        assert!(broken(&installed("3.6.16-1", false)).is_empty());
    }
}
