//! What a grant covers, of items that could ask for more than it seems.

use super::*;
use crate::contract::exec::{self, Command, CommandOptions};
use crate::contract::http::{self, Request};
use crate::contract::packages::{RepositoryOrder, SetRepository};
use crate::contract::types::{EffectClass, Label};

fn command(environment: &[&str], user: Option<&str>, directory: Option<&str>) -> Command {
    let label = |name: &&str| Label { name: (*name).to_owned(), value: "/v".to_owned() };
    Command {
        host: "a".to_owned(),
        argv: vec!["etcdctl".to_owned(), "version".to_owned()],
        effect: EffectClass::Read,
        key: String::new(),
        stdin: Vec::new(),
        time_out: 1,
        forecast: None,
        options: Some(CommandOptions {
            environment: environment.iter().map(label).collect(),
            directory: directory.map(str::to_owned),
            user: user.map(str::to_owned),
            accept: Vec::new(),
            output_limit: 0,
            destructive: false,
            sensitive: false,
        }),
    }
}

/// What becomes of a command where this line is granted and these are requested.
async fn asked(granted: &Value, requested: &Value, command: Command) -> FailureKind {
    let bench = Bench::new(json!([granted]), PRESENT);
    let answers = bench.attempt(json!([requested])).call::<exec::Run>(vec![command]).await.unwrap();
    // The scripted platform runs no commands: one that gets there is not supported.
    answers.into_iter().next().unwrap().unwrap_err().kind
}

#[tokio::test]
async fn a_granted_argv_grants_no_variable_user_or_directory() {
    let plain = json!({"plugin": "p", "allow": "exec.run", "argv": ["etcdctl", "**"]});
    let wide = json!({"plugin": "p", "allow": "exec.run", "argv": ["etcdctl", "**"],
                      "environment": ["ETCDCTL_*"], "users": ["etcd"], "directories": ["/var/lib/etcd/*"]});
    let cases = [
        (command(&[], None, None), true),
        (command(&["ETCDCTL_CACERT"], None, None), false),
        (command(&[], Some("etcd"), None), false),
        (command(&[], None, Some("/var/lib/etcd/x")), false),
        (command(&["ETCDCTL_CACERT", "ETCDCTL_KEY"], Some("etcd"), Some("/var/lib/etcd/x")), false),
    ];
    for (command, without) in cases {
        assert_eq!(asked(&wide, &wide, command.clone()).await, FailureKind::Unsupported, "{command:?}");
        for (granted, requested) in [(&plain, &wide), (&wide, &plain)] {
            let kind = asked(granted, requested, command.clone()).await;
            match without {
                true => assert_eq!(kind, FailureKind::Unsupported, "{command:?}"),
                false => assert!(matches!(kind, FailureKind::Denied(_)), "{command:?}: {kind:?}"),
            }
        }
    }
    for beyond in [
        command(&["ETCDCTL_CACERT", "HOME"], None, None),
        command(&[], Some("root"), None),
        command(&[], None, Some("/var/lib/etcd/x/y")),
        command(&[], None, Some("/tmp")),
    ] {
        assert!(matches!(asked(&wide, &wide, beyond).await, FailureKind::Denied(_)));
    }
}

#[tokio::test]
async fn no_grant_gives_a_command_what_decides_its_code() {
    let all = json!({"plugin": "p", "allow": "exec.run", "argv": ["**"], "environment": ["*"], "users": ["*"],
                     "directories": ["/**"]});
    for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "GCONV_PATH", "PATH"] {
        assert_eq!(asked(&all, &all, command(&[name], None, None)).await, FailureKind::Invalid, "{name}");
    }
    assert_eq!(asked(&all, &all, command(&["LANG"], Some("x"), Some("/y"))).await, FailureKind::Unsupported);
    let mut relative = command(&[], None, Some("/y"));
    relative.argv[0] = "bin/etcdctl".to_owned();
    assert_eq!(asked(&all, &all, relative).await, FailureKind::Invalid);
}

#[tokio::test]
async fn a_denied_command_quotes_the_line_with_all_it_may_name() {
    let policy = json!([{"plugin": "p", "allow": "exec.run", "argv": ["etcdctl", "**"]}]);
    let request =
        json!([{"plugin": "p", "allow": "exec.run", "argv": ["etcdctl", "**"], "environment": ["ETCDCTL_*"]}]);
    let attempt = Bench::new(policy, PRESENT).attempt(request);
    let answers = attempt.call::<exec::Run>(vec![command(&["ETCDCTL_CACERT"], None, None)]).await.unwrap();
    let FailureKind::Denied(denial) = &answers[0].as_ref().unwrap_err().kind else { panic!("{answers:?}") };
    let line = r#"{"plugin":"p","allow":"exec.run","argv":["etcdctl","**"],"environment":["ETCDCTL_*"]}"#;
    assert_eq!(denial.grant, line);
}

#[tokio::test]
async fn a_request_goes_where_its_url_was_granted() {
    let policy = json!([{"plugin": "p", "allow": "http.get", "methods": ["GET"],
                         "urls": ["http://*:80/**", "https://*.corp/x", "http://h:9/-/*"]}]);
    let bench = Bench::new(policy.clone(), PRESENT);
    let attempt = bench.attempt(policy);
    let request = |url: &str| Request {
        url: url.to_owned(),
        headers: Vec::new(),
        via: None,
        trust: None,
        time_out: 1,
        body_limit: 0,
        forecast: None,
    };
    let kind = async |url: &str| {
        let answers = attempt.call::<http::Get>(vec![request(url)]).await.unwrap();
        answers.into_iter().next().unwrap().unwrap_err().kind
    };
    for url in [
        r"http://169.254.169.254\latest\meta-data\?:80/",
        "http://10.0.0.5:6443#:80/",
        "http://10.0.0.5:6443?:80/",
        "http://x:80@10.0.0.5:6443/:80/",
        "https://evil?.corp/x",
        r"http://h:9/-/..\api\v1",
    ] {
        assert_eq!(kind(url).await, FailureKind::Invalid, "{url}");
    }
    for url in ["http://10.0.0.5:80/", "http://10.0.0.5:80/a?b=c", "https://a.corp/x", "http://h:9/-/ready"] {
        assert_eq!(kind(url).await, FailureKind::Unsupported, "{url}");
    }
    for url in ["http://10.0.0.5:6443/", "https://a.corp/y", "http://h:9/api"] {
        assert!(matches!(kind(url).await, FailureKind::Denied(_)), "{url}");
    }
}

#[tokio::test]
async fn a_repository_is_switched_where_it_is_granted() {
    let policy = json!([{"plugin": "p", "allow": "packages.set-repository", "repositories": ["vendor-*"]}]);
    let bench = Bench::new(policy.clone(), PRESENT);
    let attempt = bench.attempt(policy);
    let order = |id: &str| RepositoryOrder { host: "a".to_owned(), id: id.to_owned(), enabled: false };
    let mut kinds = Vec::new();
    for id in ["vendor-1 http://x ./", "updates", ""] {
        let answers = attempt.call::<SetRepository>(vec![order(id)]).await.unwrap();
        kinds.push(answers.into_iter().next().unwrap().unwrap_err().kind);
    }
    assert_eq!(kinds[0], FailureKind::Unsupported);
    assert!(matches!(kinds[1], FailureKind::Denied(_)), "{kinds:?}");
    assert_eq!(kinds[2], FailureKind::Invalid);
}
