//! Durations as people write them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration such as `500ms`, `30s`, `10m`, `2h`, `1d` or `1h30m`; at most 100 years.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^([0-9]+(ms|s|m|h|d))+$"))]
pub struct TimeSpan(Duration);

/// Text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeSpanError {
    /// It does not have the form of a duration.
    #[error("{0:?} is not a duration such as 500ms, 30s, 10m, 2h or 1d")]
    Form(String),
    /// It is longer than runner reckons with.
    #[error("{0:?} is longer than 100 years")]
    TooLong(String),
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const LONGEST: u64 = 100 * 366 * 86_400_000;

impl TimeSpan {
    /// From whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// As the standard library's duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl From<TimeSpan> for Duration {
    fn from(span: TimeSpan) -> Self {
        span.0
    }
}

impl FromStr for TimeSpan {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        let shown = || text.chars().take(40).collect::<String>();
        let mut total = 0u64;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
            let (unit, next) = after.split_at(letters);
            let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
            let (Some(factor), false) = (factor, number.is_empty()) else {
                return Err(TimeSpanError::Form(shown()));
            };
            total = number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(factor))
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= LONGEST)
                .ok_or_else(|| TimeSpanError::TooLong(shown()))?;
            rest = next;
        }
        if text.is_empty() {
            return Err(TimeSpanError::Form(String::new()));
        }
        Ok(Self::from_millis(total))
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = TimeSpanError;

    fn try_from(text: String) -> Result<Self, TimeSpanError> {
        text.parse()
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> Self {
        span.to_string()
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        let millis = |text: &str| text.parse::<TimeSpan>().map(TimeSpan::millis);
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("1d"), Ok(86_400_000));
        for text in ["", "5", "s", "5 s", "-5s", "5S", "5sec", "1.5s", "٣s"] {
            assert!(matches!(millis(text), Err(TimeSpanError::Form(_))), "{text}");
        }
        for text in ["99999999999999999999s", "99999999d"] {
            assert!(matches!(millis(text), Err(TimeSpanError::TooLong(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0..LONGEST) {
            let span = TimeSpan::from_millis(millis);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<TimeSpan>();
        }
    }
}
