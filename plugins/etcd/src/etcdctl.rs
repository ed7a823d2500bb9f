//! What `etcdctl` and `etcdutl` are asked, and what they answer. Field names are those of their JSON in 3.5 and 3.6;
//! numbers that are zero and lists that are empty are left out by both.

use runner_plugin_sdk::{Command, Failure, FailureKind, failure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::parameters::Tls;

/// Health of one endpoint, from `endpoint health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointHealth {
    /// Which one.
    pub endpoint: String,
    /// Whether a proposal went through it.
    pub health: bool,
    /// How long it took.
    #[serde(default)]
    pub took: String,
    /// Why not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// One endpoint's answer, from `endpoint status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Which one.
    #[serde(rename = "Endpoint")]
    pub endpoint: String,
    /// What it says of itself.
    #[serde(rename = "Status")]
    pub status: Status,
}

/// What a member says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Who answers, and how far it is.
    pub header: Header,
    /// Version of the server that runs.
    #[serde(default)]
    pub version: String,
    /// Bytes of its database.
    #[serde(default)]
    pub db_size: u64,
    /// Member that leads; 0: none.
    #[serde(default)]
    pub leader: u64,
    /// Newest entry of its log.
    #[serde(default)]
    pub raft_index: u64,
    /// Newest entry it has applied.
    #[serde(default)]
    pub raft_applied_index: u64,
    /// Alarms, and "no leader".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Whether it has no vote.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_learner: bool,
    /// Version of the format its data is in; 3.5 does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub storage_version: String,
    /// Downgrade under way; 3.5 does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downgrade_info: Option<DowngradeInfo>,
}

/// A downgrade under way, since 3.6.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DowngradeInfo {
    /// Whether there is one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,
    /// Where it leads: `3.5.0`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_version: String,
}

/// Head of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Cluster that answers.
    #[serde(default)]
    pub cluster_id: u64,
    /// Member that answers.
    #[serde(default)]
    pub member_id: u64,
    /// Revision of its data.
    #[serde(default)]
    pub revision: i64,
    /// Term of the leader.
    #[serde(default)]
    pub raft_term: u64,
}

/// A member of the cluster, from `member list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    #[serde(rename = "ID")]
    pub id: u64,
    /// Its name; empty until it has started once.
    #[serde(default)]
    pub name: String,
    /// Where the others reach it.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started once.
    #[serde(rename = "clientURLs", default)]
    pub client_urls: Vec<String>,
}

#[derive(Deserialize)]
struct MemberList {
    #[serde(default)]
    members: Vec<Member>,
}

/// An alarm, from `alarm list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Member that raised it.
    #[serde(rename = "memberID", default)]
    pub member_id: u64,
    /// Its kind as a number.
    #[serde(default)]
    pub alarm: i32,
}

impl Alarm {
    /// Its kind in etcd's words.
    pub fn kind(&self) -> &'static str {
        match self.alarm {
            1 => "NOSPACE",
            2 => "CORRUPT",
            _ => "unknown alarm",
        }
    }
}

#[derive(Deserialize)]
struct AlarmList {
    #[serde(default)]
    alarms: Vec<Alarm>,
}

/// What is in a snapshot, from `etcdutl snapshot status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStatus {
    /// Hash of its keys and values.
    pub hash: u32,
    /// Revision of its data.
    #[serde(default)]
    pub revision: i64,
    /// Keys in it.
    #[serde(rename = "totalKey", default)]
    pub total_keys: u64,
    /// Bytes.
    #[serde(rename = "totalSize", default)]
    pub total_size: u64,
}

/// Reads the answer for the one endpoint that was asked.
pub fn health(text: &str) -> Result<EndpointHealth, String> {
    only(parse(text)?)
}

/// Reads the answer for the one endpoint that was asked.
pub fn status(text: &str) -> Result<Status, String> {
    only(parse::<Vec<EndpointStatus>>(text)?).map(|answer| answer.status)
}

/// Reads the members.
pub fn members(text: &str) -> Result<Vec<Member>, String> {
    parse::<MemberList>(text).map(|list| list.members)
}

/// Reads the alarms.
pub fn alarms(text: &str) -> Result<Vec<Alarm>, String> {
    parse::<AlarmList>(text).map(|list| list.alarms)
}

/// Reads what is in a snapshot.
pub fn snapshot(text: &str) -> Result<SnapshotStatus, String> {
    parse(text)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("the answer cannot be read: {error}"))
}

fn only<T>(list: Vec<T>) -> Result<T, String> {
    let count = list.len();
    let mut answers = list.into_iter();
    match (answers.next(), answers.next()) {
        (Some(answer), None) => Ok(answer),
        _ => Err(format!("one endpoint was asked, {count} answered")),
    }
}

/// A failure for an answer of a command that cannot be used.
pub fn unreadable(host: &str, why: String) -> Failure {
    failure(FailureKind::Other("unreadable-answer".into()), host, why)
}

/// `etcdctl` on a member's host, at that member's endpoint. What proves who asks is given by the environment
/// (`ETCDCTL_CACERT`, …, <https://github.com/etcd-io/etcd/tree/main/etcdctl#configuration>), so that the arguments are
/// the same on every installation and a grant can name them exactly.
#[derive(Debug, Clone)]
pub struct Etcdctl<'a> {
    /// Where it runs.
    pub host: &'a str,
    /// Whom it asks.
    pub endpoint: &'a str,
    /// How it proves who it is.
    pub tls: &'a Tls,
    /// Unit of the server that answers: what its answers depend on.
    pub unit: &'a str,
}

/// Word for what the members hold: data, its format, a downgrade.
const CLUSTER: &str = "etcd:cluster";
/// Word for who the members are, and their alarms: nothing that this plugin does changes them.
const MEMBERS: &str = "etcd:members";

impl Etcdctl<'_> {
    /// `endpoint health`: a proposal that goes through, and alarms.
    pub fn health(&self) -> Command {
        let good = EndpointHealth {
            endpoint: self.endpoint.to_owned(),
            health: true,
            took: "1ms".into(),
            error: String::new(),
        };
        self.read(&["endpoint", "health"]).accept([1]).answers(json(&[good]))
    }

    /// `endpoint status`, with the answer a plan goes on with.
    pub fn status(&self, forecast: Option<Status>) -> Command {
        let command = self.read(&["endpoint", "status"]).accept([1]);
        match forecast {
            Some(status) => command.answers(json(&[EndpointStatus { endpoint: self.endpoint.to_owned(), status }])),
            None => command,
        }
    }

    /// `member list`.
    pub fn members(&self) -> Command {
        self.read(&["member", "list"]).reads([MEMBERS])
    }

    /// `alarm list`.
    pub fn alarms(&self) -> Command {
        self.read(&["alarm", "list"]).reads([MEMBERS])
    }

    /// `snapshot save`, to a file on the host. It asks exactly one endpoint, as it must.
    pub fn save_snapshot(&self, path: &str, seconds: u32) -> Command {
        let argv = self.argv(&["snapshot", "save", path]);
        let command = Command::write(self.host, argv).seconds(seconds);
        self.with_tls(command).reads([CLUSTER]).writes([format!("file:{path}")]).answers("")
    }

    /// `downgrade validate`.
    pub fn validate_downgrade(&self, target: &str) -> Command {
        let argv = self.argv(&["downgrade", "validate", target]);
        self.with_tls(Command::read(self.host, argv)).reads([CLUSTER]).answers("")
    }

    /// `downgrade enable`.
    pub fn enable_downgrade(&self, target: &str) -> Command {
        let argv = self.argv(&["downgrade", "enable", target]);
        self.with_tls(Command::write(self.host, argv)).writes([CLUSTER]).answers("")
    }

    /// `downgrade cancel`.
    pub fn cancel_downgrade(&self) -> Command {
        let argv = self.argv(&["downgrade", "cancel"]);
        self.with_tls(Command::write(self.host, argv)).writes([CLUSTER]).answers("")
    }

    fn read(&self, words: &[&str]) -> Command {
        let mut argv = self.argv(words);
        argv.push("--write-out=json".into());
        let command = Command::read(self.host, argv);
        self.with_tls(command).reads([format!("unit:{}", self.unit), CLUSTER.to_owned()])
    }

    fn argv(&self, words: &[&str]) -> Vec<String> {
        let mut argv = vec!["etcdctl".to_owned(), format!("--endpoints={}", self.endpoint)];
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        argv
    }

    fn with_tls(&self, mut command: Command) -> Command {
        let variables =
            [("ETCDCTL_CACERT", &self.tls.cacert), ("ETCDCTL_CERT", &self.tls.cert), ("ETCDCTL_KEY", &self.tls.key)];
        for (name, value) in variables {
            if let Some(value) = value {
                command = command.env(name, value.as_str());
            }
        }
        command
    }
}

/// `etcdutl snapshot status` of a file on a host, with what a plan goes on with. It also tells a whole snapshot from a
/// torn one.
pub fn snapshot_status(host: &str, path: &str, seconds: u32, forecast: &SnapshotStatus) -> Command {
    Command::read(host, ["etcdutl", "snapshot", "status", path, "--write-out=json"])
        .seconds(seconds)
        .reads([format!("file:{path}")])
        .answers(serde_json::to_string(forecast).unwrap_or_default())
}

fn json<T: Serialize>(value: &[T]) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_as_it_is_said() {
        let good = health(include_str!("../fixtures/health-good.json")).unwrap();
        assert!(good.health && good.error.is_empty());
        let down = health(include_str!("../fixtures/health-one-down.json")).unwrap();
        assert!(!down.health);
        assert_eq!(down.error, "context deadline exceeded");
        let alarm = health(include_str!("../fixtures/health-alarm.json")).unwrap();
        assert_eq!(alarm.error, "Active Alarm(s): NOSPACE NOSPACE NOSPACE ");
    }

    #[test]
    fn status_of_3_5_says_nothing_of_storage() {
        let status = status(include_str!("../fixtures/status-3.5.json")).unwrap();
        assert_eq!(status.version, "3.5.35");
        assert_eq!(status.storage_version, "");
        assert_eq!(status.downgrade_info, None);
        assert_eq!(status.header.member_id, 15_429_915_573_580_438_332);
        assert_eq!(status.leader, status.header.member_id);
        assert_eq!(status.header.revision, 3);
        assert_eq!(status.db_size, 20480);
    }

    #[test]
    fn status_of_3_6_says_storage_and_downgrade() {
        let plain = status(include_str!("../fixtures/status-3.6.json")).unwrap();
        assert_eq!(plain.storage_version, "3.6.0");
        assert_eq!(plain.downgrade_info, Some(DowngradeInfo::default()));
        let downgrade = status(include_str!("../fixtures/status-3.6-downgrade.json")).unwrap();
        let info = downgrade.downgrade_info.unwrap();
        assert!(info.enabled);
        assert_eq!(info.target_version, "3.5.0");
        assert_eq!(downgrade.storage_version, "3.5.0");
        let alarm = status(include_str!("../fixtures/status-3.6-alarm.json")).unwrap();
        assert_eq!(alarm.errors, ["memberID:15429915573580438332 alarm:NOSPACE "]);
    }

    #[test]
    fn members_and_alarms() {
        let members = members(include_str!("../fixtures/members.json")).unwrap();
        assert_eq!(members.len(), 3);
        assert_eq!(members[0].name, "m2");
        assert_eq!(members[2].client_urls, ["http://127.0.0.1:12379"]);
        assert!(alarms(include_str!("../fixtures/alarms-none.json")).unwrap().is_empty());
        let raised = alarms(include_str!("../fixtures/alarms-nospace.json")).unwrap();
        assert_eq!(raised.len(), 3);
        assert_eq!(raised[0].kind(), "NOSPACE");
    }

    #[test]
    fn snapshots_of_both_versions() {
        let old = snapshot(include_str!("../fixtures/snapshot-3.5.json")).unwrap();
        assert_eq!((old.hash, old.revision, old.total_size), (2_108_350_032, 3, 20480));
        assert_eq!(snapshot(include_str!("../fixtures/snapshot-3.6.json")).unwrap().total_keys, 2);
    }

    #[test]
    fn no_answer_is_an_error_and_not_a_default() {
        for text in ["", "[]", "{}", "null", "Error: unhealthy cluster", "[{},{}]"] {
            assert!(health(text).is_err(), "{text:?}");
            assert!(status(text).is_err(), "{text:?}");
        }
        assert!(members("").is_err());
        assert!(snapshot("{}").is_err());
        let two = r#"[{"endpoint":"a","health":true},{"endpoint":"b","health":true}]"#;
        assert!(health(two).is_err());
    }

    #[test]
    fn arguments_are_closed_and_proofs_are_in_the_environment() {
        let tls = Tls { cacert: Some("/pki/ca.crt".into()), cert: None, key: None };
        let etcdctl = Etcdctl { host: "h", endpoint: "https://10.0.0.1:2379", tls: &tls, unit: "etcd.service" };
        let order = etcdctl.status(Some(Status::default())).order();
        let argv = ["etcdctl", "--endpoints=https://10.0.0.1:2379", "endpoint", "status", "--write-out=json"];
        assert_eq!(order.argv, argv);
        let options = order.options.unwrap();
        assert_eq!(options.accept, [1]);
        assert_eq!(options.environment.len(), 1);
        assert_eq!(options.environment[0].name, "ETCDCTL_CACERT");
        let forecast = order.forecast.unwrap().output.unwrap();
        assert!(status(&String::from_utf8(forecast.stdout.data).unwrap()).is_ok());
    }
}
