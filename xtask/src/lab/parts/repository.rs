//! A flat apt repository: packages in a folder, `Packages` with what they say of themselves, `Release` with its hash.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::store::Part;
use crate::workspace::output;

/// A package in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    version: String,
    /// Its paragraph of `Packages`.
    paragraph: String,
}

/// The part of a repository of Debian's packages and of our own.
pub(super) fn part(debian: &Part, own: &[Part]) -> Part {
    own.iter().fold(Part::new("repository").with_part(debian), Part::with_part)
}

/// Builds it in a folder, of all packages in the folders given. The packages are links: they cost no space twice.
pub(super) fn build(out: &Path, folders: &[PathBuf]) -> Result<()> {
    let mut entries = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            // Versions may hold what would have to be escaped in a URL.
            let name = path.file_name().unwrap_or_default().to_string_lossy().replace(['%', ':'], "_");
            fs::hard_link(&path, out.join(&name)).with_context(|| format!("cannot link {}", path.display()))?;
            let control = output(Command::new("dpkg-deb").arg("--field").arg(&path))?;
            let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            entries.push(entry_of(&control, &name, &content)?);
        }
    }
    let order = sorted(&mut entries, &|one, other| {
        let mut command = Command::new("dpkg");
        let status = command.args(["--compare-versions", one, "lt", other]).status();
        Ok(status.context("cannot run `dpkg`")?.success())
    });
    order?;
    let text: String = entries.iter().map(|entry| format!("{}\n", entry.paragraph)).collect();
    fs::write(out.join("Packages"), &text).context("cannot write Packages")?;
    let date = output(Command::new("date").args(["--utc", "--rfc-email"]).env("LC_ALL", "C"))?;
    fs::write(out.join("Release"), release(&text, date.trim())).context("cannot write Release")
}

fn entry_of(control: &str, file: &str, content: &[u8]) -> Result<Entry> {
    let name = field(control, "Package").unwrap_or_default().to_owned();
    let version = field(control, "Version").unwrap_or_default().to_owned();
    ensure!(!name.is_empty() && !version.is_empty(), "{file} says neither its name nor its version");
    let hash = hex::encode(Sha256::digest(content));
    let size = content.len();
    let paragraph = format!("{}\nFilename: ./{file}\nSize: {size}\nSHA256: {hash}\n", control.trim_end());
    Ok(Entry { name, version, paragraph })
}

/// Value of a field of a paragraph.
fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// Puts entries in order of names, and the oldest version of each first; of a package that came twice, one stays.
fn sorted(entries: &mut Vec<Entry>, older: &dyn Fn(&str, &str) -> Result<bool>) -> Result<()> {
    let mut ranks = BTreeMap::new();
    for entry in &*entries {
        let mut rank = 0;
        for other in entries.iter().filter(|other| other.name == entry.name && other.version != entry.version) {
            rank += usize::from(older(&other.version, &entry.version)?);
        }
        ranks.insert((entry.name.clone(), entry.version.clone()), rank);
    }
    let rank = |entry: &Entry| ranks.get(&(entry.name.clone(), entry.version.clone())).copied();
    entries.sort_by(|one, other| match one.name.cmp(&other.name) {
        Ordering::Equal => rank(one).cmp(&rank(other)),
        different => different,
    });
    entries.dedup_by(|one, other| (&one.name, &one.version) == (&other.name, &other.version));
    Ok(())
}

fn release(packages: &str, date: &str) -> String {
    let hash = hex::encode(Sha256::digest(packages));
    format!(
        "Origin: runner's lab\nLabel: runner's lab\nSuite: lab\nCodename: lab\nDate: {date}\n\
         Description: two versions of everything\nSHA256:\n {hash} {} Packages\n",
        packages.len()
    )
}

/// Versions of every package in a repository, the oldest first.
pub(super) fn versions(repository: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let path = repository.join("Packages");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(versions_of(&text))
}

fn versions_of(packages: &str) -> BTreeMap<String, Vec<String>> {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for paragraph in packages.split("\n\n") {
        if let (Some(name), Some(version)) = (field(paragraph, "Package"), field(paragraph, "Version")) {
            versions.entry(name.to_owned()).or_default().push(version.to_owned());
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, version: &str) -> Entry {
        let control = format!("Package: {name}\nVersion: {version}\nDescription: x\n more: of it\n");
        entry_of(&control, &format!("{name}.deb"), b"abc").unwrap()
    }

    #[test]
    fn a_paragraph_says_where_the_package_lies_and_what_it_is() {
        let entry = entry("etcd-server", "3.5.35-1");
        let expected = "Package: etcd-server\nVersion: 3.5.35-1\nDescription: x\n more: of it\n\
                        Filename: ./etcd-server.deb\nSize: 3\n\
                        SHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
        assert_eq!(entry.paragraph, expected);
        assert!(entry_of("Description: x\n", "x.deb", b"").is_err());
    }

    #[test]
    fn versions_are_listed_from_the_oldest() {
        let mut entries = vec![entry("b", "10"), entry("a", "1"), entry("b", "9"), entry("b", "10"), entry("b", "11")];
        let older = |one: &str, other: &str| Ok(one.parse::<u32>()? < other.parse::<u32>()?);
        sorted(&mut entries, &older).unwrap();
        let text: String = entries.iter().map(|entry| format!("{}\n", entry.paragraph)).collect();
        let expected = BTreeMap::from([
            ("a".to_owned(), vec!["1".to_owned()]),
            ("b".to_owned(), vec!["9".to_owned(), "10".to_owned(), "11".to_owned()]),
        ]);
        assert_eq!(versions_of(&text), expected);
    }

    #[test]
    fn the_release_vouches_for_the_packages() {
        let text = release("abc", "Sat, 21 Nov 2026 12:00:00 +0000");
        let line = " ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 3 Packages\n";
        assert!(text.ends_with(line), "{text}");
    }
}
