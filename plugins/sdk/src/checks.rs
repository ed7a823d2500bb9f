//! What verify finds.

use crate::{Check, ComponentVersion, Place, Verdict, Verification};

/// A verification in the making.
#[derive(Debug, Default)]
pub struct Checks {
    checks: Vec<Check>,
    versions: Vec<ComponentVersion>,
}

impl Checks {
    /// Nothing looked at yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A check that passes when `good`.
    pub fn check(
        &mut self,
        name: &str,
        place: Place,
        expected: impl Into<String>,
        observed: impl Into<String>,
        good: bool,
    ) -> &mut Self {
        let verdict = if good { Verdict::Pass } else { Verdict::Fail };
        self.push(name, place, expected.into(), observed.into(), verdict)
    }

    /// A check that passes when what was observed is what was expected.
    pub fn equal(
        &mut self,
        name: &str,
        place: Place,
        expected: impl Into<String>,
        observed: impl Into<String>,
    ) -> &mut Self {
        let (expected, observed) = (expected.into(), observed.into());
        let good = expected == observed;
        self.check(name, place, expected, observed, good)
    }

    /// A check whose answer could not be found out.
    pub fn unknown(
        &mut self,
        name: &str,
        place: Place,
        expected: impl Into<String>,
        why: impl Into<String>,
    ) -> &mut Self {
        self.push(name, place, expected.into(), why.into(), Verdict::Unknown)
    }

    /// A version that was found.
    pub fn version(&mut self, place: Place, part: &str, version: &str) -> &mut Self {
        self.versions.push(ComponentVersion { part: part.to_owned(), version: version.to_owned(), place });
        self
    }

    /// Several versions.
    pub fn versions(&mut self, versions: impl IntoIterator<Item = ComponentVersion>) -> &mut Self {
        self.versions.extend(versions);
        self
    }

    /// Checks that did not pass so far.
    pub fn open(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.verdict != Verdict::Pass)
    }

    /// The verification.
    pub fn finish(&mut self) -> Verification {
        let this = std::mem::take(self);
        Verification { checks: this.checks, versions: this.versions }
    }

    fn push(&mut self, name: &str, place: Place, expected: String, observed: String, verdict: Verdict) -> &mut Self {
        self.checks.push(Check { name: name.to_owned(), place, expected, observed, verdict });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_not_pass() {
        let mut checks = Checks::new();
        checks.equal("a", Place::Runner, "1", "1").equal("b", Place::Runner, "1", "2");
        checks.unknown("c", Place::Runner, "1", "no answer");
        let open: Vec<&str> = checks.open().map(|check| check.name.as_str()).collect();
        assert_eq!(open, ["b", "c"]);
        assert_eq!(checks.finish().checks.len(), 3);
    }
}
