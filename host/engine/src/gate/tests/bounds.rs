//! What a plugin must not get by naming it: data of the store that is not its own, and paths that its own call changes
//! the meaning of.

use runner_types::{Artifact, Digest, Place as Origin};

use super::*;
use crate::contract::artifacts::{DataOrder, DataRef, GetData, PutData, Restore, RestoreOrder, StoredData};
use crate::contract::files::{Copy, CopyOrder, Precondition, Rename, RenameOrder};
use crate::contract::{Failure, Function};
use crate::gate::AttemptSpec;
use crate::testing::spec;

fn everywhere() -> Value {
    let paths = json!(["/etc/app/**"]);
    json!([
        {"plugin": "p", "allow": "artifacts.restore", "paths": paths},
        {"plugin": "p", "allow": "files.copy", "paths": paths},
        {"plugin": "p", "allow": "files.rename", "paths": paths},
        {"plugin": "p", "allow": "files.read", "paths": ["/etc/app/readable"]}
    ])
}

fn kind<A: std::fmt::Debug>(answer: &Result<A, Failure>) -> &FailureKind {
    &answer.as_ref().unwrap_err().kind
}

fn restoring(digest: &str, path: &str) -> RestoreOrder {
    RestoreOrder {
        digest: digest.to_owned(),
        host: "a".to_owned(),
        path: path.to_owned(),
        precondition: Precondition::Anything,
        attributes: None,
    }
}

fn data(text: &str) -> DataOrder {
    DataOrder { name: "d".to_owned(), data: text.as_bytes().to_vec(), labels: Vec::new() }
}

fn by_digest(digest: &str) -> DataRef {
    DataRef { digest: digest.to_owned() }
}

fn of_host(digest: &str, file: Option<&str>) -> Artifact {
    Artifact {
        digest: digest.parse().unwrap(),
        size: 1,
        name: "n".to_owned(),
        origin: Origin::Host("a".to_owned()),
        labels: Vec::new(),
        file: file.map(str::to_owned),
    }
}

async fn get(attempt: &std::sync::Arc<Attempt>, digest: &str) -> Result<StoredData, Failure> {
    attempt.call::<GetData>(vec![by_digest(digest)]).await.unwrap().remove(0)
}

#[tokio::test]
async fn data_of_others_is_denied_by_whatever_digest() {
    let bench = Bench::storing(everywhere(), PRESENT);
    let secret = bench.gate.store.put_bytes(b"of another run".to_vec()).await.unwrap();
    let attempt = bench.attempt(everywhere());
    let denied = get(&attempt, &secret).await;
    assert!(matches!(kind(&denied), FailureKind::Denied(denial) if denial.grant.is_empty()), "{denied:?}");
    assert!(denied.unwrap_err().message.contains("no grant would help"));
    let restored = attempt.call::<Restore>(vec![restoring(&secret, "/etc/app/x")]).await.unwrap();
    assert!(matches!(kind(&restored[0]), FailureKind::Denied(_)), "{restored:?}");
}

#[tokio::test]
async fn what_a_plugin_put_there_is_its_own_for_the_whole_run() {
    let bench = Bench::storing(everywhere(), PRESENT);
    let first = bench.attempt(everywhere());
    let digest = first.call::<PutData>(vec![data("notes")]).await.unwrap().remove(0).unwrap().digest;
    assert_eq!(get(&first, &digest).await.unwrap().data, b"notes");
    let second = bench.attempt(everywhere());
    assert_eq!(get(&second, &digest).await.unwrap().data, b"notes");
    // The scripted platform cannot restore: that it is asked shows that the gate let it pass.
    let restored = second.call::<Restore>(vec![restoring(&digest, "/etc/app/x")]).await.unwrap();
    assert_eq!(*kind(&restored[0]), FailureKind::Unsupported);
    let other = bench.attempt_of(AttemptSpec { plugin: "q".to_owned(), ..spec(json!([])) });
    assert!(matches!(kind(&get(&other, &digest).await), FailureKind::Denied(_)));
}

#[tokio::test]
async fn a_stored_file_comes_back_as_data_only_to_who_may_read_it() {
    let bench = Bench::storing(everywhere(), PRESENT);
    let store = &bench.gate.store;
    let readable = store.put_bytes(b"readable".to_vec()).await.unwrap();
    let key = store.put_bytes(b"private key".to_vec()).await.unwrap();
    let tree = store.put_bytes(b"tree".to_vec()).await.unwrap();
    let saved = vec![
        of_host(&readable, Some("/etc/app/readable")),
        of_host(&key, Some("/etc/app/admin.conf")),
        of_host(&tree, None),
        Artifact { origin: Origin::Runner, ..of_host(&Digest::zero().to_string(), None) },
    ];
    let attempt = bench.attempt_of(AttemptSpec { saved, ..spec(everywhere()) });
    assert_eq!(get(&attempt, &readable).await.unwrap().data, b"readable");
    let denied = get(&attempt, &key).await;
    assert!(denied.unwrap_err().message.starts_with("files.read of /etc/app/admin.conf on"));
    assert!(matches!(kind(&get(&attempt, &tree).await), FailureKind::Denied(_)));
    // Given to the plugin, but gone from the store.
    assert!(matches!(kind(&get(&attempt, Digest::zero().as_str()).await), FailureKind::NotFound));
    let restored = attempt.call::<Restore>(vec![restoring(&key, "/etc/app/admin.conf")]).await.unwrap();
    assert_eq!(*kind(&restored[0]), FailureKind::Unsupported, "it goes back to a host");
}

#[tokio::test]
async fn what_this_attempt_stored_of_a_host_is_bound_alike() {
    let bench = Bench::storing(everywhere(), PRESENT);
    let key = bench.gate.store.put_bytes(b"private key".to_vec()).await.unwrap();
    bench.gate.stored.add("p", of_host(&key, Some("/etc/app/admin.conf")));
    let attempt = bench.attempt(everywhere());
    assert!(matches!(kind(&get(&attempt, &key).await), FailureKind::Denied(_)));
    // Who has the content already may have it back.
    attempt.call::<PutData>(vec![data("private key")]).await.unwrap().remove(0).unwrap();
    assert_eq!(get(&attempt, &key).await.unwrap().data, b"private key");
}

#[tokio::test]
async fn all_answers_of_a_call_together_are_bounded() {
    let bench = Bench::storing(everywhere(), PRESENT);
    let attempt = bench.attempt(everywhere());
    let large = data(&"x".repeat(3 << 20));
    let digest = attempt.call::<PutData>(vec![large]).await.unwrap().remove(0).unwrap().digest;
    let answers = attempt.call::<GetData>(vec![by_digest(&digest); 1_000]).await.unwrap();
    let had = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((1..=5).contains(&had), "{had} of 3 MiB each");
    assert!(answers.iter().filter(|answer| answer.is_err()).all(|answer| *kind(answer) == FailureKind::TooLarge));
}

fn copying(source: &str, destination: &str) -> CopyOrder {
    CopyOrder {
        host: "a".to_owned(),
        source: source.to_owned(),
        destination: destination.to_owned(),
        precondition: Precondition::Anything,
    }
}

fn renaming(source: &str, destination: &str) -> RenameOrder {
    RenameOrder {
        host: "a".to_owned(),
        source: source.to_owned(),
        destination: destination.to_owned(),
        key: String::new(),
    }
}

/// The last item is invalid, and with it nothing of the call is performed.
async fn refused<F: Function>(attempt: &std::sync::Arc<Attempt>, items: Vec<F::Item>)
where
    F::Answer: std::fmt::Debug,
{
    let answers = attempt.call::<F>(items).await.unwrap();
    let (last, others) = answers.split_last().unwrap();
    assert_eq!(*kind(last), FailureKind::Invalid, "{answers:?}");
    assert!(others.iter().all(|answer| *kind(answer) == FailureKind::NotAttempted), "{answers:?}");
}

#[tokio::test]
async fn no_item_goes_through_what_an_earlier_one_brings() {
    let bench = Bench::storing(everywhere(), PRESENT);
    bench.script.links.lock().unwrap().insert("/etc/app/l/x".to_owned(), "/etc/app/t/x".to_owned());
    let attempt = bench.attempt(everywhere());
    let stored = attempt.call::<PutData>(vec![data("a tree with a link")]).await.unwrap().remove(0).unwrap().digest;
    let restore = |path: &str| restoring(&stored, path);
    for below in ["/etc/app/t/a/evil", "/etc/app/t", "/etc/app/l/x"] {
        refused::<Restore>(&attempt, vec![restore("/etc/app/t"), restore(below)]).await;
    }
    refused::<Copy>(&attempt, vec![copying("/etc/app/a", "/etc/app/t"), copying("/etc/app/t/a/x", "/etc/app/b")]).await;
    refused::<Copy>(&attempt, vec![copying("/etc/app/a", "/etc/app/t"), copying("/etc/app/b", "/etc/app/t/a")]).await;
    for next in [renaming("/etc/app/t/a", "/etc/app/b"), renaming("/etc/app/b", "/etc/app/s/x")] {
        refused::<Rename>(&attempt, vec![renaming("/etc/app/s", "/etc/app/t"), next]).await;
    }
    let fine = vec![restore("/etc/app/t/one"), restore("/etc/app/tt"), restore("/etc/app/t/two")];
    let answers = attempt.call::<Restore>(fine).await.unwrap();
    assert!(answers.iter().all(|answer| *kind(answer) == FailureKind::Unsupported), "{answers:?}");
    let fine = vec![copying("/etc/app/a", "/etc/app/t"), copying("/etc/app/a/x", "/etc/app/b")];
    let answers = attempt.call::<Copy>(fine).await.unwrap();
    assert!(answers.iter().all(|answer| *kind(answer) == FailureKind::Unsupported), "{answers:?}");
}
