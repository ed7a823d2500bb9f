//! What a run rests on: the files that people wrote, the plugins, the platform; and running a plan on them.

mod answers;
mod files;
mod reach;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use indexmap::IndexMap;
use rand::Rng as _;
use runner_types::simulated::Faults;
use runner_types::{
    Connection, Depth, Diagnostic, Diagnostics, Digest, Extra, FileDigest, FormatVersion, Inventory, Located,
    Operation, Operator, PluginPin, Policy, Releases, ResolvedInventory, RunHeader, SourceFile, Timestamp, Workflow,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use answers::InAdvance;
use files::{check_capabilities, check_trust, inventory, inventory_value, platform_name, releases_value};
pub use files::{read, read_workflows};

use crate::artifacts::{DirectoryStore, Store, StoreError};
use crate::backend::simulated::read_faults;
use crate::backups::{BackupError, Backups};
use crate::contract::API_VERSION;
use crate::executor::{Component, Parts, RunSummary, execute};
use crate::expression::Scope;
use crate::gate::{Ask, Gate, Observer};
use crate::journal::{Journal, JournalError};
use crate::lock::{Holder, LockError, PlatformLock};
use crate::planner::{Plan, PossiblePrompt, World, plan};
use crate::plugin::{Catalog, CatalogError};

/// Where everything is.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The workflow; none: one is made of the components (see [`Project::plan_verify`]).
    pub workflow: Option<PathBuf>,
    /// The inventory.
    pub inventory: PathBuf,
    /// The policy.
    pub policy: PathBuf,
    /// The releases.
    pub releases: Option<PathBuf>,
    /// The lock file of plugins, enforced when it exists.
    pub lock: Option<PathBuf>,
    /// Directories of plugins; earlier ones win.
    pub plugins: Vec<PathBuf>,
    /// Directory of runs, store, backup sets and simulated platforms.
    pub state: PathBuf,
    /// Directory of compiled plugins.
    pub cache: Option<PathBuf>,
    /// Faults of the simulated platform.
    pub faults: Option<PathBuf>,
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Files are wrong; the text names every place.
    #[error("{0}")]
    Files(Diagnostics),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A plugin cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There is no plugin to look at anything with.
    #[error("no plugin that verifies was found in {}", searched.join(", "))]
    NoPlugin {
        /// Directories looked into.
        searched: Vec<String>,
    },
    /// A plugin is not the one that was trusted.
    #[error(
        "the plugin {name} ({found}) is not the one that {lock} names{}; look at it with `runner plugin inspect {name}`, \
         then `runner plugin trust {name}`",
        names(.trusted)
    )]
    Untrusted {
        /// Name of the plugin.
        name: String,
        /// Digest of its file.
        found: String,
        /// The lock file.
        lock: String,
        /// What the lock file says.
        trusted: Option<String>,
    },
    /// What reaches a real cluster cannot be made ready.
    #[error("cluster {cluster} cannot be reached: {reason}")]
    Connection {
        /// The cluster.
        cluster: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A host's settings need something that is not there.
    #[error("{0}")]
    Unavailable(String),
    /// The simulated platform cannot be used.
    #[error("the simulated platform cannot be used: {0}")]
    Simulated(String),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup sets cannot be used.
    #[error(transparent)]
    Backups(#[from] BackupError),
    /// Another operation runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Questions that nobody could answer: nothing was begun.
    #[error("nobody can answer {}; nothing was changed", unanswered(.0))]
    Unanswerable(Vec<PossiblePrompt>),
}

fn names(trusted: &Option<String>) -> String {
    trusted.as_ref().map_or_else(|| " (it names none)".to_owned(), |digest| format!(" ({digest})"))
}

fn unanswered(prompts: &[PossiblePrompt]) -> String {
    let mut seen: Vec<String> = Vec::new();
    for prompt in prompts {
        let way = match &prompt.option {
            Some(option) => format!("{option} answers it in advance"),
            None if prompt.component.is_some() => {
                "it can only be answered at a terminal, as `answers` of the workflow names no input for it".to_owned()
            }
            None => "it can only be answered at a terminal".to_owned(),
        };
        let who = prompt.component.as_ref().map_or_else(String::new, |component| format!("{component}/"));
        let text = format!("the prompt {who}{} ({way})", prompt.key);
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.join(", ")
}

/// How a run is watched and steered.
pub struct RunOptions {
    /// Sees what happens.
    pub observer: Arc<dyn Observer>,
    /// Answers questions.
    pub operator: Arc<dyn Ask>,
    /// Whether the operator is at a terminal; if not, every question must be answered in advance.
    pub interactive: bool,
    /// Who runs it.
    pub who: Operator,
    /// Called with the gate's handle before anything happens, so that a signal can cancel the run.
    pub on_begin: Box<dyn FnOnce(Arc<Gate>) + Send>,
}

/// Everything that a run rests on, read and checked.
pub struct Project {
    world: Arc<World>,
    catalog: Catalog,
    policy: Located<Policy>,
    releases: Option<Located<Releases>>,
    inventory: Inventory,
    inventory_file: SourceFile,
    warnings: Vec<String>,
    entry: Option<String>,
    platform: String,
    faults: Faults,
    options: Options,
}

impl Project {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// Everything that is wrong with them, file by file.
    pub fn load(options: Options) -> Result<Self, ProjectError> {
        let faults = options.faults.as_deref().map(read_faults).transpose().map_err(ProjectError::Files)?;
        let catalog = Catalog::open(&options.plugins, options.cache.clone())?;
        let is_pinned = check_trust(&catalog, options.lock.as_deref())?;
        let (inventory, inventory_file, mut warnings) = inventory(&options.inventory)?;
        let resolved = inventory.resolve();
        let policy: Located<Policy> = read(&options.policy)?;
        check_capabilities(&policy)?;
        let releases: Option<Located<Releases>> = options.releases.as_deref().map(read).transpose()?;
        let workflows = options.workflow.as_deref().map(read_workflows).transpose()?.unwrap_or_default();
        let entry = workflows.keys().next().cloned();
        let platform = platform_name(&inventory, &options.inventory)?;
        let mut scope = Scope::default();
        scope.set("inventory", &inventory_value(&inventory, &resolved));
        scope.set("releases", &releases.as_ref().map_or(Value::Null, |releases| releases_value(releases.value())));
        let world = World {
            clusters: inventory.clusters.keys().cloned().collect(),
            components: inventory.components.clone(),
            inventory: resolved,
            plugins: catalog
                .manifests()
                .map(|(_, digest, manifest)| (manifest.name.clone(), (Arc::clone(manifest), digest.clone())))
                .collect(),
            workflows,
            scope,
        };
        if !is_pinned && world.inventory.hosts.values().any(|host| host.connection != Connection::Simulated) {
            warnings.push(
                "no lock file binds the plugins to their digests: whoever can write their directory decides what runs; \
                 look at them with `runner plugin inspect`, then `runner plugin trust`"
                    .to_owned(),
            );
        }
        Ok(Self {
            world: Arc::new(world),
            catalog,
            policy,
            releases,
            inventory,
            inventory_file,
            warnings,
            entry,
            platform,
            faults: faults.unwrap_or_default(),
            options,
        })
    }

    /// The workflow that was asked for.
    #[must_use]
    pub fn workflow(&self) -> Option<&Located<Workflow>> {
        self.entry.as_ref().and_then(|entry| self.world.workflows.get(entry))
    }

    /// Hosts and groups.
    #[must_use]
    pub fn inventory(&self) -> &ResolvedInventory {
        &self.world.inventory
    }

    /// The inventory in its native form.
    #[must_use]
    pub fn native_inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What should be looked at in the files, and is not in the way.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The plugins found.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        self.policy.value()
    }

    /// The releases.
    #[must_use]
    pub fn releases(&self) -> Option<&Releases> {
        self.releases.as_ref().map(Located::value)
    }

    /// Name of the platform.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// What planning rests on.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Where everything is.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Plans the workflow with the values of `-e`.
    ///
    /// # Errors
    /// Everything that is wrong with the values or the workflow.
    pub fn plan(&self, extras: &[Extra]) -> Result<Plan, ProjectError> {
        let (Some(entry), Some(workflow)) = (&self.entry, self.workflow()) else {
            return Err(ProjectError::Files(Diagnostics::one(Diagnostic::of_file("", "no workflow was named"))));
        };
        let inputs = workflow.value().input_values(extras).map_err(ProjectError::Files)?;
        plan(&self.world, entry, &inputs).map_err(ProjectError::Files)
    }

    /// Plans a look at components: a workflow of one verify step each, none of which keeps another back.
    ///
    /// # Errors
    /// When a component has no plugin, or there is none at all.
    pub fn plan_verify(&self, components: &[String], depth: Depth) -> Result<Plan, ProjectError> {
        let all = || -> Vec<String> {
            let verifies = |(manifest, _): &&(Arc<runner_types::Manifest>, Digest)| {
                manifest.operations.contains_key(&Operation::Verify)
            };
            self.world.plugins.values().filter(verifies).map(|(manifest, _)| manifest.name.clone()).collect()
        };
        let components = if components.is_empty() { all() } else { components.to_vec() };
        if components.is_empty() || self.world.plugins.is_empty() {
            let searched = self.options.plugins.iter().map(|directory| directory.display().to_string()).collect();
            return Err(ProjectError::NoPlugin { searched });
        }
        let steps: Vec<Value> = components
            .iter()
            .map(|component| {
                json!({"name": component, "component": component, "operation": "verify", "depth": depth,
                       "needs": [], "on-failure": "continue"})
            })
            .collect();
        let text = json!({"name": "verify", "lock": false, "steps": steps}).to_string();
        let name = "verify";
        let workflow: Located<Workflow> = runner_types::load(&text, name).map_err(ProjectError::Files)?;
        let world = World {
            inventory: self.world.inventory.clone(),
            clusters: self.world.clusters.clone(),
            components: self.world.components.clone(),
            plugins: self.world.plugins.clone(),
            workflows: IndexMap::from([(name.to_owned(), workflow)]),
            scope: self.world.scope.clone(),
        };
        plan(&world, name, &IndexMap::new()).map_err(ProjectError::Files)
    }

    /// Backup sets of all platforms in the state directory.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn backups(&self) -> Result<Backups, ProjectError> {
        Ok(Backups::open(&self.options.state.join("sets"))?)
    }

    /// The store of the state directory.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn store(&self) -> Result<Arc<dyn Store>, ProjectError> {
        Ok(Arc::new(DirectoryStore::open(&self.options.state.join("store"))?))
    }

    /// Where a simulated platform keeps its state.
    #[must_use]
    pub fn platform_directory(&self) -> PathBuf {
        self.options.state.join("platforms").join(&self.platform)
    }

    /// Carries out a plan.
    ///
    /// # Errors
    /// When it cannot begin: nothing was changed then. How a begun run ended is in the summary.
    pub async fn run(&self, plan: &Plan, options: RunOptions) -> Result<RunSummary, ProjectError> {
        if !options.interactive {
            let open: Vec<PossiblePrompt> =
                plan.prompts(&self.world).into_iter().filter(|prompt| !prompt.answered).collect();
            if !open.is_empty() {
                return Err(ProjectError::Unanswerable(open));
            }
        }
        // A plugin that cannot be used is found before anything is taken or made.
        let mut components: BTreeMap<String, Arc<dyn Component>> = BTreeMap::new();
        let names = plan.components();
        for (name, plugin) in names.iter().zip(self.catalog.load_all(&names)?) {
            components.insert(name.clone(), Arc::new(plugin));
        }
        let now = Timestamp::from(SystemTime::now());
        let run = run_name(&plan.workflow, now);
        let _lock = self.take(plan, &run, &options.who, now)?;
        let store = self.store()?;
        let platform = Arc::new(self.reach(Arc::clone(&store))?);
        let seed = rand::rng().random();
        let header = self.header(plan, &run, &options.who, now, seed)?;
        let journal = Arc::new(Journal::create(&self.options.state.join("runs").join(&run), &header)?);
        let operator: Arc<dyn Ask> = Arc::new(InAdvance::new(plan, options.operator));
        let gate = Arc::new(Gate::new(
            journal,
            platform,
            Arc::new(self.policy.value().clone()),
            Arc::clone(&store),
            Arc::clone(&options.observer),
            operator,
            seed,
        ));
        (options.on_begin)(Arc::clone(&gate));
        options.observer.observe(runner_types::EventKind::RunBegun {
            run: run.clone(),
            workflow: plan.workflow.clone(),
            resumed: false,
            simulated: self.is_simulated(),
            steps: plan.outline(),
        });
        let parts = Parts {
            world: Arc::clone(&self.world),
            components,
            gate,
            backups: self.backups()?,
            store,
            releases: self.releases().cloned().unwrap_or_default(),
            platform: self.platform.clone(),
            run,
            stamp: now,
        };
        Ok(execute(parts, plan).await?)
    }

    fn take(
        &self,
        plan: &Plan,
        run: &str,
        who: &Operator,
        now: Timestamp,
    ) -> Result<Option<PlatformLock>, ProjectError> {
        if !plan.lock {
            return Ok(None);
        }
        let holder = Holder { run: run.to_owned(), operator: who.clone(), since: now, process: std::process::id() };
        let path = self.options.state.join("locks").join(format!("{}.lock", self.platform));
        Ok(Some(PlatformLock::take(&path, &holder)?))
    }

    fn header(
        &self,
        plan: &Plan,
        run: &str,
        who: &Operator,
        now: Timestamp,
        seed: u64,
    ) -> Result<RunHeader, ProjectError> {
        let mut plugins = IndexMap::new();
        for name in plan.components() {
            let (manifest, digest) = self.catalog.manifest(&name)?;
            plugins.insert(name, PluginPin { digest: digest.clone(), version: manifest.version.clone() });
        }
        let secret = |name: &String| {
            self.workflow().and_then(|workflow| workflow.value().inputs.get(name)).is_some_and(|input| input.secret)
        };
        Ok(RunHeader {
            format: FormatVersion::CURRENT,
            runner: env!("CARGO_PKG_VERSION").to_owned(),
            api: API_VERSION.parse().unwrap_or(runner_types::ApiVersion::new(0, 0, 0)),
            run: run.to_owned(),
            stamp: now,
            seed,
            platform: self.platform.clone(),
            workflows: self.world.workflows.values().map(|workflow| source_file(workflow.source())).collect(),
            inputs: plan.inputs.iter().filter(|(name, _)| !secret(name)).map(|(n, v)| (n.clone(), v.clone())).collect(),
            inventory: self.inventory_file.clone(),
            releases: self.releases.as_ref().map(|releases| source_file(releases.source())),
            plugins,
            policy: FileDigest {
                path: self.policy.source().name().to_owned(),
                digest: digest_of(self.policy.source().text()),
            },
            operator: who.clone(),
            started: now,
        })
    }
}

/// `2026-11-21T07-51-46-update-all-3f2a`: sorts by time, says what it is, and is a file name.
fn run_name(workflow: &str, now: Timestamp) -> String {
    let time = now.to_string();
    let time = time.get(..19).unwrap_or(&time).replace(':', "-");
    let plain: String =
        workflow.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).take(40).collect();
    format!("{time}-{plain}-{:04x}", rand::rng().random::<u16>())
}

fn digest_of(text: &str) -> Digest {
    Digest::from_bytes(&Sha256::digest(text.as_bytes()).into())
}

fn source_file(source: &runner_types::Source) -> SourceFile {
    SourceFile { path: source.name().to_owned(), digest: digest_of(source.text()), content: source.value() }
}
