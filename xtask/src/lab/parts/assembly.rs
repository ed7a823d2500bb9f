//! All parts, in the order in which they are built, and where the lab finds them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow};

use super::images::{self, IMAGES};
use super::packages::{SETS, Set};
use super::store::{Bench, Part, Store};
use super::{Say, debian, golang, prerequisites, repository};

/// Cores that one build of a Go module keeps busy.
const CORES_A_BUILD: usize = 4;

/// Bytes that building a Go module takes, the compiler's caches included.
const BYTES_COMPILED: u64 = 1_500_000_000;
/// Bytes that making any other part takes, half of which are gone afterwards.
const BYTES: u64 = 300_000_000;

/// The file system of a host, in the folder of its part.
const HOST: &str = "host.tar";

/// What a lab is made of, in the user's cache.
#[derive(Debug)]
pub(crate) struct Parts {
    /// File system of a host, a tar archive for `docker import`.
    pub(crate) host: PathBuf,
    /// A flat apt repository; hosts look for it in /opt/lab-apt.
    pub(crate) repository: PathBuf,
    /// Versions of every package in the repository, the oldest first. Those whose version holds `~broken` cannot be
    /// configured, and the unit of those with `~nostart` does not start.
    pub(crate) versions: BTreeMap<String, Vec<String>>,
    /// Images by name, each a file for `ctr --namespace k8s.io images import` and for `docker load`.
    pub(crate) images: BTreeMap<&'static str, PathBuf>,
    /// kubectl of the newer release, for this machine.
    pub(crate) kubectl: PathBuf,
    /// etcdctl of the newer release, for this machine.
    pub(crate) etcdctl: PathBuf,
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host: {}", self.host.display())?;
        writeln!(f, "repository: {}", self.repository.display())?;
        for (package, versions) in &self.versions {
            writeln!(f, "  {package} {}", versions.join(", "))?;
        }
        writeln!(f, "images:")?;
        for (name, file) in &self.images {
            writeln!(f, "  {name}: {}", file.display())?;
        }
        writeln!(f, "kubectl: {}", self.kubectl.display())?;
        writeln!(f, "etcdctl: {}", self.etcdctl.display())
    }
}

type Build<'a> = Box<dyn Fn(&mut Bench) -> Result<()> + Send + Sync + 'a>;

/// A part and how it is built.
struct Recipe<'a> {
    part: Part,
    build: Build<'a>,
}

/// Recipes by what they keep busy.
struct Recipes<'a> {
    /// The network, one after the other.
    fetched: Vec<Recipe<'a>>,
    /// The processor; none needs another.
    compiled: Vec<Recipe<'a>>,
    /// The disk, one after the other, of what was fetched and compiled.
    assembled: Vec<Recipe<'a>>,
}

impl<'a> Recipes<'a> {
    fn all(store: &Store<'_>) -> Result<Self> {
        let host = store.path(&debian::host());
        let debs = store.path(&debian::packages());
        let fetched = vec![
            recipe(debian::host(), debian::build_host),
            recipe(debian::packages(), move |bench| debian::build_packages(bench, &host)),
            recipe(debian::prometheus(), debian::build_prometheus),
        ];
        let mut compiled = Vec::new();
        for module in golang::MODULES {
            compiled.push(recipe(module.part()?, |bench| module.build(bench)));
        }
        let mut assembled = Vec::new();
        let mut folders = vec![debs.join(debian::FOR_HOSTS)];
        for set in &SETS {
            let programs = store.path(&set.module.part()?);
            folders.push(store.path(&set.part()?));
            assembled.push(recipe(set.part()?, move |bench| set.build(bench, &programs)));
        }
        assembled.push(recipe(repository_part()?, move |bench| repository::build(&bench.out, &folders)));
        for image in &IMAGES {
            let (origin, debs) = (store.path(&image.origin.part()?), debs.clone());
            assembled.push(recipe(image.part()?, move |bench| image.build(bench, &origin, &debs)));
        }
        Ok(Self { fetched, compiled, assembled })
    }

    /// Bytes that building what is not there yet takes; 0: everything is there.
    fn bytes(&self, store: &Store<'_>) -> u64 {
        let missing = |recipes: &[Recipe<'_>]| recipes.iter().filter(|recipe| !store.has(&recipe.part)).count() as u64;
        let others = missing(&self.fetched) + missing(&self.assembled);
        missing(&self.compiled) * BYTES_COMPILED + others * BYTES
    }
}

fn recipe<'a>(part: Part, build: impl Fn(&mut Bench) -> Result<()> + Send + Sync + 'a) -> Recipe<'a> {
    Recipe { part, build: Box::new(build) }
}

/// Builds what is not there yet, and says where everything is. With everything there it takes a moment and needs none of
/// the tools.
pub(crate) fn ensure(say: Say<'_>) -> Result<Parts> {
    let store = Store::open(say)?;
    let recipes = Recipes::all(&store)?;
    let bytes = recipes.bytes(&store);
    if bytes > 0 {
        prerequisites::check(store.folder(), bytes)?;
        say(&format!("building the lab's parts in {}; all of them take about half an hour", store.folder().display()));
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let fetching = scope.spawn(|| make_all(&store, &recipes.fetched, 1));
        let compiled = make_all(&store, &recipes.compiled, cores.div_ceil(CORES_A_BUILD));
        let fetched = fetching.join().unwrap_or_else(|_| Err(anyhow!("fetching ended with a panic")));
        compiled.and(fetched)
    })?;
    make_all(&store, &recipes.assembled, 1)?;
    store.prune()?;
    parts(&store)
}

/// Builds the file system of a host alone, unless it is there, and says where it is: a tar archive.
pub(crate) fn ensure_host(say: Say<'_>) -> Result<PathBuf> {
    let store = Store::open(say)?;
    store.make(&debian::host(), debian::build_host)?;
    Ok(store.path(&debian::host()).join(HOST))
}

/// Why what is not there yet cannot be built here, whatever packages are installed; empty: it can, or all is there.
pub(crate) fn obstacles() -> Result<Vec<String>> {
    let store = Store::open(&|_| {})?;
    match Recipes::all(&store)?.bytes(&store) {
        0 => Ok(Vec::new()),
        bytes => prerequisites::lacking(store.folder(), bytes),
    }
}

/// Makes recipes, so many at a time, until one fails.
fn make_all(store: &Store<'_>, recipes: &[Recipe<'_>], at_a_time: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || {
        while let Some(recipe) = recipes.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = store.make(&recipe.part, &recipe.build) {
                next.store(recipes.len(), Ordering::Relaxed);
                if let Ok(mut failed) = failed.lock() {
                    failed.get_or_insert(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..at_a_time {
            scope.spawn(work);
        }
        work();
    });
    match failed.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(error),
        Err(_) => Err(anyhow!("building ended with a panic")),
    }
}

/// The repository of Debian's packages and of our own.
fn repository_part() -> Result<Part> {
    let own = SETS.iter().map(Set::part).collect::<Result<Vec<Part>>>()?;
    Ok(repository::part(&debian::packages(), &own))
}

fn parts(store: &Store<'_>) -> Result<Parts> {
    let repository = store.path(&repository_part()?);
    let mut images = BTreeMap::new();
    for image in &IMAGES {
        images.insert(image.name, store.path(&image.part()?).join(images::FILE));
    }
    Ok(Parts {
        host: store.path(&debian::host()).join(HOST),
        versions: repository::versions(&repository)?,
        repository,
        images,
        kubectl: store.path(&golang::KUBERNETES_NEW.part()?).join("kubectl"),
        etcdctl: store.path(&golang::ETCD_NEW.part()?).join("etcdctl"),
    })
}
