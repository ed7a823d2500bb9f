//! Against a real sshd on this machine, where there is one.

mod greeting;
pub(super) mod server;

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use runner_types::SecretSource;
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::backend::live::process::ProcessShell;
use crate::backend::live::shell::{Bounds, Finished, RunAs, quote};
use server::{Server, no_secrets};

async fn said(shell: &(dyn Shell + 'static), script: Script) -> Finished {
    shell.run(script, Vec::new(), Bounds::default()).await.unwrap()
}

/// Says its arguments, each ended by NUL.
const ARGUMENTS: &str = r#"for a in "$@"; do printf '%s\0' "$a"; done"#;

fn framed(arguments: &[String]) -> Vec<u8> {
    arguments.iter().flat_map(|a| a.bytes().chain([0])).collect()
}

/// Texts with every character but NUL, the ones that shells know among them more often.
fn arguments() -> impl Strategy<Value = Vec<String>> {
    let characters = prop_oneof![
        3 => prop::sample::select(" '\"\\$`!*?[]{}()<>|&;#~=%^\n\t\r".chars().collect::<Vec<_>>()),
        2 => prop::char::range('\u{1}', '\u{7f}'),
        1 => any::<char>().prop_filter("no argument has NUL", |c| *c != '\0'),
    ];
    let text = prop::collection::vec(characters, 0..20).prop_map(|characters| characters.into_iter().collect());
    prop::collection::vec(text, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn arguments_arrive_unchanged_through_any_login_shell(arguments in arguments()) {
        let words: Vec<&str> =
            ["/bin/sh", "-c", ARGUMENTS, "runner"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let line = format!("exec {}", command_line(&words));
        for shell in ["sh", "dash", "bash", "zsh"] {
            let Ok(output) = std::process::Command::new(shell).args(["-c", &line]).output() else { continue };
            prop_assert_eq!(&output.stdout, &framed(&arguments), "{} {:?}", shell, line);
        }
    }

    #[test]
    fn arguments_arrive_unchanged_on_this_machine(arguments in arguments()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shell: Box<dyn Shell> = Box::new(ProcessShell { effects: None });
        let found = runtime.block_on(said(&*shell, Script::new(ARGUMENTS).arguments(arguments.clone())));
        prop_assert_eq!(found.stdout.data, framed(&arguments));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_arrive_unchanged_over_ssh() {
    let Some(server) = Server::start() else { return };
    let shell: Box<dyn Shell> = Box::new(server.shell());
    let every: String = (1..=0x7f_u8).map(char::from).chain(('\u{80}'..='\u{17f}').chain(['€', '😀'])).collect();
    for arguments in [vec![every], vec![String::new(), "=ls".to_owned(), "~".to_owned(), "-n".to_owned()]] {
        let found = said(&*shell, Script::new(ARGUMENTS).arguments(arguments.clone())).await;
        assert_eq!(found.stdout.data, framed(&arguments));
    }
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(20));
    for _ in 0..20 {
        let arguments = arguments().new_tree(&mut runner).unwrap().current();
        let found = said(&*shell, Script::new(ARGUMENTS).arguments(arguments.clone())).await;
        assert_eq!(found.stdout.data, framed(&arguments));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_and_how_it_ends() {
    let Some(server) = Server::start() else { return };
    let shell: Box<dyn Shell> = Box::new(server.shell());
    let script = Script::new("cat; echo error >&2; exit 7");
    let big = vec![b'x'; 3 << 20];
    let found = shell.run(script, big.clone(), Bounds::default()).await.unwrap();
    assert_eq!(found.stdout.data, big);
    assert_eq!(found.stderr.text(), "error\n");
    assert_eq!(found.ended, Ended { code: Some(7), signal: None });
    // 127 and 255 are codes like others; a signal leaves none.
    for code in [127, 255] {
        let found = said(&*shell, Script::new(&format!("exit {code}"))).await;
        assert_eq!(found.ended.code, Some(code));
    }
    let found = said(&*shell, Script::new("kill -9 $$")).await;
    assert_eq!(found.ended.code, None);
    let late = Script::new("sleep 0.3; echo out; sleep 0.1; echo more");
    assert_eq!(said(&*shell, late).await.stdout.text(), "out\nmore\n");
    let most = Bounds { stdout: 5, ..Bounds::default() };
    let found = shell.run(Script::new("echo 123456789"), Vec::new(), most).await.unwrap();
    assert_eq!((found.stdout.text().as_ref(), found.stdout.dropped), ("12345", 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_more_than_it_allows_at_once() {
    let Some(server) = Server::start() else { return };
    let shell: Arc<dyn Shell> = Arc::new(server.shell());
    let each = (0..25).map(|number| {
        let shell = Arc::clone(&shell);
        async move { said(&*shell, Script::new("sleep 0.1; echo \"$1\"").argument(number.to_string())).await }
    });
    let found = futures::future::join_all(each).await;
    for (number, found) in found.iter().enumerate() {
        assert_eq!(found.stdout.text().trim(), number.to_string());
    }
    assert_eq!(server.logins(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_said_and_then_opened_anew() {
    let Some(server) = Server::start() else { return };
    let shell: Box<dyn Shell> = Box::new(server.shell());
    said(&*shell, Script::new(":")).await;
    let Running { mut stdout, ended, .. } = shell.start(Script::new("echo begun; sleep 60")).await.unwrap();
    let mut begun = [0; 6];
    stdout.read_exact(&mut begun).await.unwrap();
    server.hang_up();
    drop(stdout);
    let lost = tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    assert!(lost.as_ref().is_err_and(|reason| reason.contains("was lost")), "{lost:?}");
    assert_eq!(said(&*shell, Script::new("echo again")).await.stdout.text(), "again\n");
    assert_eq!(server.logins(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_behind() {
    let Some(server) = Server::start() else { return };
    let shell = server.shell();
    shell.open().await.unwrap();
    let masters = || server.masters();
    assert_eq!(masters(), 1);
    drop(shell);
    for _ in 0..50 {
        if masters() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("ssh still runs");
}

async fn refusal(shell: SshShell) -> String {
    let error = shell.open().await.unwrap_err();
    assert!(matches!(error, ShellError::Unreachable(_)), "{error:?}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_named() {
    let Some(server) = Server::start() else { return };
    let changed = |change: &dyn Fn(&mut ResolvedHost)| {
        let mut host = server.host();
        change(&mut host);
        SshShell::new(&host, server.folder(), no_secrets())
    };
    let empty = server.folder().join("empty");
    std::fs::write(&empty, "").unwrap();
    let unknown = refusal(changed(&|host| host.known_hosts = Some("empty".to_owned()))).await;
    assert!(unknown.contains("is not known; look at it and accept it with `runner inventory trust here`"), "{unknown}");

    let other = format!("[127.0.0.1]:{} {}", server.port(), server.other_public_key());
    std::fs::write(&empty, other).unwrap();
    let danger = refusal(changed(&|host| host.known_hosts = Some("empty".to_owned()))).await;
    assert!(danger.starts_with("DANGER: the host key of [127.0.0.1]:") && danger.contains("SHA256:"), "{danger}");

    let missing = refusal(changed(&|host| host.key = Some("nothing".to_owned()))).await;
    assert!(missing.contains("nothing of here does not exist"), "{missing}");

    let other = refusal(changed(&|host| host.key = Some("other".to_owned()))).await;
    assert!(other.contains("permission denied: it does not accept the key ") && other.contains("/other; "), "{other}");

    let refused = refusal(changed(&|host| host.port = Some(1))).await;
    assert!(refused.contains("Connection refused"), "{refused}");

    let unreadable = server.folder().join("open");
    std::fs::copy(server.folder().join("key"), &unreadable).unwrap();
    std::fs::set_permissions(&unreadable, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open = refusal(changed(&|host| host.key = Some("open".to_owned()))).await;
    assert!(open.contains("chmod 600"), "{open}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_sudo_says_is_not_repeated() {
    let Some(server) = Server::start() else { return };
    server.install("sudo", "#!/bin/sh\nIFS= read -r p\necho \"sorry, $p is no password\"\nexit 1\n");
    let source = SecretSource::Command(vec!["printf".to_owned(), "hunter2!".to_owned()]);
    let secrets = Arc::new(Secrets::new(&IndexMap::from([("sudo".to_owned(), source)]), server.folder()));
    let mut host = server.host();
    host.r#become = Become { password: Some("sudo".to_owned()), ..Become::root() };
    let error = SshShell::new(&host, server.folder(), Arc::clone(&secrets)).open().await.unwrap_err();
    let told = error.to_string();
    assert!(
        matches!(error, ShellError::NoRights(_)) && told.ends_with("sorry, [secret sudo] is no password"),
        "{told}"
    );
    let found = crate::backend::live::check::host(&host, server.folder(), &secrets).await;
    let said = format!("{found:?}");
    assert!(said.contains("[secret sudo]") && !said.contains("hunter2!"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_behind_another_is_reached() {
    let Some(server) = Server::start() else { return };
    let mut host = server.host();
    host.jump = Some(format!("{}@127.0.0.1:{}", server.user(), server.port()));
    let shell: Box<dyn Shell> = Box::new(SshShell::new(&host, server.folder(), no_secrets()));
    assert_eq!(said(&*shell, Script::new("echo there")).await.stdout.text(), "there\n");
    host.jump = Some(format!("{0}@127.0.0.1:{1},{0}@127.0.0.1:{1}", server.user(), server.port()));
    let shell: Box<dyn Shell> = Box::new(SshShell::new(&host, server.folder(), no_secrets()));
    assert_eq!(said(&*shell, Script::new("echo there")).await.stdout.text(), "there\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn root_needs_no_sudo_to_be_another_user() {
    let Some(server) = Server::start() else { return };
    if !rustix::process::getuid().is_root() {
        return;
    }
    let shell: Box<dyn Shell> = Box::new(server.shell());
    let script = Script::new("id -un; echo \"$HOME $1\"").argument("it's").run_as(RunAs::User("nobody".to_owned()));
    assert_eq!(said(&*shell, script).await.stdout.text(), "nobody\n/nonexistent it's\n");
}

#[test]
fn words_that_shells_expand_are_quoted() {
    assert_eq!(quote("=ls"), "'=ls'");
    assert_eq!(quote(""), "''");
    assert_eq!(quote("/a-b_c.d:1@x"), "/a-b_c.d:1@x");
}
