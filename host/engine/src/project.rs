//! What a run rests on: the files that people wrote, the plugins, the platform; and running a plan on them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use indexmap::IndexMap;
use rand::Rng as _;
use runner_types::{
    Connection, Depth, Diagnostic, Diagnostics, Digest, DiskFiles, Document, Extra, FileDigest,
    FormatVersion, Inventory, JsonPath, Located, MAX_FILE_SIZE, Operation, Operator, PluginLock,
    PluginPin, Policy, Releases, ResolvedInventory, RunHeader, SourceFile, StepAction, Timestamp,
    Workflow, did_you_mean, load_bytes, load_inventory,
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::artifacts::{DirectoryStore, Store, StoreError};
use crate::backend::simulated::Simulated;
use crate::backups::{BackupError, Backups};
use crate::contract::{API_VERSION, Backend, FUNCTIONS};
use crate::executor::{Component, Parts, RunSummary, execute};
use crate::expression::Scope;
use crate::gate::{Answer, Ask, Asked, Gate, Nobody, Observer, Platform, Reply, Wanted};
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
    /// A host is reached in a way that this runner does not have.
    #[error(
        "host {host} is reached by {connection}, which this runner cannot do; set \"connection\": \"simulated\""
    )]
    Connection {
        /// The host.
        host: String,
        /// How it would be reached.
        connection: &'static str,
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
    trusted.as_ref().map_or_else(
        || " (it names none)".to_owned(),
        |digest| format!(" ({digest})"),
    )
}

fn unanswered(prompts: &[PossiblePrompt]) -> String {
    let mut seen: Vec<String> = Vec::new();
    for prompt in prompts {
        let way = match &prompt.option {
            Some(option) => format!("{option} answers it in advance"),
            None => "it can only be answered at a terminal".to_owned(),
        };
        let who = prompt
            .component
            .as_ref()
            .map_or_else(String::new, |component| format!("{component}/"));
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
    options: Options,
}

impl Project {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// Everything that is wrong with them, file by file.
    pub fn load(options: Options) -> Result<Self, ProjectError> {
        let catalog = Catalog::open(&options.plugins, options.cache.clone())?;
        check_trust(&catalog, options.lock.as_deref())?;
        let (inventory, inventory_file, warnings) = inventory(&options.inventory)?;
        let resolved = inventory.resolve();
        let policy: Located<Policy> = read(&options.policy)?;
        check_capabilities(&policy)?;
        let releases: Option<Located<Releases>> =
            options.releases.as_deref().map(read).transpose()?;
        let mut workflows = IndexMap::new();
        let entry = match &options.workflow {
            Some(path) => Some(read_workflows(path, &mut workflows)?),
            None => None,
        };
        let platform = inventory.name.clone().unwrap_or_else(|| {
            options.inventory.file_stem().map_or_else(
                || "platform".to_owned(),
                |stem| stem.to_string_lossy().into_owned(),
            )
        });
        let mut scope = Scope::default();
        scope.set("inventory", &inventory_value(&inventory, &resolved));
        scope.set(
            "releases",
            &releases
                .as_ref()
                .map_or(Value::Null, |releases| releases_value(releases.value())),
        );
        let world = World {
            clusters: inventory.clusters.keys().cloned().collect(),
            components: inventory.components.clone(),
            inventory: resolved,
            plugins: catalog
                .manifests()
                .map(|(_, digest, manifest)| {
                    (
                        manifest.name.clone(),
                        (Arc::clone(manifest), digest.clone()),
                    )
                })
                .collect(),
            workflows,
            scope,
        };
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
            options,
        })
    }

    /// The workflow that was asked for.
    #[must_use]
    pub fn workflow(&self) -> Option<&Located<Workflow>> {
        self.entry
            .as_ref()
            .and_then(|entry| self.world.workflows.get(entry))
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

    /// Whether anything of the platform is simulated.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.world
            .inventory
            .hosts
            .values()
            .any(|host| host.connection == Connection::Simulated)
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
            return Err(ProjectError::Files(Diagnostics::one(Diagnostic::of_file(
                "",
                "no workflow was named",
            ))));
        };
        let inputs = workflow
            .value()
            .input_values(extras)
            .map_err(ProjectError::Files)?;
        plan(&self.world, entry, &inputs).map_err(ProjectError::Files)
    }

    /// Plans a look at components: a workflow of one verify step each, none of which keeps another back.
    ///
    /// # Errors
    /// When a component has no plugin.
    pub fn plan_verify(&self, components: &[String], depth: Depth) -> Result<Plan, ProjectError> {
        let all = || -> Vec<String> {
            let verifies = |(manifest, _): &&(Arc<runner_types::Manifest>, Digest)| {
                manifest.operations.contains_key(&Operation::Verify)
            };
            self.world
                .plugins
                .values()
                .filter(verifies)
                .map(|(manifest, _)| manifest.name.clone())
                .collect()
        };
        let components = if components.is_empty() {
            all()
        } else {
            components.to_vec()
        };
        let steps: Vec<Value> = components
            .iter()
            .map(|component| {
                json!({"name": component, "component": component, "operation": "verify", "depth": depth,
                       "needs": [], "on-failure": "continue"})
            })
            .collect();
        let text = json!({"name": "verify", "lock": false, "steps": steps}).to_string();
        let name = "verify";
        let workflow: Located<Workflow> =
            runner_types::load(&text, name).map_err(ProjectError::Files)?;
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
        Ok(Arc::new(DirectoryStore::open(
            &self.options.state.join("store"),
        )?))
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
            let open: Vec<PossiblePrompt> = plan
                .prompts(&self.world)
                .into_iter()
                .filter(|prompt| !prompt.answered)
                .collect();
            if !open.is_empty() {
                return Err(ProjectError::Unanswerable(open));
            }
        }
        let now = Timestamp::from(SystemTime::now());
        let run = run_name(&plan.workflow, now);
        let _lock = self.take(plan, &run, &options.who, now)?;
        let mut components: BTreeMap<String, Arc<dyn Component>> = BTreeMap::new();
        for name in plan.components() {
            components.insert(name.clone(), Arc::new(self.catalog.load(&name)?));
        }
        let store = self.store()?;
        let platform = Arc::new(self.reach(Arc::clone(&store))?);
        let seed = rand::rng().random();
        let header = self.header(plan, &run, &options.who, now, seed)?;
        let journal = Arc::new(Journal::create(
            &self.options.state.join("runs").join(&run),
            &header,
        )?);
        let operator: Arc<dyn Ask> = Arc::new(InAdvance {
            answers: answers(plan),
            options: given_by(plan),
            next: options.operator,
        });
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
        let holder = Holder {
            run: run.to_owned(),
            operator: who.clone(),
            since: now,
            process: std::process::id(),
        };
        let path = self
            .options
            .state
            .join("locks")
            .join(format!("{}.lock", self.platform));
        Ok(Some(PlatformLock::take(&path, &holder)?))
    }

    /// The backends of all hosts and clusters.
    fn reach(&self, store: Arc<dyn Store>) -> Result<Platform, ProjectError> {
        for host in self.world.inventory.hosts.values() {
            host.check_available()
                .map_err(|error| ProjectError::Unavailable(error.to_string()))?;
            let connection = match host.connection {
                Connection::Simulated => continue,
                Connection::Ssh => "SSH",
                Connection::Local => "a local connection",
            };
            return Err(ProjectError::Connection {
                host: host.name.clone(),
                connection,
            });
        }
        let simulated: Arc<dyn Backend> = Arc::new(self.simulated(store)?);
        Ok(Platform {
            hosts: self.world.inventory.hosts.clone(),
            host_backends: self
                .world
                .inventory
                .hosts
                .keys()
                .map(|name| (name.clone(), Arc::clone(&simulated)))
                .collect(),
            cluster_backends: self
                .world
                .clusters
                .iter()
                .map(|name| (name.clone(), Arc::clone(&simulated)))
                .collect(),
            runner_backend: simulated,
        })
    }

    /// Opens the simulated platform.
    ///
    /// # Errors
    /// When its seed, its behaviours, its faults or its state are wrong.
    pub fn simulated(&self, store: Arc<dyn Store>) -> Result<Simulated, ProjectError> {
        let folder = self.options.inventory.parent().unwrap_or(Path::new("."));
        let seed = folder.join(
            self.inventory
                .platform
                .as_deref()
                .unwrap_or("platform.json"),
        );
        let behaviours: Vec<PathBuf> = self
            .catalog
            .manifests()
            .map(|(path, _, _)| path.with_extension("simulated.json"))
            .filter(|path| path.is_file())
            .collect();
        Simulated::open(
            &self.platform_directory(),
            &seed,
            &behaviours,
            self.options.faults.as_deref(),
            store,
        )
        .map_err(|error| ProjectError::Simulated(error.to_string()))
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
            plugins.insert(
                name,
                PluginPin {
                    digest: digest.clone(),
                    version: manifest.version.clone(),
                },
            );
        }
        let secret = |name: &String| {
            self.workflow()
                .and_then(|workflow| workflow.value().inputs.get(name))
                .is_some_and(|input| input.secret)
        };
        Ok(RunHeader {
            format: FormatVersion::CURRENT,
            runner: env!("CARGO_PKG_VERSION").to_owned(),
            api: API_VERSION
                .parse()
                .unwrap_or(runner_types::ApiVersion::new(0, 0, 0)),
            run: run.to_owned(),
            stamp: now,
            seed,
            platform: self.platform.clone(),
            workflows: self
                .world
                .workflows
                .values()
                .map(|workflow| source_file(workflow.source()))
                .collect(),
            inputs: plan
                .inputs
                .iter()
                .filter(|(name, _)| !secret(name))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
            inventory: self.inventory_file.clone(),
            releases: self
                .releases
                .as_ref()
                .map(|releases| source_file(releases.source())),
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
    let plain: String = workflow
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .take(40)
        .collect();
    format!("{time}-{plain}-{:04x}", rand::rng().random::<u16>())
}

fn digest_of(text: &str) -> Digest {
    Digest::from_bytes(&Sha256::digest(text.as_bytes()).into())
}

fn source_file(source: &runner_types::Source) -> SourceFile {
    SourceFile {
        path: source.name().to_owned(),
        digest: digest_of(source.text()),
        content: source.value(),
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, ProjectError> {
    let unreadable = |source| ProjectError::Unreadable {
        path: path.display().to_string(),
        source,
    };
    let mut bytes = Vec::new();
    // One byte more than allowed: the loader then says that it is too large.
    let limit = MAX_FILE_SIZE as u64 + 1;
    File::open(path)
        .map_err(unreadable)?
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

/// Reads a file of one of the kinds that people write.
///
/// # Errors
/// When it cannot be read, or everything that is wrong with it.
pub fn read<T: Document>(path: &Path) -> Result<Located<T>, ProjectError> {
    load_bytes(&read_bytes(path)?, &path.display().to_string()).map_err(ProjectError::Files)
}

/// Reads a workflow and those that its steps name; answers the name of the first.
fn read_workflows(
    path: &Path,
    workflows: &mut IndexMap<String, Located<Workflow>>,
) -> Result<String, ProjectError> {
    let entry = path.display().to_string();
    let file: Located<Workflow> = read(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut inner: Vec<String> = sub_workflows(file.value());
    workflows.insert(entry.clone(), file);
    while let Some(name) = inner.pop() {
        if workflows.contains_key(&name) {
            continue;
        }
        let file: Located<Workflow> = read(&folder.join(&name))?;
        inner.extend(sub_workflows(file.value()));
        workflows.insert(name, file);
    }
    Ok(entry)
}

fn sub_workflows(workflow: &Workflow) -> Vec<String> {
    let named = |action: &StepAction| match action {
        StepAction::Workflow(inner) => Some(inner.workflow.clone()),
        StepAction::Component(_) | StepAction::Rolling(_) => None,
    };
    workflow
        .steps
        .iter()
        .filter_map(|step| named(&step.action))
        .collect()
}

/// An inventory of any kind that is read, in native form, and what should be looked at in it.
fn inventory(path: &Path) -> Result<(Inventory, SourceFile, Vec<String>), ProjectError> {
    let loaded = load_inventory(&DiskFiles, path).map_err(ProjectError::Files)?;
    let source = match &loaded.source {
        Some(source) => source_file(source),
        None => {
            let content = serde_json::to_value(&loaded.inventory).unwrap_or_default();
            let digest = digest_of(&content.to_string());
            SourceFile {
                path: path.display().to_string(),
                digest,
                content,
            }
        }
    };
    Ok((loaded.inventory, source, loaded.warnings))
}

/// A grant of a capability that no plugin can ever ask for would be a line without effect.
fn check_capabilities(policy: &Located<Policy>) -> Result<(), ProjectError> {
    let root = JsonPath::root().key("grants");
    let wrong = policy
        .value()
        .grants
        .iter()
        .enumerate()
        .filter(|(_, grant)| !FUNCTIONS.contains(&grant.capability.as_str()));
    let wrong: Vec<Diagnostic> = wrong
        .map(|(index, grant)| {
            let near = did_you_mean(&grant.capability, FUNCTIONS.iter().copied());
            let message = format!("there is no capability {:?}{near}", grant.capability);
            policy.source().at(&root.index(index).key("allow"), message)
        })
        .collect();
    Diagnostics::check(wrong).map_err(ProjectError::Files)
}

fn check_trust(catalog: &Catalog, lock: Option<&Path>) -> Result<(), ProjectError> {
    let Some(path) = lock.filter(|path| path.exists()) else {
        return Ok(());
    };
    let lock: Located<PluginLock> = read(path)?;
    for (_, digest, manifest) in catalog.manifests() {
        let trusted = lock.value().plugins.get(&manifest.name);
        if trusted != Some(digest) {
            return Err(ProjectError::Untrusted {
                name: manifest.name.clone(),
                found: digest.to_string(),
                lock: path.display().to_string(),
                trusted: trusted.map(ToString::to_string),
            });
        }
    }
    Ok(())
}

/// `inventory`, as expressions see it.
fn inventory_value(inventory: &Inventory, resolved: &ResolvedInventory) -> Value {
    let hosts: Map<String, Value> = resolved
        .hosts
        .values()
        .map(|host| (host.name.clone(), crate::planner::host_value(host, None)))
        .collect();
    let groups: Map<String, Value> = resolved
        .groups
        .iter()
        .map(|(name, hosts)| (name.clone(), json!({ "hosts": hosts })))
        .collect();
    json!({
        "hosts": hosts,
        "groups": groups,
        "clusters": inventory.clusters.keys().collect::<Vec<_>>(),
        "components": inventory.components,
    })
}

fn releases_value(releases: &Releases) -> Value {
    serde_json::to_value(&releases.releases).unwrap_or_default()
}

/// Answers in advance to plugins' prompts, by `component/key`: the input and its value.
fn answers(plan: &Plan) -> BTreeMap<String, (String, Value)> {
    let mut answers = BTreeMap::new();
    for plan in plan.all() {
        for (prompt, source) in &plan.answers {
            if let Some(value) = plan
                .inputs
                .get(&source.input)
                .filter(|value| !value.is_null())
            {
                answers.insert(prompt.clone(), (source.input.clone(), value.clone()));
            }
        }
    }
    answers
}

/// The option that answers each prompt.
fn given_by(plan: &Plan) -> BTreeMap<String, String> {
    plan.all()
        .flat_map(|plan| &plan.answers)
        .map(|(prompt, source)| (prompt.clone(), format!("-e {}=yes", source.input)))
        .collect()
}

/// Answers what an input answers in advance, and asks the operator for the rest.
struct InAdvance {
    answers: BTreeMap<String, (String, Value)>,
    options: BTreeMap<String, String>,
    next: Arc<dyn Ask>,
}

#[async_trait::async_trait]
impl Ask for InAdvance {
    async fn ask(&self, asked: Asked) -> Result<Answer, Nobody> {
        let key = asked
            .component
            .as_ref()
            .map(|component| format!("{component}/{}", asked.key));
        let given = key.as_ref().and_then(|key| self.answers.get(key));
        if let Some((input, value)) = given
            && let Some(reply) = reply(&asked.wanted, value)
        {
            return Ok(Answer {
                reply,
                by: runner_types::AnsweredBy::Input {
                    name: input.clone(),
                },
            });
        }
        let option = key.and_then(|key| self.options.get(&key).cloned());
        self.next.ask(asked).await.map_err(|nobody| Nobody {
            option: nobody.option.or(option),
        })
    }
}

/// What an input's value answers; none: it is no answer to such a question.
fn reply(wanted: &Wanted, value: &Value) -> Option<Reply> {
    match (wanted, value) {
        (Wanted::Confirm { .. }, Value::Bool(true)) => Some(Reply::Yes),
        (Wanted::Confirm { .. }, Value::Bool(false)) => Some(Reply::No),
        (Wanted::Pause, Value::Bool(true)) => Some(Reply::Entered),
        (Wanted::Choose { options, .. }, Value::String(text)) => options
            .iter()
            .position(|option| option == text)
            .map(Reply::Chosen),
        _ => None,
    }
}
