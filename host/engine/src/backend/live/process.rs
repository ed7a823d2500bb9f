//! Scripts on the machine on which runner runs.

use std::path::Path;
use std::process::Stdio;

use indexmap::IndexMap;
use runner_types::Become;

use super::rights;
use super::secrets::Secrets;
use super::shell::{Ended, Running, Script, Shell, ShellError};

/// The machine on which runner runs.
#[derive(Debug, Clone)]
pub struct ProcessShell {
    /// User for effects; none: the one who runs runner. sudo must need no password for it.
    pub effects: Option<String>,
}

#[async_trait::async_trait]
impl Shell for ProcessShell {
    async fn start(&self, script: Script) -> Result<Running, ShellError> {
        let rights = match &self.effects {
            None => Become::no(),
            Some(user) => Become { user: user.clone(), ..Become::root() },
        };
        let no_secrets = Secrets::new(&IndexMap::new(), Path::new("."));
        let words = rights::command(script, &rights, &no_secrets).await?.words;
        let (program, arguments) = words.split_first().ok_or_else(|| ShellError::Invalid("no command".to_owned()))?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| ShellError::Unreachable(format!("cannot run {program}: {error}")))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(ShellError::Unreachable(format!("{program} has no streams")));
        };
        Ok(Running {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Box::pin(stderr),
            ended: Box::pin(async move {
                use std::os::unix::process::ExitStatusExt as _;
                let status = child.wait().await.map_err(|error| error.to_string())?;
                Ok(Ended { code: status.code(), signal: status.signal() })
            }),
        })
    }
}
