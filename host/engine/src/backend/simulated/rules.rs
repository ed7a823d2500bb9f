//! What does not change while a platform lives: behaviours, what repositories offer, how clusters are made up, faults.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cel::Program;
use indexmap::IndexMap;

use super::fault::Fault;
use super::kubernetes::kinds::Kinds;
use crate::backend::expression::{ExpressionError, compile};
use runner_types::simulated::Behaviours;
use runner_types::simulated::{ClusterSeed, PackageContent, PlatformSeed, RepositorySeed};

/// Everything a model goes by that is no fact.
pub(crate) struct Rules {
    pub(crate) behaviours: Vec<Behaviours>,
    pub(crate) repositories: IndexMap<String, RepositorySeed>,
    pub(crate) clusters: IndexMap<String, ClusterSeed>,
    pub(crate) kinds: Kinds,
    pub(crate) faults: Vec<Fault>,
    programs: Mutex<HashMap<String, Arc<Compiled>>>,
}

/// An expression and the functions it calls.
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) functions: Vec<String>,
}

impl Rules {
    /// From the files of a platform; behaviours in the order of their components.
    pub(crate) fn new(seed: &PlatformSeed, mut behaviours: Vec<Behaviours>, faults: Vec<Fault>) -> Self {
        behaviours.sort_by(|a, b| a.component.cmp(&b.component));
        Self {
            behaviours,
            repositories: seed.repositories.clone(),
            kinds: Kinds::new(&seed.clusters),
            clusters: seed.clusters.clone(),
            faults,
            programs: Mutex::new(HashMap::new()),
        }
    }

    /// What a version of a package has, wherever it is offered.
    pub(crate) fn package(&self, name: &str, version: &str) -> Option<PackageContent> {
        self.repositories.values().find_map(|repository| repository.packages.get(name)?.content(version))
    }

    /// The cluster that is meant where none is named: the only one.
    pub(crate) fn only_cluster(&self) -> Option<&str> {
        match self.clusters.len() {
            1 => self.clusters.keys().next().map(String::as_str),
            _ => None,
        }
    }

    /// An expression, compiled once.
    pub(crate) fn compiled(&self, text: &str) -> Result<Arc<Compiled>, ExpressionError> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = programs.get(text) {
            return Ok(Arc::clone(known));
        }
        let program = compile(text)?;
        let functions = program.references().functions().into_iter().map(str::to_owned).collect();
        let compiled = Arc::new(Compiled { program, functions });
        programs.insert(text.to_owned(), Arc::clone(&compiled));
        Ok(compiled)
    }
}
