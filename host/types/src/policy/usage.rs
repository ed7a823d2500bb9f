//! Uses of capabilities, and whether patterns cover them.

use super::{Absent, Field, Patterns, argv_matches, glob_matches, path_matches};
use crate::{EffectClass, Place};

/// One use of a capability: what the gate asks the policy about.
#[derive(Debug, Clone)]
pub struct Use<'a> {
    /// Capability, `interface.function`.
    pub capability: &'a str,
    /// Where.
    pub place: Place,
    /// Whether the step's own target covers that place.
    pub own: bool,
    /// Groups of the host, so that `hosts` may name groups.
    pub groups: &'a [String],
    /// Units, packages, paths and so on; every one of them must be covered.
    pub subjects: Vec<(Field, String)>,
    /// Program and arguments of a command.
    pub argv: &'a [String],
    /// What repeating it means.
    pub class: EffectClass,
    /// Whether the item itself says its class, so that `effects` decides.
    pub stated: bool,
}

impl Patterns {
    /// Whether every part of that use is covered.
    #[must_use]
    pub fn allow(&self, usage: &Use<'_>) -> bool {
        self.allow_place(usage)
            && usage.subjects.iter().all(|(field, subject)| self.allow_subject(*field, subject))
            && (usage.argv.is_empty()
                || self.get(Field::Argv).is_some_and(|template| argv_matches(template, usage.argv)))
            && (!usage.stated || self.allow_subject(Field::Effects, usage.class.as_str()))
    }

    fn allow_place(&self, usage: &Use<'_>) -> bool {
        let (field, name) = match &usage.place {
            Place::Host(name) => (Field::Hosts, name),
            Place::Cluster(name) => (Field::Clusters, name),
            Place::Runner => return true,
        };
        match self.get(field) {
            None => usage.own,
            Some(patterns) => {
                patterns.iter().any(|pattern| glob_matches(pattern, name, None) || usage.groups.contains(pattern))
            }
        }
    }

    fn allow_subject(&self, field: Field, subject: &str) -> bool {
        let Some(patterns) = self.get(field) else {
            return match field.absent() {
                Absent::Nothing => false,
                Absent::Anything => true,
                Absent::ReadOnly => subject == EffectClass::Read.as_str(),
                // Places are decided by `allow_place`; as a mere subject they are not covered.
                Absent::OwnTarget => false,
            };
        };
        patterns.iter().any(|pattern| match field {
            Field::Paths | Field::Directories => path_matches(pattern, subject),
            // Whoever grants `*` means what a cluster runs, not what it keeps secret.
            Field::Kinds if subject == "Secret" => pattern == subject,
            Field::Hosts
            | Field::Clusters
            | Field::Units
            | Field::Packages
            | Field::Repositories
            | Field::Argv
            | Field::Environment
            | Field::Users
            | Field::Effects
            | Field::Kinds
            | Field::Namespaces
            | Field::Names
            | Field::Urls
            | Field::Methods
            | Field::Secrets => glob_matches(pattern, subject, field.separator()),
        })
    }
}
