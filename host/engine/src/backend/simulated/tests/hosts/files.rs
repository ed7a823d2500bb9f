//! Files, endpoints, reboot.

use super::*;

#[tokio::test]
async fn files_keep_their_preconditions() {
    let bench = Bench::new(json!([]), json!([]));
    assert_eq!(put(&bench, write("/etc/x", "1", Precondition::Absent)).await, Ok(true));
    assert!(matches!(put(&bench, write("/etc/x", "2", Precondition::Absent)).await, Err(FailureKind::Conflict(_))));
    let hash =
        one(bench.platform.files().hash(&on("node-1"), &caller(), vec![file("/etc/x")]).await.expect("no doubt"))
            .expect("a hash");
    assert!(matches!(
        put(&bench, write("/etc/x", "2", Precondition::Hash("0".repeat(64)))).await,
        Err(FailureKind::Conflict(_))
    ));
    assert_eq!(put(&bench, write("/etc/x", "2", Precondition::Hash(hash))).await, Ok(true));
    assert_eq!(put(&bench, write("/etc/x", "2", Precondition::Anything)).await, Ok(false));
    assert_eq!(put(&bench, write("/none/x", "2", Precondition::Anything)).await, Err(FailureKind::NotFound));
    let mode = Attributes { mode: Some(0o600), owner: None, group: None, context: None };
    let secret = WriteOrder { attributes: Some(mode), ..write("/etc/x", "2", Precondition::Anything) };
    assert_eq!(put(&bench, secret).await, Ok(true));
    let status =
        one(bench.platform.files().stat(&on("node-1"), &caller(), vec![file("/etc/x")]).await.expect("no doubt"))
            .expect("a status");
    assert_eq!((status.mode, status.size), (0o600, 1));
    let rename = RenameOrder {
        host: "node-1".to_owned(),
        source: "/etc/x".to_owned(),
        destination: "/etc/y".to_owned(),
        key: String::new(),
    };
    assert!(
        one(bench.platform.files().rename(&on("node-1"), &caller(), vec![rename]).await.expect("no doubt")).is_ok()
    );
    assert_eq!(read(&bench, "/etc/x").await, None);
    assert_eq!(read(&bench, "/etc/y").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn links_are_followed_as_a_host_does() {
    let bench = Bench::new(json!([]), json!([]));
    let (files, node) = (bench.platform.files(), on("node-1"));
    let asked = ["/srv/link", "/srv/link/resolv.conf", "/srv/link/none/x", "/etc/x"].map(str::to_owned).to_vec();
    let real: Vec<String> = bench
        .platform
        .real_paths(&node, asked)
        .await
        .into_iter()
        .map(|path| path.expect("it can be followed"))
        .collect();
    assert_eq!(real, ["/etc", "/etc/resolv.conf", "/etc/none/x", "/etc/x"]);

    let removal = RemovalOrder {
        host: "node-1".to_owned(),
        path: "/srv/link".to_owned(),
        recursive: false,
        contents_only: true,
        precondition: Precondition::Anything,
    };
    let refused = one(files.remove(&node, &caller(), vec![removal]).await.expect("no doubt"));
    assert_eq!(refused.expect_err("it is no directory").kind, FailureKind::Invalid);
    let copy = CopyOrder {
        host: "node-1".to_owned(),
        source: "/var/lib/data/a".to_owned(),
        destination: "/srv/link/resolv.conf".to_owned(),
        precondition: Precondition::Absent,
    };
    let refused = one(files.copy(&node, &caller(), vec![copy]).await.expect("no doubt"));
    assert!(matches!(refused.expect_err("it is there").kind, FailureKind::Conflict(_)));
    let rename = RenameOrder {
        host: "node-1".to_owned(),
        source: "/srv/link".to_owned(),
        destination: "/srv/other".to_owned(),
        key: String::new(),
    };
    one(files.rename(&node, &caller(), vec![rename]).await.expect("no doubt")).expect("the link goes");
    assert_eq!(read(&bench, "/srv/link/resolv.conf").await, None);
    assert!(read(&bench, "/srv/other/resolv.conf").await.is_some() && read(&bench, "/etc/resolv.conf").await.is_some());
    let status = one(files.stat(&node, &caller(), vec![file("/srv/other")]).await.expect("no doubt"));
    assert_eq!(status.expect("a status").kind, FileKind::SymbolicLink);
}

#[tokio::test]
async fn what_many_items_bring_is_bounded_together() {
    let bench = Bench::new(json!([]), json!([]));
    let order = ReadOrder {
        host: "node-1".to_owned(),
        path: "/usr/bin/agent".to_owned(),
        offset: 0,
        limit: 1 << 20,
        sensitive: false,
    };
    let answers = bench.platform.files().read(&on("node-1"), &caller(), vec![order; 40]).await.expect("no doubt");
    let had: usize = answers.iter().flatten().map(|found| found.data.len()).sum();
    assert_eq!(had, 16 << 20);
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().map_or_else(|failure| failure.kind == FailureKind::TooLarge, |_| true))
    );
}

#[tokio::test]
async fn a_directory_is_emptied_hidden_files_too() {
    let bench = Bench::new(json!([]), json!([]));
    let listing = ListingOrder { host: "node-1".to_owned(), path: "/var/lib/data".to_owned(), depth: 1, limit: 10 };
    let names = || async {
        let answers = bench.platform.files().entries(&on("node-1"), &caller(), vec![listing.clone()]).await;
        let entries = one(answers.expect("no doubt")).expect("entries");
        entries.into_iter().map(|entry| entry.path).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["/var/lib/data/.b", "/var/lib/data/a"]);
    let removal = RemovalOrder {
        host: "node-1".to_owned(),
        path: "/var/lib/data".to_owned(),
        recursive: false,
        contents_only: true,
        precondition: Precondition::Anything,
    };
    let done =
        one(bench.platform.files().remove(&on("node-1"), &caller(), vec![removal.clone()]).await.expect("no doubt"));
    assert!(done.expect("emptied").changed);
    assert!(names().await.is_empty());
    let again = one(bench.platform.files().remove(&on("node-1"), &caller(), vec![removal]).await.expect("no doubt"));
    assert!(!again.expect("nothing there").changed);
}

#[tokio::test]
async fn endpoints_answer_for_the_host_they_address() {
    let bench = Bench::new(json!([]), json!([]));
    let request = |url: &str| Request {
        url: url.to_owned(),
        headers: Vec::new(),
        via: None,
        trust: None,
        time_out: 1,
        body_limit: 0,
        forecast: None,
    };
    let get = |url: &str| {
        let request = request(url);
        let platform = bench.platform.clone();
        async move { one(platform.http().get(&Place::Runner, &caller(), vec![request]).await.expect("no doubt")) }
    };
    let answer = get("http://10.0.0.3:8080/health").await.expect("an answer");
    assert_eq!(
        (answer.status, String::from_utf8_lossy(&answer.body).as_ref()),
        (200, "{\"host\":\"node-2\",\"q\":\"/health\"}")
    );
    bench.stop("node-2", "agent.service").await.expect("stops");
    assert_eq!(get("http://10.0.0.3:8080/health").await.expect("an answer").status, 503);
    assert_eq!(get("http://10.0.0.3:9/none").await.expect_err("none").kind, FailureKind::Unreachable);
    let submission = Submission {
        request: request("http://node-2:8080/reset"),
        method: "POST".to_owned(),
        body: vec![Part::Text("now".to_owned())],
        effect: EffectClass::WriteIdempotent,
        key: String::new(),
    };
    let answer = one(bench.platform.http().send(&Place::Runner, &caller(), vec![submission]).await.expect("no doubt"))
        .expect("an answer");
    assert_eq!(answer.status, 202);
    let state = bench.platform.facts("host/node-2/component/agent");
    assert_eq!(state[0].1, "{\"reset\":\"now\"}");
}

#[tokio::test]
async fn a_reboot_changes_the_marker_and_starts_what_is_enabled() {
    let bench = Bench::new(json!([]), json!([]));
    let facts = || async {
        one(bench.platform.host().facts(&on("node-1"), &caller(), vec!["node-1".to_owned()]).await.expect("no doubt"))
            .expect("facts")
    };
    let before = facts().await;
    let disable = UnitRef { host: "node-1".to_owned(), unit: "agent.service".to_owned() };
    assert!(
        one(bench.platform.systemd().disable(&on("node-1"), &caller(), vec![disable]).await.expect("no doubt")).is_ok()
    );
    let order = crate::contract::host::RebootOrder { host: "node-1".to_owned(), key: String::new(), time_out: 1 };
    let after = one(bench.platform.host().reboot(&on("node-1"), &caller(), vec![order]).await.expect("no doubt"))
        .expect("it comes back");
    assert_ne!(before.boot, after.boot);
    assert_eq!(facts().await.boot, after.boot);
    assert_eq!(bench.unit("node-1", "agent.service").await.active_state, "inactive");

    assert_eq!(put(&bench, write("/etc/agent.bad", "x", Precondition::Absent)).await, Ok(true));
    assert!(bench.start("node-1", "agent.service").await.is_err());
    assert_eq!(bench.unit("node-1", "agent.service").await.active_state, "failed");
    let order = crate::contract::host::RebootOrder { host: "node-1".to_owned(), key: String::new(), time_out: 1 };
    one(bench.platform.host().reboot(&on("node-1"), &caller(), vec![order]).await.expect("no doubt"))
        .expect("it comes back");
    let forgotten = bench.unit("node-1", "agent.service").await;
    assert_eq!((forgotten.active_state.as_str(), forgotten.outcome.as_str()), ("inactive", "success"));
}
