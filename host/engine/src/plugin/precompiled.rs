//! Compiled plugins, kept in the user's cache directory.
//!
//! This is the one place with unsafe code: wasmtime maps a compiled component into memory and trusts it, so a forged
//! file would be native code of the forger's choice. Hence the directory is ours (owner, mode 0700, no symbolic link),
//! files are written once under a name that holds the plugin's digest and a hash of the engine's compatibility and of the
//! contract, synced before they get that name, and never rewritten. What does not fit those rules is compiled anew.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use runner_types::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::contract::TYPES;

/// Where compiled plugins are kept; without a directory each process compiles for itself.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    directory: Option<PathBuf>,
}

impl Cache {
    /// A cache in `directory`, made if it is not there. One that is not safe to use is not used, with a warning.
    pub(crate) fn open(directory: Option<PathBuf>) -> Self {
        let directory = directory.filter(|directory| match prepare(directory) {
            Ok(()) => true,
            Err(reason) => {
                tracing::warn!(directory = %directory.display(), reason, "compiled plugins are not cached");
                false
            }
        });
        Self { directory }
    }

    /// The component of the file with this digest, if it was compiled before.
    pub(crate) fn find(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        load(engine, &self.path(engine, digest)?)
    }

    /// Compiles the component of these bytes, whose digest this is, and keeps it.
    ///
    /// # Errors
    /// When the bytes are not a component that this engine can run.
    pub(crate) fn compile(&self, engine: &Engine, digest: &Digest, bytes: &[u8]) -> wasmtime::Result<Component> {
        let component = Component::from_binary(engine, bytes)?;
        if let Some(path) = self.path(engine, digest)
            && let Err(error) =
                component.serialize().map_err(std::io::Error::other).and_then(|code| store(&path, &code))
        {
            tracing::warn!(path = %path.display(), %error, "the compiled plugin was not cached");
        }
        Ok(component)
    }

    fn path(&self, engine: &Engine, digest: &Digest) -> Option<PathBuf> {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        // Only what fits the contract is compiled: under another one it must be compared again.
        TYPES.hash(&mut hasher);
        Some(self.directory.as_ref()?.join(format!("{digest}-{:016x}.cwasm", hasher.finish())))
    }
}

/// Makes the directory, or says why one that exists must not be trusted.
fn prepare(directory: &Path) -> Result<(), String> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| error.to_string())?;
    let found = fs::symlink_metadata(directory).map_err(|error| error.to_string())?;
    if !found.is_dir() {
        return Err("it is a symbolic link or no directory".to_owned());
    }
    ours(&found)
}

fn ours(found: &fs::Metadata) -> Result<(), String> {
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("it belongs to user {}", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!("others may use it (mode {:o}); want 0700", found.mode() & 0o777));
    }
    Ok(())
}

#[allow(unsafe_code, reason = "a precompiled component can only be loaded by trusting it; see the module's text")]
fn load(engine: &Engine, path: &Path) -> Option<Component> {
    let found = fs::symlink_metadata(path).ok()?;
    if !found.is_file() || ours(&found).is_err() {
        tracing::warn!(path = %path.display(), "not ours: compiled anew");
        return None;
    }
    // SAFETY: the file is a regular one of our own user in a directory that only our user can enter, was written by
    // `store` from this engine's own output under a name of (digest, hash of compatibility and contract), and is never
    // written again.
    match unsafe { Component::deserialize_file(engine, path) } {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "does not match this engine: compiled anew");
            let _ = fs::remove_file(path);
            None
        }
    }
}

/// Writes the file whole or not at all. A file that another process put there meanwhile is as good.
fn store(path: &Path, code: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(code).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const EMPTY: &str = "(component)";

    fn engine() -> Engine {
        Engine::default()
    }

    fn bytes() -> Vec<u8> {
        let mut component = wasm_encoder::Component::new();
        component.section(&wasm_encoder::CustomSection { name: EMPTY.into(), data: (&[]).into() });
        component.finish()
    }

    /// Takes the component from the cache, or compiles it.
    fn component(cache: &Cache) {
        if cache.find(&engine(), &Digest::zero()).is_none() {
            cache.compile(&engine(), &Digest::zero(), &bytes()).unwrap();
        }
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_second_load_comes_from_the_cache() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("cache");
        let cache = Cache::open(Some(directory.clone()));
        component(&cache);
        let [file] = files(&directory).try_into().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(cache.find(&engine(), &Digest::zero()).is_some());
    }

    #[test]
    fn a_damaged_file_is_compiled_anew() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("cache");
        let cache = Cache::open(Some(directory.clone()));
        component(&cache);
        let [file] = files(&directory).try_into().unwrap();
        fs::write(&file, b"garbage").unwrap();
        component(&cache);
        assert_ne!(fs::read(&file).unwrap(), b"garbage");
    }

    #[test]
    fn a_directory_that_others_can_use_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let open = home.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        component(&Cache::open(Some(open.clone())));
        assert!(files(&open).is_empty());

        let real = home.path().join("real");
        fs::create_dir(&real).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).unwrap();
        let link = home.path().join("link");
        symlink(&real, &link).unwrap();
        component(&Cache::open(Some(link)));
        assert!(files(&real).is_empty());
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("cache");
        let cache = Cache::open(Some(directory.clone()));
        component(&cache);
        let [file] = files(&directory).try_into().unwrap();
        let elsewhere = home.path().join("elsewhere");
        fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert!(cache.find(&engine(), &Digest::zero()).is_none(), "the link's target must not be used");
    }
}
