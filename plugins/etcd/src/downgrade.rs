//! The downgrade that etcd supports: from 3.6 on, one minor version back, without loss of data
//! (<https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/>).
//!
//! As that page has it: the cluster must be healthy, the target is validated, the downgrade is enabled, every member must
//! report the older storage version, and only then servers are replaced one by one. A 3.5 server that is given data of
//! 3.6 panics, so nothing here replaces a server before its data is known to be old enough.

use runner_plugin_sdk::{Finding, Problem, ReportBuilder, finding};

use crate::rolling::timed_out;
use crate::site::{Expected, Site};
use crate::version::{Minor, Version};
use crate::view::View;

/// Seconds within which the members convert their data; it is done on change of the cluster version.
const CONVERSION: u32 = 300;

/// What has to happen before servers may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// Nothing: the data can be read by the older version.
    None,
    /// A downgrade is under way; the data is being converted.
    Wait,
    /// The downgrade is to be validated and enabled.
    Enable,
}

/// Decides what has to happen before the servers of a healthy cluster may be replaced by `target`, or why they may not.
///
/// A cluster where some members are old and others new needs nothing: it keeps the older format as long as one old
/// member is there, be it half-way up or half-way down, and etcd refuses to enable a downgrade in it.
pub fn decide(view: &View, target: Version) -> Result<Preparation, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut newest = target.minor;
    let mut some_old = false;
    for seen in &view.seen {
        let host = seen.host.as_str();
        let Some(running) = seen.running() else {
            let message = format!("it is not known which version of etcd runs on host {host}");
            findings.push(finding("version-unknown", host, message));
            continue;
        };
        newest = newest.max(running.minor);
        some_old |= running.minor == target.minor;
        if running.minor < target.minor {
            let message = format!("host {host} runs etcd {running}, older than {target} of the backup set");
            findings.push(finding("older-running", host, message));
        } else if running.minor > target.minor {
            findings.extend(unsupported(host, running, target));
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    if newest == target.minor {
        return Ok(Preparation::None);
    }
    let new_members =
        || view.seen.iter().filter(|seen| seen.running().is_some_and(|running| running.minor > target.minor));
    let converted = new_members().all(|seen| seen.storage() == Some(target.minor));
    let under_way = new_members().all(|seen| seen.downgrade() == Some(target.minor));
    match (some_old, converted, under_way) {
        (true, true, _) | (false, true, true) => Ok(Preparation::None),
        (_, false, true) => Ok(Preparation::Wait),
        (false, _, false) => Ok(Preparation::Enable),
        (true, false, false) => {
            let open = new_members().filter(|seen| seen.storage() != Some(target.minor));
            Err(open
                .map(|seen| {
                    let message = format!(
                        "the data on host {} is not in the format of {}, though members of that version are there: etcd supports no such mixture",
                        seen.host, target.minor
                    );
                    finding("storage-mixed", seen.host.as_str(), message)
                })
                .collect())
        }
    }
}

fn unsupported(host: &str, running: Version, target: Version) -> Option<Finding> {
    if !target.minor.is_followed_by(running.minor) {
        let message = format!(
            "host {host} runs etcd {running}; etcd supports a downgrade by one minor version at a time, and {target} is further away"
        );
        return Some(finding("downgrade-too-far", host, message));
    }
    if running.minor < Minor::WITH_DOWNGRADE {
        let message = format!(
            "host {host} runs etcd {running}, which has no downgrade to {target}: etcd supports one from {} on",
            Minor::WITH_DOWNGRADE
        );
        return Some(finding("downgrade-unsupported", host, message));
    }
    None
}

/// Brings the data of a healthy cluster into the format of `target`.
pub(crate) fn prepare(site: &Site, view: View, target: Version, report: &mut ReportBuilder) -> Result<View, Problem> {
    let preparation = decide(&view, target).map_err(Problem::Refused)?;
    let expected = Expected::as_seen(&view).with_storage(&format!("{}.0", target.minor));
    match preparation {
        Preparation::None => return Ok(view),
        Preparation::Wait => {}
        Preparation::Enable => {
            // etcdctl of 3.5 knows no such command, but a host that runs the newer server has the newer package too.
            let Some(etcdctl) = view
                .leader()
                .or(view.seen.first().map(|seen| seen.host.as_str()))
                .and_then(|host| site.etcdctl_on(host))
            else {
                return Err(Problem::Refused(view.findings(None)));
            };
            let name = target.minor.to_string();
            etcdctl.validate_downgrade(&name).run()?;
            etcdctl.enable_downgrade(&name).run()?;
            report.changed(true);
        }
    }
    let missing = |view: &View| -> Vec<String> {
        let open = view.seen.iter().filter(|seen| seen.storage() != Some(target.minor));
        open.map(|seen| format!("the data on host {} is not in the format of {} yet", seen.host, target.minor))
            .collect()
    };
    let (view, open) = site.look_until(CONVERSION, &expected, missing)?;
    if open.is_empty() { Ok(view) } else { Err(timed_out("etcd", open.join("; ")).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcdctl::DowngradeInfo;
    use crate::view::Seen;
    use crate::view::tests::{cluster, member};

    fn target() -> Version {
        Version::parse("3.5.35").unwrap()
    }

    fn enabled(mut seen: Seen) -> Seen {
        if let Ok(status) = &mut seen.status {
            status.downgrade_info = Some(DowngradeInfo { enabled: true, target_version: "3.5.0".into() });
        }
        seen
    }

    fn codes(result: Result<Preparation, Vec<Finding>>) -> Vec<String> {
        result.unwrap_err().into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_whole_new_cluster_is_told_first() {
        let view = cluster((1..=3).map(|n| member(n, "3.6.16", "3.6.0")).collect());
        assert_eq!(decide(&view, target()), Ok(Preparation::Enable));
        // For a moment after the last update the members run the new version and still have the old format.
        let view = cluster((1..=3).map(|n| member(n, "3.6.16", "3.5.0")).collect());
        assert_eq!(decide(&view, target()), Ok(Preparation::Enable));
    }

    #[test]
    fn a_downgrade_under_way_is_not_enabled_again() {
        let view = cluster((1..=3).map(|n| enabled(member(n, "3.6.16", "3.6.0"))).collect());
        assert_eq!(decide(&view, target()), Ok(Preparation::Wait));
        let some = vec![enabled(member(1, "3.6.16", "3.6.0")), enabled(member(2, "3.6.16", "3.5.0"))];
        assert_eq!(decide(&cluster(some), target()), Ok(Preparation::Wait));
        let view = cluster((1..=3).map(|n| enabled(member(n, "3.6.16", "3.5.0"))).collect());
        assert_eq!(decide(&view, target()), Ok(Preparation::None));
    }

    #[test]
    fn half_way_down_and_half_way_up_need_nothing() {
        let half = |last: Seen| cluster(vec![member(1, "3.5.35", ""), member(2, "3.5.35", ""), last]);
        assert_eq!(decide(&half(enabled(member(3, "3.6.16", "3.5.0"))), target()), Ok(Preparation::None));
        assert_eq!(decide(&half(member(3, "3.6.16", "3.5.0")), target()), Ok(Preparation::None));
        assert_eq!(decide(&half(member(3, "3.5.20", "")), target()), Ok(Preparation::None));
    }

    #[test]
    fn old_servers_beside_new_data_are_refused() {
        let view = cluster(vec![member(1, "3.5.35", ""), member(2, "3.6.16", "3.6.0")]);
        assert_eq!(codes(decide(&view, target())), ["storage-mixed"]);
    }

    #[test]
    fn only_one_minor_version_and_only_from_3_6() {
        let far = cluster(vec![member(1, "3.7.1", "3.7.0")]);
        assert_eq!(codes(decide(&far, target())), ["downgrade-too-far"]);
        let early = cluster(vec![member(1, "3.5.35", "")]);
        let to_3_4 = Version::parse("3.4.30").unwrap();
        assert_eq!(codes(decide(&early, to_3_4)), ["downgrade-unsupported"]);
        let up = Version::parse("3.6.16").unwrap();
        assert_eq!(codes(decide(&early, up)), ["older-running"]);
        let next = cluster(vec![member(1, "3.7.1", "3.7.0")]);
        assert_eq!(decide(&next, up), Ok(Preparation::Enable));
    }

    #[test]
    fn patches_go_back_without_ado() {
        let view = cluster(vec![member(1, "3.5.40", ""), member(2, "3.5.35", "")]);
        assert_eq!(decide(&view, target()), Ok(Preparation::None));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let mut view = cluster(vec![member(1, "3.6.16", "3.6.0"), member(2, "3.6.16", "3.6.0")]);
        view.seen[1].status = Err("down".into());
        assert_eq!(codes(decide(&view, target())), ["version-unknown"]);
    }
}
