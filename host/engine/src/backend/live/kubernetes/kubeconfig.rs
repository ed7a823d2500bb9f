//! The way to a cluster that a kubeconfig says, and what is wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::client::{AuthError, ClientBuilder};
use kube::config::{self, AuthInfo, ExecInteractiveMode, KubeConfigOptions};

use super::api::innermost;
use super::certificate;
use crate::backend::live::tls;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a command that logs in may take.
const LOGIN: Duration = Duration::from_secs(60);

/// The way to a cluster: one context of a kubeconfig. Its files are read again whenever a client is made, so that what
/// was renewed in them counts.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// None: `KUBECONFIG`, else the one in the user's home.
    path: Option<PathBuf>,
    context: Option<String>,
    server: String,
    user: String,
}

/// What is wrong with a kubeconfig, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    /// It is not there.
    #[error(
        "{place} does not exist: copy it here from the cluster, or name another one as `kubeconfig` of the cluster in the inventory"
    )]
    Missing {
        /// Where it was looked for.
        place: String,
    },
    /// It cannot be read.
    #[error("{place} cannot be read: {reason}")]
    Unreadable {
        /// Which file.
        place: String,
        /// Why.
        reason: String,
    },
    /// It has no such context.
    #[error("{place} has no context {context:?}{near}; it has {known}")]
    NoContext {
        /// Which file.
        place: String,
        /// What was asked for.
        context: String,
        /// The nearest name.
        near: String,
        /// The names it has.
        known: String,
    },
    /// It names no context, and none was named.
    #[error("{0} names no current context: name one as `context` of the cluster in the inventory")]
    NoCurrentContext(String),
    /// A part of it leads nowhere.
    #[error("{place}: {reason}")]
    Broken {
        /// Which file.
        place: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A certificate in it ended.
    #[error(
        "{place}: the client certificate of user {user} ended at {end}: renew it, and copy the new kubeconfig here"
    )]
    Expired {
        /// Which file.
        place: String,
        /// Whose it is.
        user: String,
        /// When.
        end: String,
    },
    /// The command by which it logs in does not do.
    #[error("{place}: user {user} logs in by a command: {reason}")]
    Login {
        /// Which file.
        place: String,
        /// Who.
        user: String,
        /// Why it did not bring anything, and what to do.
        reason: String,
    },
}

impl Kubeconfig {
    /// Reads a kubeconfig and checks what can be checked without asking anybody. No path: as `kubectl` finds it; no
    /// context: its current one.
    ///
    /// # Errors
    /// When it does not lead to a cluster.
    pub fn open(path: Option<&Path>, context: Option<&str>) -> Result<Self, KubeconfigError> {
        let mut found = Self {
            path: path.map(Path::to_owned),
            context: context.map(str::to_owned),
            server: String::new(),
            user: String::new(),
        };
        let read = found.read()?;
        let place = found.place();
        let broken = |reason: String| KubeconfigError::Broken { place: place.clone(), reason };
        let name = match context.or(read.current_context.as_deref()) {
            Some(name) if !name.is_empty() => name,
            _ => return Err(KubeconfigError::NoCurrentContext(place)),
        };
        let names: Vec<&str> = read.contexts.iter().map(|context| context.name.as_str()).collect();
        let context = read.contexts.iter().find(|context| context.name == name);
        let Some(context) = context.and_then(|context| context.context.as_ref()) else {
            return Err(KubeconfigError::NoContext {
                context: name.to_owned(),
                near: runner_types::did_you_mean(name, names.iter().copied()),
                known: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
                place,
            });
        };
        let cluster = read.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let Some(cluster) = cluster.and_then(|cluster| cluster.cluster.as_ref()) else {
            return Err(broken(format!("context {name} names cluster {:?}, which it does not have", context.cluster)));
        };
        found.server =
            cluster.server.clone().ok_or_else(|| broken(format!("cluster {} names no server", context.cluster)))?;
        if let Some(user) = context.user.as_deref().filter(|user| !user.is_empty()) {
            user.clone_into(&mut found.user);
            let known = read.auth_infos.iter().find(|known| known.name == user);
            let Some(login) = known.and_then(|known| known.auth_info.as_ref()) else {
                return Err(broken(format!("context {name} names user {user:?}, which it does not have")));
            };
            found.check_login(login)?;
        }
        if let Some(path) = &cluster.certificate_authority {
            readable(path).map_err(|error| broken(format!("certificate-authority {path} cannot be read: {error}")))?;
        }
        Ok(found)
    }

    /// Address of the API server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The file, as people call it.
    fn place(&self) -> String {
        match (&self.path, std::env::var("KUBECONFIG")) {
            (Some(path), _) => format!("the kubeconfig {}", path.display()),
            (None, Ok(paths)) if !paths.is_empty() => format!("the kubeconfig {paths} (KUBECONFIG)"),
            (None, _) => "the kubeconfig ~/.kube/config".to_owned(),
        }
    }

    fn read(&self) -> Result<config::Kubeconfig, KubeconfigError> {
        let read = match &self.path {
            Some(path) => config::Kubeconfig::read_from(path),
            None => config::Kubeconfig::read(),
        };
        read.map_err(|error| match &error {
            config::KubeconfigError::ReadConfig(cause, _) if cause.kind() == std::io::ErrorKind::NotFound => {
                KubeconfigError::Missing { place: self.place() }
            }
            config::KubeconfigError::FindPath => KubeconfigError::Missing { place: self.place() },
            // A YAML error may quote the line, and the line a token.
            config::KubeconfigError::Parse(_) => {
                KubeconfigError::Unreadable { place: self.place(), reason: "it is no YAML of a kubeconfig".to_owned() }
            }
            _ => KubeconfigError::Unreadable { place: self.place(), reason: innermost(&error) },
        })
    }

    fn check_login(&self, login: &AuthInfo) -> Result<(), KubeconfigError> {
        let files = [
            ("client-certificate", &login.client_certificate),
            ("client-key", &login.client_key),
            ("tokenFile", &login.token_file),
        ];
        for (field, path) in files {
            let Some(path) = path else { continue };
            readable(path).map_err(|error| KubeconfigError::Broken {
                place: self.place(),
                reason: format!("{field} {path} of user {} cannot be read: {error}", self.user),
            })?;
        }
        let pem = match (&login.client_certificate_data, &login.client_certificate) {
            (Some(data), _) => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.decode(data.trim()).ok()
            }
            (None, Some(path)) => std::fs::read(path).ok(),
            (None, None) => None,
        };
        match pem.and_then(|pem| certificate::end(&pem)) {
            Some(end) if end < chrono::Utc::now() => Err(KubeconfigError::Expired {
                place: self.place(),
                user: self.user.clone(),
                end: end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            }),
            _ => Ok(()),
        }
    }

    /// A client for the cluster; nothing is asked of it yet. A command that logs in is run.
    ///
    /// # Errors
    /// When the kubeconfig does not lead there any more, or its login does not work.
    pub(super) async fn connect(&self) -> Result<kube::Client, KubeconfigError> {
        let checked = Self::open(self.path.as_deref(), self.context.as_deref())?;
        let options = KubeConfigOptions { context: checked.context.clone(), ..KubeConfigOptions::default() };
        let failed = |error: &(dyn std::error::Error + 'static)| KubeconfigError::Broken {
            place: checked.place(),
            reason: innermost(error),
        };
        let read = checked.read()?;
        let mut found = kube::Config::from_custom_kubeconfig(read, &options).await.map_err(|error| failed(&error))?;
        found.connect_timeout = Some(CONNECT);
        // Whether a request may be sent again is decided where its kind is known.
        found.default_retry = false;
        if let Some(login) = &mut found.auth_info.exec
            && login.interactive_mode != Some(ExecInteractiveMode::Always)
        {
            // The terminal is the run's.
            login.interactive_mode = Some(ExecInteractiveMode::Never);
        }
        if let Some(path) = found.auth_info.token_file.take() {
            // Text files end with a line break, tokens do not. One that was renewed is read when the old one is refused.
            let token = std::fs::read_to_string(&path).map_err(|error| KubeconfigError::Login {
                place: checked.place(),
                user: checked.user.clone(),
                reason: format!("token file {path} cannot be read: {error}"),
            })?;
            found.auth_info.token = Some(token.trim().to_owned().into());
        }
        tls::provide();
        // A command that logs in blocks until it ends.
        let handle = tokio::runtime::Handle::current();
        let built = tokio::task::spawn_blocking(move || {
            let _runtime = handle.enter();
            ClientBuilder::try_from(found).map(ClientBuilder::build)
        });
        match tokio::time::timeout(LOGIN, built).await {
            Ok(Ok(Ok(client))) => Ok(client),
            Ok(Ok(Err(kube::Error::Auth(error)))) => Err(checked.of_login(&error)),
            Ok(Ok(Err(error))) => Err(failed(&error)),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(KubeconfigError::Login {
                place: checked.place(),
                user: checked.user,
                reason: format!("it did not end within {} s: run it by hand to see why", LOGIN.as_secs()),
            }),
        }
    }

    /// Why a login did not work. Nothing of what its command said is repeated: it could be a token.
    pub(super) fn of_login(&self, error: &AuthError) -> KubeconfigError {
        let reason = match error {
            AuthError::AuthExecStart(cause) => {
                let login = self.login();
                let command = login.as_ref().and_then(|login| login.command.clone()).unwrap_or_default();
                let hint = login.and_then(|login| login.install_hint).unwrap_or_default();
                match cause.kind() {
                    std::io::ErrorKind::NotFound => {
                        format!("{command} is not there: install it, or put its folder into PATH. {}", hint.trim())
                    }
                    _ => format!("{command} cannot be run: {cause}"),
                }
            }
            AuthError::AuthExecRun { out, .. } => {
                let command = self.login().and_then(|login| login.command).unwrap_or_default();
                format!("{command} ended with {}: run it by hand to see why", out.status)
            }
            AuthError::AuthExecParse(_) => "what it printed is no ExecCredential".to_owned(),
            AuthError::ReadTokenFile(cause, path) => format!("token file {} cannot be read: {cause}", path.display()),
            other => other.to_string(),
        };
        KubeconfigError::Login { place: self.place(), user: self.user.clone(), reason: reason.trim().to_owned() }
    }

    fn login(&self) -> Option<config::ExecConfig> {
        let read = self.read().ok()?;
        let user = read.auth_infos.into_iter().find(|known| known.name == self.user)?;
        user.auth_info?.exec
    }

    /// Why the server's certificate is not accepted.
    pub(super) fn of_server_certificate(&self, why: &rustls::CertificateError) -> String {
        format!(
            "the certificate of {} is not accepted: {why}. Is the certificate-authority in {} that of this cluster, is \
             the name or address one of its certificate, and is the clock of this machine right?",
            self.server,
            self.place()
        )
    }
}

/// Whether a file can be opened.
fn readable(path: &str) -> std::io::Result<()> {
    std::fs::File::open(path).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, text).expect("written");
        (folder, path)
    }

    const TEXT: &str = "apiVersion: v1
kind: Config
current-context: main
clusters: [{name: main, cluster: {server: 'https://127.0.0.1:1'}}]
contexts: [{name: main, context: {cluster: main, user: admin}}, {name: lost, context: {cluster: gone}}]
users: [{name: admin, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-login, installHint: 'Ask Ann.'}}}]
";

    #[test]
    fn what_is_wrong_is_named_with_what_to_do() {
        let said = |path: &Path, context| Kubeconfig::open(Some(path), context).expect_err("wrong").to_string();
        assert!(said(Path::new("/no/such/config"), None).contains("does not exist: copy it here"));
        let (folder, path) = file(TEXT);
        assert!(said(&path, Some("mian")).contains("no context \"mian\""), "{}", said(&path, Some("mian")));
        assert!(said(&path, Some("lost")).contains("which it does not have"));
        let broken = file("users: [{name: x, user: {token: 'geheim'");
        let message = said(&broken.1, None);
        assert!(message.contains("cannot be read") && !message.contains("geheim"), "{message}");
        let certificate = TEXT.replace("{exec:", "{client-certificate: nowhere.pem, exec:");
        std::fs::write(&path, certificate).expect("written");
        assert!(said(&path, None).contains("nowhere.pem of user admin cannot be read"), "{}", said(&path, None));
        drop(folder);
    }

    #[tokio::test]
    async fn a_login_command_that_is_missing_is_named() {
        let (_folder, path) = file(TEXT);
        let kubeconfig = Kubeconfig::open(Some(&path), None).expect("a kubeconfig");
        assert_eq!(kubeconfig.server(), "https://127.0.0.1:1");
        let Err(error) = kubeconfig.connect().await else { panic!("there is no such command") };
        let message = error.to_string();
        assert!(message.contains("no-such-login is not there") && message.ends_with("Ask Ann."), "{message}");
    }
}
