//! Scripts on the machine on which runner runs.

use std::process::Stdio;

use super::shell::{Ended, RunAs, Running, Script, Shell, ShellError};

/// The machine on which runner runs.
#[derive(Debug, Clone)]
pub struct ProcessShell {
    /// User for effects; none: the one who runs runner.
    pub effects: Option<String>,
}

#[async_trait::async_trait]
impl Shell for ProcessShell {
    async fn start(&self, script: Script) -> Result<Running, ShellError> {
        let user = match script.user {
            RunAs::Effects => self.effects.clone(),
            RunAs::Login => None,
            RunAs::User(user) => Some(user),
        };
        let mut words: Vec<String> = Vec::new();
        if let Some(user) = user {
            words.extend(["sudo", "-n", "-u"].map(str::to_owned));
            words.extend([user, "--".to_owned()]);
        }
        words.extend(["/bin/sh", "-c"].map(str::to_owned));
        words.extend([script.text, "runner".to_owned()]);
        words.extend(script.arguments);
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
