//! YAML as Ansible reads it: YAML 1.1's plain scalars, merge keys, and the tags of vaults and unsafe texts.

use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

use crate::{Diagnostic, Diagnostics, MAX_DEPTH, Position};

/// Aliases may not make more values than this of a file.
const MAX_VALUES: usize = 1_000_000;

/// A YAML value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Yaml {
    pub(crate) position: Position,
    pub(crate) kind: YamlKind,
}

#[derive(Debug, Clone)]
pub(crate) enum YamlKind {
    /// Null, a boolean or a number.
    Plain(Value),
    /// A text; `literal` when its braces are no template.
    Text { text: String, literal: bool },
    /// An encrypted value.
    Vault,
    /// A list.
    List(Vec<Yaml>),
    /// A mapping; of names that stand twice the last one counts, as in Ansible.
    Map(IndexMap<String, Yaml>),
}

impl Yaml {
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.kind, YamlKind::Plain(Value::Null))
    }
}

/// Reads a file of one document; an empty one is null.
pub(crate) fn parse(text: &str, file: &str) -> Result<Yaml, Diagnostics> {
    let mut builder = Builder { file, open: Vec::new(), anchors: HashMap::new(), values: 0, root: None };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::DocumentStart(_), span)) if builder.root.is_some() => {
                return Err(builder.error(place(span), "a second document begins", "one file holds one document"));
            }
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => {
                let marker = error.marker();
                let position = Position { line: marker.line(), column: marker.col() + 1 };
                return Err(builder.error(position, error.info(), ""));
            }
        }
    }
    Ok(builder.root.unwrap_or(Yaml { position: Position { line: 1, column: 1 }, kind: YamlKind::Plain(Value::Null) }))
}

fn place(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

struct Builder<'a> {
    file: &'a str,
    open: Vec<Open>,
    anchors: HashMap<usize, Yaml>,
    values: usize,
    root: Option<Yaml>,
}

/// A list or mapping that is being read.
struct Open {
    position: Position,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Yaml>),
    Map { members: IndexMap<String, Yaml>, merged: Vec<Yaml>, key: Option<String> },
}

impl Builder<'_> {
    fn error(&self, position: Position, message: &str, help: &str) -> Diagnostics {
        let diagnostic = Diagnostic { position: Some(position), ..Diagnostic::of_file(self.file, message) };
        Diagnostics::one(if help.is_empty() { diagnostic } else { diagnostic.help(help) })
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostics> {
        let position = place(span);
        match event {
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(position, tag.as_deref())?;
                self.open(Open { position, anchor, items: Items::List(Vec::new()) })
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(position, tag.as_deref())?;
                let items = Items::Map { members: IndexMap::new(), merged: Vec::new(), key: None };
                self.open(Open { position, anchor, items })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Ok(());
                };
                let kind = match open.items {
                    Items::List(items) => YamlKind::List(items),
                    Items::Map { members, merged, .. } => YamlKind::Map(merge(members, merged)),
                };
                self.add(Yaml { position: open.position, kind }, open.anchor)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let kind = self.scalar(position, &text, style, tag.as_deref())?;
                self.add(Yaml { position, kind }, anchor)
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned();
                let value = value.ok_or_else(|| self.error(position, "an alias of itself", ""))?;
                self.values += size(&value);
                // What it stands for nests on from here.
                if self.open.len() + height(&value) > MAX_DEPTH {
                    return Err(self.too_deep(position));
                }
                self.add(value, 0)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Diagnostics> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.too_deep(open.position));
        }
        self.open.push(open);
        Ok(())
    }

    fn too_deep(&self, position: Position) -> Diagnostics {
        self.error(position, &format!("values nest deeper than {MAX_DEPTH}"), "")
    }

    fn add(&mut self, value: Yaml, anchor: usize) -> Result<(), Diagnostics> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.error(value.position, &format!("the file makes more than {MAX_VALUES} values"), ""));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        let position = value.position;
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(value),
            Some(Items::List(items)) => items.push(value),
            Some(Items::Map { members, merged, key }) => match key.take() {
                None => match key_of(&value) {
                    Some(name) => *key = Some(name),
                    None => return Err(self.error(position, "a name must be a text", "")),
                },
                Some(name) if name == "<<" => merged.push(value),
                Some(name) => {
                    members.insert(name, value);
                }
            },
        }
        Ok(())
    }

    fn refuse_tag(&self, position: Position, tag: Option<&Tag>) -> Result<(), Diagnostics> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema() => {
                Err(self.error(position, &format!("tag `{}{}` is not known here", tag.handle, tag.suffix), ""))
            }
            _ => Ok(()),
        }
    }

    fn scalar(
        &self,
        position: Position,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
    ) -> Result<YamlKind, Diagnostics> {
        let text_of = |literal| YamlKind::Text { text: text.to_owned(), literal };
        let Some(tag) = tag else {
            return Ok(match style {
                ScalarStyle::Plain => plain(text).map_or_else(|| text_of(false), YamlKind::Plain),
                ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => {
                    text_of(false)
                }
            });
        };
        if tag.is_yaml_core_schema() {
            return Ok(match tag.suffix.as_str() {
                "str" => text_of(false),
                _ => plain(text).map_or_else(|| text_of(false), YamlKind::Plain),
            });
        }
        match tag.suffix.as_str() {
            "vault" | "vault-encrypted" => Ok(YamlKind::Vault),
            "unsafe" => Ok(text_of(true)),
            _ => {
                self.refuse_tag(position, Some(tag))?;
                Ok(text_of(false))
            }
        }
    }
}

fn size(value: &Yaml) -> usize {
    match &value.kind {
        YamlKind::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        YamlKind::Map(members) => 1 + members.iter().map(|(_, value)| size(value)).sum::<usize>(),
        YamlKind::Plain(_) | YamlKind::Text { .. } | YamlKind::Vault => 1,
    }
}

/// Lists and mappings within one another; a plain value has none.
fn height(value: &Yaml) -> usize {
    match &value.kind {
        YamlKind::List(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        YamlKind::Map(members) => 1 + members.values().map(height).max().unwrap_or(0),
        YamlKind::Plain(_) | YamlKind::Text { .. } | YamlKind::Vault => 0,
    }
}

fn key_of(value: &Yaml) -> Option<String> {
    match &value.kind {
        YamlKind::Text { text, .. } => Some(text.clone()),
        YamlKind::Plain(Value::Null) => Some("null".to_owned()),
        YamlKind::Plain(value) => Some(value.to_string()),
        YamlKind::Vault | YamlKind::List(_) | YamlKind::Map(_) => None,
    }
}

/// `<<`: members of the merged mappings, of which the first one wins, below the own ones.
fn merge(members: IndexMap<String, Yaml>, merged: Vec<Yaml>) -> IndexMap<String, Yaml> {
    if merged.is_empty() {
        return members;
    }
    let mut all: IndexMap<String, Yaml> = IndexMap::new();
    for value in merged {
        let sources = match value.kind {
            YamlKind::List(items) => items,
            _ => vec![value],
        };
        for source in sources {
            if let YamlKind::Map(inner) = source.kind {
                for (name, value) in inner {
                    all.entry(name).or_insert(value);
                }
            }
        }
    }
    all.extend(members);
    all
}

/// A plain scalar that is no text, by the rules of YAML 1.1.
fn plain(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Some(Value::Bool(true));
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Some(Value::Bool(false));
        }
        _ => {}
    }
    integer(text).or_else(|| float(text)).or_else(|| sexagesimal(text))
}

fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    // The one sign stands before the radix.
    let unsigned = |digits: &str, radix| {
        Some(digits).filter(|digits| !digits.starts_with(['-', '+'])).and_then(|d| i64::from_str_radix(d, radix).ok())
    };
    let parsed = if let Some(hex) = digits.strip_prefix("0x") {
        unsigned(hex, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        unsigned(binary, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(&digits, 8).ok()
    } else {
        digits.parse::<i64>().ok()
    };
    parsed.map(|number| Value::from(if negative { -number } else { number }))
}

fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    // YAML 1.1 wants a sign in the exponent.
    let is_exponent = |text: &str| text.len() > 1 && text.starts_with(['-', '+']) && is_digits(&text[1..]);
    let is_float = is_digits(whole)
        && is_digits(fraction)
        && mantissa.contains(|c: char| c.is_ascii_digit())
        && exponent.is_none_or(is_exponent);
    let number: f64 = text.replace('_', "").parse().ok().filter(|_| is_float)?;
    Number::from_f64(number).map(Value::Number)
}

/// `12:30`: digits to the base of 60.
fn sexagesimal(text: &str) -> Option<Value> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = digits.split(':');
    let first = parts.next().filter(|first| first.starts_with(|c: char| ('1'..='9').contains(&c)))?;
    let mut number: i64 = first.replace('_', "").parse().ok()?;
    let mut count = 0;
    for part in parts {
        let part: i64 =
            Some(part).filter(|p| (1..=2).contains(&p.len()))?.parse().ok().filter(|p| (0..60).contains(p))?;
        number = number.checked_mul(60)?.checked_add(part)?;
        count += 1;
    }
    (count > 0).then(|| Value::from(sign * number))
}

impl Yaml {
    /// As JSON; none where an encrypted value is within it.
    pub(crate) fn to_json(&self) -> Option<Value> {
        Some(match &self.kind {
            YamlKind::Plain(value) => value.clone(),
            YamlKind::Text { text, .. } => Value::String(text.clone()),
            YamlKind::Vault => return None,
            YamlKind::List(items) => Value::Array(items.iter().map(Self::to_json).collect::<Option<_>>()?),
            YamlKind::Map(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, value)| Some((name.clone(), value.to_json()?)))
                    .collect::<Option<Map<_, _>>>()?,
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn json_of(text: &str) -> Value {
        parse(text, "x.yml").unwrap().to_json().unwrap()
    }

    fn error_of(text: &str) -> String {
        parse(text, "x.yml").unwrap_err().to_string()
    }

    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        let text = "a: yes\nb: Off\nc: 010\nd: 0x1F\ne: 1_000\nf: 1.5\ng: '010'\nh: ~\ni:\nj: 1.2.3\nk: -7\nl: 10.0.0.1\n\
                    m: !!str 5\nn: \"yes\"\no: 08\np: 99999999999999999999\nq: 1e3\n\
                    r: 1.5e+3\ns: 1.5e3\nt: 12:30\nu: 12:60\nv: .5\nw: a:b\n\
                    x: -0x-8000000000000000\ny: 0b+1\nz: -0xF\n";
        assert_eq!(
            json_of(text),
            json!({"a": true, "b": false, "c": 8, "d": 31, "e": 1000, "f": 1.5, "g": "010", "h": null, "i": null,
                "j": "1.2.3", "k": -7, "l": "10.0.0.1", "m": "5", "n": "yes", "o": "08",
                "p": "99999999999999999999", "q": "1e3",
                "r": 1500.0, "s": "1.5e3", "t": 750, "u": "12:60", "v": 0.5, "w": "a:b",
                "x": "-0x-8000000000000000", "y": "0b+1", "z": -15})
        );
        assert_eq!(json_of(""), Value::Null);
        assert_eq!(json_of("---\n- 1\n- {a: [b]}\n"), json!([1, {"a": ["b"]}]));
    }

    #[test]
    fn anchors_and_merge_keys() {
        let text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\none: {<<: *b, x: 5}\nboth: {<<: [*b, *o]}\n";
        let value = json_of(text);
        assert_eq!(value["one"], json!({"y": 2, "x": 5}));
        assert_eq!(value["both"], json!({"x": 1, "y": 2, "z": 4}));
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        assert_eq!(json_of("a: 1\nb: 2\na: 3\n"), json!({"a": 3, "b": 2}));
    }

    #[test]
    fn vaults_and_unsafe_texts_are_known() {
        let value = parse("a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nb: !unsafe '{{ x }}'\n", "x").unwrap();
        let YamlKind::Map(members) = &value.kind else { panic!("no mapping") };
        assert!(matches!(members[0].kind, YamlKind::Vault));
        assert!(matches!(members[1].kind, YamlKind::Text { literal: true, .. }));
        assert!(value.to_json().is_none());
    }

    #[test]
    fn aliases_bring_their_depth() {
        let nested = |from: usize, deep: usize, anchors: usize| {
            (1..=anchors).fold(format!("a0: &a0 {}1{}\n", "[".repeat(from), "]".repeat(from)), |text, n| {
                let (open, close) = ("[".repeat(deep), "]".repeat(deep));
                format!("{text}a{n}: &a{n} {open}*a{}{close}\n", n - 1)
            })
        };
        // The mapping around them counts too.
        assert!(parse(&nested(1, 62, 1), "x.yml").is_ok());
        assert!(error_of(&nested(2, 62, 1)).starts_with("x.yml:2:"), "{}", error_of(&nested(2, 62, 1)));
        assert!(error_of(&nested(1, 58, 168)).contains("deeper than 64"));
        assert!(error_of("a: &a {b: *a}\n").contains("an alias of itself"));
    }

    #[test]
    fn errors_have_their_place() {
        assert!(error_of("a: [1, 2\nb: 3\n").starts_with("x.yml:2:"), "{}", error_of("a: [1, 2\nb: 3\n"));
        assert_eq!(error_of("a: 1\nb: !mine 2\n"), "x.yml:2:10: tag `!mine` is not known here");
        assert!(error_of("a: 1\n---\nb: 2\n").contains("a second document begins"));
        assert!(error_of(&"[".repeat(100)).contains("deeper than 64"));
        assert!(error_of("? [a]\n: 1\n").contains("a name must be a text"));
        let bomb = (1..30)
            .fold("a0: &a0 [x, x]\n".to_owned(), |text, n| format!("{text}a{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1));
        assert!(error_of(&bomb).contains("more than 1000000 values"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-c0-1:\\-\\[\\]{}&*!|>'\"#,?%@`<~ \n\t]{0,50}") {
            let _ = parse(&text, "x");
        }

        #[test]
        fn json_is_yaml(value in prop::collection::btree_map("[a-z]{1,5}", prop_oneof![
            any::<i32>().prop_map(Value::from), "[a-z ]{0,8}".prop_map(Value::from), any::<bool>().prop_map(Value::from)
        ], 0..6)) {
            let value = json!(value);
            let parsed = parse(&value.to_string(), "x").map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(parsed.to_json(), Some(value));
        }
    }
}
