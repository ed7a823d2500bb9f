//! Values of secrets, and their place in contents. Nothing here is ever shown: no `Debug`, no message holds a value.

mod mask;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use indexmap::IndexMap;
use runner_types::SecretSource;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;

use crate::backend::failure;
use crate::contract::Failure;
use crate::contract::types::Part;
use mask::Mask;

/// Handles begin with it; the gate gives them out (`secrets.open`).
const HANDLE: &str = "secret:";
/// Bytes that a secret may have.
const MOST: usize = 1 << 20;
/// How long a command that brings a secret may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The secrets of an inventory, each fetched when it is first needed.
pub struct Secrets {
    folder: PathBuf,
    known: IndexMap<String, Secret>,
}

struct Secret {
    source: SecretSource,
    fetched: OnceCell<Fetched>,
}

struct Fetched {
    value: Vec<u8>,
    mask: Mask,
}

impl Secrets {
    /// The secrets of an inventory; paths are relative to `folder`, the inventory's.
    #[must_use]
    pub fn new(sources: &IndexMap<String, SecretSource>, folder: &Path) -> Self {
        let secret = |source: &SecretSource| Secret { source: source.clone(), fetched: OnceCell::new() };
        let known = sources.iter().map(|(name, source)| (name.clone(), secret(source))).collect();
        Self { folder: folder.to_owned(), known }
    }

    /// Names of the secrets, in the inventory's order.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.known.keys()
    }

    /// What stands for a secret in contents, when the inventory has one of that name. It opens nothing by itself: the
    /// gate knows who may use it.
    #[must_use]
    pub fn handle(&self, name: &str) -> Option<String> {
        self.known.contains_key(name).then(|| format!("{HANDLE}{name}"))
    }

    /// The name in a handle; none: it is no handle.
    #[must_use]
    pub fn name_of(handle: &str) -> Option<&str> {
        handle.strip_prefix(HANDLE)
    }

    /// The value of a secret by its name.
    ///
    /// # Errors
    /// When there is none of that name, or its source gives none; the failure names the source, never a value.
    pub async fn value(&self, name: &str) -> Result<&[u8], Failure> {
        let Some(secret) = self.known.get(name) else {
            return Err(failure::invalid(name, format!("the inventory has no secret {name:?}")));
        };
        let fetch = || async {
            let value = fetch(&secret.source, &self.folder).await?;
            Ok(Fetched { mask: Mask::new(&value), value })
        };
        let fetched = secret.fetched.get_or_try_init(fetch).await;
        fetched
            .map(|fetched| fetched.value.as_slice())
            .map_err(|why: String| failure::other("secret", name, format!("the secret {name}: {why}")))
    }

    /// A content in one piece, secrets put in.
    ///
    /// # Errors
    /// As of [`Secrets::value`]; `invalid` for what is no handle.
    pub async fn join(&self, content: &[Part]) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        for part in content {
            match part {
                Part::Text(text) => whole.extend_from_slice(text.as_bytes()),
                Part::Bytes(bytes) => whole.extend_from_slice(bytes),
                Part::Secret(handle) => match Self::name_of(handle) {
                    Some(name) => whole.extend_from_slice(self.value(name).await?),
                    None => return Err(failure::invalid("secret", "what stands for a secret is none of its handles")),
                },
            }
        }
        Ok(whole)
    }
}

/// Brings a value. An error says what is wrong with the source.
async fn fetch(source: &SecretSource, folder: &Path) -> Result<Vec<u8>, String> {
    let mut value = match source {
        SecretSource::Environment(name) => match std::env::var_os(name) {
            Some(value) => std::os::unix::ffi::OsStringExt::into_vec(value),
            None => return Err(format!("the environment variable {name} is not set; set it and run again")),
        },
        SecretSource::File(path) => {
            let path = folder.join(path);
            read(&path).await.map_err(|error| format!("cannot read {}: {error}", path.display()))?
        }
        SecretSource::Command(argv) => run(argv).await?,
    };
    if value.len() > MOST {
        return Err(format!("it has more than {MOST} bytes"));
    }
    if !matches!(source, SecretSource::Environment(_)) && value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    match value.is_empty() {
        true => Err("it is empty".to_owned()),
        false => Ok(value),
    }
}

async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut value = Vec::new();
    tokio::fs::File::open(path).await?.take(MOST as u64 + 1).read_to_end(&mut value).await?;
    Ok(value)
}

async fn run(argv: &[String]) -> Result<Vec<u8>, String> {
    let (program, arguments) = argv.split_first().ok_or("its command is empty")?;
    let mut command = tokio::process::Command::new(program);
    // What it says beside the value could hold it: only its status is told.
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output());
    match output.await {
        Err(_) => Err(format!("{program} did not end within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Err(format!("cannot run {program}: {error}")),
        Ok(Ok(output)) if !output.status.success() => Err(format!("{program} ended with {}", output.status)),
        Ok(Ok(output)) => Ok(output.stdout),
    }
}
