use std::collections::BTreeMap;

use runner_plugin_sdk::api::packages::PackageStatus;
use runner_plugin_sdk::api::systemd::UnitStatus;
use serde_json::{Map, Value, json};

use crate::configuration::{Configuration, Content, differing, drop_in_names, merged, reader_of};
use crate::containers::{Container, ended, not_running, parse, parse_tasks};
use crate::engine::{
    CONTAINERD, DOCKER, Info, Need, Staleness, containers_stop, installed, need, parse_containerd, parse_info, upstream,
};
use crate::owed::Owed;
use crate::{backup, parameters, update};

#[test]
fn backout_takes_no_version() {
    let typed = serde_json::from_value::<parameters::Backout>(json!({"versions": {"docker.io": "1"}}));
    assert!(typed.is_err());
}

#[test]
fn versions_are_compared_without_what_packaging_adds() {
    for (package, program) in [
        ("26.1.5+dfsg1-9+b9", "26.1.5+dfsg1"),
        ("20.10.24+dfsg1-1+deb12u1", "20.10.24+dfsg1"),
        ("1.7.24~ds1-6+b4", "1.7.24~ds1"),
        ("2:1.12.6-68.gitec8512b.el7", "1.12.6"),
        ("5:28.2.2-1~debian.12~bookworm", "28.2.2"),
    ] {
        assert_eq!(upstream(package), upstream(program));
    }
    assert_ne!(upstream("1.7.24-1"), upstream("1.7.2-1"));
}

#[test]
fn docker_says_what_runs_or_that_it_does_not() {
    let info = parse_info(r#"{"ServerVersion":"20.10.24+dfsg1","LiveRestoreEnabled":true,"Driver":"overlay2"}"#);
    let expected = Info { version: "20.10.24+dfsg1".into(), live_restore: true, driver: "overlay2".into() };
    assert_eq!(info, Ok(expected));
    let refused = parse_info(r#"{"ServerVersion":"","ServerErrors":["Cannot connect to the Docker daemon"]}"#);
    assert!(refused.is_err_and(|why| why.contains("Cannot connect")));
    assert!(parse_info(r#"{"ServerVersion":""}"#).is_err());
}

#[test]
fn the_servers_version_is_read_and_not_the_clients() {
    let text = "Client:\n  Version:  1.7.24~ds1\n  Revision: x\n\nServer:\n  Version:  1.6.20~ds1\n  UUID: y\n";
    assert_eq!(parse_containerd(text).as_deref(), Some("1.6.20~ds1"));
    assert_eq!(parse_containerd("Client:\n  Version:  1.7.24\n"), None);
}

pub(crate) fn unit(name: &str, active: &str, file: &str, since: &str) -> UnitStatus {
    UnitStatus {
        unit: name.into(),
        load_state: "loaded".into(),
        active_state: active.into(),
        sub_state: String::new(),
        file_state: file.into(),
        outcome: "success".into(),
        since: Some(since.into()),
        needs_daemon_reload: false,
        drop_ins: vec![
            format!("/etc/systemd/system/{name}.d/10-a.conf"),
            format!("/lib/systemd/system/{name}.d/20-package.conf"),
        ],
        more: vec![],
    }
}

fn seen(status: &UnitStatus) -> Staleness<'_> {
    let version = Some("20.10.24+dfsg1");
    Staleness { status, running: version, installed: Some("20.10.24+dfsg1-1"), configured: None, owed: None }
}

#[test]
fn a_daemon_restarts_only_for_a_reason() {
    let status = unit(DOCKER, "active", "enabled", "2026-11-21T08:00:00.000Z");
    let (before, after) = (Some("2026-11-21T07:59:59.999Z"), Some("2026-11-21T08:00:01.001Z"));
    let same_second = Some("2026-11-21T08:00:00.900Z");
    assert_eq!(need(seen(&status)), Need::Nothing);
    assert_eq!(need(Staleness { configured: before, owed: before, ..seen(&status) }), Need::Nothing);
    assert_eq!(need(Staleness { configured: after, ..seen(&status) }), Need::Restart);
    assert_eq!(need(Staleness { configured: same_second, ..seen(&status) }), Need::Nothing);
    assert_eq!(need(Staleness { owed: after, ..seen(&status) }), Need::Restart);
    assert_eq!(
        need(Staleness { owed: same_second, ..seen(&status) }),
        Need::Restart,
        "what is owed is never forgotten"
    );
    assert_eq!(need(Staleness { installed: Some("26.1.5+dfsg1-9"), ..seen(&status) }), Need::Restart);
    assert_eq!(need(Staleness { running: None, ..seen(&status) }), Need::Nothing);
}

#[test]
fn a_stopped_daemon_starts_only_where_it_is_meant_to_run() {
    let enabled = unit(DOCKER, "failed", "enabled", "2026-11-21T08:00:00.000Z");
    assert_eq!(need(seen(&enabled)), Need::Start);
    let disabled = unit(DOCKER, "inactive", "disabled", "2026-11-21T08:00:00.000Z");
    assert_eq!(need(seen(&disabled)), Need::Nothing);
    assert_eq!(need(Staleness { owed: Some("2026-11-21T07:00:00.000Z"), ..seen(&disabled) }), Need::Start);
    let absent = UnitStatus { load_state: "not-found".into(), ..disabled };
    assert_eq!(need(seen(&absent)), Need::Nothing);
}

#[test]
fn containers_outlive_a_restart_within_one_release_where_docker_is_told_so() {
    let info = |live_restore| Info { version: "26.1.5".into(), live_restore, driver: "overlay2".into() };
    assert!(!containers_stop(&info(false), false, Some("27.0.1")));
    assert!(containers_stop(&info(false), true, None));
    assert!(!containers_stop(&info(true), true, None));
    assert!(!containers_stop(&info(true), true, Some("26.1.9+dfsg1-1")));
    assert!(containers_stop(&info(true), true, Some("26.2.0-1")));
}

#[test]
fn the_daemons_package_is_found_among_others() {
    let status = |name: &str, version: &str| {
        let status = PackageStatus {
            name: name.into(),
            version: Some(version.into()),
            broken: false,
            held: false,
            available: vec![],
        };
        (name.to_owned(), status)
    };
    let packages =
        BTreeMap::from([status("containerd", "1.7.24-1"), status("docker-cli", "9"), status("docker.io", "26.1.5-1")]);
    assert_eq!(installed(&packages, DOCKER), Some("26.1.5-1"));
    assert_eq!(installed(&packages, CONTAINERD), Some("1.7.24-1"));
}

fn container(id: &str, running: bool, removed: bool) -> Container {
    let text = json!({"id": id, "name": format!("/{id}"), "image": "x:1", "running": running, "removed": removed, "restarts": "no", "pod": ""});
    parse(&text.to_string()).map(|mut list| list.remove(0)).unwrap_or_else(|why| panic!("{why}"))
}

#[test]
fn containers_are_read_line_by_line() {
    let text = concat!(
        r#"{"id":"a","name":"/web","image":"nginx:1.25","running":true,"removed":false,"restarts":"always","pod":""}"#,
        "\n",
        r#"{"id":"b","name":"/k8s_x","image":"p","running":true,"removed":false,"restarts":"no","pod":"web-0"}"#,
        "\n",
        r#"{"id":"c","name":"/job","image":"j","running":true,"removed":true,"restarts":"no","pod":""}"#,
        "\n",
    );
    let list = parse(text).unwrap_or_default();
    assert_eq!(list.iter().map(Container::of_kubernetes).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(list[0].describe(), "web (nginx:1.25)");
    assert_eq!(list[2].describe(), "job (j; Docker removes it when it stops)");
    assert!(parse("no JSON\n").is_err());
}

#[test]
fn a_container_that_does_not_run_is_reported() {
    let wanted = [
        container("a", true, false),
        container("b", true, false),
        container("c", true, true),
        container("d", true, false),
    ];
    let found = [container("a", true, false), container("b", false, false)];
    let findings = not_running("h", &wanted, &found);
    let subjects: Vec<&str> = findings.iter().map(|finding| finding.subject.as_str()).collect();
    assert_eq!(subjects, ["h/b", "h/c", "h/d"]);
    assert!(findings[1].message.contains("as it was told to"));
}

#[test]
fn a_pods_container_outlives_a_restart_when_its_process_does() {
    let before = parse_tasks(
        "TASK    PID     STATUS    \naa      101     RUNNING\nbb      102     RUNNING\ncc      103     STOPPED\n",
    );
    assert_eq!(before.len(), 2);
    assert_eq!(ended(&before, &before), 0);
    assert_eq!(ended(&before, &parse_tasks("TASK PID STATUS\naa 101 RUNNING\nbb 202 RUNNING\n")), 1);
    assert_eq!(ended(&before, &parse_tasks("TASK PID STATUS\n")), 2);
}

fn settings(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

#[test]
fn settings_are_merged_and_the_rest_stays() {
    let now = br#"{"data-root": "/srv", "log-opts": {"max-size": "10m", "max-file": "3"}, "storage-opts": ["a"]}"#;
    let wanted = settings(
        json!({"log-opts": {"max-size": "50m", "max-file": null}, "storage-opts": ["b"], "live-restore": true}),
    );
    let text = merged(Some(now), &wanted).ok().flatten().unwrap_or_default();
    let expected =
        json!({"data-root": "/srv", "log-opts": {"max-size": "50m"}, "storage-opts": ["b"], "live-restore": true});
    assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(expected));
    assert_eq!(merged(Some(text.as_bytes()), &wanted).ok(), Some(None));
    assert_eq!(merged(None, &settings(json!({"debug": null}))).ok(), Some(None));
    assert!(merged(Some(b"{"), &wanted).is_err());
}

#[test]
fn only_what_differs_is_changed() {
    let content = |text: &str, mode| Some(Content { data: text.as_bytes().to_vec(), mode });
    let file = |path: &str, content| (path.to_owned(), content);
    let drop_in = |name: &str, text: Option<&str>| ((DOCKER.to_owned(), name.to_owned()), text.map(str::to_owned));
    let now = Configuration {
        files: BTreeMap::from([file("/a", content("1", None)), file("/b", content("2", None)), file("/c", None)]),
        drop_ins: BTreeMap::from([drop_in("x.conf", Some("X")), drop_in("y.conf", Some("Y"))]),
    };
    let wanted = Configuration {
        files: BTreeMap::from([
            file("/a", content("1", Some(0o644))),
            file("/b", None),
            file("/c", content("3", None)),
        ]),
        drop_ins: BTreeMap::from([drop_in("x.conf", Some("X")), drop_in("y.conf", None), drop_in("z.conf", None)]),
    };
    let difference = differing(&now, &wanted);
    assert_eq!(difference.files.keys().collect::<Vec<_>>(), ["/b", "/c"]);
    assert_eq!(difference.drop_ins, BTreeMap::from([drop_in("y.conf", None)]));
    assert!(difference.touches(DOCKER) && !difference.touches(CONTAINERD));
    assert_eq!(differing(&wanted, &wanted), Configuration::default());
}

#[test]
fn a_units_own_drop_ins_are_told_from_its_packages() {
    let names = drop_in_names(&unit(CONTAINERD, "active", "enabled", ""));
    assert_eq!(names, [(CONTAINERD.to_owned(), "10-a.conf".to_owned())]);
    assert_eq!(reader_of("/etc/containerd/config.toml"), CONTAINERD);
    assert_eq!(reader_of("/etc/default/docker"), DOCKER);
}

#[test]
fn what_is_owed_adds_up() {
    let one = Owed { restart: vec![DOCKER.into()], containers: vec![container("a", true, false)] };
    let other = Owed {
        restart: vec![CONTAINERD.into(), DOCKER.into()],
        containers: vec![container("a", true, false), container("b", true, false)],
    };
    let both = one.and(&other);
    assert_eq!(both.restart, [DOCKER, CONTAINERD]);
    assert_eq!(both.containers.len(), 2);
    assert!(Owed::default().is_empty() && !both.is_empty());
}

#[test]
fn another_storage_driver_hides_what_is_stored() {
    assert!(update::storage_change("h", "overlay2", "btrfs").is_some_and(|why| why.contains("overlay2")));
    assert_eq!(update::storage_change("h", "overlay2", "overlay2"), None);
    assert_eq!(update::storage_change("h", "", "overlay2"), None);
}

#[test]
fn artifacts_have_names_that_tell_hosts_and_paths_apart() {
    assert_eq!(backup::file_name("node-1", "/etc/docker/daemon.json"), "node-1/files/etc/docker/daemon.json");
    assert_eq!(backup::drop_in_prefix("node-1", DOCKER), "node-1/drop-ins/docker.service/");
}
