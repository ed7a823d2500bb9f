//! Reading the files of a simulated platform: seed, behaviours, faults.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use runner_types::simulated::{Behaviours, Faults, PlatformSeed};
use runner_types::{
    Diagnostic, Diagnostics, Document, JsonPath, MAX_FILE_SIZE, Mistakes, Segment, load_bytes, read_limited, segments,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::backend::expression;

/// File that names the files in which nothing was wrong.
const CHECKED: &str = "checked.json";
/// Changes when what is looked for does.
const FORMAT: u32 = 1;
/// So many files are remembered; beyond, it begins anew.
const MOST: usize = 1000;

/// A seed and the digest of its file.
#[derive(Debug, Clone)]
pub struct SeedFile {
    /// What it says.
    pub platform: PlatformSeed,
    /// SHA-256 of the file: a platform belongs to the seed it was made from.
    pub digest: String,
    /// Files with behaviours that it names, as paths.
    pub behaviours: Vec<PathBuf>,
}

impl SeedFile {
    /// Reads a seed.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        Self::read_checked(path, &mut Checked::default())
    }

    pub(super) fn read_checked(path: &Path, checked: &mut Checked) -> Result<Self, Diagnostics> {
        let (platform, digest) = checked.read::<PlatformSeed>(path, |_, _| {})?;
        let beside = path.parent().unwrap_or(Path::new("."));
        let behaviours = platform.behaviours.iter().map(|name| beside.join(name)).collect();
        Ok(Self { behaviours, digest, platform })
    }

    /// A seed that stands in no file.
    #[must_use]
    pub fn made(platform: PlatformSeed) -> Self {
        let text = serde_json::to_vec(&platform).unwrap_or_default();
        Self { digest: hex::encode(Sha256::digest(text)), platform, behaviours: Vec::new() }
    }
}

/// Digests of files in which nothing was wrong: to look through all of them again at every start would take longer than
/// the rest of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Checked {
    format: u32,
    files: BTreeSet<String>,
    #[serde(skip)]
    grown: bool,
}

impl Checked {
    /// What is known in a directory.
    pub(super) fn of(directory: &Path) -> Self {
        let known = std::fs::read(directory.join(CHECKED)).ok();
        let known: Option<Self> = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        known.filter(|known| known.format == FORMAT).unwrap_or_default()
    }

    /// Keeps what became known. That it cannot be kept costs time alone.
    pub(super) fn keep(&self, directory: &Path) {
        if self.grown
            && let Ok(text) = serde_json::to_vec(self)
        {
            let path = directory.join(CHECKED);
            let _ = std::fs::write(&path, text)
                .and_then(|()| std::fs::File::open(&path))
                .and_then(|file| crate::state::share(&file, directory));
        }
    }

    /// Reads a file, thoroughly if it was not read before; answers its digest, too.
    fn read<T: Document>(&mut self, path: &Path, check: fn(&T, &mut Mistakes)) -> Result<(T, String), Diagnostics> {
        let bytes = bytes(path)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        let name = format!("{} {digest}", T::KIND);
        if self.files.contains(&name)
            && let Ok(known) = serde_json::from_slice(&bytes)
        {
            return Ok((known, digest));
        }
        let read = load_bytes::<T>(&bytes, &path.display().to_string())?;
        let (read, source) = read.into_parts();
        let mut mistakes = Mistakes::default();
        check(&read, &mut mistakes);
        source.refuse(mistakes)?;
        self.format = FORMAT;
        if self.files.len() >= MOST {
            self.files.clear();
        }
        self.files.insert(name);
        self.grown = true;
        Ok((read, digest))
    }
}

/// Reads files with behaviours.
///
/// # Errors
/// Everything that is wrong with them.
pub fn read_behaviours(files: &[PathBuf]) -> Result<Vec<Behaviours>, Diagnostics> {
    behaviours_checked(files, &mut Checked::default())
}

pub(super) fn behaviours_checked(files: &[PathBuf], checked: &mut Checked) -> Result<Vec<Behaviours>, Diagnostics> {
    let read = |path: &PathBuf| {
        let read = checked.read::<Behaviours>(path, check_expressions);
        read.map(|(behaviours, _)| behaviours)
    };
    files.iter().map(read).collect()
}

/// Reads faults.
///
/// # Errors
/// Everything that is wrong with them.
pub fn read_faults(path: &Path) -> Result<Faults, Diagnostics> {
    let read = load_bytes::<Faults>(&bytes(path)?, &path.display().to_string())?;
    Ok(read.into_parts().0)
}

fn bytes(path: &Path) -> Result<Vec<u8>, Diagnostics> {
    read_limited(path, MAX_FILE_SIZE as u64).map_err(|error| {
        let file = path.display().to_string();
        Diagnostics::one(Diagnostic::of_file(&file, format!("cannot be read: {error}")))
    })
}

/// Finds expressions that are no CEL, so that a mistake shows before anything runs.
fn check_expressions(behaviours: &Behaviours, mistakes: &mut Mistakes) {
    let mut compiles = |at: &JsonPath, expression: &str| {
        if let Err(error) = expression::compile(expression) {
            mistakes.add(at, format!("`{expression}` is no CEL: {}", error.reason));
        }
    };
    for (at, guard) in behaviours.guards() {
        compiles(&at, guard);
    }
    for (at, text) in behaviours.texts() {
        for piece in segments(text).unwrap_or_default() {
            if let Segment::Expr(expression) = piece {
                compiles(&at, expression);
            }
        }
    }
}
