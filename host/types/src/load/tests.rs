use indexmap::IndexMap;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Sample {
    name: String,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    by_mode: IndexMap<Mode, bool>,
    #[serde(default)]
    source: Option<Origin>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Item {
    key: String,
    size: u32,
}

#[derive(Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Slow,
    VeryFast,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    Environment(String),
    Range { from: u32, to: u32 },
    Nowhere,
}

impl Document for Sample {
    const KIND: &'static str = "sample";

    fn check(&self, mistakes: &mut Mistakes) {
        for (index, item) in self.items.iter().enumerate() {
            if item.size == 0 {
                let at = JsonPath::root().key("items").index(index).key("size");
                mistakes.add_with_help(&at, "nothing", "give a size");
            }
        }
    }
}

fn messages(text: &str) -> Vec<String> {
    match load::<Sample>(text, "s.json") {
        Ok(value) => panic!("read as {value:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn what_is_right_is_read() {
    let text = r#"{"name": "a\u00e9\ud83d\ude00\n", "port": 22, "items": [{"key": "k", "size": 1}],
        "mode": "very-fast", "by-mode": {"slow": true}, "source": {"range": {"from": 1, "to": 2}}}"#;
    let sample = load::<Sample>(text, "s.json").unwrap();
    assert_eq!(sample.name, "aé😀\n");
    assert_eq!(sample.value().source, Some(Origin::Range { from: 1, to: 2 }));
    assert!(sample.by_mode[&Mode::Slow]);
    for (source, wanted) in
        [("\"nowhere\"", Origin::Nowhere), ("{\"environment\": \"X\"}", Origin::Environment("X".to_owned()))]
    {
        let text = format!("{{\"name\": \"x\", \"source\": {source}}}");
        assert_eq!(load::<Sample>(&text, "s").unwrap().value().source, Some(wanted));
    }
}

#[test]
fn every_mistake_is_reported_once_with_its_place() {
    let text = r#"{
  "nam": "x",
  "port": 70000,
  "items": [
    {"key": "a", "size": 1},
    {"key": 5, "sise": 2},
    {"key": "b", "size": "big"}
  ],
  "mode": "very-fsat",
  "by-mode": {"slwo": true},
  "source": {"environment": []}
}"#;
    assert_eq!(
        messages(text),
        [
            "s.json:2:3: $.nam: unknown field \"nam\"; did you mean \"name\"?\n  \
             help: the fields here are: name, port, items, mode, by-mode, source",
            "s.json:3:11: $.port: expected a whole number from 0 to 65535, found `70000`",
            "s.json:6:13: $.items[1].key: expected a text, found `5`",
            "s.json:6:16: $.items[1].sise: unknown field \"sise\"; did you mean \"size\"?\n  \
             help: the fields here are: key, size",
            "s.json:7:26: $.items[2].size: expected a whole number from 0 to 4294967295, found the text \"big\"",
            "s.json:9:11: $.mode: \"very-fsat\" is not known here; did you mean \"very-fast\"?\n  \
             help: one of: slow, very-fast",
            "s.json:10:15: $.by-mode.slwo: \"slwo\" is not known here; did you mean \"slow\"?\n  \
             help: one of: slow, very-fast",
            "s.json:11:29: $.source.environment: expected a text, found a list",
        ]
    );
}

#[test]
fn a_missing_name_beside_another_mistake_is_reported_too() {
    let text = "{\"port\": true, \"items\": [{\"size\": 1}, {\"key\": 1}]}";
    assert_eq!(
        messages(text),
        [
            "s.json:1:1: $: field \"name\" is missing\n  help: add it to this object",
            "s.json:1:10: $.port: expected a whole number from 0 to 65535, found `true`",
            "s.json:1:26: $.items[0]: field \"key\" is missing\n  help: add it to this object",
            "s.json:1:47: $.items[1].key: expected a text, found `1`",
        ]
    );
}

#[test]
fn checks_get_their_places() {
    let text = "{\"name\": \"x\",\n \"items\": [{\"key\": \"é\", \"size\": 0}]}";
    assert_eq!(messages(text), ["s.json:2:33: $.items[0].size: nothing\n  help: give a size"]);
}

#[test]
fn names_that_stand_twice_are_refused() {
    let text = "{\"name\": \"x\",\n \"items\": [{\"key\": \"a\", \"size\": 1, \"key\": \"b\"}],\n \"name\": \"y\"}";
    assert_eq!(
        messages(text),
        [
            "s.json:2:36: $.items[0].key: this name stands here twice, first in line 2\n  help: remove one of them",
            "s.json:3:2: $.name: this name stands here twice, first in line 1\n  help: remove one of them",
        ]
    );
}

#[test]
fn thousands_of_mistakes_in_one_line_take_no_longer_than_the_first() {
    let begun = std::time::Instant::now();
    let doubles = format!("{{{}\"a\": 1}}", "\"a\": 1, ".repeat(100_000));
    let found = messages(&doubles);
    assert_eq!(found.len(), MAX_MISTAKES + 1);
    assert_eq!(found[MAX_MISTAKES], format!("s.json: and {} more like these", 100_000 - MAX_MISTAKES));
    let source = Source::parse(&format!("[{}0]", "0, ".repeat(100_000)), "s.json").unwrap();
    let mut mistakes = Mistakes::default();
    for index in 0..100_000 {
        mistakes.add(&JsonPath::root().index(index), "nothing");
    }
    let found = source.refuse(mistakes).unwrap_err();
    assert_eq!(found.iter().count(), MAX_MISTAKES + 1);
    // Each place for itself took a minute.
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn breaks_of_the_syntax_say_what_to_do() {
    let cases = [
        ("", "s.json:1:1: the file is empty"),
        (
            "{\"name\": \"x\",}",
            "s.json:1:14: expected a name in double quotes, found `}`\n  help: JSON allows no comma",
        ),
        ("{\"items\": [1,]}", "s.json:1:14: $.items: expected a value, found `]`\n  help: JSON allows no comma"),
        ("{\n// note\n}", "s.json:2:1: expected a name in double quotes, found what looks like a comment"),
        (
            "{name: 1}",
            "s.json:1:2: expected a name in double quotes, found text without quotes\n  help: text needs double quotes",
        ),
        ("{'name': 1}", "s.json:1:2: expected a name in double quotes, found `'`"),
        ("{\"name\" 1}", "s.json:1:9: $.name: expected `:`, found text without quotes"),
        ("{\"name\": \"x\" \"port\": 1}", "s.json:1:14: expected `,` or `}`, found `\"`"),
        ("{\"name\": True}", "s.json:1:10: $.name: `True` is not JSON"),
        ("{\"name\": nope}", "s.json:1:10: $.name: expected a value, found text without quotes"),
        ("{\"name\": \"x", "s.json:1:10: $.name: this text has no closing quote"),
        ("{\"name\": \"x\ny\"}", "s.json:1:10: $.name: this text has no closing quote in its line"),
        ("{\"name\": \"\\q\"}", "s.json:1:11: $.name: `\\q` is no escape"),
        ("{\"name\": \"\\ud800\"}", "s.json:1:11: $.name: this `\\u` escape names no character"),
        ("{\"name\": \"\\ud800\\u0041\"}", "s.json:1:11: $.name: this `\\u` escape names no character"),
        ("{\"name\": \"a\tb\"}", "s.json:1:12: $.name: control character U+0009"),
        ("{\"port\": 01}", "s.json:1:10: $.port: this is not a number of JSON"),
        ("{\"port\": 1e999}", "s.json:1:10: $.port: this is not a number"),
        ("{\"port\": -}", "s.json:1:10: $.port: this is not a number"),
        ("{\"items\": [", "s.json:1:12: $.items: the file ends"),
        ("{\n\"name\": 1", "s.json:2:10: the file ends before the `}` that belongs to line 1"),
        ("{} {}", "s.json:1:4: something follows"),
    ];
    for (text, wanted) in cases {
        let found = messages(text).join("\n");
        assert!(found.starts_with(wanted), "{text:?}:\n{found}\nwanted:\n{wanted}");
    }
}

#[test]
fn depth_and_size_are_limited() {
    let deep = format!("{}1{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
    assert!(messages(&deep)[0].contains("values nest deeper than 64"));
    let allowed = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(Source::parse(&allowed, "x").is_ok());
    let endless = "[".repeat(1_000_000);
    assert!(messages(&endless)[0].contains("values nest deeper than 64"));
    let large = " ".repeat(MAX_FILE_SIZE + 1);
    assert!(messages(&large)[0].contains("are not read"));
}

#[test]
fn bytes_that_are_no_text_are_named() {
    let error = load_bytes::<Sample>(b"{\n\"name\": \"\xff\"}", "s.json").unwrap_err();
    assert_eq!(error.to_string(), "s.json:2:1: byte 11 is not UTF-8\n  help: save the file as UTF-8");
    let error = text_of("\u{feff}{}".as_bytes(), "hosts.ini").unwrap_err();
    assert_eq!(error.to_string(), "hosts.ini:1:1: the file begins with a byte order mark\n  help: save it without one");
}

#[test]
fn a_number_in_words_of_the_file() {
    assert_eq!(messages("[]"), ["s.json:1:1: $: expected an object, found a list"]);
    assert_eq!(messages("null"), ["s.json:1:1: $: expected an object, found `null`"]);
    assert_eq!(
        messages("{\"name\": \"x\", \"source\": {}}"),
        ["s.json:1:25: $.source: expected an object with exactly one of: environment, range, nowhere"]
    );
    assert_eq!(
        messages("{\"name\": \"x\", \"source\": \"environment\"}")[0],
        "s.json:1:25: $.source: expected an object with this name and a value"
    );
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i32>().prop_map(|n| (f64::from(n) / 8.0).into()),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map("[a-z\u{e9}\"\\\\]{0,6}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_parsed_to_itself(value in json()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap_or_default()] {
            let source = Source::parse(&text, "x").map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(source.value(), value.clone());
        }
    }

    #[test]
    fn strict_where_serde_json_is_strict(text in "[\\[\\]{}:,\"0-9a-e.truefalsn\\\\u -]{0,12}") {
        let ours = Source::parse(&text, "x").map(|source| source.value()).ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&text).ok();
        // Ours refuses one thing more: names that stand twice.
        prop_assert!(ours == theirs || (ours.is_none() && text.contains('{')), "{ours:?} {theirs:?}");
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_bytes::<Sample>(&bytes, "x");
    }

    #[test]
    fn positions_are_within_the_text(text in "[{}\\[\\]\",:a\né ]{0,60}") {
        if let Err(errors) = load::<Sample>(&text, "x") {
            for position in errors.iter().filter_map(|error| error.position) {
                prop_assert!(position.line <= text.lines().count().max(1) + 1);
                prop_assert!(position.line >= 1 && position.column >= 1);
            }
        }
    }
}
