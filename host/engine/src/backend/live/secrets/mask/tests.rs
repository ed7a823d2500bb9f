use std::path::Path;

use indexmap::IndexMap;
use runner_types::SecretSource;

use super::*;

/// Secrets `one`, `two`, … with these values, fetched.
async fn fetched(values: &[&str]) -> Secrets {
    let names = ["one", "two", "three"].map(str::to_owned);
    let source = |value: &&str| SecretSource::Command(vec!["printf".to_owned(), "%b".to_owned(), (*value).to_owned()]);
    let sources: IndexMap<_, _> = names.into_iter().zip(values.iter().map(source)).collect();
    let secrets = Secrets::new(&sources, Path::new("."));
    for name in secrets.names() {
        secrets.value(name).await.unwrap();
    }
    secrets
}

async fn masked(values: &[&str], text: &str) -> String {
    fetched(values).await.mask(text.to_owned())
}

#[tokio::test]
async fn nothing_is_looked_for_before_a_value_was_fetched() {
    let source = SecretSource::Command(vec!["printf".to_owned(), "hidden".to_owned()]);
    let secrets = Secrets::new(&IndexMap::from([("one".to_owned(), source)]), Path::new("."));
    let mut answer = json!({"stdout": "hidden"});
    assert!(!secrets.is_any_fetched() && !secrets.mask_json(&mut answer));
    assert_eq!(secrets.mask("hidden".to_owned()), "hidden");
}

#[tokio::test]
async fn values_are_found_as_they_are_escaped_and_in_base64() {
    assert_eq!(masked(&["hidden"], "a hidden, hidden b").await, "a [secret one], [secret one] b");
    assert_eq!(masked(&["a\"b\\nc\""], r#"{"x":"a\"b\nc\""}"#).await, r#"{"x":"[secret one]"}"#);
    let value = "p?~>w\u{e9}?";
    for engine in [&STANDARD, &URL_SAFE] {
        assert_eq!(masked(&[value], &format!("<{}>", engine.encode(value))).await, "<[secret one]>");
        for before in ["", "u", "us", "use"] {
            let text = engine.encode(format!("{before}{value}:after"));
            let found = masked(&[value], &text).await;
            assert!(found.contains("[secret one]") && found.len() < text.len() + 8, "{text}: {found}");
        }
    }
}

#[tokio::test]
async fn values_that_touch_are_hidden_whole() {
    assert_eq!(masked(&["abcdef", "cdefgh"], "<abcdefgh>").await, "<[secret one]>");
    assert_eq!(masked(&["secret", "hidden"], "hidden secret").await, "[secret two] [secret one]");
}

#[tokio::test]
async fn a_short_value_is_left_and_one_that_is_no_text_is_found() {
    assert_eq!(masked(&["abc"], "abc").await, "abc");
    let secrets = fetched(&["k\\0377\\0376ey"]).await;
    let mut answer = json!({"data": {"base64": STANDARD.encode(b"<k\xff\xfeey>\xff")}, "tail": "k\u{fffd}\u{fffd}ey"});
    assert!(secrets.mask_json(&mut answer));
    let bytes = STANDARD.encode(b"<[secret one]>\xff");
    assert_eq!(answer, json!({"data": {"base64": bytes}, "tail": "[secret one]"}));
}

#[tokio::test]
async fn words_of_the_contract_and_what_is_computed_stay() {
    let digest = "1234".repeat(16);
    let secrets = fetched(&["regular", "1234", "2026"]).await;
    let mut answer = json!({
        "kind": "regular", "said": "a regular file", "sha256": digest, "at": "2026-11-21T07:51:46.123Z", "pin": "1234"
    });
    assert!(secrets.mask_json(&mut answer));
    assert_eq!(
        answer,
        json!({
            "kind": "regular", "said": "a [secret one] file", "sha256": digest, "at": "2026-11-21T07:51:46.123Z",
            "pin": "[secret two]"
        })
    );
}

#[test]
fn words_are_sorted() {
    assert!(WORDS.is_sorted() && WORDS.contains(&"not-found"));
}
