//! Drop-in files of units.

use super::{GRACE, LiveHost, ended, unsettled};
use crate::backend::live::shell::{Bounds, Script};
use crate::capability::drop_in_path;
use crate::contract::systemd::{DropIn, DropInRef};
use crate::contract::{Failure, InDoubt};

/// Writes standard input, of `$3` bytes, to the file `$2` in the directory `$1`: whole or not at all, and on disk when it
/// ends. Where a connection breaks, standard input ends early. The name on the way is none that systemd reads.
const WRITE: &str = r#"LC_ALL=C
export LC_ALL
umask 022
d=$1 f=$1/$2
mkdir -p -- "$d" || exit
t=$(mktemp "$d/.runner.XXXXXXXX") || exit
trap 'rm -f -- "$t"' EXIT
cat >"$t" || exit
[ "$(wc -c <"$t")" -eq "$3" ] || exit 9
if [ -f "$f" ] && [ ! -L "$f" ] && [ "$(sha256sum <"$f")" = "$(sha256sum <"$t")" ]; then
    echo unchanged
    exit 0
fi
chmod 0644 "$t" || exit
sync "$t" 2>/dev/null || sync
mv -f -- "$t" "$f" || exit
trap - EXIT
sync "$d" 2>/dev/null || sync
echo changed
"#;

/// Removes the file `$2` of the directory `$1`, and the directory when it is empty.
const REMOVE: &str = r#"LC_ALL=C
export LC_ALL
d=$1 f=$1/$2
if [ ! -e "$f" ] && [ ! -L "$f" ]; then
    echo unchanged
    exit 0
fi
rm -f -- "$f" || exit
rmdir -- "$d" 2>/dev/null || sync "$d" 2>/dev/null || sync
echo changed
"#;

/// Writes a drop-in. True: changed.
pub(super) async fn write(host: &LiveHost, item: usize, order: &DropIn) -> Result<Result<bool, Failure>, InDoubt> {
    let text = order.text.clone().into_bytes();
    run(host, item, WRITE, &order.at, text, "cannot write").await
}

/// Removes a drop-in. True: changed.
pub(super) async fn remove(host: &LiveHost, item: usize, at: &DropInRef) -> Result<Result<bool, Failure>, InDoubt> {
    run(host, item, REMOVE, at, Vec::new(), "cannot remove").await
}

async fn run(
    host: &LiveHost,
    item: usize,
    text: &str,
    at: &DropInRef,
    stdin: Vec<u8>,
    what: &str,
) -> Result<Result<bool, Failure>, InDoubt> {
    let path = drop_in_path(at);
    let directory = path.strip_suffix(&at.name).unwrap_or(&path).trim_end_matches('/');
    let script = Script::new(text).argument(directory).argument(&at.name).argument(stdin.len().to_string());
    let bounds = Bounds { time: Some(GRACE * 4), ..Bounds::default() };
    Ok(match host.shell.run(script, stdin, bounds).await {
        Ok(finished) => {
            ended(finished, &path, &format!("{what} {path} on {}", host.name)).map(|said| said == "changed\n")
        }
        Err(error) => Err(unsettled(error, item, &path)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::live::tests::here;

    #[tokio::test]
    async fn a_drop_in_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("a.service.d").to_str().unwrap().to_owned();
        let file = folder.path().join("a.service.d/10-x.conf");
        let store = tempfile::tempdir().unwrap();
        let host = here(store.path());
        let write = async |text: &str, length: usize| {
            let script = Script::new(WRITE).arguments([&directory, "10-x.conf"]).argument(length.to_string());
            let ran = host.shell.run(script, text.as_bytes().to_vec(), Bounds::default()).await.unwrap();
            (ran.ended.code, ran.stdout.text().trim().to_owned())
        };
        assert_eq!(write("[Service]\n", 10).await, (Some(0), "changed".to_owned()));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[Service]\n");
        assert_eq!(write("[Service]\n", 10).await, (Some(0), "unchanged".to_owned()));
        // Half of it arrived.
        assert_eq!(write("[Ser", 10).await.0, Some(9));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[Service]\n");
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        let remove = async || {
            let script = Script::new(REMOVE).arguments([&directory, "10-x.conf"]);
            host.shell.run(script, Vec::new(), Bounds::default()).await.unwrap().stdout.text().trim().to_owned()
        };
        assert_eq!(remove().await, "changed");
        assert!(!std::path::Path::new(&directory).exists());
        assert_eq!(remove().await, "unchanged");
    }
}
