//! Batches of rolling blocks: how many hosts at a time, how many may fail.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A number of hosts: a count or a share of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// So many hosts.
    Count(u32),
    /// So many of a hundred hosts, 0 to 100.
    Percent(u8),
}

/// Text that is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a count such as 2 nor a percentage such as \"25%\"")]
pub struct ShareError(String);

impl Share {
    /// How many of `total` hosts, at least one: the size of a batch.
    #[must_use]
    pub fn batch_of(self, total: usize) -> usize {
        self.of(total).max(1)
    }

    /// How many of `total` hosts, rounded down: a limit of failures.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => total / 100 * usize::from(percent) + total % 100 * usize::from(percent) / 100,
        }
    }

    const fn is_zero(self) -> bool {
        match self {
            Self::Count(count) => count == 0,
            Self::Percent(percent) => percent == 0,
        }
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let error = || ShareError(text.chars().take(40).collect());
        let digits = text.strip_suffix('%').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        if digits.len() == text.len() {
            return digits.parse().map(Self::Count).map_err(|_| error());
        }
        let percent: u8 = digits.parse().map_err(|_| error())?;
        if percent > 100 { Err(error()) } else { Ok(Self::Percent(percent)) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

struct ShareVisitor;

impl de::Visitor<'_> for ShareVisitor {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count such as 2 or a percentage such as \"25%\"")
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Share, E> {
        let count = u32::try_from(count).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(count), &self))?;
        Ok(Share::Count(count))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShareVisitor)
    }
}

/// Sizes of the batches in order; the last one is repeated. One size or a list, none of them zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(with = "BatchShape")]
pub struct Batch(pub Vec<Share>);

#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum BatchShape {
    /// One size.
    One(Share),
    /// One size a batch; the last one is repeated.
    Many(Vec<Share>),
}

impl JsonSchema for Share {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A count of hosts or a percentage of them.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                { "type": "string", "pattern": "^([0-9]+|([0-9]|[1-9][0-9]|100)%)$" }
            ]
        })
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self(vec![Share::Count(1)])
    }
}

impl Batch {
    /// Cuts `total` hosts into batches; their sizes add up to `total`.
    #[must_use]
    pub fn sizes(&self, total: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut left = total;
        let mut shares = self.0.iter();
        let mut share = shares.next().copied().unwrap_or(Share::Count(1));
        while left > 0 {
            let size = share.batch_of(total).min(left);
            sizes.push(size);
            left -= size;
            share = shares.next().copied().unwrap_or(share);
        }
        sizes
    }
}

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Batch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a batch size such as 1 or \"25%\", or a list of them")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Batch, E> {
                positive(ShareVisitor.visit_u64(count)?).map(|share| Batch(vec![share]))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Batch, E> {
                positive(ShareVisitor.visit_str(text)?).map(|share| Batch(vec![share]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Batch, A::Error> {
                let mut shares = Vec::new();
                while let Some(share) = list.next_element()? {
                    shares.push(positive::<A::Error>(share)?);
                }
                if shares.is_empty() {
                    return Err(de::Error::invalid_length(0, &"at least one batch size"));
                }
                Ok(Batch(shares))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

fn positive<E: de::Error>(share: Share) -> Result<Share, E> {
    if share.is_zero() { Err(E::custom("a batch has at least one host")) } else { Ok(share) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(text: &str) -> Result<Batch, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn sizes_follow_the_list_and_repeat_the_last() {
        assert_eq!(batch("1").map(|b| b.sizes(3)), Ok(vec![1, 1, 1]));
        assert_eq!(batch("\"25%\"").map(|b| b.sizes(8)), Ok(vec![2, 2, 2, 2]));
        assert_eq!(batch("[1, 2, \"50%\"]").map(|b| b.sizes(10)), Ok(vec![1, 2, 5, 2]));
        assert_eq!(batch("\"10%\"").map(|b| b.sizes(3)), Ok(vec![1, 1, 1]));
        assert_eq!(batch("5").map(|b| b.sizes(0)), Ok(vec![]));
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for text in ["0", "-1", "\"0%\"", "\"101%\"", "\"%\"", "\"+5%\"", "[]", "[1, 0]", "1.5", "true", "5000000000"] {
            assert!(batch(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn sizes_add_up(shares in prop::collection::vec(prop_oneof![
            (1u32..50).prop_map(Share::Count), (1u8..=100).prop_map(Share::Percent)], 1..5), total in 0usize..5000) {
            prop_assert_eq!(Batch(shares).sizes(total).iter().sum::<usize>(), total);
        }
    }
}
