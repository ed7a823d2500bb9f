//! Licences of what is linked into the binary and the plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::{cargo, output, root};

/// How files are called that hold a licence or a notice.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE"];
/// Folders of a crate that nothing is linked from.
const ASIDE: [&str; 4] = ["tests", "examples", "benches", "target"];
/// What the C libraries are under, with what each says of itself.
const C_LIBRARIES: &str = "Besides crates and Rust's standard library, there is linked in:\n\
    \n\
    into the static binary: musl libc, https://musl.libc.org\n  Copyright © 2005-2020 Rich Felker, et al.\n\
    into the plugins: wasi-libc, https://github.com/WebAssembly/wasi-libc\n  Copyright © the wasi-libc authors; it holds \
    parts of musl libc\n\
    \n\
    Both under this licence:\n\n";
/// The MIT licence below its copyright lines.
const MIT: &str = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and \
    associated documentation files (the \"Software\"), to deal in the Software without restriction, including without \
    limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the \
    Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:\n\
    \n\
    The above copyright notice and this permission notice shall be included in all copies or substantial portions of \
    the Software.\n\
    \n\
    THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO \
    THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE \
    AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, \
    TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE \
    SOFTWARE.\n";

/// Something that is built from crates: a binary or plugins.
pub(super) struct Built<'a> {
    /// Packages of the workspace that it is built from.
    pub(super) packages: Vec<String>,
    /// Target that it is built for.
    pub(super) triple: &'a str,
}

/// Every crate that is linked into what is built, with the texts of its licence; equal texts stand once.
///
/// # Errors
/// When a crate comes without a text, and there is none for it either.
pub(super) fn crates(built: &[Built<'_>]) -> Result<String> {
    let mut packages = BTreeMap::new();
    for built in built {
        let metadata = output(&mut cargo(["metadata", "--format-version=1", "--filter-platform", built.triple]))?;
        let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata did not print JSON")?;
        for package in linked(&metadata, &built.packages)? {
            // What has no source is of this workspace: its licence lies in the archive.
            if !package["source"].is_null() {
                packages.insert(text(package, "id").to_owned(), package.clone());
            }
        }
    }
    let mut own = BTreeMap::new();
    for (id, package) in &packages {
        let folder = Path::new(text(package, "manifest_path")).parent().context("a manifest without a folder")?;
        own.insert(id.as_str(), files(folder)?);
    }
    let mut titles: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (id, package) in &packages {
        let texts = match own.get(id.as_str()) {
            Some(texts) if !texts.is_empty() => texts.clone(),
            _ => borrowed(package, &packages, &own)?,
        };
        let title = format!("{} {} ({})", text(package, "name"), text(package, "version"), text(package, "license"));
        for file in texts {
            titles.entry(file).or_default().insert(title.clone());
        }
    }
    let mut all = format!("The {} crates that are linked in, by the licences that they came with.\n", packages.len());
    for (file, titles) in &titles {
        all.push_str(&format!("\n{}\n", "=".repeat(100)));
        titles.iter().for_each(|title| all.push_str(&format!("{title}\n")));
        all.push_str(&format!("{}\n{}\n", "-".repeat(100), file.trim()));
    }
    Ok(all)
}

/// What is linked in and no crate.
pub(super) fn c_libraries() -> String {
    format!("{C_LIBRARIES}{MIT}")
}

/// Packages that others are linked with, themselves included: without what only builds or tests them, and without what
/// the compiler runs.
fn linked<'a>(metadata: &'a Value, names: &[String]) -> Result<Vec<&'a Value>> {
    let by_id = |list: &'a Value| -> BTreeMap<&'a str, &'a Value> {
        items(list).map(|item| (text(item, "id"), item)).collect()
    };
    let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
    let mut open = Vec::new();
    for name in names {
        let found = packages.iter().find(|(_, package)| package["source"].is_null() && package["name"] == *name);
        open.push(*found.with_context(|| format!("the workspace has no package {name}"))?.0);
    }
    let mut found = BTreeMap::new();
    while let Some(id) = open.pop() {
        let package = *packages.get(id).with_context(|| format!("cargo metadata lists no {id}"))?;
        let macros = items(&package["targets"]).any(|target| items(&target["kind"]).any(|kind| kind == "proc-macro"));
        if macros || found.insert(id, package).is_some() {
            continue;
        }
        let node = *nodes.get(id).with_context(|| format!("cargo metadata resolves no {id}"))?;
        let is_linked = |dependency: &&Value| items(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
        open.extend(items(&node["deps"]).filter(is_linked).map(|dependency| text(dependency, "pkg")));
    }
    Ok(found.into_values().collect())
}

/// Texts for a crate that brings none: those of a crate from the same repository under the same licence, else the text
/// that the licence has everywhere.
fn borrowed(
    package: &Value,
    packages: &BTreeMap<String, Value>,
    own: &BTreeMap<&str, Vec<String>>,
) -> Result<Vec<String>> {
    let licence = text(package, "license");
    let origin = origin(package);
    let same = |other: &&Value| origin.is_some() && self::origin(other) == origin && other["license"] == licence;
    let sibling = packages.values().filter(same).filter_map(|other| own.get(text(other, "id")));
    if let Some(texts) = sibling.into_iter().find(|texts| !texts.is_empty()) {
        return Ok(texts.clone());
    }
    let authors: Vec<&str> = items(&package["authors"]).filter_map(Value::as_str).collect();
    let name = text(package, "name");
    let copyright = match authors.is_empty() {
        true => format!("the authors of {name}"),
        false => authors.join(", "),
    };
    match licence {
        "MIT" => Ok(vec![format!("Copyright (c) {copyright}\n\n{MIT}")]),
        "Apache-2.0" => Ok(vec![fs::read_to_string(root().join("LICENSE")).context("cannot read LICENSE")?]),
        // Its family's crates have the text, with the exception.
        "Apache-2.0 WITH LLVM-exception" => {
            let same = |other: &&Value| other["license"] == licence;
            let others = packages.values().filter(same).filter_map(|other| own.get(text(other, "id")));
            let texts = others.into_iter().find(|texts| !texts.is_empty());
            texts.cloned().with_context(|| format!("no crate brings the text of {licence}, which {name} is under"))
        }
        _ => bail!("{name} comes without the text of its licence, {licence}; it needs a text in {}", file!()),
    }
}

/// Repository of a package: `github.com/owner/name` of whatever is below it.
fn origin(package: &Value) -> Option<String> {
    let url = package["repository"].as_str()?.split_once("://")?.1;
    let words: Vec<&str> = url.trim_end_matches('/').split('/').take(3).collect();
    Some(words.join("/").trim_end_matches(".git").to_lowercase())
}

/// Texts of the files in a crate that hold a licence or a notice, its own and of what it took in.
fn files(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(|| format!("cannot list {}", folder.display()))?;
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if path.is_dir() {
            if !ASIDE.contains(&name) {
                texts.extend(files(&path)?);
            }
            continue;
        }
        let (stem, is_source) = (name.to_uppercase(), name.ends_with(".rs"));
        if !is_source && NAMES.iter().any(|word| stem.starts_with(word)) {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(texts)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata() -> Value {
        let library = json!([{"kind": ["lib"]}]);
        let package = |id: &str, source: Value| json!({"id": id, "name": id, "source": source, "targets": library});
        let dependency = |id: &str, kind: Value| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        let mut derive = package("derive", json!("registry"));
        derive["targets"] = json!([{"kind": ["proc-macro"]}]);
        json!({
            "packages": [
                package("app", Value::Null), package("used", json!("registry")), package("builds", json!("registry")),
                package("tests", json!("registry")), derive, package("parses", json!("registry")),
            ],
            "resolve": {"nodes": [
                {"id": "app", "deps": [
                    dependency("used", Value::Null), dependency("builds", json!("build")),
                    dependency("tests", json!("dev")), dependency("derive", Value::Null),
                ]},
                {"id": "used", "deps": []}, {"id": "builds", "deps": []}, {"id": "tests", "deps": []},
                {"id": "derive", "deps": [dependency("parses", Value::Null)]}, {"id": "parses", "deps": []},
            ]},
        })
    }

    #[test]
    fn what_only_builds_tests_or_derives_is_not_linked() {
        let metadata = metadata();
        let found = linked(&metadata, &["app".to_owned()]).unwrap();
        assert_eq!(found.iter().map(|package| text(package, "id")).collect::<Vec<_>>(), ["app", "used"]);
        assert!(linked(&metadata, &["used".to_owned()]).is_err(), "it is not of the workspace");
    }

    #[test]
    fn a_crate_without_a_text_takes_that_of_its_repository() {
        let package = |id: &str, licence: &str, repository: &str| json!({"id": id, "name": id, "license": licence, "repository": repository, "authors": ["Ann"]});
        let family = "https://github.com/Example/family";
        let bare = package("bare", "ISC", &format!("{family}/tree/main/bare"));
        let lonely = package("lonely", "ISC", "https://github.com/example/lonely");
        let plain = package("plain", "MIT", "https://github.com/example/plain");
        let mut packages = BTreeMap::new();
        packages.insert("other".to_owned(), package("other", "MIT", family));
        packages.insert("whole".to_owned(), package("whole", "ISC", "https://github.com/example/family.git"));
        let own = BTreeMap::from([("other", vec!["MIT text".to_owned()]), ("whole", vec!["ISC text".to_owned()])]);
        assert_eq!(borrowed(&bare, &packages, &own).unwrap(), ["ISC text"]);
        assert!(borrowed(&plain, &packages, &own).unwrap()[0].starts_with("Copyright (c) Ann\n\nPermission"));
        let refused = borrowed(&lonely, &packages, &own).unwrap_err().to_string();
        assert!(refused.starts_with("lonely comes without the text of its licence, ISC"), "{refused}");
    }
}
