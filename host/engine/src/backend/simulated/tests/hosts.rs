//! Hosts: packages, units, files, commands, HTTP, reboot.

mod files;

use super::*;
use crate::contract::FailureKind;
use crate::contract::files::{
    Attributes, CopyOrder, FileKind, FileRef, ListingOrder, Precondition, ReadOrder, RemovalOrder, RenameOrder,
    WriteOrder,
};
use crate::contract::http::{Request, Submission};
use crate::contract::packages::{HoldOrder, PackageRef, RepositoryOrder};
use crate::contract::systemd::{DropIn, DropInRef, JournalQuery, RestartOrder, UnitQuery};
use crate::contract::types::Part;

fn write(path: &str, text: &str, precondition: Precondition) -> WriteOrder {
    WriteOrder {
        host: "node-1".to_owned(),
        path: path.to_owned(),
        content: vec![Part::Text(text.to_owned())],
        precondition,
        attributes: None,
        sensitive: false,
    }
}

fn file(path: &str) -> FileRef {
    FileRef { host: "node-1".to_owned(), path: path.to_owned() }
}

async fn read(bench: &Bench, path: &str) -> Option<String> {
    let order =
        ReadOrder { host: "node-1".to_owned(), path: path.to_owned(), offset: 0, limit: 1 << 20, sensitive: false };
    let answers = bench.platform.files().read(&on("node-1"), &caller(), vec![order]).await;
    let data = one(answers.expect("no doubt")).ok()?;
    String::from_utf8(data.data).ok()
}

async fn put(bench: &Bench, order: WriteOrder) -> Result<bool, FailureKind> {
    let answers = bench.platform.files().write(&on("node-1"), &caller(), vec![order]).await;
    let answer = one(answers.expect("no doubt"));
    answer.map(|change| change.changed).map_err(|failure| failure.kind)
}

#[tokio::test]
async fn an_upgrade_touches_only_what_is_named() {
    let bench = Bench::new(json!([]), json!([]));
    let refused = bench.install("node-1", &[("agent", "2.0.0-1")], false).await;
    let Err(Failure { kind: FailureKind::Conflict(conflict), .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(conflict.blockers[0].contains("library 2.0-1"), "{:?}", conflict.blockers);
    assert!(bench.say("node-1", &["agent", "--version"]).await.starts_with("agent 1.0.0 running 1.0.0"));

    let done = bench.install("node-1", &[("library", "2.0-1"), ("agent", "2.0.0-1")], false).await;
    let done = done.expect("installed");
    assert!(done.changed);
    assert_eq!(done.packages[1].before.as_deref(), Some("1.0.0-1"));
    // Its script restarted the unit, so the new version runs.
    assert_eq!(bench.say("node-1", &["agent", "--version"]).await, "agent 2.0.0 running 2.0.0\n");
    assert_eq!(read(&bench, "/etc/agent.conf").await.as_deref(), Some("b\n"));
    let again = bench.install("node-1", &[("agent", "2.0.0-1")], false).await.expect("nothing to do");
    assert!(!again.changed);

    let removal = crate::contract::packages::RemovalOrder {
        host: "node-1".to_owned(),
        names: vec!["library".to_owned()],
        purge: false,
        time_out: 1000,
    };
    let removed = bench.platform.packages().remove(&on("node-1"), &caller(), vec![removal]).await;
    let failure = one(removed.expect("no doubt")).expect_err("the agent needs it");
    assert!(failure.message.contains("agent 2.0.0-1"), "{}", failure.message);
}

#[tokio::test]
async fn a_downgrade_needs_leave_and_a_repository() {
    let bench = Bench::new(json!([]), json!([]));
    let packages = bench.platform.packages();
    let status = PackageRef { host: "node-1".to_owned(), name: "agent".to_owned() };
    let before = one(packages.status(&on("node-1"), &caller(), vec![status.clone()]).await.expect("no doubt"))
        .expect("a status");
    assert_eq!(before.available, ["2.0.0-1", "1.0.0-1"]);
    let missing = bench.install("node-1", &[("agent", "0.9-1")], true).await.expect_err("not offered");
    assert_eq!(missing.kind, FailureKind::NotFound);
    let enable = RepositoryOrder { host: "node-1".to_owned(), id: "old".to_owned(), enabled: true };
    assert_eq!(one(packages.set_repository(&on("node-1"), &caller(), vec![enable]).await.expect("no doubt")), Ok(true));
    let refused = bench.install("node-1", &[("agent", "0.9-1")], false).await.expect_err("a downgrade");
    assert!(matches!(refused.kind, FailureKind::Conflict(_)));
    bench.install("node-1", &[("agent", "0.9-1")], true).await.expect("allowed");
    let hold = HoldOrder { host: "node-1".to_owned(), names: vec!["agent".to_owned()], held: true };
    assert_eq!(one(packages.set_held(&on("node-1"), &caller(), vec![hold]).await.expect("no doubt")), Ok(true));
    let after =
        one(packages.status(&on("node-1"), &caller(), vec![status]).await.expect("no doubt")).expect("a status");
    assert_eq!((after.version.as_deref(), after.held), (Some("0.9-1"), true));
}

#[tokio::test]
async fn configuration_changed_by_hand_is_kept_and_reported() {
    let bench = Bench::new(json!([]), json!([]));
    assert_eq!(put(&bench, write("/etc/agent.conf", "mine\n", Precondition::Anything)).await, Ok(true));
    let done = bench.install("node-1", &[("library", "2.0-1"), ("agent", "2.0.0-1")], false).await.expect("installed");
    assert_eq!(done.configuration, ["/etc/agent.conf"]);
    assert_eq!(read(&bench, "/etc/agent.conf").await.as_deref(), Some("mine\n"));
    assert_eq!(read(&bench, "/etc/agent.conf.dpkg-dist").await.as_deref(), Some("b\n"));
}

#[tokio::test]
async fn units_start_stop_and_fail() {
    let bench = Bench::new(json!([]), json!([]));
    let first = bench.unit("node-1", "agent.service").await;
    assert_eq!((first.active_state.as_str(), first.sub_state.as_str()), ("active", "running"));
    assert!(!bench.start("node-1", "agent.service").await.expect("is active").changed);
    assert!(bench.stop("node-1", "agent.service").await.expect("stops").changed);
    assert_eq!(put(&bench, write("/etc/agent.bad", "x", Precondition::Absent)).await, Ok(true));
    let failed = bench.start("node-1", "agent.service").await.expect_err("it fails");
    assert!(
        matches!(&failed.kind, FailureKind::Failed(exit) if exit.code == Some(78) && exit.tail.contains("bad configuration"))
    );
    let status = bench.unit("node-1", "agent.service").await;
    assert_eq!((status.active_state.as_str(), status.outcome.as_str()), ("failed", "exit-code"));
    // systemd has nothing to stop, and remembers the failure until the unit is started or the host boots.
    let stopped = bench.stop("node-1", "agent.service").await.expect("nothing to stop");
    assert_eq!((stopped.changed, &stopped.status), (false, &status));
    let query =
        UnitQuery { host: "node-1".to_owned(), pattern: "*".to_owned(), active_states: vec!["failed".to_owned()] };
    let found = one(bench.platform.systemd().find(&on("node-1"), &caller(), vec![query]).await.expect("no doubt"))
        .expect("units");
    assert_eq!(found.len(), 1);
    let query = JournalQuery {
        host: "node-1".to_owned(),
        unit: "agent.service".to_owned(),
        since: None,
        lines: 5,
        priority: Some(3),
    };
    let lines = one(bench.platform.systemd().journal(&on("node-1"), &caller(), vec![query]).await.expect("no doubt"))
        .expect("lines");
    assert!(lines.lines[0].contains("bad configuration"), "{lines:?}");
    assert_eq!(bench.unit("node-1", "none.service").await.load_state, "not-found");
    assert_eq!(bench.start("node-1", "none.service").await.expect_err("none").kind, FailureKind::NotFound);
}

#[tokio::test]
async fn a_drop_in_counts_after_daemon_reload_and_a_restart_is_seen() {
    let bench = Bench::new(json!([]), json!([]));
    let systemd = bench.platform.systemd();
    let at = DropInRef { host: "node-1".to_owned(), unit: "agent.service".to_owned(), name: "10-x.conf".to_owned() };
    let drop_in = DropIn { at: at.clone(), text: "[Service]\n".to_owned() };
    assert_eq!(
        one(systemd.write_drop_in(&on("node-1"), &caller(), vec![drop_in.clone()]).await.expect("no doubt")),
        Ok(true)
    );
    assert_eq!(one(systemd.write_drop_in(&on("node-1"), &caller(), vec![drop_in]).await.expect("no doubt")), Ok(false));
    let status = bench.unit("node-1", "agent.service").await;
    assert!(status.needs_daemon_reload);
    assert_eq!(status.drop_ins, ["/etc/systemd/system/agent.service.d/10-x.conf"]);
    assert!(
        one(systemd.daemon_reload(&on("node-1"), &caller(), vec!["node-1".to_owned()]).await.expect("no doubt"))
            .is_ok()
    );
    assert!(!bench.unit("node-1", "agent.service").await.needs_daemon_reload);
    let before = bench.unit("node-1", "agent.service").await.more;
    let restart =
        RestartOrder { host: "node-1".to_owned(), unit: "agent.service".to_owned(), key: String::new(), time_out: 1 };
    assert!(one(systemd.restart(&on("node-1"), &caller(), vec![restart]).await.expect("no doubt")).is_ok());
    assert_ne!(bench.unit("node-1", "agent.service").await.more, before);
    assert_eq!(one(systemd.remove_drop_in(&on("node-1"), &caller(), vec![at]).await.expect("no doubt")), Ok(true));
    assert!(bench.unit("node-1", "agent.service").await.drop_ins.is_empty());
}

#[tokio::test]
async fn commands_answer_as_their_behaviours_say() {
    let bench = Bench::new(json!([]), json!([]));
    assert_eq!(bench.say("node-1", &["agent", "set", "x=1"]).await, "{\"was\":null}\n");
    assert_eq!(bench.say("node-1", &["/usr/bin/agent", "set", "x=2"]).await, "{\"was\":\"1\"}\n");
    let failed = bench.run("node-1", &["agent", "fail"], EffectClass::Read).await.expect_err("it fails");
    assert!(matches!(&failed.kind, FailureKind::Failed(exit) if exit.code == Some(3) && exit.tail == "no\n"));
    let unknown = bench.run("node-1", &["frobnicate"], EffectClass::Read).await.expect_err("unknown");
    assert!(
        matches!(&unknown.kind, FailureKind::Failed(exit) if exit.code == Some(127) && exit.tail.contains("simulated.json"))
    );
    let broken = bench.run("node-1", &["agent", "broken"], EffectClass::Read).await.expect_err("broken");
    assert!(
        matches!(&broken.kind, FailureKind::Failed(exit) if exit.code == Some(125) && exit.tail.contains("nothing.here"))
    );
    let missing = bench.run("master-1", &["agent", "--version"], EffectClass::Read).await.expect_err("not installed");
    assert!(matches!(&missing.kind, FailureKind::Failed(exit) if exit.code == Some(127)));
    let liar = bench.run("node-1", &["agent", "set", "x=3"], EffectClass::Read).await.expect_err("it writes");
    assert_eq!(liar.kind, FailureKind::Invalid);
    assert_eq!(bench.say("node-1", &["agent", "set", "x=3"]).await, "{\"was\":\"2\"}\n", "nothing of it was kept");
}

#[tokio::test]
async fn another_process_finds_the_same_world() {
    let bench = Bench::new(json!([]), json!([]));
    bench.say("node-1", &["agent", "set", "x=1"]).await;
    let facts = bench.platform.facts("");
    let bench = bench.reopen(json!([]));
    assert_eq!(bench.platform.facts(""), facts);
    let unknown = one(bench
        .platform
        .systemd()
        .status(&on("node-9"), &caller(), vec![UnitRef { host: "node-9".to_owned(), unit: "x".to_owned() }])
        .await
        .expect("no doubt"));
    assert_eq!(unknown.expect_err("no such host").kind, FailureKind::Unreachable);
}
