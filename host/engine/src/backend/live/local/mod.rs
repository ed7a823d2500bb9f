//! A host that is the machine on which runner runs, as the user who runs it: its files by directory handles, everything
//! else by scripts.

mod attributes;
mod handles;
mod reading;
mod writing;

use std::sync::{Arc, mpsc};

use futures::future::BoxFuture;

use super::LiveHost;
use super::files::{failure_of, said};
use crate::backend::failure;
use crate::contract::files::{
    AttributeOrder, Capability, CopyOrder, DirectoryOrder, FileChange, FileData, FileRef, FileStatus, ListingOrder,
    ReadOrder, RemovalOrder, RenameOrder, Room, WriteOrder,
};
use crate::contract::{self, Backend, Caller, Capable, Cut, Failure, InDoubt, Performed, Place};

use handles::Root;
use reading::Refusal;

/// This machine as a host.
pub struct LocalHost {
    scripts: LiveHost,
    root: Arc<Root>,
}

impl LocalHost {
    /// This machine, all but its files by the scripts of `scripts`.
    ///
    /// # Errors
    /// When the root directory cannot be opened.
    pub fn new(scripts: LiveHost) -> std::io::Result<Self> {
        Ok(Self { scripts, root: Arc::new(Root::open()?) })
    }

    /// Does something with each item on a thread that may wait for disks; writes stop at the first failure.
    async fn each<I, A>(
        &self,
        items: Vec<I>,
        stops: bool,
        work: impl Fn(&Root, &I) -> Result<A, Refusal> + Send + 'static,
    ) -> Performed<A>
    where
        I: Capable + Send + 'static,
        A: Send + 'static,
    {
        let (root, host) = (Arc::clone(&self.root), self.scripts.name.clone());
        let (told, answers) = mpsc::channel();
        let done = tokio::task::spawn_blocking(move || {
            let mut failed = false;
            for item in &items {
                let label = item.label();
                let answer = match stops && failed {
                    true => Err(failure::not_attempted(label)),
                    false => work(&root, item).map_err(|refusal| refused(refusal, item.label(), &host)),
                };
                failed |= answer.is_err();
                // Whoever does not hear it any more does not want it.
                let _ = told.send(answer);
            }
        });
        let done = done.await;
        let mut answers: Vec<_> = answers.try_iter().collect();
        match done {
            Ok(()) => Ok(answers),
            Err(error) => Err(Cut::after(&mut answers, InDoubt { item: 0, message: error.to_string() })),
        }
    }
}

/// The failure of an item; the same that the scripts give.
fn refused(refusal: Refusal, path: String, host: &str) -> Failure {
    match refusal {
        Refusal::Io(error) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            said(&path, host, None, text)
        }
        Refusal::Irregular => failure_of("irregular", &[], &path, host),
        Refusal::NoDirectory => failure_of("no-directory", std::slice::from_ref(&path), &path, host),
        Refusal::Inside => failure_of("inside", &[], &path, host),
        Refusal::Root => failure_of("root", &[], &path, host),
        Refusal::Elsewhere => failure_of("elsewhere", &[], &path, host),
        Refusal::Full(entries) => failure_of("full", &entries, &path, host),
        Refusal::Conflict(found) => failure_of("conflict", &[found], &path, host),
        Refusal::Spent(failure) => failure,
        Refusal::TooMany(limit) => failure::too_large(&path, format!("{path} has more than {limit} entries")),
    }
}

impl Backend for LocalHost {
    fn real_paths<'a>(&'a self, _place: &'a Place, paths: Vec<String>) -> BoxFuture<'a, Vec<Result<String, Failure>>> {
        Box::pin(async move {
            let judge = |path: String| match self.root.judge(&path) {
                Ok(real) => Ok(real.to_string_lossy().into_owned()),
                Err(error) => Err(refused(Refusal::Io(error), path, &self.scripts.name)),
            };
            paths.into_iter().map(judge).collect()
        })
    }
    fn files(&self) -> &dyn contract::files::Capability {
        self
    }
    fn artifacts(&self) -> &dyn contract::artifacts::Capability {
        self.scripts.artifacts()
    }
    fn http(&self) -> &dyn contract::http::Capability {
        self.scripts.http()
    }
    fn systemd(&self) -> &dyn contract::systemd::Capability {
        self.scripts.systemd()
    }
    fn exec(&self) -> &dyn contract::exec::Capability {
        self.scripts.exec()
    }
    fn host(&self) -> &dyn contract::host::Capability {
        self.scripts.host()
    }
    fn packages(&self) -> &dyn contract::packages::Capability {
        self.scripts.packages()
    }
}

#[async_trait::async_trait]
impl Capability for LocalHost {
    async fn stat(&self, _place: &Place, _caller: &Caller, items: Vec<FileRef>) -> Performed<FileStatus> {
        self.each(items, false, |root, item| reading::stat(root, &item.path)).await
    }

    async fn read(&self, _place: &Place, caller: &Caller, items: Vec<ReadOrder>) -> Performed<FileData> {
        let budget = caller.budget().clone();
        self.each(items, false, move |root, item| {
            budget.admit(&item.path).map_err(Refusal::Spent)?;
            let found = reading::read(root, item)?;
            budget.keep(found.data.len(), &item.path).map(|()| found).map_err(Refusal::Spent)
        })
        .await
    }

    async fn entries(&self, _place: &Place, caller: &Caller, items: Vec<ListingOrder>) -> Performed<Vec<FileStatus>> {
        let budget = caller.budget().clone();
        self.each(items, false, move |root, item| reading::entries(root, item, &budget)).await
    }

    async fn hash(&self, _place: &Place, _caller: &Caller, items: Vec<FileRef>) -> Performed<String> {
        self.each(items, false, |root, item| reading::hash(root, &item.path)).await
    }

    async fn space(&self, _place: &Place, _caller: &Caller, items: Vec<FileRef>) -> Performed<Room> {
        self.each(items, false, |root, item| reading::space(root, &item.path)).await
    }

    async fn write(&self, _place: &Place, _caller: &Caller, items: Vec<WriteOrder>) -> Performed<FileChange> {
        let contents = match self.scripts.contents(&items).await {
            Ok(contents) => contents,
            Err(answers) => return Ok(answers),
        };
        let next = std::sync::Mutex::new(contents.into_iter());
        self.each(items, true, move |root, item| {
            let content = next.lock().ok().and_then(|mut next| next.next()).unwrap_or_default();
            writing::write(root, &item.path, &content, &item.precondition, item.attributes.as_ref())
        })
        .await
    }

    async fn copy(&self, _place: &Place, _caller: &Caller, items: Vec<CopyOrder>) -> Performed<FileChange> {
        self.each(items, true, writing::copy).await
    }

    async fn rename(&self, _place: &Place, _caller: &Caller, items: Vec<RenameOrder>) -> Performed<FileChange> {
        self.each(items, true, writing::rename).await
    }

    async fn remove(&self, _place: &Place, _caller: &Caller, items: Vec<RemovalOrder>) -> Performed<FileChange> {
        self.each(items, true, writing::remove).await
    }

    async fn make_directory(&self, _place: &Place, _caller: &Caller, items: Vec<DirectoryOrder>) -> Performed<bool> {
        self.each(items, true, writing::make_directory).await
    }

    async fn set_attributes(&self, _place: &Place, _caller: &Caller, items: Vec<AttributeOrder>) -> Performed<bool> {
        self.each(items, true, writing::set_attributes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::live::tests::here;
    use crate::contract::Stop;

    #[tokio::test]
    async fn what_ended_before_a_thread_broke_down_is_known() {
        let store = tempfile::tempdir().unwrap();
        let host = LocalHost::new(here(store.path())).unwrap();
        let items = ["/a", "/b", "/c"].map(|path| FileRef { host: "here".to_owned(), path: path.to_owned() });
        let work = |_: &Root, item: &FileRef| match item.path.as_str() {
            "/b" => panic!("a bug"),
            path => Ok(path.to_owned()),
        };
        let cut = host.each(items.to_vec(), true, work).await.unwrap_err();
        assert!(matches!(&cut.stop, Stop::InDoubt(doubt) if doubt.item == 1), "{cut:?}");
        assert!(matches!(cut.known.as_slice(), [(0, Ok(path))] if path == "/a"), "{cut:?}");
    }
}
