//! Finding and loading plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use runner_types::{ApiVersion, Diagnostics, Digest, JsonPath, Located, Manifest, Operation, did_you_mean, load};
use sha2::{Digest as _, Sha256};
use wasmtime::component::{InstancePre, Linker};

use super::engine::{EngineError, MAX_INSTANCES, engine};
use super::fit::{Misfits, misfits};
use super::instance::{Exports, Guest, GuestError, PluginInstance, linker};
use super::package::{MAX_PLUGIN, Package, PackageError};
use super::precompiled::Cache;
use crate::contract::{API_VERSION, FUNCTIONS};
use crate::gate::Attempt;

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A directory or file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// What.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Too large a file.
    #[error("{path} is larger than {} MiB", MAX_PLUGIN >> 20)]
    Huge {
        /// The file.
        path: String,
    },
    /// Not a packed plugin.
    #[error("{path} is not a plugin: {source}")]
    Package {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: PackageError,
    },
    /// A manifest that is wrong; the text names the places.
    #[error("the manifest in {path} is wrong:\n{reason}")]
    Manifest {
        /// The file.
        path: String,
        /// All findings.
        reason: String,
    },
    /// Two files with the same name of plugin in the same directory.
    #[error("{first} and {second} are both the plugin {name:?}; keep one")]
    Twice {
        /// Name of the plugin.
        name: String,
        /// A file.
        first: String,
        /// Another.
        second: String,
    },
    /// Nothing has that name.
    #[error("there is no plugin {name:?}; {}", there_are(.known, .searched))]
    Missing {
        /// Name of the plugin.
        name: String,
        /// Names that there are.
        known: Vec<String>,
        /// Directories looked into.
        searched: Vec<String>,
    },
    /// Made for another contract, or wanting what this host does not have.
    #[error("{path} does not fit this runner: {reason}")]
    Contract {
        /// The file.
        path: String,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// Built against a contract of the same version, and of other types or functions.
    #[error(
        "{path} does not fit this runner: the plugin {plugin} was built against another state of the contract \
         runner:plugin@{API_VERSION}:\n{misfits}"
    )]
    OtherContract {
        /// The file.
        path: String,
        /// Name and version of the plugin.
        plugin: String,
        /// Which of its functions do not fit, and why.
        misfits: Misfits,
    },
    /// The component does not compile or link.
    #[error("{path} cannot be loaded: {reason}")]
    Load {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The engine cannot run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn there_are(known: &[String], searched: &[String]) -> String {
    if known.is_empty() {
        format!("no plugin was found in {}", searched.join(", "))
    } else {
        format!("found in {}: {}", searched.join(", "), known.join(", "))
    }
}

/// A plugin file, read but not loaded.
#[derive(Debug, Clone)]
struct Found {
    path: PathBuf,
    digest: Digest,
    manifest: Arc<Manifest>,
    /// Names of imported interfaces, with their versions.
    imports: Vec<String>,
}

/// The plugins of some directories. Earlier directories win.
pub struct Catalog {
    searched: Vec<String>,
    found: BTreeMap<String, Found>,
    cache: Cache,
    /// Made at the first load: looking at plugins needs none.
    host: std::sync::OnceLock<Host>,
}

struct Host {
    engine: wasmtime::Engine,
    linker: Linker<Guest>,
    /// The pool's size: further instances wait.
    room: Arc<tokio::sync::Semaphore>,
}

impl Catalog {
    /// Reads the manifests of all plugins (`*.wasm`) in these directories. Directories that do not exist are passed over.
    ///
    /// # Errors
    /// When a file is no plugin or two have the same name in one directory.
    pub fn open(directories: &[PathBuf], cache: Option<PathBuf>) -> Result<Self, CatalogError> {
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for directory in directories {
            let mut here: BTreeMap<String, Found> = BTreeMap::new();
            let paths = files(directory)?;
            for (path, plugin) in paths.iter().zip(side_by_side(&paths, |path| read(path))) {
                let plugin = plugin?;
                let name = plugin.manifest.name.clone();
                if let Some(first) = here.get(&name) {
                    return Err(CatalogError::Twice {
                        name,
                        first: first.path.display().to_string(),
                        second: path.display().to_string(),
                    });
                }
                here.insert(name, plugin);
            }
            for (name, plugin) in here {
                found.entry(name).or_insert(plugin);
            }
        }
        Ok(Self {
            searched: directories.iter().map(|directory| directory.display().to_string()).collect(),
            found,
            cache: Cache::open(cache),
            host: std::sync::OnceLock::new(),
        })
    }

    /// Names, files and manifests of all plugins, by name.
    pub fn manifests(&self) -> impl Iterator<Item = (&Path, &Digest, &Arc<Manifest>)> {
        self.found.values().map(|found| (found.path.as_path(), &found.digest, &found.manifest))
    }

    /// A plugin's manifest and digest.
    ///
    /// # Errors
    /// When there is none of that name; the message names those that there are.
    pub fn manifest(&self, name: &str) -> Result<(&Arc<Manifest>, &Digest), CatalogError> {
        self.find(name).map(|found| (&found.manifest, &found.digest))
    }

    /// Loads plugins, as [`Catalog::load`] does, side by side.
    ///
    /// # Errors
    /// The first that cannot be loaded.
    pub fn load_all(&self, names: &[String]) -> Result<Vec<Plugin>, CatalogError> {
        self.host()?;
        side_by_side(names, |name| self.load(name)).into_iter().collect()
    }

    /// Loads a plugin: compiled, or from the cache of compiled ones.
    ///
    /// # Errors
    /// When it does not fit the contract, does not compile, or does not export what its manifest lists.
    pub fn load(&self, name: &str) -> Result<Plugin, CatalogError> {
        let found = self.find(name)?;
        let path = found.path.display().to_string();
        check_imports(&found.imports).map_err(|reason| CatalogError::Contract { path: path.clone(), reason })?;
        let host = self.host()?;
        let load = |error: wasmtime::Error| CatalogError::Load { path: path.clone(), reason: format!("{error:#}") };
        // What is cached was compiled from bytes of this digest, and compared with this contract before: the file need not
        // be read again.
        let component = match self.cache.find(&host.engine, &found.digest) {
            Some(component) => component,
            None => {
                let bytes = bytes(&found.path)?;
                if Digest::from_bytes(&Sha256::digest(&bytes).into()) != found.digest {
                    let reason = "the file changed while it was read; start again".to_owned();
                    return Err(CatalogError::Load { path, reason });
                }
                let misfits = misfits(&bytes).map_err(|source| CatalogError::Package { path: path.clone(), source })?;
                if !misfits.is_empty() {
                    let plugin = format!("{} {}", found.manifest.name, found.manifest.version);
                    return Err(CatalogError::OtherContract { path, plugin, misfits });
                }
                self.cache.compile(&host.engine, &found.digest, &bytes).map_err(load)?
            }
        };
        let exports = Exports::find(&component).map_err(|missing| CatalogError::Contract {
            path: path.clone(),
            reason: format!("it does not export {missing} of runner:plugin@{API_VERSION}"),
        })?;
        check_exports(&exports, &found.manifest)
            .map_err(|reason| CatalogError::Contract { path: path.clone(), reason })?;
        let mut linker = host.linker.clone();
        super::wasi::link_resources(&mut linker, &component, &host.engine).map_err(load)?;
        for version in wasi_versions(&found.imports) {
            super::wasi::link(&mut linker, version).map_err(load)?;
        }
        linker.define_unknown_imports_as_traps(&component).map_err(load)?;
        let pre = linker.instantiate_pre(&component).map_err(load)?;
        Ok(Plugin {
            manifest: Arc::clone(&found.manifest),
            digest: found.digest.clone(),
            pre,
            exports,
            room: Arc::clone(&host.room),
        })
    }

    fn find(&self, name: &str) -> Result<&Found, CatalogError> {
        self.found.get(name).ok_or_else(|| CatalogError::Missing {
            name: name.to_owned(),
            known: self.found.keys().cloned().collect(),
            searched: self.searched.clone(),
        })
    }

    fn host(&self) -> Result<&Host, CatalogError> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let engine = engine()?;
        let linker = linker(&engine)
            .map_err(|error| CatalogError::Load { path: "the contract".to_owned(), reason: format!("{error:#}") })?;
        let room = Arc::new(tokio::sync::Semaphore::new(MAX_INSTANCES as usize));
        Ok(self.host.get_or_init(|| Host { engine, linker, room }))
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("found", &self.found).finish_non_exhaustive()
    }
}

/// A loaded plugin, ready to be instantiated any number of times.
#[derive(Clone)]
pub struct Plugin {
    /// What it says of itself.
    pub manifest: Arc<Manifest>,
    /// SHA-256 of its file.
    pub digest: Digest,
    pre: InstancePre<Guest>,
    exports: Exports,
    room: Arc<tokio::sync::Semaphore>,
}

impl Plugin {
    /// A fresh instance for an attempt. Waits while as many exist as the pool holds.
    ///
    /// # Errors
    /// When the guest traps while it starts.
    pub async fn instance(&self, attempt: Arc<Attempt>) -> Result<PluginInstance, GuestError> {
        let room = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_| GuestError::Trapped("the plugin host is closed".to_owned()))?;
        let memory = (self.manifest.limits.memory_mib as usize) << 20;
        PluginInstance::new(&self.pre, &self.exports, memory, attempt, room).await
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.manifest.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Does the same for each of several things, as many at a time as there are processors; answers in their order.
fn side_by_side<T: Sync, R: Send>(things: &[T], one: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if processors == 1 || things.len() < 2 {
        return things.iter().map(one).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, R>> = Mutex::default();
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(number) else {
                return;
            };
            let result = one(thing);
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(number, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..processors.min(things.len()) {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let unreadable = |source| CatalogError::Unreadable { path: directory.display().to_string(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn bytes(path: &Path) -> Result<Vec<u8>, CatalogError> {
    let unreadable = |source| CatalogError::Unreadable { path: path.display().to_string(), source };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_PLUGIN + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_PLUGIN {
        return Err(CatalogError::Huge { path: path.display().to_string() });
    }
    Ok(bytes)
}

fn read(path: &Path) -> Result<Found, CatalogError> {
    let name = path.display().to_string();
    let package = |source| CatalogError::Package { path: name.clone(), source };
    let read = Package::read(&bytes(path)?).map_err(package)?;
    let text = read.manifest().map_err(package)?;
    let wrong =
        |diagnostics: Diagnostics| CatalogError::Manifest { path: name.clone(), reason: diagnostics.to_string() };
    let manifest = parse_manifest(text, "manifest").map_err(wrong)?;
    let digest = read.digest.parse().map_err(|error: runner_types::DigestError| CatalogError::Load {
        path: name.clone(),
        reason: error.to_string(),
    })?;
    let host: ApiVersion = API_VERSION.parse().map_err(|error: runner_types::ApiVersionError| CatalogError::Load {
        path: name.clone(),
        reason: error.to_string(),
    })?;
    if !host.serves(manifest.api) {
        let reason = format!("it is made for contract {}, and this runner serves {host}", manifest.api);
        return Err(CatalogError::Contract { path: name, reason });
    }
    Ok(Found { path: path.to_owned(), digest, manifest: Arc::new(manifest), imports: read.imports })
}

/// Reads a manifest; capabilities that the contract does not have are wrong. `name` is what messages call it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_manifest(text: &str, name: &str) -> Result<Manifest, Diagnostics> {
    let manifest: Located<Manifest> = load(text, name)?;
    let root = JsonPath::root().key("capabilities");
    let requests = manifest.value().capabilities.iter().enumerate();
    let wrong =
        requests.filter(|(_, request)| !FUNCTIONS.contains(&request.capability.as_str())).map(|(index, request)| {
            let near = did_you_mean(&request.capability, FUNCTIONS.iter().copied());
            let message = format!("there is no capability {:?}{near}", request.capability);
            manifest.source().at(&root.index(index).key("capability"), message)
        });
    Diagnostics::check(wrong.collect())?;
    Ok(manifest.into_parts().0)
}

/// Only the contract and WASI may be imported.
fn check_imports(imports: &[String]) -> Result<(), String> {
    let foreign: Vec<&str> = imports
        .iter()
        .map(String::as_str)
        .filter(|name| !name.starts_with("runner:plugin/") && !name.starts_with("wasi:"))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(format!("it imports {}; a plugin may import runner:plugin and wasi only", foreign.join(", ")))
}

/// Versions of WASI 0.2 that a component imports; one may import several.
fn wasi_versions(imports: &[String]) -> BTreeSet<&str> {
    imports
        .iter()
        .filter_map(|name| name.strip_prefix("wasi:")?.split_once('@').map(|(_, version)| version))
        .filter(|version| version.starts_with("0.2."))
        .collect()
}

fn check_exports(exports: &Exports, manifest: &Manifest) -> Result<(), String> {
    if manifest.operations.contains_key(&Operation::Maintenance) && !exports.has_maintenance() {
        return Err("its manifest lists `maintenance`, and it does not export it".to_owned());
    }
    if manifest.resolve && !exports.has_resolve() {
        return Err("its manifest lists `resolve`, and it does not export it".to_owned());
    }
    Ok(())
}
