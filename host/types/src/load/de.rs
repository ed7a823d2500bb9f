//! Reads types from a parsed tree; errors carry the JSON path at which they arose.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use std::fmt;

use super::tree::{Member, Node, NodeValue};
use super::{PathItem, nearest};

/// Why a value does not fit the type.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) path: Vec<PathItem>,
    pub(super) offset: usize,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) about: About,
}

/// What kind of error it is, where that decides whether it follows from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// A name that the type does not have.
    UnknownField,
    /// A name that the type wants.
    MissingField(&'static str),
    /// A value.
    Value,
}

/// Reads a type.
pub(super) fn read<T: DeserializeOwned>(tree: &Node) -> Result<T, ReadError> {
    T::deserialize(Reader(tree)).map_err(|mut error| {
        error.path.reverse();
        ReadError {
            path: error.path,
            offset: error.offset.unwrap_or(tree.offset),
            message: error.message,
            help: error.help,
            about: error.about,
        }
    })
}

/// An error on its way out of the tree: the path grows from its end.
#[derive(Debug)]
struct Inner {
    path: Vec<PathItem>,
    offset: Option<usize>,
    message: String,
    help: Option<String>,
    about: About,
}

impl Inner {
    fn new(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), offset: None, message: message.into(), help: None, about: About::Value }
    }

    fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn within(mut self, item: PathItem, offset: usize) -> Self {
        self.path.push(item);
        self.offset.get_or_insert(offset);
        self
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Inner {}

impl de::Error for Inner {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", in_words(expected), found_in_words(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", in_words(expected), found_in_words(found)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {length}", in_words(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("{variant:?} is not known here{}", suggestion(variant, expected)))
            .with_help(format!("one of: {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let help = match expected {
            [] => "no fields are known here".to_owned(),
            known => format!("the fields here are: {}", known.join(", ")),
        };
        let mut error = Self::new(format!("unknown field {field:?}{}", suggestion(field, expected))).with_help(help);
        error.about = About::UnknownField;
        error
    }

    fn missing_field(field: &'static str) -> Self {
        let mut error = Self::new(format!("field {field:?} is missing")).with_help("add it to this object");
        error.about = About::MissingField(field);
        error
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("field {field:?} stands here twice"))
    }
}

fn suggestion(name: &str, expected: &[&str]) -> String {
    nearest(name, expected.iter().copied()).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// What serde expects, in words of the file rather than of the program.
fn in_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    let words = match text.as_str() {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "a string" => "a text",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "i32" | "i64" => "a whole number",
        "f64" => "a number",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") || other.ends_with("identifier") => "a name",
        other => other,
    };
    words.to_owned()
}

fn found_in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(flag) => format!("`{flag}`"),
        Unexpected::Unsigned(number) => format!("`{number}`"),
        Unexpected::Signed(number) => format!("`{number}`"),
        Unexpected::Float(number) => format!("`{number}`"),
        Unexpected::Str(text) => {
            let shown: String = text.chars().take(60).collect();
            format!("the text {shown:?}")
        }
        Unexpected::Unit | Unexpected::Option => "`null`".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

struct Reader<'a>(&'a Node);

impl<'a> Reader<'a> {
    fn unexpected(&self) -> Unexpected<'a> {
        match &self.0.value {
            NodeValue::Null => Unexpected::Unit,
            NodeValue::Bool(flag) => Unexpected::Bool(*flag),
            NodeValue::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Unexpected::Unsigned(number),
                (None, Some(number)) => Unexpected::Signed(number),
                (None, None) => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            NodeValue::String(text) => Unexpected::Str(text),
            NodeValue::Array(_) => Unexpected::Seq,
            NodeValue::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Inner;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Inner> {
        match &self.0.value {
            NodeValue::Null => visitor.visit_unit(),
            NodeValue::Bool(flag) => visitor.visit_bool(*flag),
            NodeValue::Number(number) => {
                if let Some(number) = number.as_u64() {
                    visitor.visit_u64(number)
                } else if let Some(number) = number.as_i64() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            NodeValue::String(text) => visitor.visit_str(text),
            NodeValue::Array(items) => visitor.visit_seq(Items { items, next: 0 }),
            NodeValue::Object(members) => visitor.visit_map(Members { members, next: 0 }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Inner> {
        match &self.0.value {
            NodeValue::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Inner> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Inner> {
        match &self.0.value {
            NodeValue::Object(members) => visitor.visit_map(Members { members, next: 0 }),
            // A derived type would also take its fields from a list, in order.
            _ => Err(de::Error::invalid_type(self.unexpected(), &visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Inner> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Inner> {
        match &self.0.value {
            NodeValue::String(text) => visitor.visit_enum(Choice { name: text, member: None }),
            NodeValue::Object(members) => {
                let mut left = members.iter().filter(|member| !member.node.removed);
                match (left.next(), left.next()) {
                    (Some(member), None) => visitor.visit_enum(Choice { name: &member.key, member: Some(member) }),
                    _ => Err(Inner::new(format!("expected an object with exactly one of: {}", variants.join(", ")))),
                }
            }
            _ => Err(Inner::new(format!("expected one of: {}", variants.join(", ")))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Inner;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Inner> {
        while let Some(node) = self.items.get(self.next) {
            let index = self.next;
            self.next += 1;
            if !node.removed {
                return seed
                    .deserialize(Reader(node))
                    .map(Some)
                    .map_err(|error| error.within(PathItem::Index(index), node.offset));
            }
        }
        Ok(None)
    }
}

struct Members<'a> {
    members: &'a [Member],
    next: usize,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Inner;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Inner> {
        while let Some(member) = self.members.get(self.next) {
            if member.node.removed {
                self.next += 1;
                continue;
            }
            return seed
                .deserialize(Key(&member.key))
                .map(Some)
                .map_err(|error| error.within(PathItem::Key(member.key.clone()), member.key_offset));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Inner> {
        let member = self.members.get(self.next).ok_or_else(|| Inner::new("a value was read before its name"))?;
        self.next += 1;
        seed.deserialize(Reader(&member.node))
            .map_err(|error| error.within(PathItem::Key(member.key.clone()), member.node.offset))
    }
}

/// A name of an object, which may be an enum's variant or a number in quotes.
struct Key<'a>(&'a str);

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Inner;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Inner> {
        visitor.visit_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Inner> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Inner> {
        visitor.visit_enum(Choice { name: self.0, member: None })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Choice<'a> {
    name: &'a str,
    member: Option<&'a Member>,
}

impl<'de, 'a> EnumAccess<'de> for Choice<'a> {
    type Error = Inner;
    type Variant = Content<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'a>), Inner> {
        let name: StrDeserializer<'_, Inner> = self.name.into_deserializer();
        let variant = seed.deserialize(name).map_err(|error| match self.member {
            Some(member) => error.within(PathItem::Key(member.key.clone()), member.key_offset),
            None => error,
        })?;
        Ok((variant, Content(self.member)))
    }
}

/// What a variant carries.
struct Content<'a>(Option<&'a Member>);

impl Content<'_> {
    fn read<T>(self, read: impl FnOnce(Reader<'_>) -> Result<T, Inner>) -> Result<T, Inner> {
        let member =
            self.0.ok_or_else(|| <Inner as de::Error>::custom("expected an object with this name and a value"))?;
        read(Reader(&member.node)).map_err(|error| error.within(PathItem::Key(member.key.clone()), member.node.offset))
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = Inner;

    fn unit_variant(self) -> Result<(), Inner> {
        match self.0 {
            None => Ok(()),
            Some(member) => Err(Inner::new(format!("expected the text {:?}", member.key))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Inner> {
        self.read(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Inner> {
        self.read(|reader| reader.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Inner> {
        self.read(|reader| reader.deserialize_map(visitor))
    }
}
