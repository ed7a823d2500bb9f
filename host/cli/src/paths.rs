//! Where files and directories are when nobody says so.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use runner_engine::project::Options;

use crate::args::{Common, Files, Plugins};
use crate::error::Problem;

/// Directory that colleagues share, when the operator may write it.
const SHARED_STATE: &str = "/var/lib/runner";
/// The inventory of the simulated platform, below the folder of the workflows.
const DEMO_INVENTORY: &str = "inventories/demo/inventory.json";

/// The environment that paths depend on.
pub(crate) struct Surroundings {
    variable: fn(&str) -> Option<OsString>,
    here: PathBuf,
    program: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn real() -> Self {
        Self {
            variable: |name| std::env::var_os(name).filter(|value| !value.is_empty()),
            here: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            program: std::env::current_exe().ok(),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).map(PathBuf::from)
    }

    /// A directory of the user's by the XDG rules: relative values count as unset.
    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let base = self
            .path(variable)
            .filter(|path| path.is_absolute())
            .or_else(|| self.path("HOME").map(|home| home.join(below_home)))?;
        Some(base.join("runner"))
    }

    /// Directory of runs, store and backup sets.
    ///
    /// # Errors
    /// When no directory can be thought of, or what is named is none.
    pub(crate) fn state(&self, common: &Common) -> anyhow::Result<PathBuf> {
        const HINT: &str = "name a directory with --state-dir or RUNNER_STATE_DIR";
        if let Some(directory) = &common.state_dir {
            let is_other = match std::fs::metadata(self.here.join(directory)) {
                Ok(found) => !found.is_dir(),
                Err(error) => error.kind() == ErrorKind::NotADirectory,
            };
            if is_other {
                let message = format!("{} is not a directory, so it cannot keep runs", directory.display());
                return Err(Problem::usage(message).hint(HINT).into());
            }
            return Ok(directory.clone());
        }
        let shared = Path::new(SHARED_STATE);
        if shared.is_dir() && rustix::fs::access(shared, rustix::fs::Access::WRITE_OK).is_ok() {
            return Ok(shared.to_owned());
        }
        self.xdg("XDG_STATE_HOME", ".local/state").ok_or_else(|| {
            Problem::usage("there is no place for runs: neither HOME nor XDG_STATE_HOME is set").hint(HINT).into()
        })
    }

    fn cache(&self) -> Option<PathBuf> {
        self.path("RUNNER_CACHE_DIR").or_else(|| self.xdg("XDG_CACHE_HOME", ".cache"))
    }

    /// The folder that holds `plugins` or `workflows`, from there upwards.
    fn project(&self, from: &Path) -> Option<PathBuf> {
        let from = self.here.join(from);
        from.ancestors()
            .find(|folder| folder.join("plugins").is_dir() || folder.join("workflows").is_dir())
            .map(Path::to_owned)
    }

    /// Directories of plugins, in the order in which they are looked into.
    pub(crate) fn plugins(&self, plugins: &Plugins, workflow: Option<&Path>) -> Vec<PathBuf> {
        let mut directories = plugins.directories.clone();
        if let Some(named) = (self.variable)("RUNNER_PLUGINS") {
            directories.extend(std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()));
        }
        let folder = workflow.and_then(Path::parent).unwrap_or(Path::new(""));
        if let Some(project) = self.project(folder) {
            directories.push(project.join("target/plugins"));
            directories.push(project.join("plugins"));
        }
        let beside = self.program.as_deref().and_then(Path::parent);
        directories.extend(beside.map(|folder| folder.join("plugins")));
        let mut distinct: Vec<PathBuf> = Vec::new();
        for directory in directories {
            if !distinct.contains(&directory) {
                distinct.push(directory);
            }
        }
        distinct
    }

    /// The inventory: as named, else that of the simulated platform that comes with the workflows.
    ///
    /// # Errors
    /// When none is named and there is none.
    pub(crate) fn inventory(&self, named: Option<&Path>, workflow: Option<&Path>) -> anyhow::Result<PathBuf> {
        if let Some(path) = named {
            return Ok(path.to_owned());
        }
        let beside = workflow.map(|workflow| workflow.parent().unwrap_or(Path::new("")).join(DEMO_INVENTORY));
        let of_project = || {
            let project = self.project(Path::new(""))?;
            let path = project.join("workflows").join(DEMO_INVENTORY);
            Some(path.strip_prefix(&self.here).map(Path::to_owned).unwrap_or(path))
        };
        let found = match workflow {
            Some(_) => beside,
            None => of_project(),
        };
        found.filter(|path| self.here.join(path).is_file()).ok_or_else(|| {
            Problem::usage("no inventory is named").hint("name it with -i FILE or RUNNER_INVENTORY").into()
        })
    }

    /// Everything that a project is read from.
    ///
    /// # Errors
    /// When a file that must be there is neither named nor found.
    pub(crate) fn options(&self, common: &Common, files: &Files, workflow: Option<&Path>) -> anyhow::Result<Options> {
        if let Some(path) = workflow
            && let Err(error) = std::fs::metadata(self.here.join(path))
        {
            let message = format!("cannot read the workflow {}: {error}", path.display());
            return Err(Problem::usage(message).into());
        }
        let inventory = self.inventory(files.inventory.as_deref(), workflow)?;
        let beside = |name: &str| inventory.parent().unwrap_or(Path::new("")).join(name);
        let exists = |path: &PathBuf| self.here.join(path).is_file();
        let policy = files.policy.clone().unwrap_or_else(|| beside("policy.json"));
        if files.policy.is_none() && !exists(&policy) {
            let message = format!("no policy is named, and there is no {}", policy.display());
            return Err(Problem::usage(message)
                .hint("name it with --policy FILE; `runner plugin grants PLUGIN` prints one to start from")
                .into());
        }
        let releases = files.releases.clone().or_else(|| {
            let beside_workflow = workflow
                .map(|workflow| workflow.parent().unwrap_or(Path::new("")).join("releases.json"))
                .or_else(|| self.project(Path::new("")).map(|project| project.join("workflows/releases.json")));
            Some(beside("releases.json")).filter(exists).or(beside_workflow.filter(exists))
        });
        let lock = files.trusted.lock.clone().unwrap_or_else(|| lock_beside(&policy));
        Ok(Options {
            workflow: workflow.map(Path::to_owned),
            inventory,
            policy,
            releases,
            lock: Some(lock),
            plugins: self.plugins(&files.plugins, workflow),
            state: self.state(common)?,
            cache: self.cache(),
            faults: files.faults.clone(),
        })
    }
}

/// The lock file that belongs to a policy.
pub(crate) fn lock_beside(policy: &Path) -> PathBuf {
    policy.parent().unwrap_or(Path::new("")).join("plugins.lock.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    fn home(name: &str) -> Option<OsString> {
        match name {
            "HOME" => Some("/home/ann".into()),
            "XDG_STATE_HOME" => Some("relative".into()),
            "RUNNER_PLUGINS" => Some("/a::/b:/a".into()),
            _ => None,
        }
    }

    fn at(here: &Path, variable: fn(&str) -> Option<OsString>) -> Surroundings {
        Surroundings { variable, here: here.to_owned(), program: Some(PathBuf::from("/opt/runner/runner")) }
    }

    fn project() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let demo = folder.path().join("workflows/inventories/demo");
        fs::create_dir_all(&demo).unwrap();
        fs::create_dir_all(folder.path().join("plugins/etcd")).unwrap();
        for file in ["inventory.json", "policy.json"] {
            fs::write(demo.join(file), "{}").unwrap();
        }
        for file in ["releases.json", "update-all.json"] {
            fs::write(folder.path().join("workflows").join(file), "{}").unwrap();
        }
        folder
    }

    fn common() -> Common {
        Common { state_dir: Some(PathBuf::from("/s")), ..Common::default() }
    }

    #[test]
    fn a_workflow_brings_its_surroundings() {
        let folder = project();
        let options = at(folder.path(), nothing)
            .options(&common(), &Files::default(), Some(Path::new("workflows/update-all.json")))
            .unwrap();
        assert_eq!(options.inventory, Path::new("workflows/inventories/demo/inventory.json"));
        assert_eq!(options.policy, Path::new("workflows/inventories/demo/policy.json"));
        assert_eq!(options.releases.as_deref(), Some(Path::new("workflows/releases.json")));
        assert_eq!(options.lock.as_deref(), Some(Path::new("workflows/inventories/demo/plugins.lock.json")));
        assert_eq!(
            options.plugins,
            [folder.path().join("target/plugins"), folder.path().join("plugins"), PathBuf::from("/opt/runner/plugins")]
        );
    }

    #[test]
    fn without_a_workflow_the_project_around_us_counts() {
        let folder = project();
        let options =
            at(&folder.path().join("plugins/etcd"), nothing).options(&common(), &Files::default(), None).unwrap();
        assert_eq!(options.inventory, folder.path().join("workflows/inventories/demo/inventory.json"));
        assert_eq!(options.releases, Some(folder.path().join("workflows/releases.json")));
    }

    #[test]
    fn what_is_missing_is_named_with_the_option() {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = at(folder.path(), nothing);
        let error = surroundings.options(&common(), &Files::default(), None).unwrap_err();
        assert!(crate::error::tell(&error, &common()).0.contains("-i FILE"), "{error}");
        let error = surroundings.options(&common(), &Files::default(), Some(Path::new("no-such.json"))).unwrap_err();
        assert!(error.to_string().contains("no-such.json"), "{error}");
        let files = Files { inventory: Some(PathBuf::from("hosts.ini")), ..Files::default() };
        let error = surroundings.options(&common(), &files, None).unwrap_err();
        assert!(crate::error::tell(&error, &common()).0.contains("--policy FILE"), "{error}");
    }

    #[test]
    fn a_file_keeps_no_runs() {
        for path in ["/dev/null", "/dev/null/state"] {
            let common = Common { state_dir: Some(PathBuf::from(path)), ..Common::default() };
            let error = at(Path::new("/"), nothing).state(&common).unwrap_err();
            let (text, exit) = crate::error::tell(&error, &common);
            assert_eq!(exit, crate::exit::Exit::Usage);
            assert!(text.contains(path) && text.contains("--state-dir"), "{text}");
        }
    }

    #[test]
    fn directories_follow_options_then_variables() {
        let surroundings = at(Path::new("/nowhere"), home);
        let plugins = surroundings.plugins(&Plugins::default(), None);
        assert_eq!(plugins, [Path::new("/a"), Path::new("/b"), Path::new("/opt/runner/plugins")]);
        let named = Plugins { directories: vec![PathBuf::from("/first")] };
        assert_eq!(surroundings.plugins(&named, None)[..2], [Path::new("/first"), Path::new("/a")]);
        assert_eq!(surroundings.state(&common()).unwrap(), Path::new("/s"));
        assert_eq!(surroundings.xdg("XDG_STATE_HOME", ".local/state"), Some("/home/ann/.local/state/runner".into()));
        assert!(at(Path::new("/"), nothing).xdg("XDG_STATE_HOME", ".local/state").is_none());
    }
}
