//! Versions of persisted formats and of the plugin contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Version of the format of run directories and backup sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FormatVersion(u32);

/// A format that this runner does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatVersionError {
    /// Written by a newer runner.
    #[error("format {found} is newer than this runner reads ({newest}); use the runner that wrote it, or a newer one")]
    TooNew {
        /// What the file says.
        found: FormatVersion,
        /// The newest that this runner reads.
        newest: FormatVersion,
    },
    /// Written by a runner so old that this one no longer reads it.
    #[error("format {found} is older than this runner reads ({oldest}); use the runner that wrote it")]
    TooOld {
        /// What the file says.
        found: FormatVersion,
        /// The oldest that this runner reads.
        oldest: FormatVersion,
    },
}

impl FormatVersion {
    /// What this runner writes, and the newest it reads.
    pub const CURRENT: Self = Self(1);
    /// The oldest it reads.
    pub const OLDEST: Self = Self(1);

    /// A version by its number, for tests and tools that inspect foreign files.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Whether this runner reads it.
    ///
    /// # Errors
    /// When it is too new or too old.
    pub fn check(self) -> Result<(), FormatVersionError> {
        if self > Self::CURRENT {
            Err(FormatVersionError::TooNew { found: self, newest: Self::CURRENT })
        } else if self < Self::OLDEST {
            Err(FormatVersionError::TooOld { found: self, oldest: Self::OLDEST })
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Version of the plugin contract: three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]+\\.[0-9]+\\.[0-9]+$"))]
pub struct ApiVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

/// Text that is no contract version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of three numbers such as 0.1.0")]
pub struct ApiVersionError(String);

impl ApiVersion {
    /// From its three numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Whether a host of this version serves a plugin made for `wanted`: same 0.x (or major), nothing newer.
    #[must_use]
    pub fn serves(self, wanted: Self) -> bool {
        let same_line =
            if self.major == 0 && wanted.major == 0 { self.minor == wanted.minor } else { self.major == wanted.major };
        same_line && wanted <= self
    }
}

impl FromStr for ApiVersion {
    type Err = ApiVersionError;

    fn from_str(text: &str) -> Result<Self, ApiVersionError> {
        let error = || ApiVersionError(text.chars().take(40).collect());
        let number = |part: &str| {
            Some(part)
                .filter(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|part| part.parse().ok())
                .ok_or_else(error)
        };
        match text.split('.').collect::<Vec<_>>().as_slice() {
            [major, minor, patch] => Ok(Self { major: number(major)?, minor: number(minor)?, patch: number(patch)? }),
            _ => Err(error()),
        }
    }
}

impl TryFrom<String> for ApiVersion {
    type Error = ApiVersionError;

    fn try_from(text: String) -> Result<Self, ApiVersionError> {
        text.parse()
    }
}

impl From<ApiVersion> for String {
    fn from(version: ApiVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_new_and_too_old_differ() {
        assert_eq!(FormatVersion::CURRENT.check(), Ok(()));
        let new = FormatVersion::new(99).check().unwrap_err();
        let old = FormatVersion::new(0).check().unwrap_err();
        assert!(new.to_string().contains("newer than this runner"), "{new}");
        assert!(old.to_string().contains("older than this runner"), "{old}");
    }

    #[test]
    fn a_host_serves_its_own_line_up_to_itself() {
        let host = ApiVersion::new(0, 1, 2);
        for (wanted, served) in [("0.1.0", true), ("0.1.2", true), ("0.1.3", false), ("0.2.0", false), ("0.0.9", false)]
        {
            assert_eq!(wanted.parse().map(|wanted| host.serves(wanted)), Ok(served), "{wanted}");
        }
        assert!(ApiVersion::new(1, 4, 0).serves(ApiVersion::new(1, 2, 9)));
        assert!(!ApiVersion::new(1, 4, 0).serves(ApiVersion::new(0, 1, 0)));
    }
}
