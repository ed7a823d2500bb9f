//! Versions of etcd, as servers and packages write them.

use std::fmt;

/// A version of etcd. Storage versions and targets of a downgrade only count by their [`Minor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major and minor.
    pub minor: Minor,
    /// Patch.
    pub patch: u32,
}

/// Major and minor version: what decides whether data can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minor(pub u32, pub u32);

impl Version {
    /// Reads `3.5.35`, `3.6.0-alpha.0` and package versions such as `1:3.5.35+ds-2`. Without a patch it is 0.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_once(':').map_or(text, |(_, rest)| rest);
        let digits = |c: char| c.is_ascii_digit() || c == '.';
        let end = text.find(|c| !digits(c)).unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(str::parse::<u32>);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = match numbers.next() {
            Some(patch) => patch.ok()?,
            None => 0,
        };
        Some(Self { minor: Minor(major, minor), patch })
    }
}

impl Minor {
    /// Reads the minor version of whatever [`Version::parse`] reads.
    pub fn parse(text: &str) -> Option<Self> {
        Version::parse(text).map(|version| version.minor)
    }

    /// First version that has `etcdctl downgrade`, storage versions and all that belongs to them
    /// (<https://etcd.io/docs/v3.6/downgrades/downgrade_3_6/>).
    pub const WITH_DOWNGRADE: Self = Self(3, 6);

    /// Whether `other` is the next minor version after this one.
    pub fn is_followed_by(self, other: Self) -> bool {
        self.0 == other.0 && self.1 + 1 == other.1
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.minor, self.patch)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_servers_write_the_same_version() {
        let wanted = Version { minor: Minor(3, 5), patch: 35 };
        for text in ["3.5.35", "3.5.35-1", "1:3.5.35-1", "3.5.35+ds-2~bpo12+1", "3.5.35~rc1"] {
            assert_eq!(Version::parse(text), Some(wanted), "{text}");
        }
        assert_eq!(Minor::parse("3.5"), Some(Minor(3, 5)));
        assert_eq!(Version::parse("3.6.0-alpha.0").map(|v| v.to_string()), Some("3.6.0".into()));
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in ["", "3", "x.y", "3.", "3..5", "v3.5.1", "99999999999.1"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn minors_follow_each_other_one_by_one() {
        assert!(Minor(3, 5).is_followed_by(Minor(3, 6)));
        assert!(!Minor(3, 4).is_followed_by(Minor(3, 6)));
        assert!(!Minor(3, 6).is_followed_by(Minor(3, 5)));
        assert!(!Minor(2, 5).is_followed_by(Minor(3, 6)));
        assert!(Minor(3, 9) < Minor(3, 10));
    }
}
