//! What was seen of a cluster at one moment, and what is wrong with it.

use runner_plugin_sdk::{Finding, finding};

use crate::etcdctl::{Alarm, Member, Status};
use crate::version::{Minor, Version};

/// One member as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its host.
    pub host: String,
    /// Its name in the configuration.
    pub name: String,
    /// Whether a proposal went through it; else why not.
    pub health: Result<(), String>,
    /// What it says of itself; else why it says nothing.
    pub status: Result<Status, String>,
}

impl Seen {
    /// Version of the server that runs.
    pub fn running(&self) -> Option<Version> {
        self.status.as_ref().ok().and_then(|status| Version::parse(&status.version))
    }

    /// Format of its data. A server that does not say has that of its own version.
    pub fn storage(&self) -> Option<Minor> {
        let status = self.status.as_ref().ok()?;
        if status.storage_version.is_empty() {
            let own = Minor::parse(&status.version)?;
            return (own < Minor::WITH_DOWNGRADE).then_some(own);
        }
        Minor::parse(&status.storage_version)
    }

    /// Where a downgrade under way leads, when the member knows of one.
    pub fn downgrade(&self) -> Option<Minor> {
        let info = self.status.as_ref().ok()?.downgrade_info.as_ref()?;
        if info.enabled { Minor::parse(&info.target_version) } else { None }
    }
}

/// A cluster as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its members, in inventory order.
    pub seen: Vec<Seen>,
    /// What the cluster says who its members are; else why it does not.
    pub members: Result<Vec<Member>, String>,
    /// Alarms; else why they are not known.
    pub alarms: Result<Vec<Alarm>, String>,
}

impl View {
    /// The member on a host.
    pub fn on(&self, host: &str) -> Option<&Seen> {
        self.seen.iter().find(|seen| seen.host == host)
    }

    /// Host of the member that leads, as the members see it.
    pub fn leader(&self) -> Option<&str> {
        let statuses = || self.seen.iter().filter_map(|seen| Some((seen, seen.status.as_ref().ok()?)));
        let leader = statuses().map(|(_, status)| status.leader).find(|leader| *leader != 0)?;
        statuses().find(|(_, status)| status.header.member_id == leader).map(|(seen, _)| seen.host.as_str())
    }

    /// Newest revision that any member has.
    pub fn revision(&self) -> Option<i64> {
        let statuses = self.seen.iter().filter_map(|seen| seen.status.as_ref().ok());
        statuses.map(|status| status.header.revision).max()
    }

    /// Bytes of the largest database.
    pub fn size(&self) -> u64 {
        let statuses = self.seen.iter().filter_map(|seen| seen.status.as_ref().ok());
        statuses.map(|status| status.db_size).max().unwrap_or(0)
    }

    /// Members that have not come as far as a revision that some member had before.
    pub fn behind(&self, revision: i64) -> Vec<String> {
        self.seen
            .iter()
            .filter_map(|seen| {
                let own = seen.status.as_ref().ok()?.header.revision;
                let message = format!("the member on {} is at revision {own}, not yet at {revision}", seen.host);
                (own < revision).then_some(message)
            })
            .collect()
    }

    /// All that keeps the cluster from being healthy. The member on `except` may be down: it is being worked on.
    pub fn findings(&self, except: Option<&str>) -> Vec<Finding> {
        if except.is_some_and(|host| self.is_lost_without(host)) {
            return Vec::new();
        }
        let mut findings = Vec::new();
        for seen in self.seen.iter().filter(|seen| Some(seen.host.as_str()) != except) {
            let host = seen.host.as_str();
            if let Err(why) = &seen.health {
                let message = format!("the member of etcd on host {host} is not healthy: {why}");
                findings.push(finding("member-unhealthy", host, message));
            }
            match &seen.status {
                Err(why) => {
                    let message = format!("the member of etcd on host {host} does not tell its status: {why}");
                    findings.push(finding("member-silent", host, message));
                }
                Ok(status) if status.is_learner => {
                    let message = format!("the member of etcd on host {host} is a learner and has no vote");
                    findings.push(finding("member-learner", host, message));
                }
                Ok(_) => {}
            }
        }
        findings.extend(self.alarm_findings());
        findings.extend(self.member_findings(except));
        findings.extend(self.leader_finding());
        findings
    }

    /// Whether a member is down whose lack alone stops the cluster: one or two members have no majority without it, so
    /// nothing can be asked of the others before it is back.
    fn is_lost_without(&self, host: &str) -> bool {
        self.seen.len() <= 2 && self.on(host).is_some_and(|seen| seen.health.is_err())
    }

    fn alarm_findings(&self) -> Vec<Finding> {
        match &self.alarms {
            Err(why) => vec![finding("alarms-unknown", "etcd", format!("the alarms of etcd are not known: {why}"))],
            Ok(alarms) => alarms
                .iter()
                .map(|alarm| {
                    let place = self.place_of(alarm.member_id);
                    finding("alarm", place.as_str(), format!("etcd has raised the alarm {} for {place}", alarm.kind()))
                })
                .collect(),
        }
    }

    /// Members and hosts must be the same: one too many would be left behind, one too few is no member at all.
    fn member_findings(&self, except: Option<&str>) -> Vec<Finding> {
        let members = match &self.members {
            Err(why) => {
                return vec![finding("members-unknown", "etcd", format!("the members of etcd are not known: {why}"))];
            }
            Ok(members) => members,
        };
        let mut findings = Vec::new();
        let is_of = |member: &Member, seen: &Seen| match &seen.status {
            Ok(status) => status.header.member_id == member.id,
            Err(_) => member.name == seen.name,
        };
        for member in members {
            if !self.seen.iter().any(|seen| is_of(member, seen)) {
                let name = if member.name.is_empty() { format!("{:x}", member.id) } else { member.name.clone() };
                let message =
                    format!("member {name} of etcd ({}) is on no host of this step", member.peer_urls.join(", "));
                findings.push(finding("member-elsewhere", name.as_str(), message));
            }
        }
        for seen in self.seen.iter().filter(|seen| Some(seen.host.as_str()) != except) {
            match members.iter().find(|member| is_of(member, seen)) {
                None => {
                    let message = format!("what runs on host {} is no member of the same cluster of etcd", seen.host);
                    findings.push(finding("no-member", seen.host.as_str(), message));
                }
                Some(member) if member.client_urls.is_empty() => {
                    let message = format!("the member of etcd on host {} has not joined yet", seen.host);
                    findings.push(finding("member-not-started", seen.host.as_str(), message));
                }
                Some(_) => {}
            }
        }
        findings
    }

    fn leader_finding(&self) -> Option<Finding> {
        let mut leaders: Vec<u64> =
            self.seen.iter().filter_map(|seen| seen.status.as_ref().ok()).map(|status| status.leader).collect();
        leaders.sort_unstable();
        leaders.dedup();
        match leaders.as_slice() {
            [] | [0] => Some(finding("no-leader", "etcd", "etcd has no leader")),
            [_] => None,
            _ => Some(finding("leader-disputed", "etcd", "the members of etcd do not agree who leads")),
        }
    }

    fn place_of(&self, member: u64) -> String {
        let known =
            self.seen.iter().find(|seen| seen.status.as_ref().is_ok_and(|status| status.header.member_id == member));
        known.map_or_else(|| format!("member {member:x}"), |seen| format!("host {}", seen.host))
    }
}

/// The next member to work on: one that is down first, since it costs nothing more; the leader last, so that the cluster
/// has to elect only once (<https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/>, step 5).
pub fn next_member<'a>(view: &View, waiting: &[&'a str]) -> Option<&'a str> {
    let leader = view.leader();
    let is_down = |host: &&&str| view.on(host).is_none_or(|seen| seen.health.is_err());
    waiting
        .iter()
        .find(is_down)
        .or_else(|| waiting.iter().find(|host| Some(**host) != leader))
        .or_else(|| waiting.first())
        .copied()
}

/// Messages of findings.
pub fn messages(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| finding.message.clone()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::etcdctl::{DowngradeInfo, Header};

    /// A member as it should be: member n on host n, host 1 leads.
    pub(crate) fn member(number: u64, version: &str, storage: &str) -> Seen {
        Seen {
            host: format!("h{number}"),
            name: format!("m{number}"),
            health: Ok(()),
            status: Ok(Status {
                header: Header { cluster_id: 9, member_id: number, revision: 100, raft_term: 2 },
                version: version.into(),
                leader: 1,
                storage_version: storage.into(),
                downgrade_info: (!storage.is_empty()).then(DowngradeInfo::default),
                ..Status::default()
            }),
        }
    }

    /// A cluster of such members.
    pub(crate) fn cluster(seen: Vec<Seen>) -> View {
        let members = seen
            .iter()
            .zip(1..)
            .map(|(seen, id)| Member {
                id,
                name: seen.name.clone(),
                peer_urls: vec![format!("http://{}:2380", seen.host)],
                client_urls: vec![format!("http://{}:2379", seen.host)],
            })
            .collect();
        View { seen, members: Ok(members), alarms: Ok(vec![]) }
    }

    fn three() -> View {
        cluster((1..=3).map(|n| member(n, "3.5.35", "")).collect())
    }

    fn codes(view: &View, except: Option<&str>) -> Vec<String> {
        view.findings(except).into_iter().map(|finding| finding.code).collect()
    }

    fn status_of(view: &mut View, index: usize) -> &mut Status {
        view.seen[index].status.as_mut().unwrap()
    }

    #[test]
    fn a_good_cluster_has_no_findings() {
        let view = three();
        assert_eq!(codes(&view, None), Vec::<String>::new());
        assert_eq!(view.leader(), Some("h1"));
        assert_eq!(view.revision(), Some(100));
        assert!(view.behind(100).is_empty());
    }

    #[test]
    fn a_member_that_is_down_counts_unless_it_is_worked_on() {
        let mut view = three();
        view.seen[1].health = Err("context deadline exceeded".into());
        view.seen[1].status = Err("context deadline exceeded".into());
        assert_eq!(codes(&view, None), ["member-unhealthy", "member-silent"]);
        assert!(view.findings(None)[0].message.contains("h2"));
        assert_eq!(codes(&view, Some("h2")), Vec::<String>::new());
    }

    #[test]
    fn members_and_hosts_are_held_against_each_other() {
        let mut view = three();
        view.members.as_mut().unwrap().push(Member {
            id: 0xabc,
            name: String::new(),
            peer_urls: vec!["http://old:2380".into()],
            client_urls: vec![],
        });
        assert_eq!(codes(&view, None), ["member-elsewhere"]);
        assert!(view.findings(None)[0].message.contains("http://old:2380"));

        let mut view = three();
        view.members.as_mut().unwrap().pop();
        assert_eq!(codes(&view, None), ["no-member"]);
        assert_eq!(codes(&view, Some("h3")), Vec::<String>::new());

        let mut view = three();
        view.members.as_mut().unwrap()[0].client_urls.clear();
        assert_eq!(codes(&view, None), ["member-not-started"]);
    }

    #[test]
    fn alarms_leaders_and_learners() {
        let mut view = three();
        view.alarms = Ok(vec![Alarm { member_id: 2, alarm: 2 }, Alarm { member_id: 77, alarm: 1 }]);
        assert_eq!(codes(&view, Some("h2")), ["alarm", "alarm"]);
        assert!(view.findings(None)[0].message.contains("CORRUPT for host h2"));

        let mut view = three();
        status_of(&mut view, 2).leader = 3;
        assert_eq!(codes(&view, None), ["leader-disputed"]);

        let mut view = three();
        (0..3).for_each(|index| status_of(&mut view, index).leader = 0);
        assert_eq!(codes(&view, None), ["no-leader"]);
        assert_eq!(view.leader(), None);

        let mut view = three();
        status_of(&mut view, 2).is_learner = true;
        assert_eq!(codes(&view, None), ["member-learner"]);
    }

    #[test]
    fn one_or_two_members_cannot_be_asked_while_one_is_down() {
        let mut two = cluster((1..=2).map(|n| member(n, "3.5.35", "")).collect());
        two.alarms = Err("no leader".into());
        assert_eq!(codes(&two, Some("h2")), ["alarms-unknown"]);
        two.seen[1].health = Err("down".into());
        assert_eq!(codes(&two, Some("h2")), Vec::<String>::new());
        assert!(!codes(&two, Some("h1")).is_empty());
        assert!(!codes(&two, None).is_empty());
    }

    #[test]
    fn what_is_not_known_is_not_good() {
        let mut view = three();
        view.members = Err("timed out".into());
        view.alarms = Err("timed out".into());
        assert_eq!(codes(&view, None), ["alarms-unknown", "members-unknown"]);
    }

    #[test]
    fn the_leader_comes_last_and_what_is_down_first() {
        let mut view = three();
        assert_eq!(next_member(&view, &["h1", "h2", "h3"]), Some("h2"));
        assert_eq!(next_member(&view, &["h1", "h3"]), Some("h3"));
        assert_eq!(next_member(&view, &["h1"]), Some("h1"));
        assert_eq!(next_member(&view, &[]), None);
        view.seen[2].health = Err("down".into());
        assert_eq!(next_member(&view, &["h1", "h2", "h3"]), Some("h3"));
        view.seen[0].health = Err("down".into());
        assert_eq!(next_member(&view, &["h1", "h2"]), Some("h1"));
    }

    #[test]
    fn storage_of_an_old_server_is_its_own() {
        assert_eq!(member(1, "3.5.35", "").storage(), Some(Minor(3, 5)));
        assert_eq!(member(1, "3.6.16", "3.5.0").storage(), Some(Minor(3, 5)));
        assert_eq!(member(1, "3.6.16", "").storage(), None);
        let mut downgrading = member(1, "3.6.16", "3.6.0");
        assert_eq!(downgrading.downgrade(), None);
        if let Ok(status) = &mut downgrading.status {
            status.downgrade_info = Some(DowngradeInfo { enabled: true, target_version: "3.5.0".into() });
        }
        assert_eq!(downgrading.downgrade(), Some(Minor(3, 5)));
    }

    #[test]
    fn a_member_that_lags_is_named() {
        let mut view = three();
        status_of(&mut view, 1).header.revision = 90;
        assert_eq!(view.behind(100).len(), 1);
        assert!(view.behind(100)[0].contains("h2"));
        assert!(view.behind(90).is_empty());
    }
}
