//! Durations as workflows write them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Whole seconds, written `90s`, `10m` or `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Seconds(pub(crate) u32);

impl TryFrom<String> for Seconds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration such as 90s, 10m or 2h");
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
        let factor = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        let number: u32 = number.parse().map_err(|_| wrong())?;
        // What the contract carries is a 32-bit number of milliseconds.
        number
            .checked_mul(factor)
            .filter(|seconds| *seconds <= u32::MAX / 1000)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is too long"))
    }
}

impl From<Seconds> for String {
    fn from(seconds: Seconds) -> Self {
        seconds.to_string()
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            seconds if seconds > 0 && seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            seconds if seconds > 0 && seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,6}[smh]$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds, written) in
            [("90s", 90, "90s"), ("10m", 600, "10m"), ("2h", 7200, "2h"), ("120s", 120, "2m"), ("0s", 0, "0s")]
        {
            let read = Seconds::try_from(text.to_owned());
            assert_eq!(read, Ok(Seconds(seconds)), "{text}");
            assert_eq!(Seconds(seconds).to_string(), written);
        }
        for text in ["", "s", "10", "10d", "-1s", "1.5m", "5 m", "é", "9999999h"] {
            assert!(Seconds::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
