//! Backout: to the versions and configuration of the backup set, in place where etcd supports that, else, when it is
//! asked for, by restoring the set's snapshot.

use std::collections::BTreeMap;

use runner_plugin_sdk::packages::{self, Installed};
use runner_plugin_sdk::{
    Backup, Finding, Findings, Inputs, Invocation, Problem, Report, ReportBuilder, finding, parse,
};

use crate::backup::Notes;
use crate::downgrade;
use crate::parameters::Backout;
use crate::restore;
use crate::rolling::{self, Goal, Manner, SavedFile, healthy_before, roll};
use crate::site::Site;
use crate::version::Version;

pub(crate) fn run(invocation: &Invocation) -> Result<Report, Problem> {
    let parameters: Backout = parse(invocation)?;
    let site = Site::read(invocation, parameters.settings())?;
    let set = invocation.backup_set()?;
    let notes: Notes = set.notes()?;
    let mut report = ReportBuilder::new();
    let goals = goals(&site, &parameters, set, &notes, &mut report)?;

    let hosts = site.hosts();
    let names = [site.settings.server_package.as_str(), site.settings.client_package.as_str()];
    let installed = packages::status(&hosts, &names)?;
    let mut findings = Findings::new();
    findings.extend(not_to_be_had(&goals, &installed));
    findings.refuse()?;

    let target = target(&goals, &site.settings.server_package)?;
    if parameters.restore {
        restore::run(invocation, &parameters, &site, &goals, &notes, set, &mut report)?;
    } else {
        downgrade_in_place(&parameters, &site, &goals, &installed, target, &mut report)?;
    }
    rolling::report_versions(&site, &mut report)?;
    let way = if parameters.restore { ", restored from its snapshot" } else { "" };
    Ok(report.finish(format!("{} members of etcd run {target} of backup set {}{way}", hosts.len(), set.0.id)))
}

fn downgrade_in_place(
    parameters: &Backout,
    site: &Site,
    goals: &[Goal],
    installed: &Installed,
    target: Version,
    report: &mut ReportBuilder,
) -> Result<(), Problem> {
    let view = healthy_before(site, &rolling::broken(installed))?;
    // A member whose package was only half replaced may be down. That its turn had come means that its data was ready.
    let preparation = crate::view::View {
        seen: view
            .seen
            .iter()
            .filter(|seen| !is_broken(installed, &seen.host) || seen.status.is_ok())
            .cloned()
            .collect(),
        ..view.clone()
    };
    let prepared = downgrade::prepare(site, preparation, target, report).map_err(with_way_out)?;
    let manner = Manner { downgrade: true, package_timeout: parameters.package_timeout };
    let view = if prepared.seen.len() == view.seen.len() { prepared } else { view };
    let view = roll(site, goals, manner, view, report)?;
    report.output("leader", view.leader()).output("revision", view.revision());
    Ok(())
}

fn is_broken(installed: &Installed, host: &str) -> bool {
    installed.get(host).is_some_and(|packages| packages.values().any(|status| status.broken))
}

/// A refusal of the downgrade, with the way that is left.
fn with_way_out(problem: Problem) -> Problem {
    match problem {
        Problem::Refused(mut findings) => {
            let message = "parameter restore=true restores the snapshot of the backup set instead; what was written to etcd since is lost then";
            findings.push(finding("restore-possible", "etcd", message));
            Problem::Refused(findings)
        }
        failed => failed,
    }
}

/// What each member should become, from the set.
fn goals(
    site: &Site,
    parameters: &Backout,
    set: Backup<'_>,
    notes: &Notes,
    report: &mut ReportBuilder,
) -> Result<Vec<Goal>, Problem> {
    let settings = &site.settings;
    let mut findings = Findings::new();
    let mut goals = Vec::new();
    for seat in &site.seats {
        let host = seat.host.as_str();
        let mut versions = BTreeMap::new();
        for package in [&settings.server_package, &settings.client_package] {
            match set.version_on(host, package) {
                Some(version) => drop(versions.insert(package.clone(), version.to_owned())),
                None => {
                    let message = format!("backup set {} says no version of {package} for host {host}", set.0.id);
                    findings.add("not-in-backup", host, message);
                }
            }
        }
        let mut files = Vec::new();
        for note in notes.files.iter().filter(|note| note.host == host) {
            if note.path != settings.config && !parameters.more_configuration.contains(&note.path) {
                let message = format!(
                    "{} on host {host} is in the backup set and stays as it is: parameter more-configuration does not name it",
                    note.path
                );
                report.warn("not-put-back", host, message);
                continue;
            }
            files.push(SavedFile { path: note.path.clone(), digest: set.artifact(&note.artifact)?.digest.clone() });
        }
        goals.push(Goal { host: host.to_owned(), versions, files });
    }
    findings.refuse()?;
    Ok(goals)
}

/// Packages of the set that a host neither has nor can fetch.
fn not_to_be_had(goals: &[Goal], installed: &Installed) -> Vec<Finding> {
    let nothing = BTreeMap::new();
    let missing =
        |goal: &Goal| packages::unavailable(&goal.host, installed.get(&goal.host).unwrap_or(&nothing), &goal.versions);
    goals.iter().flat_map(missing).collect()
}

/// The one version that the set has of the server.
fn target(goals: &[Goal], package: &str) -> Result<Version, Problem> {
    let mut targets = Vec::new();
    for goal in goals {
        let Some(version) = goal.server(package) else {
            let message = format!("the backup set's version of {package} for host {} is no version of etcd", goal.host);
            return Err(runner_plugin_sdk::refused("unreadable-version", goal.host.as_str(), message));
        };
        if !targets.contains(&version) {
            targets.push(version);
        }
    }
    match targets.as_slice() {
        [target] => Ok(*target),
        _ => {
            let listed: Vec<String> = targets.iter().map(Version::to_string).collect();
            let message = format!(
                "the backup set was made while etcd ran several versions ({}): there is no one version to go back to",
                listed.join(", ")
            );
            Err(runner_plugin_sdk::refused("several-versions", "etcd", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Versions;

    fn goal(host: &str, version: &str) -> Goal {
        Goal { host: host.into(), versions: Versions::from([("etcd-server".into(), version.into())]), files: vec![] }
    }

    fn refusal(result: Result<Version, Problem>) -> String {
        match result {
            Err(Problem::Refused(findings)) => findings[0].code.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn there_is_one_version_to_go_back_to() {
        let two = [goal("a", "3.5.35-1"), goal("b", "3.5.35-1")];
        assert_eq!(target(&two, "etcd-server").map(|v| v.to_string()).ok().as_deref(), Some("3.5.35"));
        let mixed = [goal("a", "3.5.35-1"), goal("b", "3.6.16-1")];
        assert_eq!(refusal(target(&mixed, "etcd-server")), "several-versions");
        assert_eq!(refusal(target(&[goal("a", "x")], "etcd-server")), "unreadable-version");
    }

    #[test]
    fn packages_that_cannot_be_had_are_named() {
        let findings = not_to_be_had(&[goal("a", "3.5.35-1")], &Installed::new());
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("etcd-server 3.5.35-1"));
    }

    #[test]
    fn a_refused_downgrade_names_the_way_that_is_left() {
        let refused = with_way_out(runner_plugin_sdk::refused("downgrade-too-far", "h", "far"));
        assert!(
            matches!(refused, Problem::Refused(findings) if findings.len() == 2 && findings[1].message.contains("restore=true"))
        );
    }
}
