//! Files and directories that runs leave: for their owner alone, unless they lie in a directory that was made for a group.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// A directory with these hands its group on, and the group may write in it: `install -d -m 2770 -g GROUP DIR`.
const OF_A_GROUP: u32 = 0o2020;

/// Makes a directory, and those above it, unless it is there. Only its owner may use it (0700); below a directory of a
/// group the group may, too (2770).
///
/// # Errors
/// When the file system fails, or something else has that name.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_directory(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    match is_of_a_group(parent.unwrap_or(Path::new("."))) {
        true => fs::set_permissions(path, Permissions::from_mode(0o2770)),
        false => Ok(()),
    }
}

/// Gives a new file to the group as well, when it lies in a directory of a group. One that another made is as they left
/// it.
///
/// # Errors
/// When the file system fails.
pub(crate) fn share(file: &File, directory: &Path) -> io::Result<()> {
    let found = file.metadata()?;
    let done = found.mode() & 0o060 == 0o060 || found.uid() != rustix::process::geteuid().as_raw();
    match !done && is_of_a_group(directory) {
        true => file.set_permissions(Permissions::from_mode(0o660)),
        false => Ok(()),
    }
}

fn is_of_a_group(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| found.mode() & OF_A_GROUP == OF_A_GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_lies_in_a_directory_of_a_group_is_the_groups() {
        let home = tempfile::tempdir().unwrap();
        for (above, directory, file) in [(0o700, 0o700, 0o600), (0o750, 0o700, 0o600), (0o2770, 0o2770, 0o660)] {
            let top = home.path().join(format!("{above:o}"));
            fs::create_dir(&top).unwrap();
            fs::set_permissions(&top, Permissions::from_mode(above)).unwrap();
            let deep = top.join("runs/one");
            make_directory(&deep).unwrap();
            make_directory(&deep).unwrap();
            assert_eq!((mode(&top.join("runs")), mode(&deep)), (directory, directory), "below {above:o}");
            let made = tempfile::Builder::new().tempfile_in(&deep).unwrap();
            share(made.as_file(), &deep).unwrap();
            assert_eq!(mode(made.path()), file, "below {above:o}");
        }
        fs::write(home.path().join("file"), "").unwrap();
        assert!(make_directory(&home.path().join("file")).is_err());
    }
}
