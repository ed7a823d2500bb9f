//! Faults from a file.

use super::*;
use crate::contract::FailureKind;
use crate::contract::files::{FileRef, Precondition, WriteOrder};
use crate::contract::types::Part;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_host_is_unreachable_for_a_while_even_over_a_restart() {
    let faults = json!([{"fault": "unreachable", "host": "node-1", "from": 2, "count": 2}]);
    let bench = Bench::new(json!([]), faults.clone());
    let status = |bench: &Bench| {
        let platform = bench.platform.clone();
        async move {
            let asked = UnitRef { host: "node-1".to_owned(), unit: "agent.service".to_owned() };
            one(platform.systemd().status(&on("node-1"), &caller(), vec![asked]).await.expect("no doubt")).is_ok()
        }
    };
    assert!(status(&bench).await);
    assert!(!status(&bench).await);
    let bench = bench.reopen(faults);
    assert!(!status(&bench).await);
    assert!(status(&bench).await);
    assert_eq!(bench.unit("node-2", "agent.service").await.active_state, "active");
}

#[tokio::test]
async fn units_and_packages_fail_as_often_as_told() {
    let faults = json!([
        {"fault": "unit-start", "host": "node-1", "unit": "agent.*", "message": "no such thing", "count": 1},
        {"fault": "package", "host": "node-2", "package": "agent", "version": "2.0.0-1", "count": 1},
    ]);
    let bench = Bench::new(json!([]), faults);
    bench.stop("node-1", "agent.service").await.expect("stops");
    let failed = bench.start("node-1", "agent.service").await.expect_err("once");
    assert!(failed.message.contains("no such thing"), "{}", failed.message);
    assert_eq!(bench.unit("node-1", "agent.service").await.active_state, "failed");
    bench.start("node-1", "agent.service").await.expect("the second time");

    let upgrade = [("library", "2.0-1"), ("agent", "2.0.0-1")];
    let failed = bench.install("node-2", &upgrade, false).await.expect_err("once");
    assert!(matches!(&failed.kind, FailureKind::Failed(exit) if exit.tail.contains("post-installation script")));
    let asked = crate::contract::packages::PackageRef { host: "node-2".to_owned(), name: "agent".to_owned() };
    let status = one(bench.platform.packages().status(&on("node-2"), &caller(), vec![asked]).await.expect("no doubt"))
        .expect("a status");
    assert_eq!((status.version.as_deref(), status.broken), (Some("2.0.0-1"), true));
    assert!(bench.install("node-2", &upgrade, false).await.expect("mended").changed);
}

#[tokio::test]
async fn a_lost_connection_leaves_doubt() {
    let faults = json!([
        {"fault": "connection-lost", "host": "node-1", "function": "systemd.stop", "performed": true},
        {"fault": "connection-lost", "host": "node-2", "function": "systemd.stop", "performed": false},
    ]);
    let bench = Bench::new(json!([]), faults);
    for (host, state) in [("node-1", "inactive"), ("node-2", "active")] {
        let order = order(host, "agent.service");
        assert!(bench.platform.systemd().stop(&on(host), &caller(), vec![order]).await.is_err(), "{host}");
        assert_eq!(bench.unit(host, "agent.service").await.active_state, state, "{host}");
    }
}

#[tokio::test]
async fn a_full_disk_takes_no_more() {
    let faults = json!([{"fault": "disk-full", "host": "node-1", "path": "/var"}]);
    let bench = Bench::new(json!([]), faults);
    let write = |path: &str| WriteOrder {
        host: "node-1".to_owned(),
        path: path.to_owned(),
        content: vec![Part::Text("some text".to_owned())],
        precondition: Precondition::Anything,
        attributes: None,
        sensitive: false,
    };
    let full = one(bench
        .platform
        .files()
        .write(&on("node-1"), &caller(), vec![write("/var/lib/data/a")])
        .await
        .expect("no doubt"));
    assert!(full.expect_err("full").message.contains("no space left"));
    assert!(
        one(bench.platform.files().write(&on("node-1"), &caller(), vec![write("/etc/a")]).await.expect("no doubt"))
            .is_ok()
    );
    let asked = FileRef { host: "node-1".to_owned(), path: "/var/lib".to_owned() };
    let room = one(bench.platform.files().space(&on("node-1"), &caller(), vec![asked]).await.expect("no doubt"))
        .expect("room");
    assert_eq!(room.available, 0);
}

#[tokio::test]
async fn the_api_is_slow_and_fails() {
    let faults = json!([
        {"fault": "slow", "cluster": "main", "delay": "50ms", "count": 1},
        {"fault": "api", "cluster": "main", "status": "conflict", "from": 2, "count": 1},
    ]);
    let bench = Bench::new(json!([]), faults);
    let begin = Instant::now();
    let servers = || async {
        one(bench.platform.kubernetes().servers(&main(), &caller(), vec!["main".to_owned()]).await.expect("no doubt"))
    };
    assert!(servers().await.is_ok());
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(matches!(servers().await.expect_err("once").kind, FailureKind::Conflict(_)));
    assert!(servers().await.is_ok());
}

#[test]
fn what_a_fault_needs_is_said() {
    let path = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(path.path(), r#"{"faults": [{"fault": "unit-start", "host": "x"}, {"fault": "nonsense"}]}"#)
        .expect("written");
    let error = read_faults(path.path()).expect_err("two mistakes").to_string();
    assert!(error.contains("nonsense"), "{error}");
}
