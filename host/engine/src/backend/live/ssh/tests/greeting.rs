//! A user's shell that prints before any command, on both streams: a text, NUL, half of a record, the command line itself.

use super::*;
use crate::backend::live::check::{self, Verdict};
use crate::backend::live::{LiveHost, tests::host};
use crate::contract::artifacts::{PutOrder, Source};
use crate::contract::exec::Command;
use crate::contract::types::EffectClass;
use crate::contract::{Backend as _, Caller, Place};

const GREETING: &str = r#"printf 'Welcome to node-1\nchanged\nok\0003\0%s\n{"' "$SSH_ORIGINAL_COMMAND"; printf 'mind %s\n' "$SSH_ORIGINAL_COMMAND" >&2"#;

fn live(server: &Server, store: &Path) -> LiveHost {
    host(store, Arc::new(server.shell()), Secrets::new(&indexmap::IndexMap::new(), Path::new(".")))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_login_prints_is_no_part_of_what_a_script_says() {
    let Some(server) = Server::greeting(GREETING) else { return };
    let shell: Box<dyn Shell> = Box::new(server.shell());
    let found = said(&*shell, Script::new("echo changed; echo error >&2; exit 7")).await;
    assert_eq!((found.stdout.text().as_ref(), found.stderr.text().as_ref()), ("changed\n", "error\n"));
    assert_eq!((found.ended.code, found.stdout.dropped), (Some(7), 0));
    let every: Vec<u8> = (0..=255_u8).cycle().take(3 << 20).collect();
    let found = shell.run(Script::new("cat; cat >&2 </dev/null"), every.clone(), Bounds::default()).await.unwrap();
    assert!(found.stdout.data == every && found.stderr.data.is_empty());
    let script = Script::new(ARGUMENTS).arguments(["it's", ""]).run_as(RunAs::Login);
    assert_eq!(said(&*shell, script).await.stdout.text(), "it's\0\0");
    assert_eq!((server.logins(), server.sessions()), (1, 4), "one session a script beside the connection's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_of_a_host_that_greets_is_answered() {
    let Some(server) = Server::greeting(GREETING) else { return };
    let folder = tempfile::tempdir().unwrap();
    let host = live(&server, &folder.path().join("store"));
    let (place, caller) = (Place::Host("here".to_owned()), Caller::runner());
    let facts = host.host().facts(&place, &caller, vec!["here".to_owned()]).await.unwrap().remove(0).unwrap();
    assert!(facts.memory > 0 && facts.boot.len() > 36, "{facts:?}");

    let command = |text: &str| Command {
        host: "here".to_owned(),
        argv: ["sh", "-c", text].map(str::to_owned).to_vec(),
        effect: EffectClass::Read,
        key: String::new(),
        stdin: Vec::new(),
        time_out: 10_000,
        forecast: None,
        options: None,
    };
    let commands = vec![command("printf '{}'; printf warn >&2"), command("printf second")];
    let answers = host.exec().run(&place, &caller, commands).await.unwrap();
    let text = |index: usize| {
        let answer = answers[index].as_ref().unwrap();
        (
            String::from_utf8_lossy(&answer.stdout.data).into_owned(),
            String::from_utf8_lossy(&answer.stderr.data).into_owned(),
        )
    };
    assert_eq!(text(0), ("{}".to_owned(), "warn".to_owned()));
    assert_eq!(text(1), ("second".to_owned(), String::new()));

    let data: Vec<u8> = (0..=255_u8).rev().cycle().take(1 << 20).collect();
    let path = folder.path().join("data");
    std::fs::write(&path, &data).unwrap();
    let source = Source::File(path.display().to_string());
    let order = PutOrder { host: "here".to_owned(), source, name: "data".to_owned(), labels: Vec::new() };
    let stored = host.artifacts().put(&place, &caller, vec![order]).await.unwrap().remove(0).unwrap();
    let mut kept = Vec::new();
    host.store.open(&stored.digest).await.unwrap().read_to_end(&mut kept).await.unwrap();
    assert!(kept == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_script_does_not_begin_is_still_said() {
    let refuses = r#"case "$SSH_ORIGINAL_COMMAND" in *sleepy*) echo Welcome; echo no such rights >&2; exit 1 ;; esac"#;
    let Some(server) = Server::greeting(refuses) else { return };
    let shell: Box<dyn Shell> = Box::new(server.shell());
    let found = said(&*shell, Script::new("echo sleepy")).await;
    assert_eq!((found.stdout.text().as_ref(), found.stderr.text().as_ref()), ("", "no such rights\n"));
    assert_eq!(found.ended.code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_that_the_login_prints_and_that_it_does_no_harm() {
    let Some(server) = Server::greeting("echo Welcome; echo again") else { return };
    let found = check::host(&server.host(), server.folder(), &no_secrets()).await;
    let login = &found[0];
    assert_eq!((login.check, login.verdict, login.to_do.as_str()), ("ssh", Verdict::Well, ""));
    assert!(
        login.found.ends_with("; the login prints \"Welcome\", which is left out of all answers"),
        "{}",
        login.found
    );
    let clock = found.iter().find(|finding| finding.check == "clock").unwrap();
    assert_eq!(clock.verdict, Verdict::Well, "{clock:?}");
}
