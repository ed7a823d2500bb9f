//! Files of variables beside an inventory: `group_vars` and `host_vars`.

use std::path::{Path, PathBuf};

use super::read::Files;
use super::tree::{Variables, variable_of_yaml};
use crate::yaml::{YamlKind, parse as parse_yaml};
use crate::{Diagnostic, Diagnostics, MAX_DEPTH, text_of};

const EXTENSIONS: [&str; 3] = ["yml", "yaml", "json"];

/// Variables of one group or host, from all its files in order.
pub(super) fn read(
    files: &dyn Files,
    folder: &Path,
    name: &str,
    warnings: &mut Vec<String>,
) -> Result<Variables, Diagnostics> {
    let mut variables = Variables::new();
    // A name such as `../x` would leave the folder.
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Ok(variables);
    }
    for path in find(files, folder, name)? {
        read_file(files, &path, &mut variables, warnings)?;
    }
    Ok(variables)
}

/// As Ansible: the first that exists of a folder or file without an extension, then with each.
fn find(files: &dyn Files, folder: &Path, name: &str) -> Result<Vec<PathBuf>, Diagnostics> {
    let plain = folder.join(name);
    if let Some(names) = list(files, &plain)? {
        let mut found = Vec::new();
        walk(files, &plain, names, 0, &mut found)?;
        return Ok(found);
    }
    let with = |extension: &&str| folder.join(format!("{name}.{extension}"));
    for path in std::iter::once(plain).chain(EXTENSIONS.iter().map(with)) {
        if files.read(&path).map_err(|error| unreadable(&path, &error))?.is_some() {
            return Ok(vec![path]);
        }
    }
    Ok(Vec::new())
}

fn walk(
    files: &dyn Files,
    folder: &Path,
    mut names: Vec<String>,
    depth: usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), Diagnostics> {
    names.sort();
    for name in names {
        let path = folder.join(&name);
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            None if depth < MAX_DEPTH => match list(files, &path)? {
                Some(names) => walk(files, &path, names, depth + 1, found)?,
                None => found.push(path),
            },
            Some(extension) if EXTENSIONS.contains(&extension) => found.push(path),
            None | Some(_) => {}
        }
    }
    Ok(())
}

fn list(files: &dyn Files, folder: &Path) -> Result<Option<Vec<String>>, Diagnostics> {
    files.list(folder).map_err(|error| unreadable(folder, &error))
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostics {
    Diagnostics::one(Diagnostic::of_file(&path.display().to_string(), format!("cannot be read: {error}")))
}

fn read_file(
    files: &dyn Files,
    path: &Path,
    variables: &mut Variables,
    warnings: &mut Vec<String>,
) -> Result<(), Diagnostics> {
    let name = path.display().to_string();
    let Some(bytes) = files.read(path).map_err(|error| unreadable(path, &error))? else {
        return Ok(());
    };
    let text = text_of(&bytes, &name)?;
    if text.starts_with("$ANSIBLE_VAULT") {
        warnings.push(format!("{name} is encrypted; its variables are not available"));
        return Ok(());
    }
    // JSON is YAML, and its texts may hold templates just the same.
    let yaml = parse_yaml(text, &name)?;
    match yaml.kind {
        YamlKind::Map(members) => {
            for (key, value) in members {
                let variable = variable_of_yaml(&value, &name);
                // Later files win, as a whole value.
                variables.shift_remove(&key);
                variables.insert(key, variable);
            }
            Ok(())
        }
        _ if yaml.is_null() => Ok(()),
        _ => Err(Diagnostics::one(Diagnostic {
            position: Some(yaml.position),
            ..Diagnostic::of_file(&name, "expected a mapping of variables")
        })),
    }
}
