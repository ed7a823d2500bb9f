//! A strict JSON parser that keeps positions.

use serde_json::{Number, Value};
use std::collections::HashMap;

use super::{MAX_DEPTH, MAX_MISTAKES, PathItem};

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) offset: usize,
    pub(super) value: NodeValue,
    /// Reported already and left out of further reading.
    pub(super) removed: bool,
}

#[derive(Debug, Clone)]
pub(super) enum NodeValue {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// A name and its value.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) key_offset: usize,
    pub(super) node: Node,
}

/// A break of the syntax.
pub(super) struct SyntaxError {
    pub(super) offset: usize,
    pub(super) path: Vec<PathItem>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// A name that stands twice in an object.
pub(super) struct Double {
    pub(super) offset: usize,
    pub(super) first: usize,
    pub(super) path: Vec<PathItem>,
}

impl Node {
    const fn new(offset: usize, value: NodeValue) -> Self {
        Self { offset, value, removed: false }
    }

    pub(super) fn child(&self, item: &PathItem) -> Option<&Self> {
        match (&self.value, item) {
            (NodeValue::Array(items), PathItem::Index(index)) => items.get(*index),
            (NodeValue::Object(members), PathItem::Key(key)) => {
                members.iter().find(|member| member.key == *key).map(|member| &member.node)
            }
            _ => None,
        }
    }

    pub(super) fn find_mut(&mut self, path: &[PathItem]) -> Option<&mut Self> {
        let Some((first, rest)) = path.split_first() else {
            return Some(self);
        };
        let child = match (&mut self.value, first) {
            (NodeValue::Array(items), PathItem::Index(index)) => items.get_mut(*index),
            (NodeValue::Object(members), PathItem::Key(key)) => {
                members.iter_mut().find(|member| member.key == *key).map(|member| &mut member.node)
            }
            _ => None,
        };
        child?.find_mut(rest)
    }

    fn children_mut(&mut self) -> Box<dyn Iterator<Item = &mut Self> + '_> {
        match &mut self.value {
            NodeValue::Array(items) => Box::new(items.iter_mut()),
            NodeValue::Object(members) => Box::new(members.iter_mut().map(|member| &mut member.node)),
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
                Box::new(std::iter::empty())
            }
        }
    }

    /// Children that were taken out, with their names where they have one.
    pub(super) fn removed_children(&self) -> Box<dyn Iterator<Item = Option<&str>> + '_> {
        match &self.value {
            NodeValue::Array(items) => Box::new(items.iter().filter(|node| node.removed).map(|_| None)),
            NodeValue::Object(members) => {
                Box::new(members.iter().filter(|m| m.node.removed).map(|m| Some(m.key.as_str())))
            }
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
                Box::new(std::iter::empty())
            }
        }
    }

    /// Puts back what was left out.
    pub(super) fn restore(&mut self) {
        self.removed = false;
        self.children_mut().for_each(Self::restore);
    }

    pub(super) fn to_value(&self) -> Value {
        match &self.value {
            NodeValue::Null => Value::Null,
            NodeValue::Bool(flag) => Value::Bool(*flag),
            NodeValue::Number(number) => Value::Number(number.clone()),
            NodeValue::String(text) => Value::String(text.clone()),
            NodeValue::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            NodeValue::Object(members) => {
                Value::Object(members.iter().map(|m| (m.key.clone(), m.node.to_value())).collect())
            }
        }
    }
}

/// The first names that stand twice, and how many there are beyond these: to find the line of each would take longer the
/// more there are.
#[derive(Default)]
pub(super) struct Doubles {
    pub(super) first: Vec<Double>,
    pub(super) beyond: usize,
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<(Node, Doubles), SyntaxError> {
    let mut parser = Parser { text, at: 0, path: Vec::new(), doubles: Doubles::default() };
    parser.space();
    if parser.peek().is_none() {
        return Err(parser.error("the file is empty", "a JSON object was expected"));
    }
    let node = parser.value()?;
    parser.space();
    if parser.peek().is_some() {
        return Err(parser.error("something follows after the end of the value", ""));
    }
    Ok((node, parser.doubles))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    path: Vec<PathItem>,
    doubles: Doubles,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self, c: char) {
        self.at += c.len_utf8();
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn error_at(&self, offset: usize, message: impl Into<String>, help: &str) -> SyntaxError {
        SyntaxError {
            offset,
            path: self.path.clone(),
            message: message.into(),
            help: Some(help.to_owned()).filter(|help| !help.is_empty()),
        }
    }

    fn error(&self, message: impl Into<String>, help: &str) -> SyntaxError {
        self.error_at(self.at, message, help)
    }

    /// What is here in place of what was expected.
    fn unexpected(&self, expected: &str) -> SyntaxError {
        let (found, help) = match self.peek() {
            None => ("the end of the file".to_owned(), "is the file cut off?"),
            Some('/' | '#') => {
                ("what looks like a comment".to_owned(), "JSON has no comments; move the text into a \"description\"")
            }
            Some('\'') => ("`'`".to_owned(), "JSON wants double quotes"),
            Some(c) if c.is_control() => (format!("control character U+{:04X}", u32::from(c)), ""),
            // Not shown: it may be a secret whose quotes were forgotten.
            Some(c) if c.is_alphanumeric() => ("text without quotes".to_owned(), "text needs double quotes"),
            Some(c) => (format!("`{c}`"), ""),
        };
        self.error(format!("expected {expected}, found {found}"), help)
    }

    fn word(&self) -> String {
        self.rest().chars().take_while(|c| c.is_alphanumeric() || *c == '_').take(30).collect()
    }

    fn value(&mut self) -> Result<Node, SyntaxError> {
        let offset = self.at;
        let value = match self.peek() {
            Some('{') => self.object()?,
            Some('[') => self.array()?,
            Some('"') => NodeValue::String(self.string()?),
            Some('-' | '0'..='9') => NodeValue::Number(self.number()?),
            _ => self.literal()?,
        };
        Ok(Node::new(offset, value))
    }

    fn literal(&mut self) -> Result<NodeValue, SyntaxError> {
        let word = self.word();
        let value = match word.as_str() {
            "true" => NodeValue::Bool(true),
            "false" => NodeValue::Bool(false),
            "null" => NodeValue::Null,
            "True" | "False" | "None" | "TRUE" | "FALSE" | "NULL" | "NaN" | "Infinity" | "nil" | "undefined" => {
                return Err(self.error(format!("`{word}` is not JSON"), "JSON has true, false, null and plain numbers"));
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.at += word.len();
        Ok(value)
    }

    fn enter(&mut self, item: PathItem) -> Result<(), SyntaxError> {
        self.path.push(item);
        if self.path.len() > MAX_DEPTH {
            return Err(self.error(format!("values nest deeper than {MAX_DEPTH}"), ""));
        }
        Ok(())
    }

    fn object(&mut self) -> Result<NodeValue, SyntaxError> {
        let opened = self.at;
        self.bump('{');
        let mut members: Vec<Member> = Vec::new();
        let mut first_places: HashMap<String, usize> = HashMap::new();
        self.space();
        if self.peek() == Some('}') {
            self.bump('}');
            return Ok(NodeValue::Object(members));
        }
        loop {
            self.space();
            let key_offset = self.at;
            if self.peek() != Some('"') {
                return Err(self.after_comma('}', opened, "a name in double quotes"));
            }
            let key = self.string()?;
            self.enter(PathItem::Key(key.clone()))?;
            self.space();
            if self.peek() != Some(':') {
                return Err(self.unexpected("`:`"));
            }
            self.bump(':');
            self.space();
            let node = self.value()?;
            match first_places.get(&key) {
                Some(_) if self.doubles.first.len() >= MAX_MISTAKES => self.doubles.beyond += 1,
                Some(first) => {
                    let path = self.path.clone();
                    self.doubles.first.push(Double { offset: key_offset, first: *first, path });
                }
                None => {
                    first_places.insert(key.clone(), key_offset);
                    members.push(Member { key, key_offset, node });
                }
            }
            self.path.pop();
            self.space();
            if !self.goes_on('}', opened)? {
                return Ok(NodeValue::Object(members));
            }
        }
    }

    fn array(&mut self) -> Result<NodeValue, SyntaxError> {
        let opened = self.at;
        self.bump('[');
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(']') {
            self.bump(']');
            return Ok(NodeValue::Array(items));
        }
        loop {
            self.space();
            if matches!(self.peek(), Some(']') | None) {
                return Err(self.after_comma(']', opened, "a value"));
            }
            self.enter(PathItem::Index(items.len()))?;
            items.push(self.value()?);
            self.path.pop();
            self.space();
            if !self.goes_on(']', opened)? {
                return Ok(NodeValue::Array(items));
            }
        }
    }

    /// After an item: a comma, or the end.
    fn goes_on(&mut self, end: char, opened: usize) -> Result<bool, SyntaxError> {
        match self.peek() {
            Some(',') => {
                self.bump(',');
                Ok(true)
            }
            Some(c) if c == end => {
                self.bump(end);
                Ok(false)
            }
            None => Err(self.unclosed(end, opened)),
            Some(_) => Err(self.unexpected(&format!("`,` or `{end}`"))),
        }
    }

    fn after_comma(&self, end: char, opened: usize, expected: &str) -> SyntaxError {
        match self.peek() {
            Some(c) if c == end => {
                self.error(format!("expected {expected}, found `{end}`"), "JSON allows no comma after the last item")
            }
            None => self.unclosed(end, opened),
            Some(_) => self.unexpected(expected),
        }
    }

    fn unclosed(&self, end: char, opened: usize) -> SyntaxError {
        let line = self.text.get(..opened).map_or(0, |before| before.matches('\n').count()) + 1;
        self.error(format!("the file ends before the `{end}` that belongs to line {line}"), "is the file cut off?")
    }

    fn number(&mut self) -> Result<Number, SyntaxError> {
        let rest = self.rest();
        let length = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let text = rest.get(..length).unwrap_or_default();
        // The form is JSON's own, so its own parser decides.
        let number = serde_json::from_str::<Number>(text)
            .map_err(|_| self.error("this is not a number of JSON", "numbers look like 1, -2 or 0.5"))?;
        self.at += length;
        Ok(number)
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let opened = self.at;
        self.bump('"');
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(self.error_at(opened, "this text has no closing quote", "is the file cut off?"));
            };
            match c {
                '"' => {
                    self.bump(c);
                    return Ok(text);
                }
                '\\' => text.push(self.escape()?),
                '\n' | '\r' => {
                    return Err(self.error_at(
                        opened,
                        "this text has no closing quote in its line",
                        "a line break within a text is written \\n",
                    ));
                }
                c if c < ' ' => {
                    return Err(self.error(
                        format!("control character U+{:04X} within a text", u32::from(c)),
                        "write it as an escape such as \\t",
                    ));
                }
                c => {
                    self.bump(c);
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.at;
        self.bump('\\');
        let Some(c) = self.peek() else {
            return Err(self.unexpected("an escape"));
        };
        self.bump(c);
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.code_point(start),
            _ => {
                return Err(self.error_at(
                    start,
                    format!("`\\{c}` is no escape of JSON"),
                    "a backslash itself is written \\\\",
                ));
            }
        })
    }

    fn code_point(&mut self, start: usize) -> Result<char, SyntaxError> {
        let error = |parser: &Self| {
            parser.error_at(
                start,
                "this `\\u` escape names no character",
                "four hexadecimal digits; beyond U+FFFF a pair of them",
            )
        };
        let high = self.hex().ok_or_else(|| error(self))?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).ok_or_else(|| error(self));
        }
        if !self.rest().starts_with("\\u") {
            return Err(error(self));
        }
        self.at += 2;
        let low = self.hex().filter(|low| (0xdc00..0xe000).contains(low)).ok_or_else(|| error(self))?;
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or_else(|| error(self))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let value = u32::from_str_radix(digits, 16).ok()?;
        self.at += 4;
        Some(value)
    }
}
