//! Reads an inventory of any form from files.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::connection::host_of;
use super::tree::{Tree, Variables};
use super::vars::{self, unreadable};
use super::{ini, json, yaml};
use crate::{
    ALL, Diagnostic, Diagnostics, Document, Group, Inventory, InventorySettings, Located, MAX_FILE_SIZE, Mistakes,
    Source, load, read_limited, text_of,
};

/// Where files come from: the disk, or a test's memory.
pub trait Files {
    /// A file's bytes; none: there is no such file.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Names in a folder; none: there is no such folder.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn list(&self, path: &Path) -> io::Result<Option<Vec<String>>>;
}

/// Files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        absent_is_none(read_limited(path, MAX_FILE_SIZE as u64))
    }

    fn list(&self, path: &Path) -> io::Result<Option<Vec<String>>> {
        let Some(entries) = absent_is_none(std::fs::read_dir(path))? else {
            return Ok(None);
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>().map(Some)
    }
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

/// An inventory that was read, whatever its form.
#[derive(Debug, Clone)]
pub struct LoadedInventory {
    /// The inventory.
    pub inventory: Inventory,
    /// Folder against which its relative paths count.
    pub folder: PathBuf,
    /// The JSON text, when it was in native form.
    pub source: Option<Source>,
    /// What was left out, for the operator to know.
    pub warnings: Vec<String>,
}

/// Reads an inventory: native JSON, or one of Ansible's forms with what lies beside it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_inventory(files: &dyn Files, path: &Path) -> Result<LoadedInventory, Diagnostics> {
    let name = path.display().to_string();
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let wrong = |message: &str, help: &str| Err(Diagnostics::one(Diagnostic::of_file(&name, message).help(help)));
    let Some(bytes) = files.read(path).map_err(|error| unreadable(path, &error))? else {
        return match files.list(path).map_err(|error| unreadable(path, &error))? {
            Some(_) => wrong("this is a folder", "name the inventory file in it; group_vars beside it is read too"),
            None => wrong("there is no such file", "give the inventory with -i FILE"),
        };
    };
    let text = text_of(&bytes, &name)?;
    if text.starts_with("#!") {
        return wrong(
            "this is a program",
            "run `ansible-inventory -i PROGRAM --list > inventory.json` and give that file",
        );
    }
    if text.starts_with("$ANSIBLE_VAULT") {
        return wrong("the whole inventory is encrypted", "decrypt it into a file of its own");
    }
    let tree = match form_of(path, text) {
        Form::Json => {
            let source = Source::parse(text, &name)?;
            if !json::is_list(&source.value()) {
                let (inventory, source) = load::<Inventory>(text, &name)?.into_parts();
                return Ok(LoadedInventory { inventory, folder, source: Some(source), warnings: Vec::new() });
            }
            json::parse(&source)?
        }
        Form::Yaml => yaml::parse(text, &name)?,
        Form::Ini => ini::parse(text, &name)?,
    };
    let settings = settings_beside(files, path)?;
    let mut loaded = assemble(files, &name, folder, tree)?;
    check(&loaded.inventory, &name)?;
    if let Some(settings) = settings {
        let (settings, source) = settings.into_parts();
        source.refuse(settings.put_over(&mut loaded.inventory))?;
        check(&loaded.inventory, source.name())?;
    }
    Ok(loaded)
}

enum Form {
    Json,
    Yaml,
    Ini,
}

fn form_of(path: &Path, text: &str) -> Form {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Form::Json,
        Some("yml" | "yaml") => Form::Yaml,
        _ => {
            let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
            match first {
                Some(line) if line.starts_with('{') => Form::Json,
                Some(line) if line.starts_with("---") || line == "all:" => Form::Yaml,
                _ => Form::Ini,
            }
        }
    }
}

/// `hosts.ini.settings.json`, `hosts.settings.json` or `settings.json` beside `hosts.ini`.
fn settings_beside(files: &dyn Files, path: &Path) -> Result<Option<Located<InventorySettings>>, Diagnostics> {
    let named = |name: Option<&std::ffi::OsStr>| {
        name.map(|name| path.with_file_name(format!("{}.settings.json", name.to_string_lossy())))
    };
    let candidates = [named(path.file_name()), named(path.file_stem()), Some(path.with_file_name("settings.json"))];
    for candidate in candidates.into_iter().flatten() {
        if let Some(bytes) = files.read(&candidate).map_err(|error| unreadable(&candidate, &error))? {
            let name = candidate.display().to_string();
            return load(text_of(&bytes, &name)?, &name).map(Some);
        }
    }
    Ok(None)
}

/// Merges variables in Ansible's order, into each host.
fn assemble(files: &dyn Files, name: &str, folder: PathBuf, mut tree: Tree) -> Result<LoadedInventory, Diagnostics> {
    tree.reconcile();
    let mut warnings = std::mem::take(&mut tree.warnings);
    let group_folder = folder.join("group_vars");
    let mut from_files: IndexMap<&str, Variables> = IndexMap::new();
    for group in tree.groups.keys().map(String::as_str).chain([ALL]) {
        if !from_files.contains_key(group) {
            from_files.insert(group, vars::read(files, &group_folder, group, &mut warnings)?);
        }
    }
    let mut inventory = Inventory {
        name: Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        ..Inventory::default()
    };
    let mut wrong = Vec::new();
    for (host, groups) in tree.memberships() {
        let inline = |group: &str| tree.groups.get(group).map(|group| group.variables.clone());
        let mut merged = inline(ALL).unwrap_or_default();
        merged.extend(groups.iter().filter_map(|group| inline(group)).flatten());
        for group in std::iter::once(ALL).chain(groups) {
            merged.extend(from_files.get(group).cloned().unwrap_or_default());
        }
        merged.extend(tree.hosts.get(host).cloned().unwrap_or_default());
        merged.extend(vars::read(files, &folder.join("host_vars"), host, &mut warnings)?);
        match host_of(host, merged, name) {
            Ok(of) => {
                inventory.hosts.insert(host.to_owned(), of);
            }
            Err(reasons) => wrong.extend(reasons.into_iter().map(|reason| Diagnostic::of_file(name, reason))),
        }
    }
    Diagnostics::check(wrong)?;
    for (group, of) in &tree.groups {
        if group == ALL {
            continue;
        }
        inventory.groups.insert(
            group.clone(),
            Group {
                hosts: of.hosts.iter().cloned().collect(),
                groups: of.children.iter().cloned().collect(),
                ..Group::default()
            },
        );
    }
    Ok(LoadedInventory { inventory, folder, source: None, warnings })
}

/// The checks of the native form, without its places.
fn check(inventory: &Inventory, file: &str) -> Result<(), Diagnostics> {
    let mut mistakes = Mistakes::default();
    inventory.check(&mut mistakes);
    mistakes.refuse_in(file)
}
