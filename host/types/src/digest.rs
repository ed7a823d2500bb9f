//! SHA-256 digests as text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A SHA-256: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9a-f]{64}$"))]
pub struct Digest([u8; Self::DIGITS]);

/// Text that is no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a SHA-256 of 64 lower-case hexadecimal digits")]
pub struct DigestError(String);

impl Digest {
    /// Digits in its text.
    pub const DIGITS: usize = 64;

    /// The digest that stands before the first line of a journal.
    #[must_use]
    pub fn zero() -> Self {
        Self([b'0'; Self::DIGITS])
    }

    /// From the 32 bytes of a hash.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        // By hand and without an allocation: every line of a journal has two of these.
        let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
        let mut digits = [b'0'; Self::DIGITS];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        Self(digits)
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Nothing but ASCII is ever in it.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.as_str().get(..12).unwrap_or_default()
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let digits =
            text.as_bytes().try_into().ok().filter(|digits: &[u8; Self::DIGITS]| digits.iter().all(|b| is_digit(*b)));
        digits.map(Self).ok_or_else(|| DigestError(text.chars().take(80).collect()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.as_str().to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lower_case_digits() {
        let digest = Digest::from_bytes(&[0xa9; 32]);
        assert_eq!(digest.as_str(), "a9".repeat(32));
        assert_eq!(serde_json::to_string(&digest).ok(), Some(format!("{:?}", "a9".repeat(32))));
        assert_eq!(digest.as_str().parse::<Digest>(), Ok(digest));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "abc", &"AB".repeat(32), &"ä".repeat(32), &"0".repeat(65)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
