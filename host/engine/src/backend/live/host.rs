//! A real host as a whole.

use std::time::{Duration, Instant};

use runner_types::Timestamp;

use super::LiveHost;
use super::shell::{Bounds, Script, ShellError};
use crate::backend::failure;
use crate::contract::host::{Capability, HostFacts, RebootOrder};
use crate::contract::{Caller, Class, Cut, Failure, InDoubt, Performed, Place};

/// How long a host may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a host may take to answer while it is waited for: one that goes down may leave a connection open.
const ANSWER: Duration = Duration::from_secs(8);
/// Pause between two questions whether it is back.
const PAUSE: Duration = Duration::from_millis(700);

/// What a host is, each part ended by NUL.
const FACTS: &str = r#"LC_ALL=C
export LC_ALL
date -u +%Y-%m-%dT%H:%M:%S.%3NZ
printf '\0'
cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null
printf '\0'
uname -r
printf '\0'
uname -m
printf '\0'
uname -n
printf '\0'
cat /proc/sys/kernel/random/boot_id
printf '\0'
cat /proc/1/stat 2>/dev/null
printf '\0'
nproc
printf '\0'
cat /proc/meminfo
printf '\0'
"#;

const REBOOT: &str = "LC_ALL=C\nexport LC_ALL\nexec systemctl --no-wall reboot\n";

#[async_trait::async_trait]
impl Capability for LiveHost {
    async fn facts(&self, _: &Place, _: &Caller, items: Vec<String>) -> Performed<HostFacts> {
        let facts = self.host_facts(PATIENCE).await;
        Ok(vec![facts; items.len()])
    }

    async fn reboot(&self, _: &Place, _: &Caller, items: Vec<RebootOrder>) -> Performed<HostFacts> {
        let mut answers = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let answer = self.reboot_once(index, item).await;
            let answer = answer.map_err(|doubt| Cut::after(&mut answers, doubt))?;
            let failed = answer.is_err();
            answers.push(answer);
            if failed {
                answers.resize_with(items.len(), || Err(failure::not_attempted(&self.name)));
                break;
            }
        }
        Ok(answers)
    }
}

impl LiveHost {
    async fn host_facts(&self, time: Duration) -> Result<HostFacts, Failure> {
        let bounds = Bounds { time: Some(time), ..Bounds::default() };
        let ran = self.shell.run(Script::new(FACTS), Vec::new(), bounds).await;
        let finished = ran.map_err(|error| error.of_read(&self.name))?;
        facts(&finished.stdout.text()).map_err(|missing| {
            let tail = finished.stderr.text();
            let message =
                format!("{} does not say its {missing}: {}", self.name, tail.lines().next().unwrap_or_default());
            failure::failed(&self.name, message, finished.ended.code, &tail)
        })
    }

    async fn reboot_once(&self, item: usize, order: &RebootOrder) -> Result<Result<HostFacts, Failure>, InDoubt> {
        let time = Duration::from_millis(order.time_out.into());
        let begun = Instant::now();
        let before = match self.host_facts(PATIENCE).await {
            Ok(facts) => facts.boot,
            Err(failure) => return Ok(Err(failure)),
        };
        let bounds = Bounds { time: Some(PATIENCE), ..Bounds::default() };
        match self.shell.run(Script::new(REBOOT), Vec::new(), bounds).await {
            // A command that reboots its host may see no end of its own.
            Err(ShellError::Lost(_) | ShellError::TimedOut(_)) => {}
            Err(error @ (ShellError::Unreachable(_) | ShellError::NoRights(_) | ShellError::Invalid(_))) => {
                return error.settle(Class::WriteOnce, item, &self.name).map(Err);
            }
            Ok(finished) => {
                if let Some(code @ 1..) = finished.ended.code.filter(|code| *code < 128) {
                    let tail = finished.stderr.text();
                    let line = tail.lines().next().unwrap_or("no reason was given");
                    let message = format!("{} does not reboot: {line}", self.name);
                    return Ok(Err(failure::failed(&self.name, message, Some(code), &tail)));
                }
            }
        }
        let mut last = "it still runs as before".to_owned();
        while begun.elapsed() < time {
            tokio::time::sleep(PAUSE.min(time.saturating_sub(begun.elapsed()))).await;
            match self.host_facts(ANSWER).await {
                Ok(facts) if facts.boot != before => return Ok(Ok(facts)),
                Ok(_) => last = "it still runs as before".to_owned(),
                Err(failure) => last = failure.message,
            }
        }
        let seconds = time.as_secs_f32();
        Err(InDoubt { item, message: format!("{} was not back within {seconds} s of its reboot: {last}", self.name) })
    }
}

/// Reads what [`FACTS`] says; the error names what is missing.
fn facts(text: &str) -> Result<HostFacts, &'static str> {
    let parts: Vec<&str> = text.split('\0').map(str::trim).collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let needed = |index: usize, what: &'static str| Some(part(index)).filter(|text| !text.is_empty()).ok_or(what);
    let release = |key: &str| {
        let mut lines = part(1).lines().filter_map(|line| line.split_once('='));
        let value = lines.find(|(name, _)| *name == key).map_or("", |(_, value)| value.trim());
        value.trim_matches(['"', '\'']).to_owned()
    };
    let memory = |key: &str| {
        let mut lines = part(8).lines().filter_map(|line| line.split_once(':'));
        let line = lines.find(|(name, _)| *name == key).map_or("", |(_, value)| value);
        let kibibytes: u64 = line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
        u32::try_from(kibibytes / 1024).unwrap_or(u32::MAX)
    };
    let time: Timestamp = needed(0, "time")?.parse().map_err(|_| "time")?;
    // In a container the kernel's mark may be the machine's: then its first process tells one start from another.
    let kernel = needed(5, "boot marker")?;
    let boot = match first_started(part(6)) {
        Some(ticks) => format!("{kernel}/{ticks}"),
        None => kernel.to_owned(),
    };
    let total = memory("MemTotal");
    Ok(HostFacts {
        os: release("ID"),
        os_version: release("VERSION_ID"),
        kernel: needed(2, "kernel")?.to_owned(),
        architecture: needed(3, "architecture")?.to_owned(),
        boot,
        time: time.to_string(),
        processors: part(7).parse().unwrap_or(1),
        memory: total,
        // Kernels before 3.14 do not tell it.
        memory_available: match memory("MemAvailable") {
            0 => memory("MemFree"),
            available => available,
        },
        hostname: needed(4, "name")?.to_owned(),
    })
}

/// When a process started, in clock ticks since the machine did: the 22nd field of `/proc/PID/stat` (proc(5)). Its name,
/// in parentheses, may hold anything.
fn first_started(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::live::tests::here;

    #[test]
    fn what_a_host_says_is_read() {
        let text = "2026-11-21T12:00:00.123Z\n\0PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n\0\
            6.1.0-18-amd64\n\0x86_64\n\0node-1\n\0a3c1f0de-1111-4222-8333-123456789abc\n\0\
            1 (sys) temd) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 137 171 12\n\0\
            4\n\0MemTotal:        8000000 kB\nMemFree: 1 kB\nMemAvailable:    4096000 kB\n\0";
        let found = facts(text).unwrap();
        assert_eq!((found.os.as_str(), found.os_version.as_str()), ("debian", "12"));
        assert_eq!(found.boot, "a3c1f0de-1111-4222-8333-123456789abc/137");
        assert_eq!((found.processors, found.memory, found.memory_available), (4, 7812, 4000));
        assert_eq!((found.time.as_str(), found.hostname.as_str()), ("2026-11-21T12:00:00.123Z", "node-1"));
        assert_eq!(facts("2026-11-21T12:00:00.123Z\0\0").unwrap_err(), "boot marker");
    }

    #[tokio::test]
    async fn this_machine_says_what_it_is() {
        let store = tempfile::tempdir().unwrap();
        let here = here(store.path());
        let found =
            here.facts(&Place::Host("here".to_owned()), &Caller::runner(), vec!["here".to_owned()]).await.unwrap();
        let found = found[0].as_ref().unwrap();
        assert!(found.memory >= found.memory_available && found.memory_available > 0);
        assert!(found.processors > 0 && !found.kernel.is_empty() && found.boot.len() > 36, "{found:?}");
    }
}
