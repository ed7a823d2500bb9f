use std::path::Path;

use indexmap::IndexMap;
use runner_types::SecretSource;

use super::*;
use crate::backend::live::secrets::Secrets;
use crate::backend::live::tests::{here, with_secrets};
use crate::contract::Stop;
use crate::contract::exec::CommandOptions;
use crate::contract::types::{Label, Part};

fn place() -> Place {
    Place::Host("here".to_owned())
}

fn command(effect: EffectClass, argv: &[&str]) -> Command {
    Command {
        host: "here".to_owned(),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        effect,
        key: String::new(),
        stdin: Vec::new(),
        time_out: 10_000,
        forecast: None,
        options: None,
    }
}

fn read(argv: &[&str]) -> Command {
    command(EffectClass::Read, argv)
}

fn options() -> CommandOptions {
    CommandOptions {
        environment: Vec::new(),
        directory: None,
        user: None,
        accept: Vec::new(),
        output_limit: 0,
        destructive: false,
        sensitive: false,
    }
}

async fn run(items: Vec<Command>) -> Vec<Result<Output, Failure>> {
    let store = tempfile::tempdir().unwrap();
    here(store.path()).run(&place(), &Caller::runner(), items).await.unwrap()
}

fn text(answer: &Result<Output, Failure>) -> String {
    String::from_utf8(answer.as_ref().unwrap().stdout.data.clone()).unwrap()
}

#[tokio::test]
async fn reads_of_a_call_come_back_in_their_order() {
    let odd = "it's \"$HOME\" `x` \\ *\n";
    let mut items: Vec<Command> = (0..40).map(|n| read(&["printf", "%s|%s", &n.to_string(), odd])).collect();
    items.insert(3, read(&["sh", "-c", "echo said; echo wrong >&2; exit 3"]));
    items.insert(7, read(&["no-such-program"]));
    items.push(read(&["printf", "%b", "no line end\\0000\\n\\n"]));
    let answers = run(items).await;
    assert_eq!(answers.len(), 43);
    assert_eq!(text(&answers[0]), format!("0|{odd}"));
    assert_eq!(text(&answers[41]), format!("39|{odd}"));
    assert_eq!(text(&answers[42]), "no line end\0\n\n");
    let failure = answers[3].as_ref().unwrap_err();
    assert_eq!(failure.message, "sh on here ended with exit code 3");
    let FailureKind::Failed(exit) = &failure.kind else { panic!("{failure:?}") };
    assert_eq!((exit.code, exit.signal, exit.tail.as_str()), (Some(3), None, "wrong\n"));
    let FailureKind::Failed(exit) = &answers[7].as_ref().unwrap_err().kind else { panic!() };
    assert_eq!(exit.code, Some(127));
}

#[tokio::test]
async fn the_environment_is_clean_but_for_what_was_asked() {
    let mut asked = read(&["sh", "-c", "env | sort | grep -v ^_=; pwd"]);
    asked.options = Some(CommandOptions {
        environment: vec![Label { name: "ETCDCTL_API".to_owned(), value: "3 '4'".to_owned() }],
        directory: Some("/usr".to_owned()),
        ..options()
    });
    let said = text(&run(vec![asked]).await[0]);
    let names: Vec<&str> = said.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["ETCDCTL_API", "HOME", "LC_ALL", "LOGNAME", "PATH", "PWD", "SHELL", "USER"], "{said}");
    assert!(said.contains("ETCDCTL_API=3 '4'\n") && said.ends_with("/usr\n"), "{said}");
    let mut nowhere = read(&["pwd"]);
    nowhere.options = Some(CommandOptions { directory: Some("/no/where".to_owned()), ..options() });
    let failure = run(vec![nowhere]).await.remove(0).unwrap_err();
    assert_eq!(failure.message, "pwd on here needs /no/where, which is no directory there, or a link to another");
}

#[tokio::test]
async fn input_is_the_command_s_with_secrets_put_in() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "s3cret\n").unwrap();
    let sources = IndexMap::from([("db".to_owned(), SecretSource::File("password".to_owned()))]);
    let host = with_secrets(folder.path(), Secrets::new(&sources, folder.path()));
    let mut asked = read(&["cat"]);
    asked.stdin =
        vec![Part::Text("user\n".to_owned()), Part::Secret("secret:db".to_owned()), Part::Bytes(vec![0, 10, 255])];
    let mut unknown = asked.clone();
    unknown.stdin = vec![Part::Secret("secret:other".to_owned())];
    let answers = host.run(&place(), &Caller::runner(), vec![asked, unknown, read(&["cat"])]).await.unwrap();
    assert_eq!(answers[0].as_ref().unwrap().stdout.data, b"user\ns3cret\0\n\xff");
    assert_eq!(answers[1].as_ref().unwrap_err().kind, FailureKind::Invalid);
    assert_eq!(text(&answers[2]), "");
}

#[tokio::test]
async fn outputs_are_bounded() {
    let mut asked = read(&["sh", "-c", "seq 1 100000; seq 1 100000 >&2"]);
    asked.options = Some(CommandOptions { output_limit: 10, ..options() });
    let output = run(vec![asked]).await.remove(0).unwrap();
    assert_eq!((output.stdout.data.as_slice(), output.stdout.dropped), (&b"1\n2\n3\n4\n5\n"[..], 588_885));
    assert_eq!((output.stderr.data.as_slice(), output.stderr.dropped), (&b"99\n100000\n"[..], 588_885));
}

#[tokio::test]
async fn what_takes_too_long_is_ended() {
    let mut slow = read(&["sleep", "60"]);
    slow.time_out = 200;
    let answers = run(vec![read(&["echo", "before"]), slow.clone(), read(&["echo", "after"])]).await;
    assert_eq!((text(&answers[0]), text(&answers[2])), ("before\n".to_owned(), "after\n".to_owned()));
    let failure = answers[1].as_ref().unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    // Of a write nobody knows how far it came.
    slow.effect = EffectClass::WriteOnce;
    let store = tempfile::tempdir().unwrap();
    let cut = here(store.path())
        .run(&place(), &Caller::runner(), vec![command(EffectClass::WriteOnce, &["echo", "once"]), slow])
        .await
        .unwrap_err();
    assert!(matches!(&cut.stop, Stop::InDoubt(doubt) if doubt.item == 1), "{cut:?}");
    let [(0, done)] = cut.known.as_slice() else { panic!("{cut:?}") };
    assert_eq!(text(done), "once\n", "what the one before said is known");
}

#[tokio::test]
async fn writes_go_in_order_up_to_the_first_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |argv: &[&str]| command(EffectClass::WriteIdempotent, argv);
    let mut accepted = write(&["sh", "-c", "exit 4"]);
    accepted.options = Some(CommandOptions { accept: vec![4], ..options() });
    let items = vec![accepted, write(&["touch", &file("a")]), write(&["false"]), write(&["touch", &file("b")])];
    let answers = run(items).await;
    assert_eq!(answers[0].as_ref().unwrap().code, 4);
    assert!(answers[1].is_ok() && Path::new(&file("a")).exists());
    assert!(matches!(answers[2].as_ref().unwrap_err().kind, FailureKind::Failed(_)));
    assert_eq!(answers[3].as_ref().unwrap_err().kind, FailureKind::NotAttempted);
    assert!(!Path::new(&file("b")).exists());
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused() {
    let long = "x".repeat(MOST_ARGUMENTS);
    let failure = run(vec![read(&["echo", &long])]).await.remove(0).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
}

#[tokio::test]
async fn no_command_runs_where_a_link_leads() {
    let folder = tempfile::tempdir().unwrap();
    let granted = folder.path().canonicalize().unwrap().join("granted");
    std::fs::create_dir(&granted).unwrap();
    let in_granted = || {
        let directory = Some(granted.to_str().unwrap().to_owned());
        let mut asked = read(&["pwd"]);
        asked.options = Some(CommandOptions { directory, ..options() });
        run(vec![asked])
    };
    assert_eq!(text(&in_granted().await[0]).trim_end(), granted.to_str().unwrap());
    std::fs::remove_dir(&granted).unwrap();
    std::os::unix::fs::symlink("/usr", &granted).unwrap();
    let failure = in_granted().await.remove(0).unwrap_err();
    assert!(failure.message.ends_with("or a link to another"), "{}", failure.message);
}

#[tokio::test]
async fn what_many_reads_say_is_bounded_together() {
    let options = CommandOptions { output_limit: 1 << 20, ..options() };
    let loud = Command { options: Some(options), ..read(&["head", "-c", "1048576", "/dev/zero"]) };
    let alone = Command { stdin: vec![Part::Text("x".to_owned())], ..loud.clone() };
    for items in
        [vec![loud.clone(); 40], vec![alone; 40], vec![Command { effect: EffectClass::WriteIdempotent, ..loud }; 40]]
    {
        let writes = items[0].effect != EffectClass::Read;
        let answers = run(items).await;
        let held: usize = answers.iter().flatten().map(|output| output.stdout.data.len()).sum();
        assert!((8 << 20..=16 << 20).contains(&held), "{held} bytes in all");
        let cut = answers.iter().flatten().any(|output| output.stdout.dropped > 0);
        assert!(cut || !writes, "what was run is told, and how much of its output is missing");
        assert!(!writes || answers.iter().all(Result::is_ok));
    }
}
