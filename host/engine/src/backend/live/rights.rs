//! As whom scripts run: the words that come before a script so that it runs as the user that was asked for.
//!
//! sudo never asks: without a password it is told not to (`-n`), with one it reads it from standard input, before what
//! the script itself is to read. No password is ever an argument.

use rand::Rng as _;
use runner_types::Become;

use super::secrets::Secrets;
use super::shell::{RunAs, Script, ShellError};

/// Becomes the user `$1` and runs the script `$2`: as root without sudo, which need not be there.
const SWITCH: &str = r#"u=$1 t=$2
shift 2
if [ "$(id -un)" = "$u" ]; then
    exec /bin/sh -c "$t" runner "$@"
elif [ "$(id -u)" = 0 ]; then
    HOME=$(getent passwd "$u" 2>/dev/null | cut -d: -f6)
    HOME=${HOME:-/} USER=$u LOGNAME=$u
    export HOME USER LOGNAME
    exec runuser -u "$u" -- /bin/sh -c "$t" runner "$@"
fi
exec sudo -n -u "$u" -- /bin/sh -c "$t" runner "$@"
"#;

/// Takes what sudo left of the password off standard input, to the line `$1`, and runs the script `$2`. sudo reads no
/// password where its rules ask for none.
const AFTER_PASSWORD: &str = r#"m=$1 t=$2
shift 2
IFS= read -r l
[ "$l" = "$m" ] || IFS= read -r l
l=
exec /bin/sh -c "$t" runner "$@"
"#;

/// A command that runs a script as the user that was asked for.
#[derive(Default)]
pub(super) struct Command {
    /// Program and arguments.
    pub(super) words: Vec<String>,
    /// What stands on standard input before what the script reads. May hold a password: never shown.
    pub(super) before_input: Vec<u8>,
}

/// The command of a script, on a host whose effects gain their rights so.
///
/// # Errors
/// When the password cannot be had, or the script cannot be sent.
pub(super) async fn command(script: Script, rights: &Become, secrets: &Secrets) -> Result<Command, ShellError> {
    if script.text.contains('\0') || script.arguments.iter().any(|argument| argument.contains('\0')) {
        return Err(ShellError::Invalid("an argument cannot contain NUL".to_owned()));
    }
    let Script { mut text, mut arguments, user } = script;
    let sudo_to = match user {
        RunAs::Login => None,
        RunAs::Effects => rights.enabled.then(|| rights.user.clone()),
        RunAs::User(user) if rights.enabled && (user == rights.user || rights.user != "root") => Some(user),
        RunAs::User(user) => {
            arguments.splice(0..0, [user, std::mem::replace(&mut text, SWITCH.to_owned())]);
            rights.enabled.then(|| rights.user.clone())
        }
    };
    let mut command = Command::default();
    if let Some(user) = sudo_to {
        let words = &mut command.words;
        words.push("sudo".to_owned());
        match password(rights, secrets).await? {
            None => words.push("-n".to_owned()),
            Some(mut password) => {
                words.extend(["-S", "-p", ""].map(str::to_owned));
                let mark = hex::encode(rand::rng().random::<[u8; 16]>());
                password.push(b'\n');
                password.extend_from_slice(mark.as_bytes());
                password.push(b'\n');
                command.before_input = password;
                arguments.splice(0..0, [mark, std::mem::replace(&mut text, AFTER_PASSWORD.to_owned())]);
            }
        }
        words.extend(["-u".to_owned(), user, "--".to_owned()]);
    }
    command.words.extend(["/bin/sh".to_owned(), "-c".to_owned(), text, "runner".to_owned()]);
    command.words.extend(arguments);
    Ok(command)
}

/// The password for sudo, when the inventory names one.
///
/// # Errors
/// When its source gives none, or what no password can be.
pub(super) async fn password(rights: &Become, secrets: &Secrets) -> Result<Option<Vec<u8>>, ShellError> {
    let Some(name) = rights.password.as_ref().filter(|_| rights.enabled) else {
        return Ok(None);
    };
    let value = secrets.value(name).await.map_err(|failure| ShellError::NoRights(failure.message))?;
    match value.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        true => Err(ShellError::NoRights(format!("the secret {name} has more than one line: no password of sudo"))),
        false => Ok(Some(value.to_vec())),
    }
}

/// Tries whether sudo lets the user `$3` be: `$2` is `none`, `sudo` or `password`, which is then the first line of
/// standard input. Says `$1 begin`, and at the end `$1 end` and sudo's exit code, what sudo said between them.
pub(super) const TRY: &str = r#"LC_ALL=C
export LC_ALL
code=0
printf '%s begin\n' "$1"
case $2 in
sudo)
    sudo -n -u "$3" -- /bin/sh -c : 2>&1 </dev/null
    code=$?
    ;;
password)
    IFS= read -r p
    printf '%s\n' "$p" | sudo -k -S -p '' -u "$3" -- /bin/sh -c : 2>&1
    code=$?
    p=
    ;;
esac
printf '\n%s end %d\n' "$1" "$code"
"#;

/// Why sudo did not let a user be, from what [`TRY`] brought.
pub(super) fn refusal(host: &str, rights: &Become, code: i32, said: &str) -> String {
    let user = &rights.user;
    let has = |text: &str| said.contains(text);
    if code == 127 || has("sudo: not found") || has("sudo: command not found") {
        return format!(
            "sudo is not installed on {host}: install it, or log in as {user} and set \"become\": false in the inventory"
        );
    }
    match &rights.password {
        None if has("password is required") => format!(
            "sudo on {host} asks for a password and the inventory names none: name the secret that holds it in `become` \
             (\"become\": {{\"user\": {user:?}, \"password\": \"NAME\"}}), or allow it without one (NOPASSWD in sudoers)"
        ),
        Some(name) if has("try again") || has("incorrect password") || has("no password was provided") => {
            format!("sudo on {host} does not accept the password of the secret {name}")
        }
        _ => {
            let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it gave no reason");
            format!("sudo on {host} does not let the user who logs in become {user}: {line}")
        }
    }
}
