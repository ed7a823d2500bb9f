//! Verify: what is installed, whether it works, and, as a gate, what an update or backout would refuse.

use sdk::kubernetes::Cluster;
use sdk::packages::Versions;
use sdk::{Checks, Depth, Findings, HostInfo, Invocation, Place, Problem, Verification};

use crate::hosts::{self, Host, Software};
use crate::parameters::{self, Verify};
use crate::parts::{COREDNS, unknown};
use crate::record::Record;
use crate::{cluster, gate, health};

pub(crate) fn run(invocation: &Invocation, depth: Depth) -> Result<Verification, Problem> {
    let parameters: Verify = parameters::of(invocation)?;
    let mut wrong = Findings::new();
    for message in unknown(&parameters.versions) {
        wrong.add("unknown-package", "versions", message);
    }
    wrong.refuse()?;
    match depth {
        Depth::Versions => versions(invocation, &parameters),
        Depth::Health if parameters.preflight => gate::preflight(invocation, &parameters),
        Depth::Health => health::health(invocation, &parameters),
    }
}

pub(crate) fn on(host: &HostInfo) -> Place {
    Place::Host(host.name.clone())
}

fn versions(invocation: &Invocation, parameters: &Verify) -> Result<Verification, Problem> {
    let mut checks = Checks::new();
    let all = hosts::software(&invocation.target.hosts);
    installed(&all, &parameters.versions, &mut checks);
    ended(&hosts::records(&all, parameters.layout())?, &mut checks);
    // Packages can be asked while the cluster is down; CoreDNS is then left out.
    if let Some(name) = &invocation.target.cluster
        && let Ok(Some(found)) = cluster::coredns(Cluster(name))
    {
        coredns(name, &found, &parameters.versions, &mut checks);
    }
    Ok(checks.finish())
}

/// Versions of every host, held against what is expected.
pub(crate) fn installed(hosts: &[Host<'_, Software>], expected: &Versions, checks: &mut Checks) {
    for host in hosts {
        let software = match &host.found {
            Ok(software) => software,
            Err(failure) => {
                checks.unknown("packages", on(host.info), "installed packages", failure.message.as_str());
                continue;
            }
        };
        for (name, status) in &software.packages {
            let Some(version) = &status.version else {
                continue;
            };
            checks.version(on(host.info), name, version);
            if let Some(wanted) = expected.get(name) {
                checks.equal("version", on(host.info), format!("{name} {wanted}"), format!("{name} {version}"));
            }
        }
    }
}

/// Every operation that began on a host has ended there: until then not everything runs that is installed.
pub(crate) fn ended(records: &[(String, Record)], checks: &mut Checks) {
    for (host, record) in records.iter().filter(|(_, record)| record.is_open()) {
        let observed = format!("one began and did not end: {} is still to be restarted", record.awaited().join(", "));
        checks.check("operation-ended", Place::Host(host.clone()), "every operation ended", observed, false);
    }
}

pub(crate) fn coredns(cluster: &str, found: &sdk::kubernetes::Object, expected: &Versions, checks: &mut Checks) {
    let place = || Place::Cluster(cluster.to_owned());
    let Some(version) = cluster::image_version(&found.body) else {
        return;
    };
    checks.version(place(), COREDNS, version);
    if let Some(wanted) = expected.get(COREDNS) {
        checks.equal("version", place(), format!("{COREDNS} {wanted}"), format!("{COREDNS} {version}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::tests::{info, open, software_of};
    use sdk::{FailureKind, Verdict, failure};

    #[test]
    fn expected_versions_are_held_against_what_is_there() {
        let (one, lost) = (info("n1"), info("n2"));
        let hosts = [
            Host { info: &one, found: Ok(software_of(&["kubelet=1.33.13-1", "kube-proxy"])) },
            Host { info: &lost, found: Err(failure(FailureKind::Unreachable, "n2", "no answer")) },
        ];
        let expected = Versions::from([
            ("kubelet".to_owned(), "1.34.4-1".to_owned()),
            ("kube-proxy".to_owned(), "1.34.4-1".to_owned()),
        ]);
        let mut checks = Checks::new();
        installed(&hosts, &expected, &mut checks);
        assert_eq!(open(checks), [("version".to_owned(), Verdict::Fail), ("packages".to_owned(), Verdict::Unknown)]);
    }
}
