//! Where a restore works on one host, and how far it has come there.

use runner_plugin_sdk::{Command, Failure, Finding, files, finding};

use crate::backup::{SNAPSHOT, SNAPSHOT_SECONDS};
use crate::site::{Seat, Site};

/// Paths of a restore on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The host.
    pub(crate) host: String,
    /// The member's data.
    pub(crate) member: String,
    /// The same before the restore.
    pub(crate) before: String,
    /// Directory of the restore.
    pub(crate) work: String,
    /// What `etcdutl` makes.
    pub(crate) restored: String,
    /// `etcdutl` without the revision.
    argv: Vec<String>,
}

impl Place {
    pub(crate) fn of(site: &Site, seat: &Seat, run: &str) -> Self {
        let data = site.settings.data_dir.as_str();
        let run: String = run
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let work = format!("{data}/restoring-{run}");
        let members: Vec<String> = site
            .seats
            .iter()
            .map(|seat| seat.config.initial_cluster())
            .collect();
        let argv = vec![
            "etcdutl".to_owned(),
            "snapshot".to_owned(),
            "restore".to_owned(),
            format!("{work}/{SNAPSHOT}"),
            format!("--data-dir={work}/data"),
            format!("--name={}", seat.config.name),
            format!("--initial-cluster={}", members.join(",")),
            format!("--initial-cluster-token={}", seat.config.token),
            format!(
                "--initial-advertise-peer-urls={}",
                seat.config.peer_urls.join(",")
            ),
        ];
        Self {
            host: seat.host.clone(),
            member: format!("{data}/member"),
            before: format!("{data}/member.before-{run}"),
            restored: format!("{work}/data/member"),
            work,
            argv,
        }
    }

    pub(crate) fn snapshot(&self) -> String {
        format!("{}/{SNAPSHOT}", self.work)
    }

    pub(crate) fn command(&self, bump: u64) -> Command {
        let mut argv = self.argv.clone();
        argv.push(format!("--bump-revision={bump}"));
        argv.push("--mark-compacted".into());
        Command::write(&self.host, argv)
            .seconds(SNAPSHOT_SECONDS)
            .reads([format!("file:{}", self.snapshot())])
            .writes([
                format!("file:{}/data", self.work),
                "etcd:cluster".to_owned(),
                "etcd:members".to_owned(),
            ])
            .answers("")
            .destructive()
    }
}

/// How far a restore of this run has come on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The data of before is in its place.
    Untouched,
    /// The data of before is aside, the restored one not yet in its place.
    Moved,
    /// The restored data is in its place.
    Restored,
    /// Data is in the place that nobody here put there.
    Intruded,
}

impl Stage {
    pub(crate) fn of(member: bool, before: bool, restored: bool) -> Self {
        match (before, restored, member) {
            (false, _, _) => Self::Untouched,
            (true, true, false) => Self::Moved,
            (true, true, true) => Self::Intruded,
            (true, false, true) => Self::Restored,
            (true, false, false) => Self::Intruded,
        }
    }
}

/// Stages of all hosts, and where there is data to move aside.
pub(crate) struct Progress {
    pub(crate) stages: Vec<Stage>,
    pub(crate) members: Vec<bool>,
}

impl Progress {
    pub(crate) fn look(places: &[Place]) -> Result<Self, Failure> {
        let refs: Vec<_> = places
            .iter()
            .flat_map(|place| {
                [&place.member, &place.before, &place.restored]
                    .map(|path| files::at(&place.host, path))
            })
            .collect();
        let present = files::present(&refs)?;
        let chunks = present.chunks_exact(3);
        Ok(Self {
            stages: chunks
                .clone()
                .map(|found| Stage::of(found[0], found[1], found[2]))
                .collect(),
            members: chunks.map(|found| found[0]).collect(),
        })
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.stages.iter().all(|stage| *stage == Stage::Untouched)
    }

    pub(crate) fn findings(&self, places: &[Place]) -> Vec<Finding> {
        let intruded = places
            .iter()
            .zip(&self.stages)
            .filter(|(_, stage)| **stage == Stage::Intruded);
        intruded
            .map(|(place, _)| {
                let message = format!(
                    "on host {} a restore was stopped between moving {} aside and putting the restored data there, and what is there now is not its work (was etcd started?): move {} back to {} and begin again",
                    place.host, place.member, place.before, place.member
                );
                finding("data-intruded", place.host.as_str(), message)
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Config;
    use crate::parameters::{Settings, Tls};

    /// Two members.
    pub(crate) fn site() -> Site {
        let seat = |number: u8| Seat {
            host: format!("h{number}"),
            config: Config {
                name: format!("m{number}"),
                peer_urls: vec![format!("http://10.0.0.{number}:2380")],
                token: "lab".into(),
                ..Config::default()
            },
            endpoint: format!("http://10.0.0.{number}:2379"),
        };
        Site {
            seats: vec![seat(1), seat(2)],
            settings: Settings {
                server_package: "etcd-server".into(),
                client_package: "etcd-client".into(),
                unit: "etcd.service".into(),
                config: "/etc/etcd/etcd.conf.yml".into(),
                data_dir: "/var/lib/etcd".into(),
                tls: Tls::default(),
                health_timeout: 60,
            },
        }
    }

    #[test]
    fn the_command_is_the_one_of_the_documentation() {
        let site = site();
        let place = Place::of(&site, &site.seats[1], "20261121-0900/../x");
        let order = place.command(1_000_000_000).order();
        let expected = [
            "etcdutl",
            "snapshot",
            "restore",
            "/var/lib/etcd/restoring-20261121-0900x/snapshot.db",
            "--data-dir=/var/lib/etcd/restoring-20261121-0900x/data",
            "--name=m2",
            "--initial-cluster=m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380",
            "--initial-cluster-token=lab",
            "--initial-advertise-peer-urls=http://10.0.0.2:2380",
            "--bump-revision=1000000000",
            "--mark-compacted",
        ];
        assert_eq!(order.argv, expected);
        assert_eq!(
            place.restored,
            "/var/lib/etcd/restoring-20261121-0900x/data/member"
        );
        assert_eq!(place.before, "/var/lib/etcd/member.before-20261121-0900x");
        assert!(order.options.is_some_and(|options| options.destructive));
    }

    #[test]
    fn what_is_there_tells_how_far_it_came() {
        assert_eq!(Stage::of(true, false, false), Stage::Untouched);
        assert_eq!(Stage::of(true, false, true), Stage::Untouched);
        assert_eq!(Stage::of(false, false, false), Stage::Untouched);
        assert_eq!(Stage::of(false, true, true), Stage::Moved);
        assert_eq!(Stage::of(true, true, false), Stage::Restored);
        assert_eq!(Stage::of(true, true, true), Stage::Intruded);
        assert_eq!(Stage::of(false, true, false), Stage::Intruded);
    }

    #[test]
    fn data_that_nobody_put_there_is_reported() {
        let site = site();
        let places: Vec<Place> = site
            .seats
            .iter()
            .map(|seat| Place::of(&site, seat, "r"))
            .collect();
        let progress = Progress {
            stages: vec![Stage::Restored, Stage::Intruded],
            members: vec![true, true],
        };
        let findings = progress.findings(&places);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("host h2"));
        assert!(!progress.is_untouched());
    }
}
