//! Host patterns: which hosts a list of names, groups and globs means.

use super::{ALL, ResolvedInventory};
use crate::{glob_matches, nearest};

/// A host pattern that means no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It names nothing that exists.
    #[error("no host or group {name:?}{}", near.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: String,
        /// What was probably meant.
        near: Option<String>,
    },
    /// The patterns together leave no host.
    #[error("no host is left by {0:?}")]
    Empty(Vec<String>),
}

impl ResolvedInventory {
    /// Hosts that the patterns mean, in inventory order. A pattern is `all`, a group, a host, a glob over both, or one
    /// of these after `!`, which leaves hosts out wherever it stands; `&` before one keeps only hosts in it too. Several
    /// may stand in one text with `,` or `:` between them. Only patterns that leave out begin with all hosts.
    ///
    /// # Errors
    /// When a name is unknown or no host is left.
    pub fn select<S: AsRef<str>>(&self, patterns: &[S]) -> Result<Vec<&str>, PatternError> {
        let words = || {
            patterns
                .iter()
                .flat_map(|text| text.as_ref().split([',', ':']))
                .map(str::trim)
                .filter(|word| !word.is_empty())
        };
        let mut chosen =
            vec![words().all(|word| word.starts_with(['!', '&'])) && words().count() > 0; self.hosts.len()];
        for word in words().filter(|word| !word.starts_with(['!', '&'])) {
            self.mark(word, &mut chosen, |chosen, matches| *chosen |= matches)?;
        }
        for word in words().filter_map(|word| word.strip_prefix('&')) {
            self.mark(word, &mut chosen, |chosen, matches| *chosen &= matches)?;
        }
        for word in words().filter_map(|word| word.strip_prefix('!')) {
            self.mark(word, &mut chosen, |chosen, matches| *chosen &= !matches)?;
        }
        let hosts: Vec<&str> = self
            .hosts
            .values()
            .zip(&chosen)
            .filter(|(_, chosen)| **chosen)
            .map(|(host, _)| host.name.as_str())
            .collect();
        if hosts.is_empty() {
            return Err(PatternError::Empty(patterns.iter().map(|p| p.as_ref().to_owned()).collect()));
        }
        Ok(hosts)
    }

    fn mark(&self, word: &str, chosen: &mut [bool], apply: impl Fn(&mut bool, bool)) -> Result<(), PatternError> {
        let is_glob = word.contains('*');
        let groups: Vec<&str> = self
            .groups
            .keys()
            .map(String::as_str)
            .filter(|group| *group == word || (is_glob && glob_matches(word, group, None)))
            .collect();
        let mut known = word == ALL || !groups.is_empty();
        for (host, chosen) in self.hosts.values().zip(chosen) {
            let by_name = host.name == word || (is_glob && glob_matches(word, &host.name, None));
            known |= by_name;
            let matches = by_name || word == ALL || host.groups.iter().any(|group| groups.contains(&group.as_str()));
            apply(chosen, matches);
        }
        if known {
            return Ok(());
        }
        let names = self.hosts.keys().chain(self.groups.keys()).map(String::as_str).chain([ALL]);
        Err(PatternError::Unknown { name: word.to_owned(), near: nearest(word, names).map(str::to_owned) })
    }
}
