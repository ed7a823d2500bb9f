//! Python literals, which Ansible's INI files use for values that are no texts.

use serde_json::{Number, Value};

/// The value of a text that is a Python literal; none: it is a text.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text.trim() };
    // A comment may follow, as in Python.
    let is_end = |rest: &str| rest.is_empty() || rest.starts_with('#');
    let value = reader.values(0, is_end)?;
    reader.space();
    is_end(reader.rest).then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > crate::MAX_DEPTH {
            return None;
        }
        self.space();
        match self.rest.chars().next()? {
            '[' => self.list(depth),
            '(' => self.parentheses(depth),
            '{' => self.map(depth),
            '"' | '\'' => self.text().map(Value::String),
            '0'..='9' | '-' | '+' | '.' => self.number(),
            _ => self.word(),
        }
    }

    /// A value, or with a comma after it a tuple, which may have a comma at its end.
    fn values(&mut self, depth: usize, is_end: impl Fn(&str) -> bool) -> Option<Value> {
        let first = self.value(depth)?;
        if !self.eat(',') {
            return Some(first);
        }
        let mut items = vec![first];
        loop {
            self.space();
            if is_end(self.rest) {
                break;
            }
            items.push(self.value(depth)?);
            if !self.eat(',') {
                break;
            }
        }
        Some(Value::Array(items))
    }

    fn parentheses(&mut self, depth: usize) -> Option<Value> {
        self.eat('(');
        if self.eat(')') {
            return Some(Value::Array(Vec::new()));
        }
        let value = self.values(depth + 1, |rest| rest.starts_with(')'))?;
        self.eat(')').then_some(value)
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.eat('[');
        let mut items = Vec::new();
        while !self.eat(']') {
            items.push(self.value(depth + 1)?);
            if !self.eat(',') {
                return self.eat(']').then_some(Value::Array(items));
            }
        }
        Some(Value::Array(items))
    }

    fn map(&mut self, depth: usize) -> Option<Value> {
        self.eat('{');
        let mut members = serde_json::Map::new();
        while !self.eat('}') {
            let key = match self.value(depth + 1)? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            if !self.eat(':') {
                return None;
            }
            members.insert(key, self.value(depth + 1)?);
            if !self.eat(',') {
                return self.eat('}').then_some(Value::Object(members));
            }
        }
        Some(Value::Object(members))
    }

    fn text(&mut self) -> Option<String> {
        let mut chars = self.rest.char_indices();
        let (_, quote) = chars.next()?;
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = self.rest.get(at + c.len_utf8()..)?;
                    return Some(text);
                }
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    c @ ('\\' | '"' | '\'') => text.push(c),
                    other => text.extend(['\\', other]),
                },
                c => text.push(c),
            }
        }
        None
    }

    fn taken(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn number(&mut self) -> Option<Value> {
        let text = self.taken(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_'));
        let digits = text.trim_start_matches(['-', '+']);
        let radix = |prefix: &str, radix| {
            let digits = digits.strip_prefix(prefix).filter(|digits| !digits.starts_with(['-', '+']))?;
            i64::from_str_radix(digits, radix).ok()
        };
        let whole = radix("0x", 16)
            .or_else(|| radix("0o", 8))
            .or_else(|| radix("0b", 2))
            .map(|number| if text.starts_with('-') { -number } else { number });
        // Python refuses decimal numbers that begin with a zero: they stay texts, such as 0644 and 08.
        let padded = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        let plain = text.replace('_', "");
        let plain = plain.strip_prefix('+').unwrap_or(&plain);
        if let Some(number) = whole.or_else(|| plain.parse::<i64>().ok().filter(|_| !padded)) {
            return Some(Value::from(number));
        }
        let is_float = plain.contains(['.', 'e', 'E'])
            && plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'));
        let number = plain.parse::<f64>().ok().filter(|_| is_float)?;
        Number::from_f64(number).map(Value::Number)
    }

    fn word(&mut self) -> Option<Value> {
        match self.taken(|c| c.is_ascii_alphanumeric() || c == '_') {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_python_reads_as_a_literal() {
        let cases = [
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("+5", json!(5)),
            ("0", json!(0)),
            ("0x1f", json!(31)),
            ("1.5", json!(1.5)),
            ("True", json!(true)),
            ("None", json!(null)),
            ("'a b'", json!("a b")),
            ("\"it\\'s\"", json!("it's")),
            ("[1, 'x', [True,],]", json!([1, "x", [true]])),
            ("{'a': 1, 2: []}", json!({"a": 1, "2": []})),
            ("()", json!([])),
            ("(5)", json!(5)),
            ("((5))", json!(5)),
            ("(5,)", json!([5])),
            ("(1, 'x',) # two", json!([1, "x"])),
            ("80,443", json!([80, 443])),
            ("80, # one", json!([80])),
            ("(1, 2), 3", json!([[1, 2], 3])),
            ("{'a': (2)}", json!({"a": 2})),
            ("5 # five", json!(5)),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn other_texts_are_texts() {
        for text in [
            "",
            "true",
            "yes",
            "0644",
            "08",
            "1.2.3",
            "10.0.0.1",
            "a",
            "'a",
            "[1",
            "{a: 1}",
            "5 6",
            "/x",
            "-",
            "1_0x",
            "-0x-8000000000000000",
            "0o+7",
            "a,b",
            "80,b",
            "0644,5",
            "10.0.0.1,10.0.0.2",
            "5,,6",
            ",5",
            "(,)",
            "(5",
            "(1 2)",
            "1,2)",
            "1,]",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\](){}'\",:0-9a-fxTrue .\\\\-]{0,40}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn depth_is_limited() {
        for open in ["[", "(", "(1,"] {
            assert_eq!(parse(&open.repeat(100_000)), None, "{open}");
        }
    }
}
