use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{EffectClass, Place, load};

fn usage(capability: &str) -> Use<'_> {
    Use {
        capability,
        place: Place::Host("node-1".to_owned()),
        own: true,
        groups: &[],
        subjects: Vec::new(),
        argv: &[],
        class: EffectClass::Read,
        stated: false,
    }
}

fn subject<'a>(capability: &'a str, field: Field, text: &str) -> Use<'a> {
    Use { subjects: vec![(field, text.to_owned())], ..usage(capability) }
}

fn grant(text: &str) -> Grant {
    serde_json::from_str(text).unwrap()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_line_is_written_as_it_was_read() {
    let lines = [
        r#"{"plugin":"etcd","allow":"systemd.stop","units":["etcd.service"]}"#,
        r#"{"plugin":"etcd","allow":"exec.run","hosts":["etcd"],"argv":["/usr/bin/etcdctl","--endpoints=*","**"],"effects":["read"]}"#,
        r#"{"plugin":"etcd","allow":"exec.run","argv":["etcdctl"],"environment":["ETCDCTL_*"],"users":["etcd"],"directories":["/srv/*"]}"#,
        r#"{"plugin":"k","allow":"kubernetes.apply","kinds":["DaemonSet.apps"],"namespaces":["kube-flannel"],"names":["x"]}"#,
    ];
    for line in lines {
        assert_eq!(grant(line).to_string(), line);
    }
    let text = format!(r#"{{"$schema": "s", "grants": [{}]}}"#, lines.join(","));
    let policy = load::<Policy>(&text, "p.json").unwrap();
    let written = policy.to_text();
    assert_eq!(load::<Policy>(&written, "p").unwrap().value(), policy.value());
    for line in lines {
        assert!(written.lines().any(|l| l.trim().trim_end_matches(',') == line), "{written}");
    }
}

#[test]
fn a_request_becomes_the_line_that_grants_it() {
    let request: Request = serde_json::from_value(json!({
        "capability": "files.write", "paths": ["${parameters.directory}/**", "${parameters.files}"],
        "reason": "configuration"}))
    .unwrap();
    let parameters = json!({"directory": "/etc/etcd", "files": ["/a", "/b"]});
    let line = request.to_grant("etcd", &parameters).unwrap();
    assert_eq!(line.to_string(), r#"{"plugin":"etcd","allow":"files.write","paths":["/etc/etcd/**","/a","/b"]}"#);
    assert!(line.allows(&subject("files.write", Field::Paths, "/etc/etcd/x/y")));
    let error = request.to_grant("etcd", &json!({"directory": "/x"})).unwrap_err();
    assert_eq!(error.parameter, "files");
    assert!(request.to_grant("etcd", &json!({"directory": {}, "files": []})).is_err());
}

#[test]
fn what_is_left_out_is_not_granted() {
    let line = grant(r#"{"plugin":"etcd","allow":"systemd.stop"}"#);
    assert!(!line.allows(&subject("systemd.stop", Field::Units, "etcd.service")));
    let line = grant(r#"{"plugin":"etcd","allow":"systemd.stop","units":["etcd.service"]}"#);
    assert!(line.allows(&subject("systemd.stop", Field::Units, "etcd.service")));
    assert!(!line.allows(&subject("systemd.start", Field::Units, "etcd.service")));
    assert!(!line.allows(&subject("systemd.stop", Field::Units, "etcd.socket")));
    let two = [(Field::Units, "etcd.service".to_owned()), (Field::Units, "x.service".to_owned())];
    assert!(!line.allows(&Use { subjects: two.to_vec(), ..usage("systemd.stop") }));
    let policy = Policy { grants: vec![line], ..Policy::default() };
    assert!(policy.covering("etcd", &subject("systemd.stop", Field::Units, "etcd.service")).is_some());
    assert!(policy.covering("docker", &subject("systemd.stop", Field::Units, "etcd.service")).is_none());
}

#[test]
fn secrets_of_a_cluster_are_granted_by_their_full_name_alone() {
    let reading = |kind: &str| Use {
        subjects: vec![(Field::Kinds, kind.to_owned()), (Field::Namespaces, "app".to_owned())],
        ..usage("kubernetes.get")
    };
    let line = |kinds: &str| {
        grant(&format!(r#"{{"plugin":"p","allow":"kubernetes.get","kinds":["{kinds}"],"namespaces":["*"]}}"#))
    };
    for kinds in ["*", "**", "Secret*", "Sec*et"] {
        assert!(!line(kinds).allows(&reading("Secret")), "{kinds}");
    }
    assert!(line("Secret").allows(&reading("Secret")));
    assert!(line("*").allows(&reading("ConfigMap")));
}

#[test]
fn places_are_the_own_target_unless_named() {
    let foreign = |groups| Use { own: false, groups, ..usage("host.facts") };
    let groups = words("storage all");
    assert!(grant(r#"{"plugin":"m","allow":"host.facts"}"#).allows(&usage("host.facts")));
    assert!(!grant(r#"{"plugin":"m","allow":"host.facts"}"#).allows(&foreign(&groups)));
    for hosts in ["storage", "node-*", "node-1"] {
        let line = grant(&format!(r#"{{"plugin":"m","allow":"host.facts","hosts":["{hosts}"]}}"#));
        assert!(line.allows(&foreign(&groups)), "{hosts}");
    }
    let line = grant(r#"{"plugin":"m","allow":"host.facts","hosts":["other"]}"#);
    assert!(!line.allows(&foreign(&groups)));
    assert!(!line.allows(&usage("host.facts")), "named hosts replace the own target");
}

#[test]
fn stated_effects_are_reads_unless_granted() {
    let argv = words("/usr/bin/etcdctl snapshot save");
    let run = |class| Use { argv: &argv, class, stated: true, ..usage("exec.run") };
    let read = grant(r#"{"plugin":"etcd","allow":"exec.run","argv":["/usr/bin/etcdctl","**"]}"#);
    assert!(read.allows(&run(EffectClass::Read)));
    assert!(!read.allows(&run(EffectClass::WriteOnce)));
    let write =
        grant(r#"{"plugin":"etcd","allow":"exec.run","argv":["/usr/bin/etcdctl","**"],"effects":["write-once"]}"#);
    assert!(write.allows(&run(EffectClass::WriteOnce)));
    assert!(!write.allows(&run(EffectClass::WriteIdempotent)));
    let none = grant(r#"{"plugin":"etcd","allow":"exec.run"}"#);
    assert!(!none.allows(&run(EffectClass::Read)));
}

#[test]
fn what_a_command_names_is_granted_beside_its_argv() {
    let argv = words("etcdctl member list");
    let run = |subjects: &[(Field, &str)]| Use {
        argv: &argv,
        stated: true,
        subjects: subjects.iter().map(|(field, text)| (*field, (*text).to_owned())).collect(),
        ..usage("exec.run")
    };
    let plain = grant(r#"{"plugin":"etcd","allow":"exec.run","argv":["etcdctl","**"]}"#);
    assert!(plain.allows(&run(&[])));
    let wide = grant(
        r#"{"plugin":"etcd","allow":"exec.run","argv":["etcdctl","**"],
            "environment":["ETCDCTL_*"],"users":["etcd"],"directories":["/srv/*"]}"#,
    );
    let named = [(Field::Environment, "ETCDCTL_KEY"), (Field::Users, "etcd"), (Field::Directories, "/srv/x")];
    assert!(wide.allows(&run(&named)) && wide.allows(&run(&[])));
    for one in named {
        assert!(!plain.allows(&run(&[one])), "{one:?}");
    }
    for beyond in [
        (Field::Environment, "HOME"),
        (Field::Users, "root"),
        (Field::Directories, "/srv/x/y"),
        (Field::Directories, "/srv/../etc"),
        (Field::Directories, "/srv/x/"),
    ] {
        assert!(!wide.allows(&run(&[beyond])), "{beyond:?}");
        assert!(!wide.allows(&run(&[named[0], beyond])), "each must be covered: {beyond:?}");
    }
}

#[test]
fn argv_templates() {
    let cases = [
        ("etcdctl --endpoints=* member list", "etcdctl --endpoints=https://a:2379,b member list", true),
        ("etcdctl --endpoints=* member list", "etcdctl --endpoints=x member list --x", false),
        ("etcdctl * list", "etcdctl member list", true),
        ("etcdctl * list", "etcdctl list", false),
        ("etcdctl **", "etcdctl", true),
        ("etcdctl **", "etcdctl a b c", true),
        ("etcdctl **", "etcdutl a", false),
        ("cat /var/lib/etcd/*", "cat /var/lib/etcd/a/b", true),
        ("cat /var/lib/etcd/*", "cat /var/lib/etcd/../../../etc/shadow", false),
        ("tar --directory=/srv/*", "tar --directory=/srv/../etc", false),
        ("etcdctl", "etcdctl", true),
    ];
    for (template, argv, wanted) in cases {
        assert_eq!(argv_matches(&words(template), &words(argv)), wanted, "{template} / {argv}");
    }
}

#[test]
fn paths() {
    let cases = [
        ("/etc/etcd/**", "/etc/etcd/a/b", true),
        ("/etc/etcd/**", "/etc/etcd", false),
        ("/etc/etcd/*", "/etc/etcd/a", true),
        ("/etc/etcd/*", "/etc/etcd/a/b", false),
        ("/etc/*/x.yml", "/etc/etcd/x.yml", true),
        ("/etc/**", "/etc/../root/.ssh", false),
        ("/etc/**", "/etc//passwd", false),
        ("/etc/**", "/etc/./passwd", false),
        ("/etc/**", "/etc/passwd/", false),
        ("/**", "etc/passwd", false),
        ("/", "/", true),
        ("/run/*.env", "/run/.env", true),
    ];
    for (pattern, path, wanted) in cases {
        assert_eq!(path_matches(pattern, path), wanted, "{pattern} / {path}");
    }
}

#[test]
fn names_and_urls() {
    let kinds = grant(r#"{"plugin":"f","allow":"kubernetes.get","kinds":["Node","*.apps"],"namespaces":["kube-*"]}"#);
    let object = |kind: &str, namespace: Option<&str>| {
        let mut subjects = vec![(Field::Kinds, kind.to_owned()), (Field::Names, "x".to_owned())];
        subjects.extend(namespace.map(|n| (Field::Namespaces, n.to_owned())));
        Use { subjects, ..usage("kubernetes.get") }
    };
    assert!(kinds.allows(&object("Node", None)));
    assert!(kinds.allows(&object("DaemonSet.apps", Some("kube-flannel"))));
    assert!(!kinds.allows(&object("DaemonSet.apps", Some("default"))));
    assert!(!kinds.allows(&object("Pod", Some("kube-flannel"))));
    assert!(glob_matches("http://*:2379/health", "http://10.0.0.1:2379/health", Some('/')));
    assert!(!glob_matches("http://*/health", "http://a/b/health", Some('/')));
    assert!(glob_matches("http://**/health", "http://a/b/health", Some('/')));
}

#[test]
fn wrong_lines_are_named_with_their_place() {
    let cases = [
        (
            r#""allow": "systemd.stop", "unit": ["x"]"#,
            "$.grants[0].unit: unknown field \"unit\"; did you mean \"units\"?",
        ),
        (r#""allow": "systemd.stop", "units": "x""#, "$.grants[0].units: expected a list, found the text \"x\""),
        (r#""allow": "systemd.stop", "units": ["x", 5]"#, "$.grants[0].units[1]: expected a text, found `5`"),
        (
            r#""allow": "sytemd.stop", "units": ["x"]"#,
            "$.grants[0].allow: no interface \"sytemd\"; did you mean \"systemd\"?",
        ),
        (r#""allow": "systemd.*", "units": ["x"]"#, "$.grants[0].allow: \"*\" cannot be the name of a function"),
        (r#""allow": "systemd", "units": ["x"]"#, "$.grants[0].allow: \"systemd\" names no capability"),
        (r#""allow": "log.write""#, "$.grants[0].allow: \"log\" needs no request and no grant"),
        (r#""allow": "systemd.stop""#, "$.grants[0]: systemd.stop without `units` covers nothing"),
        (r#""allow": "systemd.stop", "units": []"#, "$.grants[0].units: an empty `units` covers nothing"),
        (
            r#""allow": "systemd.stop", "units": ["a"], "paths": ["/x"]"#,
            "$.grants[0].paths: `paths` says nothing about systemd.stop",
        ),
        (
            r#""allow": "files.read", "paths": ["${parameters.x}"]"#,
            "$.grants[0].paths[0]: \"${parameters.x}\" is text of a manifest",
        ),
        (r#""allow": "files.read", "paths": ["etc/x"]"#, "$.grants[0].paths[0]: \"etc/x\" is no absolute path"),
        (r#""allow": "exec.run", "argv": ["a", "**", "b"]"#, "$.grants[0].argv[1]: `**` stands for all further"),
        (
            r#""allow": "exec.run", "argv": ["a"], "effects": ["write"]"#,
            "$.grants[0].effects[0]: no effect class \"write\"",
        ),
        (
            r#""allow": "exec.run", "argv": ["a"], "environment": ["A", "LD_*"]"#,
            "$.grants[0].environment[1]: \"LD_*\" is never given to a command",
        ),
        (
            r#""allow": "exec.run", "argv": ["a"], "directories": ["srv"]"#,
            "$.grants[0].directories[0]: \"srv\" is no absolute path",
        ),
        (
            r#""allow": "files.read", "paths": ["/x"], "users": ["root"]"#,
            "$.grants[0].users: `users` says nothing about files.read",
        ),
        (r#""units": ["a"]"#, "$.grants[0]: field \"allow\" is missing"),
    ];
    let mut missed = String::new();
    for (line, wanted) in cases {
        let text = format!(r#"{{"grants": [ {{"plugin":"x",{line}}}]}}"#);
        let found = load::<Policy>(&text, "p.json").map(|p| format!("{:?}", p.value()));
        let found = found.unwrap_or_else(|errors| errors.to_string());
        // The column is that of the value, or of the name when that is wrong.
        let (place, message) = found.split_once(": ").unwrap();
        let column: usize = place.rsplit(':').next().unwrap().parse().unwrap();
        let there = &text[column - 1..];
        if !message.starts_with(wanted) || !there.starts_with(['"', '[', '{', '5']) {
            missed += &format!("{line}\n{found}\nwanted\n{wanted}\n\n");
        }
    }
    assert!(missed.is_empty(), "{missed}");
    let twice = r#"{"grants": [{"plugin":"x","allow":"host.facts"},{"allow":"host.facts","plugin":"x"}]}"#;
    let found = load::<Policy>(twice, "p").unwrap_err().to_string();
    assert!(found.contains("$.grants[1]: this grant stands here twice"), "{found}");
}

/// The plainest possible matcher, to compare with.
fn slow(pattern: &[char], text: &[char], separator: Option<char>) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', '*', rest @ ..] => {
            let rest = &rest[rest.iter().take_while(|c| **c == '*').count()..];
            (0..=text.len()).any(|n| slow(rest, &text[n..], separator))
        }
        ['*', rest @ ..] => (0..=text.len())
            .take_while(|n| !text[..*n].iter().any(|c| Some(*c) == separator))
            .any(|n| slow(rest, &text[n..], separator)),
        [c, rest @ ..] => text.first() == Some(c) && slow(rest, &text[1..], separator),
    }
}

proptest! {
    #[test]
    fn globs_match_as_the_plainest_matcher_does(pattern in "[ab/*]{0,8}", text in "[ab/]{0,8}", cut in any::<bool>()) {
        let separator = cut.then_some('/');
        let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        prop_assert_eq!(glob_matches(&pattern, &text, separator), slow(&p, &t, separator));
    }

    #[test]
    fn a_text_without_stars_matches_itself_only(text in "[^*]{0,20}", other in "[^*]{0,20}") {
        prop_assert!(glob_matches(&text, &text, Some('/')));
        prop_assert_eq!(glob_matches(&text, &other, None), text == other);
    }

    #[test]
    fn no_path_that_climbs_is_covered(before in "(/[a-z]{1,3}){0,3}", after in "(/[a-z]{1,3}){0,3}") {
        let path = format!("{before}/..{after}");
        prop_assert!(!path_matches("/**", &path));
    }

    #[test]
    fn many_stars_take_no_time(stars in 1usize..200) {
        let pattern = "*a".repeat(stars);
        let text = "a".repeat(500);
        prop_assert!(!glob_matches(&(pattern + "b"), &text, None));
    }
}
