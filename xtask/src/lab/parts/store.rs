//! The cache of parts: folders named by what they are made from.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::Say;
use crate::workspace::cache;

/// Changes when the way of building changes without any input doing so: every part is built anew then.
const REVISION: &str = "1";
/// How long a part that nobody uses stays.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Lines of a tool's output that an error shows.
const TAIL: usize = 25;

/// A part by its name and everything that decides what it holds.
#[derive(Debug, Clone)]
pub(super) struct Part {
    name: String,
    inputs: Sha256,
}

impl Part {
    pub(super) fn new(name: impl Into<String>) -> Self {
        let part = Self { name: name.into(), inputs: Sha256::new() };
        part.with("revision", REVISION).with("architecture", env::consts::ARCH)
    }

    /// Adds an input. Name and length go in too, so that two inputs are never mistaken for one.
    pub(super) fn with(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        self.inputs.update(format!("{name}\0{}\0", content.len()));
        self.inputs.update(content);
        self
    }

    /// Adds the content of a file, or of all files of a folder, by their names below it.
    pub(super) fn with_files(self, path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let mut paths = Vec::new();
            for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
                paths.push(entry?.path());
            }
            paths.sort();
            let inside = paths.iter().try_fold(self.with("folder", &name), |part, path| part.with_files(path))?;
            return Ok(inside.with("end of folder", name));
        }
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(self.with(&name, content))
    }

    /// Adds another part, of which this one is made.
    pub(super) fn with_part(self, other: &Self) -> Self {
        let id = other.id();
        self.with("part", id)
    }

    /// Name of its folder.
    pub(super) fn id(&self) -> String {
        let digest = hex::encode(self.inputs.clone().finalize());
        format!("{}-{}", self.name, &digest[..16])
    }
}

/// The folder of all parts.
pub(super) struct Store<'a> {
    folder: PathBuf,
    say: Say<'a>,
}

impl<'a> Store<'a> {
    /// The user's cache.
    pub(super) fn open(say: Say<'a>) -> Result<Self> {
        Self::at(cache()?.join("lab"), say)
    }

    /// A cache in a folder of its own.
    fn at(folder: PathBuf, say: Say<'a>) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { folder, say })
    }

    /// Where all parts lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a part lies once it is built.
    pub(super) fn path(&self, part: &Part) -> PathBuf {
        self.folder.join(part.id())
    }

    /// Whether a part is there.
    pub(super) fn has(&self, part: &Part) -> bool {
        self.path(part).is_dir()
    }

    /// Builds a part unless it is there. Two who want the same part at once wait for each other; a part that could not
    /// be built leaves nothing but its log.
    pub(super) fn make(&self, part: &Part, build: impl FnOnce(&mut Bench) -> Result<()>) -> Result<()> {
        let path = self.path(part);
        let _lock = self.lock(part)?;
        if path.is_dir() {
            return mark_used(&path);
        }
        (self.say)(&format!("{} …", part.name));
        let begun = Instant::now();
        let half = self.folder.join(format!(".{}.half", part.id()));
        let log = self.folder.join(format!("{}.log", part.id()));
        remove(&half)?;
        let mut bench = Bench::new(&half, &log)?;
        let built = build(&mut bench);
        if let Err(error) = built {
            // What went wrong matters more than what is left behind, which the next attempt removes as well.
            let _ = fs::remove_dir_all(&half);
            (self.say)(&format!("{}: failed after {} s", part.name, begun.elapsed().as_secs()));
            return Err(error.context(format!(
                "cannot build {}; all that was said is in {}",
                part.name,
                log.display()
            )));
        }
        fs::rename(&bench.out, &path).with_context(|| format!("cannot move {} to its place", part.name))?;
        remove(&half)?;
        (self.say)(&format!("{}: {} s, {} MB", part.name, begun.elapsed().as_secs(), size(&path)? / 1_000_000));
        Ok(())
    }

    fn lock(&self, part: &Part) -> Result<File> {
        let path = self.folder.join(format!(".{}.lock", part.name));
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                (self.say)(&format!("{}: waiting for another one that builds it", part.name));
                file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        Ok(file)
    }

    /// Removes parts that nobody has used for long, with their logs; those in use have just been marked.
    pub(super) fn prune(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder).with_context(|| format!("cannot list {}", self.folder.display()))? {
            let entry = entry?;
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            let is_lock = entry.path().extension().is_some_and(|extension| extension == "lock");
            if age > KEPT && !is_lock {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn mark_used(path: &Path) -> Result<()> {
    let folder = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    folder.set_modified(SystemTime::now()).with_context(|| format!("cannot touch {}", path.display()))
}

/// Removes a file or folder, which need not be there.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Where a part is being built.
pub(super) struct Bench {
    /// What becomes the part.
    pub(super) out: PathBuf,
    /// For everything in between; gone afterwards.
    pub(super) scratch: PathBuf,
    log: File,
}

impl Bench {
    fn new(half: &Path, log: &Path) -> Result<Self> {
        let (out, scratch) = (half.join("out"), half.join("scratch"));
        for folder in [&out, &scratch] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let log = File::options().create(true).truncate(true).read(true).write(true).open(log);
        Ok(Self { out, scratch, log: log.context("cannot create the log")? })
    }

    /// Runs a tool; what it says goes into the log, and its end into the error when it fails.
    pub(super) fn run(&mut self, command: &mut Command) -> Result<()> {
        let shown = shown(command);
        writeln!(self.log, "$ {shown}")?;
        let begin = self.log.stream_position()?;
        command.stdin(Stdio::null()).stdout(self.log.try_clone()?).stderr(self.log.try_clone()?);
        let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
        if status.success() {
            return Ok(());
        }
        self.log.seek(SeekFrom::Start(begin))?;
        let said = std::io::read_to_string(&self.log).unwrap_or_default();
        bail!("`{shown}` failed: {status}\n{}", tail(&said));
    }
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// A command as one would type it.
pub(super) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_by_everything_that_goes_in() {
        let one = Part::new("etcd").with("a", "bc");
        assert_eq!(one.id(), Part::new("etcd").with("a", "bc").id());
        assert_ne!(one.id(), Part::new("etcd").with("ab", "c").id());
        assert_ne!(one.id(), Part::new("etcd").with("a", "b").with("", "c").id());
        assert_ne!(one.id(), one.clone().with_part(&one).id());
        assert!(one.id().starts_with("etcd-"));
    }

    #[test]
    fn files_go_in_by_name_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let id = || Part::new("p").with_files(folder.path()).unwrap().id();
        fs::write(folder.path().join("a"), "1").unwrap();
        let before = id();
        assert_eq!(before, id());
        fs::write(folder.path().join("a"), "2").unwrap();
        assert_ne!(before, id());
        fs::remove_file(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("b"), "1").unwrap();
        assert_ne!(before, id());
    }

    #[test]
    fn a_part_is_built_once_and_a_failure_leaves_only_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned(), &|_| ()).unwrap();
        let part = Part::new("p");
        let failed = store.make(&part, |bench| {
            fs::write(bench.out.join("half"), "")?;
            bench.run(Command::new("sh").args(["-c", "echo told; exit 3"]))
        });
        let error = format!("{:#}", failed.unwrap_err());
        assert!(error.contains("cannot build p") && error.contains("told"), "{error}");
        assert!(!store.has(&part));
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        left.sort();
        assert_eq!(left, [".p.lock".to_owned(), format!("{}.log", part.id())]);

        store.make(&part, |bench| Ok(fs::write(bench.out.join("whole"), "1")?)).unwrap();
        store.make(&part, |_| bail!("built twice")).unwrap();
        assert_eq!(fs::read_to_string(store.path(&part).join("whole")).unwrap(), "1");
    }

    #[test]
    fn a_part_that_nobody_used_for_long_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned(), &|_| ()).unwrap();
        let (old, new) = (Part::new("old"), Part::new("new"));
        for part in [&old, &new] {
            store.make(part, |_| Ok(())).unwrap();
        }
        let long_ago = SystemTime::now() - 2 * KEPT;
        File::open(store.path(&old)).unwrap().set_modified(long_ago).unwrap();
        store.prune().unwrap();
        assert!(!store.has(&old) && store.has(&new));
    }

    #[test]
    fn an_error_shows_the_end_of_what_was_said() {
        let text = (0..100).map(|number| number.to_string()).collect::<Vec<_>>().join("\n");
        assert!(tail(&text).starts_with("75\n") && tail(&text).ends_with("99"));
        assert_eq!(tail("one"), "one");
    }
}
