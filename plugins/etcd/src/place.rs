//! Where a restore works on one host, and how far it has come there.

use runner_plugin_sdk::api::files::{self as file_api, ListingOrder};
use runner_plugin_sdk::{Answers, Command, Failure, Finding, Presence, files, finding};

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
        let run: String = run.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let work = format!("{data}/restoring-{run}");
        let members: Vec<String> = site.seats.iter().map(|seat| seat.config.initial_cluster()).collect();
        let argv = vec![
            "etcdutl".to_owned(),
            "snapshot".to_owned(),
            "restore".to_owned(),
            format!("{work}/{SNAPSHOT}"),
            format!("--data-dir={work}/data"),
            format!("--name={}", seat.config.name),
            format!("--initial-cluster={}", members.join(",")),
            format!("--initial-cluster-token={}", seat.config.token),
            format!("--initial-advertise-peer-urls={}", seat.config.peer_urls.join(",")),
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

    /// Another entry of the data directory.
    fn beside(&self, name: &str) -> String {
        let end = self.work.len() - base(&self.work).len();
        format!("{}{name}", &self.work[..end])
    }

    /// Whether an entry of the data directory is the data of before another run's restore.
    fn is_earlier(&self, name: &str) -> bool {
        name != base(&self.before) && name.starts_with("member.before-")
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
            .writes([format!("file:{}/data", self.work), "etcd:cluster".to_owned(), "etcd:members".to_owned()])
            .answers("")
            .destructive()
    }
}

/// Last segment of a path.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
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

/// How far a restore of this run has come, host by host.
#[derive(Debug)]
pub(crate) struct Progress {
    stages: Vec<Stage>,
    /// Where there is data in its place.
    members: Vec<bool>,
    /// Where there is restored data that is not in its place yet.
    ready: Vec<bool>,
    /// Restores of other runs whose data of before is still there.
    earlier: u64,
    /// What restores of other runs left, by host: it holds what the snapshot holds.
    pub(crate) leftovers: Vec<(String, String)>,
}

impl Progress {
    pub(crate) fn look(site: &Site, places: &[Place]) -> Result<Self, Failure> {
        let listings: Vec<_> = places
            .iter()
            .map(|place| ListingOrder {
                host: place.host.clone(),
                path: site.settings.data_dir.clone(),
                depth: 1,
                limit: 1000,
            })
            .collect();
        let listings = file_api::entries(&listings).into_iter().map(Presence::present).collect::<Vec<_>>().all()?;
        let refs: Vec<_> = places.iter().map(|place| files::at(&place.host, &place.restored)).collect();
        let ready = files::present(&refs)?;
        let names: Vec<Vec<String>> = listings
            .into_iter()
            .map(|entries| {
                let entries = entries.unwrap_or_default();
                entries.iter().map(|entry| base(&entry.path).to_owned()).collect()
            })
            .collect();
        Ok(Self::of(places, &names, ready))
    }

    fn of(places: &[Place], names: &[Vec<String>], ready: Vec<bool>) -> Self {
        let has = |names: &[String], path: &str| names.iter().any(|name| name == base(path));
        let found = || places.iter().zip(names);
        let members: Vec<bool> = found().map(|(place, names)| has(names, &place.member)).collect();
        let stages = found()
            .zip(&ready)
            .map(|((place, names), ready)| Stage::of(has(names, &place.member), has(names, &place.before), *ready))
            .collect();
        let leftovers = found()
            .flat_map(|(place, names)| {
                let left =
                    names.iter().filter(|name| name.starts_with("restoring-") && name.as_str() != base(&place.work));
                left.map(|name| (place.host.clone(), place.beside(name)))
            })
            .collect();
        let earlier =
            found().map(|(place, names)| names.iter().filter(|name| place.is_earlier(name)).count()).max().unwrap_or(0);
        Self { stages, members, ready, earlier: u64::try_from(earlier).unwrap_or(u64::MAX), leftovers }
    }

    /// Whether all hosts have the data of before in its place. Then all of them are restored (again): their data must
    /// be made in the same way. Once one has gone further, every host's restored data is ready.
    pub(crate) fn is_untouched(&self) -> bool {
        self.stages.iter().all(|stage| *stage == Stage::Untouched)
    }

    /// By how much to raise the revision: each earlier restore has raised it once.
    pub(crate) fn bump(&self, once: u64) -> u64 {
        once.saturating_mul(self.earlier.saturating_add(1))
    }

    /// Hosts whose data of before is to be moved aside, and whether there is any.
    pub(crate) fn to_move<'a>(&'a self, places: &'a [Place]) -> Vec<(&'a Place, bool)> {
        let members = self.stages.iter().zip(&self.members);
        let found = places.iter().zip(members);
        let untouched = found.filter(|(_, (stage, _))| **stage == Stage::Untouched);
        untouched.map(|(place, (_, member))| (place, *member)).collect()
    }

    /// Hosts whose restored data is to be put in its place, once the data of before is aside.
    pub(crate) fn to_place<'a>(&'a self, places: &'a [Place]) -> Vec<&'a Place> {
        let found = places.iter().zip(&self.stages);
        let open = found.filter(|(_, stage)| matches!(stage, Stage::Untouched | Stage::Moved));
        open.map(|(place, _)| place).collect()
    }

    pub(crate) fn findings(&self, places: &[Place]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for ((place, stage), ready) in places.iter().zip(&self.stages).zip(&self.ready) {
            let host = place.host.as_str();
            if *stage == Stage::Intruded {
                let message = format!(
                    "on host {host} a restore was stopped between moving {} aside and putting the restored data there, and what is there now is not its work (was etcd started?): move {} back to {} on every host that has it and begin again",
                    place.member, place.before, place.member
                );
                findings.push(finding("data-intruded", host, message));
            } else if *stage == Stage::Untouched && !ready && !self.is_untouched() {
                let message = format!(
                    "on host {host} the restored data is gone ({}), while other members have theirs in place already: move {} back to {} on every host that has it and begin again",
                    place.restored, place.before, place.member
                );
                findings.push(finding("data-gone", host, message));
            }
        }
        findings
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
        assert_eq!(place.restored, "/var/lib/etcd/restoring-20261121-0900x/data/member");
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

    fn places() -> Vec<Place> {
        let site = site();
        site.seats.iter().map(|seat| Place::of(&site, seat, "r")).collect()
    }

    fn progress(names: [&[&str]; 2], ready: [bool; 2]) -> Progress {
        let names: Vec<Vec<String>> =
            names.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect();
        Progress::of(&places(), &names, ready.to_vec())
    }

    fn hosts(places: &[&Place]) -> Vec<String> {
        places.iter().map(|place| place.host.clone()).collect()
    }

    #[test]
    fn before_the_first_move_everything_is_made_again() {
        let places = places();
        let begun = progress([&["member", "restoring-r"], &["member"]], [true, false]);
        assert!(begun.is_untouched());
        assert!(begun.findings(&places).is_empty());
        assert_eq!(begun.to_move(&places).len(), 2);
        assert_eq!(hosts(&begun.to_place(&places)), ["h1", "h2"]);
    }

    #[test]
    fn after_the_first_move_nothing_is_made_again() {
        let places = places();
        let half = progress([&["member", "member.before-r"], &["member", "restoring-r"]], [false, true]);
        assert!(!half.is_untouched());
        assert!(half.findings(&places).is_empty());
        assert_eq!(half.to_move(&places).len(), 1);
        assert_eq!(hosts(&half.to_place(&places)), ["h2"]);
        let moved = progress([&["member.before-r"], &["member.before-r"]], [true, true]);
        assert!(moved.to_move(&places).is_empty());
        assert_eq!(hosts(&moved.to_place(&places)), ["h1", "h2"]);
    }

    #[test]
    fn data_that_is_not_as_a_stop_leaves_it_is_reported() {
        let places = places();
        let codes = |progress: Progress| -> Vec<String> {
            let findings = progress.findings(&places);
            findings.into_iter().map(|finding| finding.code).collect()
        };
        let intruded = progress([&["member", "member.before-r"], &["member", "member.before-r"]], [false, true]);
        assert_eq!(codes(intruded), ["data-intruded"]);
        let gone = progress([&["member", "member.before-r"], &["member"]], [false, false]);
        assert_eq!(codes(gone), ["data-gone"]);
    }

    #[test]
    fn a_member_without_data_has_nothing_to_move() {
        let places = places();
        let fresh = progress([&[], &["member"]], [false, false]);
        let moves: Vec<bool> = fresh.to_move(&places).iter().map(|(_, any)| *any).collect();
        assert_eq!(moves, [false, true]);
    }

    #[test]
    fn each_restore_raises_the_revision_further() {
        let first = progress([&["member"], &["member", "member.before-r"]], [true, false]);
        assert_eq!(first.bump(1000), 1000);
        assert!(first.leftovers.is_empty());
        let left = progress([&["member", "restoring-q", "restoring-r"], &["member"]], [true, false]);
        let expected = ("h1".to_owned(), "/var/lib/etcd/restoring-q".to_owned());
        assert_eq!(left.leftovers, [expected]);
        let second = progress(
            [&["member", "member.before-q"], &["member", "member.before-q", "member.before-p"]],
            [false, false],
        );
        assert_eq!(second.bump(1000), 3000);
        assert_eq!(second.bump(u64::MAX), u64::MAX);
    }
}
