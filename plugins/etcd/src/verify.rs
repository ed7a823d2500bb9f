//! Verify: what is installed, and whether the members are one healthy cluster that runs it.

use runner_plugin_sdk::api::systemd;
use runner_plugin_sdk::api::{clock, packages as package_api};
use runner_plugin_sdk::{Checks, Depth, Inputs, Invocation, Place, Problem, Verification, parse, units};

use crate::parameters::{Settings, Verify, Versions};
use crate::site::{Expected, Site, is_about_the_question};
use crate::version::{Minor, Version};
use crate::view::{Seen, View};

/// Milliseconds for a member to reach what another one had when it was asked before.
const CATCH_UP: u32 = 10_000;

pub(crate) fn run(invocation: &Invocation, depth: Depth) -> Result<Verification, Problem> {
    let parameters: Verify = parse(invocation)?;
    let settings = parameters.settings();
    let hosts = invocation.host_names();
    let mut checks = Checks::new();
    let installed = installed(&mut checks, &hosts, &settings, &parameters.versions)?;
    if depth == Depth::Versions {
        return Ok(checks.finish());
    }
    units(&mut checks, &hosts, &settings.unit)?;
    let (site, missing) = Site::read_where_possible(invocation, settings)?;
    for missing in &missing {
        let (host, why) = missing.parts();
        let place = Place::Host(host.to_owned());
        checks.unknown("member-health", place, "healthy", why);
    }
    let view = site.look(&Expected::default())?;
    for seen in &view.seen {
        member(&mut checks, seen, installed.get(&seen.host).copied());
    }
    let place = everywhere(invocation);
    // A member on a host that does not answer is not elsewhere.
    let shown_already = |code: &str| is_of_member(code) || (code == "member-elsewhere" && !missing.is_empty());
    let findings: Vec<_> = view.findings(None).into_iter().filter(|finding| !shown_already(&finding.code)).collect();
    let observed: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    let observed =
        if observed.is_empty() { "one cluster, one leader, no alarm".to_owned() } else { observed.join("; ") };
    checks.check(
        "cluster",
        place.clone(),
        "one cluster of these members, one leader, no alarm",
        observed,
        findings.is_empty(),
    );
    formats(&mut checks, place.clone(), &view);
    revisions(&mut checks, place, &site, &view)?;
    Ok(checks.finish())
}

/// Findings that the checks of single members show already.
fn is_of_member(code: &str) -> bool {
    matches!(code, "member-unhealthy" | "member-silent")
}

/// Where checks of the whole cluster are.
fn everywhere(invocation: &Invocation) -> Place {
    match (&invocation.target.cluster, invocation.target.hosts.first()) {
        (Some(cluster), _) => Place::Cluster(cluster.clone()),
        (None, Some(host)) => Place::Host(host.name.clone()),
        (None, None) => Place::Runner,
    }
}

/// Versions of the packages, and the server's by host.
fn installed(
    checks: &mut Checks,
    hosts: &[String],
    settings: &Settings,
    wanted: &Versions,
) -> Result<std::collections::BTreeMap<String, Version>, Problem> {
    let names = [settings.server_package.as_str(), settings.client_package.as_str()];
    let refs: Vec<_> = hosts
        .iter()
        .flat_map(|host| names.map(|name| package_api::PackageRef { host: host.clone(), name: name.to_owned() }))
        .collect();
    let answers = package_api::status(&refs);
    let mut servers = std::collections::BTreeMap::new();
    for (at, answer) in refs.iter().zip(answers) {
        let place = Place::Host(at.host.clone());
        let expected = wanted
            .get(&at.name)
            .map_or_else(|| format!("{} installed", at.name), |version| format!("{} {version}", at.name));
        let status = match answer {
            Ok(status) => status,
            Err(failure) if is_about_the_question(&failure) => return Err(failure.into()),
            Err(failure) => {
                checks.unknown("version", place, expected, failure.message);
                continue;
            }
        };
        let state = if status.broken { " (half installed)" } else { "" };
        let observed = match &status.version {
            Some(version) => format!("{} {version}{state}", at.name),
            None => format!("{} not installed", at.name),
        };
        let as_wanted = match wanted.get(&at.name) {
            Some(version) => status.version.as_ref() == Some(version),
            None => status.version.is_some(),
        };
        checks.check("version", place.clone(), expected, observed, as_wanted && !status.broken);
        if let Some(version) = &status.version {
            checks.version(place, &at.name, version);
            if at.name == settings.server_package
                && let Some(version) = Version::parse(version)
            {
                servers.insert(at.host.clone(), version);
            }
        }
    }
    Ok(servers)
}

fn units(checks: &mut Checks, hosts: &[String], unit: &str) -> Result<(), Problem> {
    let refs = units::refs(hosts, &[unit]);
    for (at, answer) in refs.iter().zip(systemd::status(&refs)) {
        let place = Place::Host(at.host.clone());
        match answer {
            Ok(status) => {
                checks.equal("unit", place, format!("{unit} active"), format!("{unit} {}", status.active_state))
            }
            Err(failure) if is_about_the_question(&failure) => return Err(failure.into()),
            Err(failure) => checks.unknown("unit", place, format!("{unit} active"), failure.message),
        };
    }
    Ok(())
}

/// One member: healthy, and running what is installed.
fn member(checks: &mut Checks, seen: &Seen, installed: Option<Version>) {
    let place = Place::Host(seen.host.clone());
    let health = match &seen.health {
        Ok(()) => "healthy".to_owned(),
        Err(why) => format!("not healthy: {why}"),
    };
    checks.equal("member-health", place.clone(), "healthy", health);
    match (installed, seen.running()) {
        (Some(installed), Some(running)) => {
            checks.equal("running-version", place, format!("runs {installed}"), format!("runs {running}"));
        }
        (_, None) => {
            let why = seen.status.as_ref().err().map_or("an unreadable version", String::as_str);
            checks.unknown("running-version", place, "runs the installed version", why);
        }
        (None, Some(running)) => {
            checks.unknown(
                "running-version",
                place,
                "runs the installed version",
                format!("runs {running}; what is installed is not known"),
            );
        }
    }
}

/// Every server's data is in its own format, and no downgrade was left half-way.
fn formats(checks: &mut Checks, place: Place, view: &View) {
    let mut open = Vec::new();
    for seen in &view.seen {
        let Some(running) = seen.running().filter(|running| running.minor >= Minor::WITH_DOWNGRADE) else {
            continue;
        };
        if let Some(target) = seen.downgrade() {
            open.push(format!("a downgrade to {target} is under way (host {})", seen.host));
        } else if seen.storage() != Some(running.minor) {
            let storage = seen.storage().map_or("unknown".to_owned(), |storage| storage.to_string());
            open.push(format!("data on host {} is in format {storage}", seen.host));
        }
    }
    let good = open.is_empty();
    let observed = if good { "every member's own".to_owned() } else { open.join("; ") };
    checks.check("storage-version", place, "every member's own", observed, good);
}

/// Nobody lags: whatever revision one member had, all have soon after.
fn revisions(checks: &mut Checks, place: Place, site: &Site, view: &View) -> Result<(), Problem> {
    let expected = "all members have every revision";
    let Some(newest) = view.revision() else {
        checks.unknown("revision", place, expected, "no member tells its revision");
        return Ok(());
    };
    let begun = clock::elapsed();
    let mut behind = view.behind(newest);
    while !behind.is_empty() && clock::elapsed().saturating_sub(begun) < CATCH_UP {
        clock::sleep(1000);
        behind = site.look(&Expected::default())?.behind(newest);
    }
    let good = behind.is_empty();
    let observed = if good { expected.to_owned() } else { behind.join("; ") };
    checks.check("revision", place, expected, observed, good);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcdctl::DowngradeInfo;
    use crate::view::tests::{cluster, member as seen};
    use runner_plugin_sdk::Verdict;

    fn verdicts(checks: &mut Checks) -> Vec<(String, Verdict)> {
        checks.finish().checks.into_iter().map(|check| (check.name, check.verdict)).collect()
    }

    #[test]
    fn a_member_runs_what_is_installed() {
        let installed = Version::parse("3.6.16-1");
        let mut checks = Checks::new();
        member(&mut checks, &seen(1, "3.6.16", "3.6.0"), installed);
        assert!(verdicts(&mut checks).iter().all(|(_, verdict)| *verdict == Verdict::Pass));
        member(&mut checks, &seen(1, "3.5.35", ""), installed);
        assert_eq!(verdicts(&mut checks)[1], ("running-version".to_owned(), Verdict::Fail));
        let mut down = seen(1, "3.6.16", "3.6.0");
        down.health = Err("refused".into());
        down.status = Err("refused".into());
        member(&mut checks, &down, installed);
        let found = verdicts(&mut checks);
        assert_eq!(found[0].1, Verdict::Fail);
        assert_eq!(found[1].1, Verdict::Unknown);
    }

    #[test]
    fn a_downgrade_left_half_way_is_seen() {
        let verdict = |view: &View| {
            let mut checks = Checks::new();
            formats(&mut checks, Place::Runner, view);
            verdicts(&mut checks)[0].1
        };
        let mut view = cluster(vec![seen(1, "3.6.16", "3.6.0"), seen(2, "3.6.16", "3.6.0")]);
        assert_eq!(verdict(&view), Verdict::Pass);
        assert_eq!(verdict(&cluster(vec![seen(1, "3.5.35", "")])), Verdict::Pass);
        if let Ok(status) = &mut view.seen[1].status {
            status.downgrade_info = Some(DowngradeInfo { enabled: true, target_version: "3.5.0".into() });
        }
        assert_eq!(verdict(&view), Verdict::Fail);
        assert_eq!(verdict(&cluster(vec![seen(1, "3.6.16", "3.5.0")])), Verdict::Fail);
    }
}
