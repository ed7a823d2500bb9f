//! One connection to a host, shared by all scripts there.
//!
//! `ssh` holds it, as a child of runner (`-M`: the master of a multiplexed connection); scripts are begun over its
//! socket. Its own session runs a script that waits for the end of its standard input, which runner holds: when runner
//! ends, however it ends, the connection ends too, and nothing is left behind.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use openssh::{Child as Remote, Session};
use rand::Rng as _;
use runner_types::Become;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{oneshot, watch};

use super::route::Route;
use super::trouble;
use crate::backend::live::rights;
use crate::backend::live::secrets::Secrets;
use crate::backend::live::shell::{ShellError, command_line};

/// How long a login may take, what the user's shell does at the beginning included.
const LOGIN: Duration = Duration::from_secs(40);
/// Bytes that a login may say before anything is asked of it, and that are kept of what ssh says.
const SAID: usize = 64 << 10;
/// Longest directory of control sockets: ssh adds 25 bytes to it (`/master` and a suffix while it makes the socket), and
/// a socket's path has less than 108 (unix(7)).
const LONGEST_DIRECTORY: usize = 80;
/// After the login: as whom effects run is tried, then the end of standard input is waited for.
const LEASH: &str = "exec cat >/dev/null\n";
/// Runs ssh on this machine and then removes the directory `$1` of its socket: also when runner itself was ended at once.
const KEEPER: &str = r#"trap : TERM HUP INT
d=$1
shift
ssh "$@"
c=$?
rm -rf -- "$d"
exit "$c"
"#;
/// How long ssh may take to end once it is told to.
const ENDING: Duration = Duration::from_secs(2);

/// A connection that is open.
pub(super) struct Master {
    session: Arc<Session>,
    /// Exit code of ssh, once it has ended.
    ended: watch::Receiver<Option<Option<i32>>>,
    /// The end of what ssh said.
    said: Arc<std::sync::Mutex<Vec<u8>>>,
    /// What the login said before it was asked anything: start-up files of the user's shell that print.
    pub(super) noise: String,
    _leash: ChildStdin,
    _kill: oneshot::Sender<()>,
    _directory: TempDir,
}

/// A connection that was not opened.
pub(super) struct NotOpened {
    /// Why, and what to do.
    pub(super) why: ShellError,
    /// Whether it is worth another try at once.
    pub(super) is_fleeting: bool,
}

impl From<ShellError> for NotOpened {
    fn from(why: ShellError) -> Self {
        Self { why, is_fleeting: false }
    }
}

impl From<String> for NotOpened {
    fn from(message: String) -> Self {
        ShellError::Unreachable(message).into()
    }
}

impl Master {
    /// Opens a connection and tries whether effects gain the rights they need.
    pub(super) async fn open(route: &Route, rights: &Become, secrets: &Secrets) -> Result<Self, NotOpened> {
        if let Some(key) = &route.key {
            check_key(&route.name, key)?;
        }
        let password = rights::password(rights, secrets).await?;
        let directory = control_directory().map_err(|error| format!("no directory for ssh's sockets: {error}"))?;
        let socket = directory.path().join("master");
        let mark = hex::encode(rand::rng().random::<[u8; 16]>());
        let way = match (rights.enabled, &password) {
            (false, _) => "none",
            (true, None) => "sudo",
            (true, Some(_)) => "password",
        };
        let text = format!("{}{LEASH}", rights::TRY);
        let login = command_line(&["/bin/sh", "-c", &text, "runner", &mark, way, &rights.user]);
        if !is_there("ssh") {
            let message =
                "the program ssh is not on this machine: install it (package openssh-client or openssh-clients)";
            return Err(message.to_owned().into());
        }
        let mut child = Command::new("/bin/sh")
            .args(["-c", KEEPER, "runner"])
            .arg(directory.path())
            .args(["-M", "-S"])
            .arg(&socket)
            .args(["-o", "ControlPersist=no"])
            .args(route.arguments())
            .args(["--", &route.address, &format!("exec {login}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C is for runner, which ends at a safe place and needs its connections until then.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot run ssh: {error}"))?;
        let (Some(mut leash), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("ssh has no streams".to_owned().into());
        };
        if let Some(mut password) = password {
            password.push(b'\n');
            // One that ends early says why at its standard error.
            let _ = leash.write_all(&password).await;
        }
        let said = Arc::new(std::sync::Mutex::new(Vec::new()));
        let reader = tokio::spawn(keep_end(stderr, Arc::clone(&said)));
        let (ended, mut watched) = watch::channel(None);
        let (kill, killed) = oneshot::channel();
        tokio::spawn(watch_over(child, killed, reader, ended));
        let Greeting { noise, code, answer } = match tokio::time::timeout(
            LOGIN,
            greeting(BufReader::new(stdout), &mark),
        )
        .await
        {
            Ok(Some(greeting)) => greeting,
            Ok(None) => {
                drop(leash);
                let end = tokio::time::timeout(ENDING, watched.wait_for(Option::is_some)).await;
                let code = end.ok().and_then(|end| end.ok().and_then(|end| *end)).flatten();
                return Err(not_opened(route, &text_of(&said), code));
            }
            Err(_) => {
                let seconds = LOGIN.as_secs();
                return Err(format!(
                        "{}: the login did not end within {seconds} s: the host hangs, or its user's shell waits for something",
                        route.title()
                    )
                    .into());
            }
        };
        if code != 0 {
            return Err(ShellError::NoRights(rights::refusal(&route.name, rights, code, &answer)).into());
        }
        Ok(Self {
            session: Arc::new(Session::resume_mux(socket.into_boxed_path(), None)),
            ended: watched,
            said,
            noise,
            _leash: leash,
            _kill: kill,
            _directory: directory,
        })
    }

    /// Whether ssh answers at its socket.
    pub(super) async fn is_alive(&self) -> bool {
        self.ended.borrow().is_none() && self.session.check().await.is_ok()
    }

    /// Why it ended, once it has.
    pub(super) async fn reason(&self, host: &str) -> String {
        let mut ended = self.ended.clone();
        // What ssh says is whole when it has ended.
        let _ = tokio::time::timeout(Duration::from_secs(1), ended.wait_for(Option::is_some)).await;
        let said = text_of(&self.said);
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        let line = line.map_or_else(String::new, |line| format!(": {line}"));
        format!("the connection to {host} was lost{line}")
    }

    /// Begins a command there.
    pub(super) async fn begin(&self, line: &str) -> Result<Remote<Arc<Session>>, openssh::Error> {
        let mut command = Arc::clone(&self.session).arc_raw_command(line);
        command.stdin(openssh::Stdio::piped()).stdout(openssh::Stdio::piped()).stderr(openssh::Stdio::piped());
        command.spawn().await
    }
}

/// Waits for the end of ssh and tells its exit code, or ends it when nobody holds the connection any more.
async fn watch_over(
    mut child: Child,
    killed: oneshot::Receiver<()>,
    reader: tokio::task::JoinHandle<()>,
    ended: watch::Sender<Option<Option<i32>>>,
) {
    tokio::select! {
        status = child.wait() => {
            // What ssh started may hold its standard error open.
            let _ = tokio::time::timeout(Duration::from_millis(500), reader).await;
            let _ = ended.send(Some(status.ok().and_then(|status| status.code())));
        }
        _ = killed => end(&mut child).await,
    }
}

/// Ends ssh, and what it started itself to get over other hosts.
async fn end(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    for signal in [Signal::TERM, Signal::KILL] {
        // An error says that it has ended.
        let _ = group.map(|group| kill_process_group(group, signal));
        if tokio::time::timeout(ENDING, child.wait()).await.is_ok() {
            return;
        }
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn not_opened(route: &Route, said: &str, code: Option<i32>) -> NotOpened {
    // 255 is ssh's own; any other is that of the command.
    if code.is_some_and(|code| code != 255) {
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("its shell ended at once");
        return format!("{}: the login works, but runs no commands: {line}", route.title()).into();
    }
    NotOpened { why: ShellError::Unreachable(trouble::explain(route, said)), is_fleeting: trouble::is_fleeting(said) }
}

struct Greeting {
    noise: String,
    code: i32,
    answer: String,
}

/// Reads what [`rights::TRY`] says; none: it ended before.
async fn greeting(stdout: BufReader<impl tokio::io::AsyncRead + Unpin>, mark: &str) -> Option<Greeting> {
    let (begin, end) = (format!("{mark} begin\n"), format!("{mark} end "));
    let mut stdout = stdout.take(SAID as u64);
    let (mut all, mut noise) = (Vec::new(), None);
    loop {
        let start = all.len();
        if stdout.read_until(b'\n', &mut all).await.ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&all[start..]).into_owned();
        // What was printed without a line's end stands before the mark.
        if let Some(before) = line.strip_suffix(&begin) {
            let mut said = String::from_utf8_lossy(&all[..start]).into_owned();
            said.push_str(before);
            noise = Some(said.trim().to_owned());
            all.clear();
        } else if let Some(code) = line.strip_prefix(&end) {
            let answer = String::from_utf8_lossy(&all[..start]).trim().to_owned();
            return Some(Greeting { noise: noise?, code: code.trim().parse().ok()?, answer });
        }
    }
}

/// Reads a stream to its end and keeps its end.
async fn keep_end(mut stream: impl tokio::io::AsyncRead + Unpin, kept: Arc<std::sync::Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 4 << 10];
    while let Ok(read) = stream.read(&mut buffer).await
        && read > 0
    {
        let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.extend_from_slice(&buffer[..read]);
        let over = kept.len().saturating_sub(SAID);
        kept.drain(..over);
    }
}

fn text_of(said: &std::sync::Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&said.lock().unwrap_or_else(std::sync::PoisonError::into_inner)).into_owned()
}

/// A directory of its own for a control socket, which only this user can enter.
fn control_directory() -> std::io::Result<TempDir> {
    let mut parents = vec![std::env::temp_dir()];
    parents.extend(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from));
    parents.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
    let only_mine: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    let mut last = None;
    for parent in parents {
        match tempfile::Builder::new().prefix("runner-").permissions(only_mine.clone()).tempdir_in(&parent) {
            Ok(directory) if directory.path().as_os_str().len() <= LONGEST_DIRECTORY => return Ok(directory),
            Ok(_) => {}
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::other("all directories for temporary files have long names")))
}

/// What ssh would only hint at, and at some length.
fn check_key(host: &str, key: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let shown = key.display();
    let metadata = match std::fs::metadata(key) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("the key {shown} of {host} does not exist: mend `key` in the inventory, or make it"));
        }
        Err(error) => return Err(format!("the key {shown} of {host} cannot be read: {error}")),
    };
    // As ssh judges it: only the owner's own keys.
    let own = metadata.uid() == rustix::process::getuid().as_raw();
    match own && metadata.mode() & 0o077 != 0 {
        false => Ok(()),
        true => Err(format!("others can read the key {shown} of {host}, so ssh does not use it: chmod 600 {shown}")),
    }
}
