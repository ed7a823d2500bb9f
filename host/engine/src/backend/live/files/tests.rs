//! Real files in a temporary directory of this machine.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::backend::live::local::LocalHost;
use crate::backend::live::secrets::Secrets;
use crate::backend::live::tests::with_secrets;
use crate::contract::types::Part;
use crate::contract::{Backend, FailureKind};

/// The same tests for files by scripts and by directory handles.
macro_rules! both_ways {
    ($($name:ident)*) => {
        mod by_scripts {
            $(#[tokio::test] async fn $name() { super::$name(super::Bench::by_scripts()).await; })*
        }
        mod by_handles {
            $(#[tokio::test] async fn $name() { super::$name(super::Bench::by_handles()).await; })*
        }
    };
}

both_ways! {
    any_name_is_written_read_listed_and_removed
    a_write_keeps_its_precondition_and_what_the_file_was
    writes_go_through_links_and_stop_at_the_first_failure
    reads_tell_what_there_is
    listings_go_as_deep_as_asked
    copies_appear_whole_with_their_attributes
    renames_want_an_absent_destination
    removals_say_what_is_in_the_way
    directories_and_attributes_converge
    links_are_followed_to_where_paths_really_are
    a_full_or_read_only_disk_is_told_and_nothing_is_left_there
    a_secret_is_put_in_and_is_no_argument
    what_many_reads_bring_is_bounded_together
}

struct Bench {
    home: tempfile::TempDir,
    host: Box<dyn Backend>,
    _store: tempfile::TempDir,
}

/// Names that a careless script would take apart.
const ODD: [&str; 8] =
    ["two words", "line\nbreak\n", "-rf", "quote'\"", "$(x)`y`", "*", "back\\slash", "é\u{1}\t -> z"];

impl Bench {
    fn by_scripts() -> Self {
        Self::of(|host| Box::new(host))
    }

    fn by_handles() -> Self {
        Self::of(|host| Box::new(LocalHost::new(host).unwrap()))
    }

    /// This machine, with a secret `key`.
    fn of(way: impl Fn(LiveHost) -> Box<dyn Backend>) -> Self {
        let source = runner_types::SecretSource::Command(vec!["printf".to_owned(), "p%%w".to_owned()]);
        let secrets = Secrets::new(&indexmap::IndexMap::from([("key".to_owned(), source)]), Path::new("."));
        let store = tempfile::tempdir().unwrap();
        let host = way(with_secrets(store.path(), secrets));
        Self { home: tempfile::tempdir().unwrap(), host, _store: store }
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn place() -> Place {
        Place::Host("here".to_owned())
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap()
    }

    fn reference(&self, name: &str) -> FileRef {
        FileRef { host: "here".to_owned(), path: self.path(name) }
    }

    fn order(&self, name: &str, text: &str) -> WriteOrder {
        WriteOrder {
            host: "here".to_owned(),
            path: self.path(name),
            content: vec![Part::Text(text.to_owned())],
            precondition: Precondition::Anything,
            attributes: None,
            sensitive: false,
        }
    }

    async fn write(&self, order: WriteOrder) -> Result<FileChange, Failure> {
        one(self.host.files().write(&Self::place(), &Caller::runner(), vec![order]).await.unwrap())
    }

    async fn stat(&self, name: &str) -> Result<FileStatus, Failure> {
        one(self.host.files().stat(&Self::place(), &Caller::runner(), vec![self.reference(name)]).await.unwrap())
    }

    async fn read(&self, name: &str, offset: u64, limit: u32) -> Result<FileData, Failure> {
        let order = ReadOrder { host: String::new(), path: self.path(name), offset, limit, sensitive: false };
        one(self.host.files().read(&Self::place(), &Caller::runner(), vec![order]).await.unwrap())
    }

    async fn list(&self, name: &str, depth: u32, limit: u32) -> Result<Vec<FileStatus>, Failure> {
        let order = ListingOrder { host: String::new(), path: self.path(name), depth, limit };
        one(self.host.files().entries(&Self::place(), &Caller::runner(), vec![order]).await.unwrap())
    }

    async fn copy(&self, from: &str, to: &str, precondition: Precondition) -> Result<FileChange, Failure> {
        let order =
            CopyOrder { host: String::new(), source: self.path(from), destination: self.path(to), precondition };
        one(self.host.files().copy(&Self::place(), &Caller::runner(), vec![order]).await.unwrap())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<FileChange, Failure> {
        let order = RenameOrder {
            host: String::new(),
            source: self.path(from),
            destination: self.path(to),
            key: String::new(),
        };
        one(self.host.files().rename(&Self::place(), &Caller::runner(), vec![order]).await.unwrap())
    }

    async fn remove(&self, name: &str, recursive: bool, contents_only: bool) -> Result<FileChange, Failure> {
        let precondition = Precondition::Anything;
        let order = RemovalOrder { host: String::new(), path: self.path(name), recursive, contents_only, precondition };
        one(self.host.files().remove(&Self::place(), &Caller::runner(), vec![order]).await.unwrap())
    }

    async fn make(&self, name: &str, attributes: Option<Attributes>) -> Result<bool, Failure> {
        let order = DirectoryOrder { host: String::new(), path: self.path(name), attributes };
        one(self.host.files().make_directory(&Self::place(), &Caller::runner(), vec![order]).await.unwrap())
    }

    async fn set(&self, name: &str, attributes: Attributes, recursive: bool) -> Result<bool, Failure> {
        let order = AttributeOrder { host: String::new(), path: self.path(name), attributes, recursive };
        one(self.host.files().set_attributes(&Self::place(), &Caller::runner(), vec![order]).await.unwrap())
    }

    /// Nothing was left behind beside what the test knows.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn one<A>(mut answers: Vec<Result<A, Failure>>) -> Result<A, Failure> {
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

fn mode(mode: u32) -> Attributes {
    Attributes { mode: Some(mode), owner: None, group: None, context: None }
}

fn owned(owner: &str, group: Option<&str>) -> Attributes {
    Attributes { mode: None, owner: Some(owner.to_owned()), group: group.map(str::to_owned), context: None }
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

async fn any_name_is_written_read_listed_and_removed(bench: Bench) {
    for name in ODD {
        let done = bench.write(bench.order(name, name)).await.unwrap();
        assert_eq!((done.changed, done.before, done.after), (true, None, Some(digest(name))), "{name:?}");
        assert_eq!(bench.text(name), name);
        let data = bench.read(name, 0, 100).await.unwrap();
        assert_eq!((data.data, data.size, data.hash), (name.into(), name.len() as u64, Some(digest(name))));
        assert_eq!(bench.stat(name).await.unwrap().path, bench.path(name));
    }
    symlink("to\nthere -> x", bench.at("link")).unwrap();
    let listed: Vec<String> = bench.list("", 1, 100).await.unwrap().into_iter().map(|entry| entry.path).collect();
    let mut expected: Vec<String> = ODD.iter().chain(&["link"]).map(|name| bench.path(name)).collect();
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(bench.stat("link").await.unwrap().link.as_deref(), Some("to\nthere -> x"));
    for name in ODD {
        assert!(bench.remove(name, false, false).await.unwrap().changed);
        assert!(!bench.remove(name, false, false).await.unwrap().changed);
    }
    assert_eq!(bench.names(), ["link"]);
}

async fn a_write_keeps_its_precondition_and_what_the_file_was(bench: Bench) {
    let with = |precondition, text: &str| WriteOrder { precondition, ..bench.order("x", text) };
    assert!(bench.write(with(Precondition::Absent, "1")).await.unwrap().changed);
    let there = bench.write(with(Precondition::Absent, "2")).await.unwrap_err();
    let FailureKind::Conflict(conflict) = there.kind else { panic!("{there:?}") };
    assert_eq!(conflict.found, Some(digest("1")));
    let other = bench.write(with(Precondition::Hash(digest("0")), "2")).await.unwrap_err();
    assert!(matches!(other.kind, FailureKind::Conflict(_)));
    assert_eq!(bench.text("x"), "1");
    std::fs::set_permissions(bench.at("x"), std::fs::Permissions::from_mode(0o640)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(bench.at("x"), Some(1), Some(2)).unwrap();
    }
    let inode = std::fs::metadata(bench.at("x")).unwrap().ino();
    assert!(!bench.write(with(Precondition::Hash(digest("1")), "1")).await.unwrap().changed);
    assert_eq!(std::fs::metadata(bench.at("x")).unwrap().ino(), inode, "it was left alone");
    assert!(bench.write(with(Precondition::Hash(digest("1")), "2")).await.unwrap().changed);
    let found = bench.stat("x").await.unwrap();
    assert_eq!(found.mode, 0o640);
    if is_root() {
        assert_eq!((found.owner.as_str(), found.group.as_str()), ("daemon", "bin"));
    }
    let dressed = WriteOrder { attributes: Some(mode(0o4600)), ..bench.order("x", "2") };
    assert!(bench.write(dressed).await.unwrap().changed);
    assert_eq!(bench.stat("x").await.unwrap().mode, 0o4600);
    assert_eq!(bench.names(), ["x"]);
}

async fn writes_go_through_links_and_stop_at_the_first_failure(bench: Bench) {
    bench.put("real", "1");
    symlink("real", bench.at("link")).unwrap();
    symlink("loop", bench.at("loop")).unwrap();
    bench.write(bench.order("link", "2")).await.unwrap();
    assert_eq!(bench.text("real"), "2");
    assert!(std::fs::symlink_metadata(bench.at("link")).unwrap().is_symlink());
    let looping = bench.write(bench.order("loop", "2")).await.unwrap_err();
    assert!(matches!(looping.kind, FailureKind::Failed(_)), "{looping:?}");
    assert_eq!(bench.write(bench.order("none/x", "2")).await.unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(bench.write(bench.order("real/x", "2")).await.unwrap_err().kind, FailureKind::Invalid);
    assert_eq!(bench.write(bench.order("", "2")).await.unwrap_err().kind, FailureKind::Invalid);
    let orders = vec![bench.order("a", "a"), bench.order("none/x", ""), bench.order("b", "b")];
    let answers = bench.host.files().write(&Bench::place(), &Caller::runner(), orders).await.unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(answers[1].as_ref().unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(answers[2].as_ref().unwrap_err().kind, FailureKind::NotAttempted);
    assert_eq!(bench.names(), ["a", "link", "loop", "real"]);
}

async fn a_secret_is_put_in_and_is_no_argument(bench: Bench) {
    let content = vec![Part::Text("a=".to_owned()), Part::Secret("secret:key".to_owned()), Part::Bytes(vec![0, 255])];
    bench.write(WriteOrder { content: content.clone(), ..bench.order("x", "") }).await.unwrap();
    assert_eq!(std::fs::read(bench.at("x")).unwrap(), b"a=p%w\0\xff");
    let unknown = vec![Part::Secret("secret:none".to_owned())];
    assert!(bench.write(WriteOrder { content: unknown, ..bench.order("y", "") }).await.is_err());
    assert_eq!(bench.names(), ["x"]);
}

async fn reads_tell_what_there_is(bench: Bench) {
    let large: String = (0..200_000).map(|index| char::from(b'a' + (index % 26) as u8)).collect();
    bench.put("large", &large);
    let piece = bench.read("large", 100_000, 10).await.unwrap();
    assert_eq!(piece.data, &large.as_bytes()[100_000..100_010]);
    assert_eq!((piece.size, piece.hash), (200_000, None));
    assert!(bench.read("large", 300_000, 10).await.unwrap().data.is_empty());
    std::fs::create_dir(bench.at("directory")).unwrap();
    assert_eq!(bench.read("none", 0, 1).await.unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(bench.read("directory", 0, 1).await.unwrap_err().kind, FailureKind::Invalid);
    assert_eq!(bench.stat("none").await.unwrap_err().kind, FailureKind::NotFound);
    let socket = std::os::unix::net::UnixListener::bind(bench.at("socket")).unwrap();
    assert_eq!(bench.stat("socket").await.unwrap().kind, FileKind::Special);
    assert_eq!(bench.read("socket", 0, 1).await.unwrap_err().kind, FailureKind::Invalid);
    drop(socket);
    let refs = ["large", "none", "directory"].map(|name| bench.reference(name)).to_vec();
    let hashes = bench.host.files().hash(&Bench::place(), &Caller::runner(), refs.clone()).await.unwrap();
    assert_eq!(hashes[0], Ok(digest(&large)));
    assert_eq!(hashes[1].as_ref().unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(hashes[2].as_ref().unwrap_err().kind, FailureKind::Invalid);
    let rooms = bench.host.files().space(&Bench::place(), &Caller::runner(), refs).await.unwrap();
    let room = rooms[1].as_ref().expect("where it would be");
    assert!(room.total > room.available && room.available > 0, "{room:?}");
    let order =
        ReadOrder { host: String::new(), path: "/proc/version".into(), offset: 0, limit: 1000, sensitive: false };
    let kernel = one(bench.host.files().read(&Bench::place(), &Caller::runner(), vec![order]).await.unwrap()).unwrap();
    assert!(kernel.data.starts_with(b"Linux") && kernel.size == kernel.data.len() as u64);
}

async fn listings_go_as_deep_as_asked(bench: Bench) {
    std::fs::create_dir_all(bench.at("d/e/f")).unwrap();
    for name in ["d/.hidden", "d/..more", "d/e/x", "d/e/f/y"] {
        bench.put(name, "");
    }
    symlink("e", bench.at("d/link")).unwrap();
    let names = |found: Vec<FileStatus>| -> Vec<String> {
        found.into_iter().map(|entry| entry.path[bench.path("d/").len()..].to_owned()).collect()
    };
    assert_eq!(names(bench.list("d", 1, 10).await.unwrap()), ["..more", ".hidden", "e", "link"]);
    assert_eq!(names(bench.list("d/", 2, 10).await.unwrap()), ["..more", ".hidden", "e", "e/f", "e/x", "link"]);
    assert_eq!(bench.list("d", 9, 100).await.unwrap().len(), 7);
    assert_eq!(bench.list("d", 9, 6).await.unwrap_err().kind, FailureKind::TooLarge);
    assert_eq!(bench.list("none", 1, 1).await.unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(bench.list("d/e/x", 1, 1).await.unwrap_err().kind, FailureKind::Invalid);
    assert!(bench.list("d/e/f", 1, 0).await.is_err() && bench.list("d/e/f", 1, 1).await.is_ok());
    for index in 0..3000 {
        bench.put(&format!("d/e/{index}-{}", "n".repeat(200)), "");
    }
    assert_eq!(bench.list("d/e", 1, 5000).await.unwrap().len(), 3002);
}

async fn copies_appear_whole_with_their_attributes(bench: Bench) {
    std::fs::create_dir_all(bench.at("tree/sub")).unwrap();
    bench.put("tree/sub/x", "1");
    std::fs::set_permissions(bench.at("tree/sub/x"), std::fs::Permissions::from_mode(0o600)).unwrap();
    symlink("x", bench.at("tree/sub/link")).unwrap();
    assert!(bench.copy("tree", "copy", Precondition::Absent).await.unwrap().changed);
    assert_eq!(std::fs::metadata(bench.at("copy/sub/x")).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::read_link(bench.at("copy/sub/link")).unwrap(), Path::new("x"));
    assert!(!bench.copy("tree", "copy", Precondition::Anything).await.unwrap().changed);
    bench.put("copy/more", "");
    assert!(bench.copy("tree", "copy", Precondition::Anything).await.unwrap().changed);
    assert!(!bench.at("copy/more").exists());
    let inside = bench.copy("tree", "tree/sub/y", Precondition::Anything).await.unwrap_err();
    assert_eq!(inside.kind, FailureKind::Invalid);
    let file = bench.copy("tree/sub/x", "file", Precondition::Absent).await.unwrap();
    assert_eq!((file.before, file.after), (None, Some(digest("1"))));
    let refused = bench.copy("tree/sub/x", "file", Precondition::Absent).await.unwrap_err();
    assert!(matches!(refused.kind, FailureKind::Conflict(_)));
    assert_eq!(bench.copy("none", "file", Precondition::Anything).await.unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(bench.copy("file", "none/x", Precondition::Anything).await.unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(bench.names(), ["copy", "file", "tree"]);
}

async fn renames_want_an_absent_destination(bench: Bench) {
    bench.put("a", "1");
    bench.put("b", "2");
    assert!(matches!(bench.rename("a", "b").await.unwrap_err().kind, FailureKind::Conflict(_)));
    assert_eq!(bench.rename("a", "c").await.unwrap().after, Some(digest("1")));
    assert_eq!(bench.rename("a", "d").await.unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(bench.rename("c", "none/d").await.unwrap_err().kind, FailureKind::NotFound);
    std::fs::create_dir(bench.at("tree")).unwrap();
    bench.put("tree/x", "");
    assert!(bench.rename("tree", "moved").await.unwrap().changed);
    assert_eq!(bench.names(), ["b", "c", "moved"]);
}

async fn removals_say_what_is_in_the_way(bench: Bench) {
    std::fs::create_dir_all(bench.at("d/sub")).unwrap();
    bench.put("d/.hidden", "");
    bench.put("d/sub/x", "");
    let full = bench.remove("d", false, false).await.unwrap_err();
    let FailureKind::Conflict(conflict) = full.kind else { panic!("{full:?}") };
    let blockers: std::collections::BTreeSet<String> = conflict.blockers.into_iter().collect();
    assert_eq!(blockers, [bench.path("d/sub"), bench.path("d/.hidden")].into());
    assert!(bench.remove("d", false, true).await.unwrap().changed);
    assert!(!bench.remove("d", false, true).await.unwrap().changed);
    assert!(bench.at("d").is_dir());
    std::fs::create_dir(bench.at("d/again")).unwrap();
    assert!(bench.remove("d", true, false).await.unwrap().changed);
    bench.put("x", "1");
    symlink("x", bench.at("link")).unwrap();
    assert!(bench.remove("link", false, false).await.unwrap().changed);
    assert_eq!(bench.remove("x", false, true).await.unwrap_err().kind, FailureKind::Invalid);
    assert_eq!(bench.names(), ["x"]);
    assert_eq!(bench.remove("x", false, false).await.unwrap().before, Some(digest("1")));
}

async fn directories_and_attributes_converge(bench: Bench) {
    assert_eq!(bench.make("a/b/c", Some(mode(0o700))).await, Ok(true));
    assert_eq!(bench.stat("a/b/c").await.unwrap().mode, 0o700);
    assert_eq!(bench.stat("a/b").await.unwrap().mode, 0o755);
    assert_eq!(bench.make("a/b/c", Some(mode(0o700))).await, Ok(false));
    assert_eq!(bench.make("a/b/c", Some(mode(0o750))).await, Ok(true));
    assert_eq!(bench.make("a/b", None).await, Ok(false));
    bench.put("a/b/x", "");
    assert_eq!(bench.make("a/b/x", None).await.unwrap_err().kind, FailureKind::Invalid);
    assert_eq!(bench.set("a", mode(0o2710), true).await, Ok(true));
    assert_eq!(bench.set("a", mode(0o2710), true).await, Ok(false));
    assert_eq!(bench.stat("a/b/x").await.unwrap().mode, 0o2710);
    assert_eq!(bench.set("none", mode(0o700), false).await.unwrap_err().kind, FailureKind::NotFound);
    if !is_root() {
        return;
    }
    assert_eq!(bench.set("a/b/x", owned("daemon", None), false).await, Ok(true));
    assert_eq!(bench.stat("a/b/x").await.unwrap().mode, 0o2710, "a changed owner takes no bit away");
    assert_eq!(bench.set("a/b/x", owned("daemon", None), false).await, Ok(false));
    assert_eq!(bench.set("a", owned("1", Some("bin")), true).await, Ok(true));
    assert_eq!(bench.set("a", owned("1", Some("bin")), true).await, Ok(false));
    let found = bench.stat("a/b/c").await.unwrap();
    assert_eq!((found.owner.as_str(), found.group.as_str()), ("daemon", "bin"));
    assert_eq!(
        bench.set("a", owned("nobody-has-this-name", None), false).await.unwrap_err().kind,
        FailureKind::Invalid
    );
    std::os::unix::fs::chown(bench.at("a"), Some(54_321), None).unwrap();
    assert_eq!(bench.stat("a").await.unwrap().owner, "54321");
}

async fn links_are_followed_to_where_paths_really_are(bench: Bench) {
    std::fs::create_dir(bench.at("d")).unwrap();
    symlink("d", bench.at("link")).unwrap();
    symlink("loop", bench.at("loop")).unwrap();
    let real = std::fs::canonicalize(bench.home.path()).unwrap().to_str().unwrap().to_owned();
    let asked: Vec<String> =
        ["link/none/x", "link/../d", "d/line\nbreak", "plain"].map(|name| bench.path(name)).to_vec();
    let found = bench.host.real_paths(&Bench::place(), asked).await;
    assert_eq!(found, ["d/none/x", "d", "d/line\nbreak", "plain"].map(|name| Ok(format!("{real}/{name}"))));
    let asked = ["link", "loop", "link/x"].map(|name| bench.path(name)).to_vec();
    let found = bench.host.real_paths(&Bench::place(), asked).await;
    assert_eq!((&found[0], &found[2]), (&Ok(format!("{real}/d")), &Ok(format!("{real}/d/x"))));
    let nowhere = found[1].as_ref().is_ok_and(|path| *path == format!("{real}/loop")) || found[1].is_err();
    assert!(nowhere, "a loop leads nowhere else: {found:?}");
    let long = format!("link/{}", ["x"; 1_500].join("/"));
    let found = bench.host.real_paths(&Bench::place(), vec![bench.path(&long); 30]).await;
    assert!(found.len() == 30 && found.iter().all(|path| path.as_ref().unwrap().starts_with(&format!("{real}/d/x/"))));
}

/// A file system of its own; gone with the value.
struct Mount(PathBuf);

impl Mount {
    fn new(at: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let done = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).output();
        match done.is_ok_and(|done| done.status.success()) {
            true => Some(Self(at)),
            false => {
                eprintln!("skipped: file systems cannot be mounted here");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

async fn a_full_or_read_only_disk_is_told_and_nothing_is_left_there(bench: Bench) {
    let Some(mount) = Mount::new(bench.at("disk"), "size=64k") else { return };
    bench.write(bench.order("disk/x", "1")).await.unwrap();
    let full = bench.write(bench.order("disk/x", &"2".repeat(100_000))).await.unwrap_err();
    let FailureKind::Failed(exit) = &full.kind else { panic!("{full:?}") };
    assert!(exit.tail.contains("No space left on device"), "{full:?}");
    assert!(full.message.contains("no space left"), "{full:?}");
    assert_eq!(bench.text("disk/x"), "1");
    bench.put("large", &"3".repeat(100_000));
    assert!(matches!(
        bench.copy("large", "disk/y", Precondition::Absent).await.unwrap_err().kind,
        FailureKind::Failed(_)
    ));
    assert_eq!(std::fs::read_dir(&mount.0).unwrap().count(), 1, "no temporary file stays");
    assert_eq!(bench.rename("large", "disk/z").await.unwrap_err().kind, FailureKind::Invalid);
    let done = std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(&mount.0).status().unwrap();
    assert!(done.success());
    let refused = bench.write(bench.order("disk/x", "4")).await.unwrap_err();
    assert!(refused.message.contains("read-only file system"), "{refused:?}");
}

#[tokio::test]
async fn what_was_judged_is_what_is_used() {
    let bench = Bench::by_handles();
    for name in ["granted", "secret"] {
        std::fs::create_dir(bench.at(name)).unwrap();
        bench.put(&format!("{name}/x"), name);
    }
    symlink("granted", bench.at("link")).unwrap();
    let judged = bench.host.real_paths(&Bench::place(), vec![bench.path("link/x")]).await;
    assert!(judged[0].as_ref().unwrap().ends_with("/granted/x"));
    std::fs::remove_file(bench.at("link")).unwrap();
    symlink("secret", bench.at("link")).unwrap();
    assert_eq!(bench.read("link/x", 0, 100).await.unwrap().data, b"granted", "not where the link leads now");
    std::fs::remove_dir_all(bench.at("granted")).unwrap();
    symlink("secret", bench.at("granted")).unwrap();
    assert!(bench.read("link/x", 0, 100).await.is_err());
    assert!(bench.write(bench.order("link/x", "evil")).await.is_err());
    assert_eq!(bench.text("secret/x"), "secret");
}

async fn what_many_reads_bring_is_bounded_together(bench: Bench) {
    bench.put("large", &"x".repeat(4 << 20));
    let order =
        ReadOrder { host: String::new(), path: bench.path("large"), offset: 0, limit: 4 << 20, sensitive: false };
    let answers = bench.host.files().read(&Bench::place(), &Caller::runner(), vec![order; 100]).await.unwrap();
    let held: usize = answers.iter().flatten().map(|found| found.data.len()).sum();
    assert!((4 << 20..=16 << 20).contains(&held), "{held} bytes in all");
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().count() > 90 && refused.into_iter().all(|failure| failure.kind == FailureKind::TooLarge));
}
