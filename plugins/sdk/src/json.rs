//! JSON values, and hashes of them.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 of bytes in lower-case hexadecimal digits.
pub fn sha256(data: impl AsRef<[u8]>) -> String {
    Sha256::digest(data.as_ref()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a value that does not depend on the order of its fields.
pub fn hash(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    sha256(text)
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            text.push('{');
            for name in names {
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write_canonical(&fields[name], text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

/// Fields of a JSON value by JSON pointer.
pub trait At {
    /// Text there; none where there is none.
    fn text(&self, pointer: &str) -> Option<&str>;
    /// Whole number there.
    fn number(&self, pointer: &str) -> Option<i64>;
    /// True only where `true` is there.
    fn is_true(&self, pointer: &str) -> bool;
    /// Items of the list there; empty where there is none.
    fn items(&self, pointer: &str) -> &[Value];
    /// Sets the value there; objects on the way are made. Nothing happens where a list or scalar is in the way.
    fn put(&mut self, pointer: &str, value: Value);
    /// Removes the field there.
    fn cut(&mut self, pointer: &str) -> Option<Value>;
}

impl At for Value {
    fn text(&self, pointer: &str) -> Option<&str> {
        self.pointer(pointer).and_then(Value::as_str)
    }

    fn number(&self, pointer: &str) -> Option<i64> {
        self.pointer(pointer).and_then(Value::as_i64)
    }

    fn is_true(&self, pointer: &str) -> bool {
        self.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    fn items(&self, pointer: &str) -> &[Value] {
        self.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn put(&mut self, pointer: &str, value: Value) {
        let mut place = self;
        for token in pointer.split('/').skip(1) {
            let name = token.replace("~1", "/").replace("~0", "~");
            if place.is_null() {
                *place = Value::Object(serde_json::Map::new());
            }
            let next = match place {
                Value::Object(fields) => Some(fields.entry(name).or_insert(Value::Null)),
                Value::Array(items) => name.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
                _ => None,
            };
            match next {
                Some(next) => place = next,
                None => return,
            }
        }
        *place = value;
    }

    fn cut(&mut self, pointer: &str) -> Option<Value> {
        let (parent, name) = pointer.rsplit_once('/')?;
        let name = name.replace("~1", "/").replace("~0", "~");
        self.pointer_mut(parent)?.as_object_mut()?.shift_remove(&name)
    }
}

/// A name as one segment of a JSON pointer.
pub fn segment(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_known_hash() {
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_hash_does_not_depend_on_the_order_of_fields() {
        assert_eq!(
            hash(&json!({"a": 1, "b": [1, {"c": 2, "d": 3}]})),
            hash(&json!({"b": [1, {"d": 3, "c": 2}], "a": 1}))
        );
        assert_ne!(hash(&json!({"a": [1, 2]})), hash(&json!({"a": [2, 1]})));
        assert_ne!(hash(&json!({"a": "1"})), hash(&json!({"a": 1})));
    }

    #[test]
    fn fields_by_pointer() {
        let mut value = json!({"metadata": {"name": "x"}, "spec": {"list": [{"a": 1}]}});
        value.put("/metadata/annotations/runner~1hash", json!("h"));
        value.put("/spec/list/0/b", json!(2));
        value.put("/metadata/name/below", json!("lost"));
        assert_eq!(value.text("/metadata/annotations/runner~1hash"), Some("h"));
        assert_eq!(value.number("/spec/list/0/b"), Some(2));
        assert_eq!(value.text("/metadata/name"), Some("x"));
        assert_eq!(value.cut("/metadata/name"), Some(json!("x")));
        assert_eq!(value.text("/metadata/name"), None);
        assert_eq!(value.items("/none").len(), 0);
    }
}
