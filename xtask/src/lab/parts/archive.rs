//! Images of containers as archives, in the form that `docker save` writes: one layer, its configuration, and a list.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// How a container of the image runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    /// Name and tag of the image.
    pub(super) image: &'a str,
    /// What is executed; a Pod's arguments come after it.
    pub(super) entry_point: &'a str,
    /// The user, empty for root.
    pub(super) user: &'a str,
    /// Where it starts.
    pub(super) folder: &'a str,
    /// Architecture, such as `amd64`.
    pub(super) architecture: &'a str,
}

/// Writes an image of what is in a folder; `layer` names a file for the time between.
pub(super) fn write(tree: &Path, layer: &Path, archive: &Path, run: Run<'_>) -> Result<()> {
    let hash = write_layer(tree, layer)?;
    let config = serde_json::to_vec(&config(run, &hash))?;
    let config_name = format!("{}.json", hex::encode(Sha256::digest(&config)));
    let layer_name = format!("{hash}/layer.tar");
    let manifest = json!([{"Config": config_name, "RepoTags": [run.image], "Layers": [layer_name]}]);
    let file = File::create(archive).with_context(|| format!("cannot create {}", archive.display()))?;
    let mut builder = Builder::new(BufWriter::new(file));
    append(&mut builder, &config_name, &config)?;
    let layer = File::open(layer).with_context(|| format!("cannot open {}", layer.display()))?;
    let mut header = header(EntryType::Regular, 0o644, layer.metadata()?.len());
    builder.append_data(&mut header, layer_name, layer)?;
    append(&mut builder, "manifest.json", &serde_json::to_vec(&manifest)?)?;
    builder.into_inner()?.flush().with_context(|| format!("cannot write {}", archive.display()))
}

fn append(builder: &mut Builder<impl Write>, name: &str, content: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
    builder.append_data(&mut header, name, content).with_context(|| format!("cannot write {name}"))
}

/// The image's configuration; `layer` is the hash of its one layer.
fn config(run: Run<'_>, layer: &str) -> Value {
    json!({
        "architecture": run.architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": [run.entry_point],
            "User": run.user,
            "WorkingDir": run.folder,
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        "history": [{"created": "1970-01-01T00:00:00Z", "comment": "runner's lab"}],
    })
}

/// Writes a folder as a layer, the same one for the same content, and gives its hash.
fn write_layer(tree: &Path, layer: &Path) -> Result<String> {
    let file = File::create(layer).with_context(|| format!("cannot create {}", layer.display()))?;
    let mut builder = Builder::new(Hashing { to: BufWriter::new(file), hash: Sha256::new() });
    append_folder(&mut builder, tree, Path::new(""))?;
    let mut written = builder.into_inner()?;
    written.flush().with_context(|| format!("cannot write {}", layer.display()))?;
    Ok(hex::encode(written.hash.finalize()))
}

fn append_folder(builder: &mut Builder<impl Write>, tree: &Path, below: &Path) -> Result<()> {
    let folder = tree.join(below);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        names.push(entry?.file_name());
    }
    names.sort();
    for name in names {
        let name = below.join(name);
        let path = tree.join(&name);
        let metadata = fs::symlink_metadata(&path)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            let mut header = header(EntryType::Directory, mode, 0);
            builder.append_data(&mut header, &name, io::empty())?;
            append_folder(builder, tree, &name)?;
        } else if metadata.is_symlink() {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            builder.append_link(&mut header, &name, fs::read_link(&path)?)?;
        } else {
            let mut header = header(EntryType::Regular, mode, metadata.size());
            let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            builder.append_data(&mut header, &name, file)?;
        }
    }
    Ok(())
}

/// A header without owner and time.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Writes on and hashes what is written.
struct Hashing<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    const RUN: Run<'_> =
        Run { image: "r.example/a/b:1", entry_point: "/bin/b", user: "65534", folder: "/", architecture: "amd64" };

    fn tree(folder: &Path) {
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(folder.join("bin/b"), "program").unwrap();
        fs::set_permissions(folder.join("bin/b"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("b", folder.join("bin/c")).unwrap();
    }

    /// What the entries of an archive hold, by name.
    fn entries(bytes: &[u8]) -> BTreeMap<String, (Header, Vec<u8>)> {
        let mut archive = tar::Archive::new(bytes);
        let all = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), (entry.header().clone(), content))
        });
        all.collect()
    }

    #[test]
    fn an_image_is_what_docker_saves() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        tree(&at("tree"));
        write(&at("tree"), &at("layer"), &at("image.tar"), RUN).unwrap();
        let image = entries(&fs::read(at("image.tar")).unwrap());
        let manifest: Value = serde_json::from_slice(&image["manifest.json"].1).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["r.example/a/b:1"]));
        let config_name = manifest[0]["Config"].as_str().unwrap();
        let config = &image[config_name].1;
        assert_eq!(config_name, format!("{}.json", hex::encode(Sha256::digest(config))));
        let config: Value = serde_json::from_slice(config).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/bin/b"]));
        let layer = &image[manifest[0]["Layers"][0].as_str().unwrap()].1;
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex::encode(Sha256::digest(layer))));

        let layer = entries(layer);
        assert_eq!(layer.keys().collect::<Vec<_>>(), ["bin", "bin/b", "bin/c"]);
        let (header, content) = &layer["bin/b"];
        assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap()), (0o755, 0, 0));
        assert_eq!(content, b"program");
        assert_eq!(layer["bin/c"].0.link_name().unwrap().unwrap(), Path::new("b"));
    }

    #[test]
    fn the_same_content_is_the_same_layer() {
        let folder = tempfile::tempdir().unwrap();
        let hash = |name: &str| {
            let at = folder.path().join(name);
            tree(&at);
            write_layer(&at, &folder.path().join("layer")).unwrap()
        };
        assert_eq!(hash("one"), hash("two"));
        fs::write(folder.path().join("one/bin/b"), "another").unwrap();
        let changed = write_layer(&folder.path().join("one"), &folder.path().join("layer")).unwrap();
        assert_ne!(changed, hash("three"));
    }
}
