//! systemd of a real host, by `systemctl` and `journalctl`.

mod drop_ins;
mod show;

use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};

use super::LiveHost;
use super::shell::{Bounds, Finished, MOST_ARGUMENTS, Script, ShellError};
use crate::backend::budget::Budget;
use crate::backend::failure;
use crate::backend::units::unknown;
use crate::contract::systemd::{
    Capability, DropIn, DropInRef, JournalExcerpt, JournalQuery, RestartOrder, UnitChange, UnitOrder, UnitQuery,
    UnitRef, UnitStatus,
};
use crate::contract::{Caller, Class, Cut, Failure, InDoubt, Performed, Place};
use show::{PROPERTIES, Shown, is_unit, parse};

/// Lines that one answer carries at most.
const MOST_LINES: u32 = 10_000;
/// How long what has no time-out of its own may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// What a command may take beyond the time it was given, until it is given up.
const GRACE: Duration = Duration::from_secs(15);
/// Lines of a unit's journal that tell why it failed.
const TAIL: &str = "40";

/// Properties `$1` of the units after it.
const SHOW: &str = r#"LC_ALL=C TZ=UTC
export LC_ALL TZ
p=$1
shift
exec systemctl show --no-pager --property="$p" -- "$@"
"#;

/// Properties `$1` of the units whose names match the pattern `$2`, loaded or not. Templates are no units.
const FIND: &str = r#"LC_ALL=C TZ=UTC
export LC_ALL TZ
p=$1 pattern=$2
loaded=$(systemctl list-units --all --full --plain --no-legend --no-pager) || exit
files=$(systemctl list-unit-files --full --no-legend --no-pager) || exit
set -f
set -- $(printf '%s\n%s\n' "$loaded" "$files" | while read -r name next rest; do
    case $name in
    *.*) ;;
    *) name=$next ;;
    esac
    case $name in
    *@.*) continue ;;
    esac
    case $name in
    $pattern) printf '%s\n' "$name" ;;
    esac
done | sort -u)
[ "$#" -gt 0 ] || exit 0
exec systemctl show --no-pager --property="$p" -- "$@"
"#;

/// The newest `$2` entries of the unit `$1`, since `$3`, of priority `$4` or worse.
const JOURNAL: &str = r#"LC_ALL=C
export LC_ALL
unit=$1 lines=$2 since=$3 priority=$4
set -- -q --no-pager --utc -o short-iso -u "$unit" -n "$lines"
[ -z "$since" ] || set -- "$@" --since "$since"
[ -z "$priority" ] || set -- "$@" -p "$priority"
exec journalctl "$@"
"#;

/// Does `$1` to the unit `$2` within `$3` seconds. Says, each ended by NUL: properties `$4` before, the exit code, what
/// was said, properties after, and of a unit that failed the newest `$5` lines of its journal.
const CHANGE: &str = r#"LC_ALL=C TZ=UTC
export LC_ALL TZ
verb=$1 unit=$2 seconds=$3 p=$4 lines=$5
show() { systemctl show --no-pager --property="$p" -- "$unit"; }
before=$(show) || exit
printf '%s\0' "$before"
case $before in
*LoadState=not-found*)
    case $before in
    *ActiveState=inactive* | *ActiveState=failed*) exit 0 ;;
    esac
    ;;
esac
said=$(timeout -k 5 "$seconds" systemctl "$verb" --no-ask-password -- "$unit" 2>&1 </dev/null)
code=$?
after=$(show)
printf '%s\0%s\0%s\0' "$code" "$said" "$after"
case $code$verb$after in
0start*ActiveState=failed* | 0restart*ActiveState=failed* | [1-9]*)
    journalctl -q --no-pager --utc -o short-iso -u "$unit" -n "$lines" 2>/dev/null
    ;;
esac
printf '\0'
"#;

/// Questions to a host at the same time.
const AT_A_TIME: usize = 8;

const RELOAD_ALL: &str = "LC_ALL=C\nexport LC_ALL\nexec systemctl daemon-reload\n";

#[async_trait::async_trait]
impl Capability for LiveHost {
    async fn status(&self, _: &Place, _: &Caller, items: Vec<UnitRef>) -> Performed<UnitStatus> {
        let units: Vec<&str> = items.iter().map(|item| item.unit.as_str()).filter(|unit| is_unit(unit)).collect();
        let mut known = join_all(batches(&units).into_iter().map(|units| self.show(units))).await.into_iter().flatten();
        let status = |item: &UnitRef| match is_unit(&item.unit) {
            true => known.next().unwrap_or_else(|| Err(cut_short(&item.unit, &self.name))),
            false => Ok(unknown(&item.unit)),
        };
        Ok(items.iter().map(status).collect())
    }

    async fn find(&self, _: &Place, caller: &Caller, items: Vec<UnitQuery>) -> Performed<Vec<UnitStatus>> {
        let finding = items.into_iter().map(async |query| self.find_units(&query, caller.budget()).await);
        Ok(stream::iter(finding).buffered(AT_A_TIME).collect().await)
    }

    async fn journal(&self, _: &Place, caller: &Caller, items: Vec<JournalQuery>) -> Performed<JournalExcerpt> {
        let reading = items.into_iter().map(async |query| self.excerpt(&query, caller.budget()).await);
        Ok(stream::iter(reading).buffered(AT_A_TIME).collect().await)
    }

    async fn start(&self, _: &Place, _: &Caller, items: Vec<UnitOrder>) -> Performed<UnitChange> {
        self.change(Verb::Start, items.iter().map(|item| (&*item.unit, milliseconds(item.time_out)))).await
    }

    async fn stop(&self, _: &Place, _: &Caller, items: Vec<UnitOrder>) -> Performed<UnitChange> {
        self.change(Verb::Stop, items.iter().map(|item| (&*item.unit, milliseconds(item.time_out)))).await
    }

    async fn restart(&self, _: &Place, _: &Caller, items: Vec<RestartOrder>) -> Performed<UnitChange> {
        self.change(Verb::Restart, items.iter().map(|item| (&*item.unit, milliseconds(item.time_out)))).await
    }

    async fn reload(&self, _: &Place, _: &Caller, items: Vec<UnitOrder>) -> Performed<UnitChange> {
        self.change(Verb::Reload, items.iter().map(|item| (&*item.unit, milliseconds(item.time_out)))).await
    }

    async fn enable(&self, _: &Place, _: &Caller, items: Vec<UnitRef>) -> Performed<UnitChange> {
        self.change(Verb::Enable, items.iter().map(|item| (&*item.unit, PATIENCE))).await
    }

    async fn disable(&self, _: &Place, _: &Caller, items: Vec<UnitRef>) -> Performed<UnitChange> {
        self.change(Verb::Disable, items.iter().map(|item| (&*item.unit, PATIENCE))).await
    }

    async fn write_drop_in(&self, _: &Place, _: &Caller, items: Vec<DropIn>) -> Performed<bool> {
        let mut answers = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let answer = drop_ins::write(self, index, item).await;
            let answer = answer.map_err(|doubt| Cut::after(&mut answers, doubt))?;
            if stops(&mut answers, answer, items.len(), &item.at.name) {
                break;
            }
        }
        Ok(answers)
    }

    async fn remove_drop_in(&self, _: &Place, _: &Caller, items: Vec<DropInRef>) -> Performed<bool> {
        let mut answers = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let answer = drop_ins::remove(self, index, item).await;
            let answer = answer.map_err(|doubt| Cut::after(&mut answers, doubt))?;
            if stops(&mut answers, answer, items.len(), &item.name) {
                break;
            }
        }
        Ok(answers)
    }

    async fn daemon_reload(&self, _: &Place, _: &Caller, items: Vec<String>) -> Performed<()> {
        let mut answers = Vec::with_capacity(items.len());
        for index in 0..items.len() {
            let ran = self.shell.run(Script::new(RELOAD_ALL), Vec::new(), within(PATIENCE)).await;
            let answer = match ran {
                Ok(finished) => ended(finished, "systemd", &format!("systemctl daemon-reload on {}", self.name)),
                Err(error) => Err(error
                    .settle(Class::WriteIdempotent, index, "systemd")
                    .map_err(|doubt| Cut::after(&mut answers, doubt))?),
            };
            if stops(&mut answers, answer.map(|_| ()), items.len(), "systemd") {
                break;
            }
        }
        Ok(answers)
    }
}

/// What is done to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    Enable,
    Disable,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }

    const fn class(self) -> Class {
        match self {
            Self::Restart => Class::WriteOnce,
            Self::Start | Self::Stop | Self::Reload | Self::Enable | Self::Disable => Class::WriteIdempotent,
        }
    }

    /// Whether a unit that is failed afterwards means that it did not succeed, whatever systemctl says: it does not wait
    /// to see what becomes of a service of type `simple`.
    const fn begins(self) -> bool {
        match self {
            Self::Start | Self::Restart => true,
            Self::Stop | Self::Reload | Self::Enable | Self::Disable => false,
        }
    }

    fn changed(self, before: &Shown, after: &Shown) -> bool {
        match self {
            Self::Restart | Self::Reload => true,
            Self::Start | Self::Stop => {
                before.status.active_state != after.status.active_state || before.invocation() != after.invocation()
            }
            Self::Enable | Self::Disable => before.status.file_state != after.status.file_state,
        }
    }
}

impl LiveHost {
    /// The units' states, in one command.
    async fn show(&self, units: Vec<&str>) -> Vec<Result<UnitStatus, Failure>> {
        let script = Script::new(SHOW).argument(PROPERTIES).arguments(units.iter().copied());
        let answer = match self.shell.run(script, Vec::new(), Bounds::default()).await {
            Ok(finished) => ended(finished, "systemd", &format!("systemctl show on {}", self.name)),
            Err(error) => Err(error.of_read(&self.name)),
        };
        let text = match answer {
            Ok(text) => text,
            Err(failure) => return vec![Err(failure); units.len()],
        };
        let mut shown = parse(&text).into_iter();
        let named = |unit: &&str| match shown.next() {
            Some(shown) => Ok(UnitStatus { unit: (*unit).to_owned(), ..shown.status }),
            None => Err(cut_short(unit, &self.name)),
        };
        units.iter().map(named).collect()
    }

    async fn find_units(&self, query: &UnitQuery, budget: &Budget) -> Result<Vec<UnitStatus>, Failure> {
        let script = Script::new(FIND).argument(PROPERTIES).argument(&query.pattern);
        let ran = self.shell.run_within(script, Vec::new(), Bounds::default(), budget).await;
        let finished = ran.map_err(|error| error.of_read(&query.pattern))?;
        if finished.stdout.dropped > 0 {
            return Err(failure::too_large(&query.pattern, "too many units match; ask with a narrower pattern"));
        }
        let text = ended(finished, &query.pattern, &format!("systemctl list-units on {}", self.name))?;
        let wanted = |status: &UnitStatus| {
            let of_state = query.active_states.is_empty() || query.active_states.contains(&status.active_state);
            of_state && status.load_state != "not-found"
        };
        let mut found: Vec<UnitStatus> = parse(&text).into_iter().map(|shown| shown.status).filter(wanted).collect();
        found.sort_by(|one, other| one.unit.cmp(&other.unit));
        found.dedup_by(|one, other| one.unit == other.unit);
        Ok(found)
    }

    async fn excerpt(&self, query: &JournalQuery, budget: &Budget) -> Result<JournalExcerpt, Failure> {
        let unit = &query.unit;
        let since = match &query.since {
            None => String::new(),
            Some(since) => {
                let since: runner_types::Timestamp =
                    since.parse().map_err(|error| failure::invalid(unit, format!("since: {error}")))?;
                let millis = since.unix_millis();
                format!("@{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
            }
        };
        if !is_unit(unit) {
            return Ok(JournalExcerpt { lines: Vec::new(), truncated: false });
        }
        let most = query.lines.min(MOST_LINES);
        let script = Script::new(JOURNAL)
            .argument(unit)
            .argument((most + 1).to_string())
            .argument(since)
            .argument(query.priority.map_or_else(String::new, |priority| priority.to_string()));
        let ran = self.shell.run_within(script, Vec::new(), Bounds::default(), budget).await;
        let finished = ran.map_err(|error| error.of_read(unit))?;
        if finished.stdout.dropped > 0 {
            return Err(failure::too_large(unit, "the journal says more than an answer carries; ask for fewer lines"));
        }
        if finished.ended.code == Some(1) && finished.stderr.text().contains("No journal files") {
            return Ok(JournalExcerpt { lines: Vec::new(), truncated: false });
        }
        let text = ended(finished, unit, &format!("journalctl on {}", self.name))?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let over = lines.len().saturating_sub(most as usize);
        lines.drain(..over);
        Ok(JournalExcerpt { lines, truncated: over > 0 })
    }

    /// Does something to units, one after the other, up to the first that fails.
    async fn change<'u>(
        &self,
        verb: Verb,
        orders: impl ExactSizeIterator<Item = (&'u str, Duration)> + Send,
    ) -> Performed<UnitChange> {
        let count = orders.len();
        let mut answers = Vec::with_capacity(count);
        for (index, (unit, time)) in orders.enumerate() {
            let answer = self.change_unit(verb, index, unit, time).await;
            let answer = answer.map_err(|doubt| Cut::after(&mut answers, doubt))?;
            if stops(&mut answers, answer, count, unit) {
                break;
            }
        }
        Ok(answers)
    }

    async fn change_unit(
        &self,
        verb: Verb,
        item: usize,
        unit: &str,
        time: Duration,
    ) -> Result<Result<UnitChange, Failure>, InDoubt> {
        let no_unit = || Err(failure::not_found(unit, format!("Unit {unit} not found on {}.", self.name)));
        if !is_unit(unit) {
            return Ok(no_unit());
        }
        let script = Script::new(CHANGE)
            .arguments([verb.as_str(), unit])
            .argument(format!("{:.3}", time.max(Duration::from_millis(1)).as_secs_f64()))
            .arguments([PROPERTIES, TAIL]);
        let finished = match self.shell.run(script, Vec::new(), within(time)).await {
            Ok(finished) => finished,
            Err(error) => return error.settle(verb.class(), item, unit).map(Err),
        };
        let text = match ended(finished, unit, &format!("systemctl {} on {}", verb.as_str(), self.name)) {
            Ok(text) => text,
            Err(failure) => return Ok(Err(failure)),
        };
        let parts: Vec<&str> = text.split('\0').collect();
        let state = |text: Option<&&str>| text.and_then(|text| parse(text).into_iter().next());
        let Some(before) = state(parts.first()) else {
            return Ok(Err(cut_short(unit, &self.name)));
        };
        let (Some(code), Some(said), Some(after)) = (parts.get(1), parts.get(2), state(parts.get(3))) else {
            return match before.status.load_state == "not-found" {
                true => Ok(no_unit()),
                false => Err(InDoubt { item, message: format!("systemctl did not say how {unit} ended") }),
            };
        };
        let ended_well = *code == "0" && !(verb.begins() && after.status.active_state == "failed");
        if ended_well {
            let status = UnitStatus { unit: unit.to_owned(), ..after.status.clone() };
            return Ok(Ok(UnitChange { changed: verb.changed(&before, &after), status }));
        }
        if *code == "124" || *code == "137" {
            let seconds = time.as_secs_f32();
            let message = format!("{unit}: its {} on {} did not end within {seconds} s", verb.as_str(), self.name);
            return Err(InDoubt { item, message });
        }
        let journal = parts.get(4).copied().unwrap_or_default().trim();
        Ok(Err(self.failed(verb, unit, said.trim(), &after, journal)))
    }

    /// Why a unit did not do what was asked of it.
    fn failed(&self, verb: Verb, unit: &str, said: &str, after: &Shown, journal: &str) -> Failure {
        let host = &self.name;
        let first = said.lines().next().unwrap_or_default();
        let reason = match (last_words(journal), first.is_empty()) {
            (Some(last), _) => last,
            (None, false) => first,
            (None, true) => "it gave no reason",
        };
        let message = match verb {
            Verb::Start | Verb::Restart => format!("{unit} failed to start on {host}: {reason}"),
            Verb::Stop => format!("{unit} failed to stop on {host}: {reason}"),
            Verb::Reload => format!("{unit} failed to reload on {host}: {first}"),
            Verb::Enable | Verb::Disable => format!("cannot {} {unit} on {host}: {first}", verb.as_str()),
        };
        let tail = match journal.is_empty() {
            true => said.to_owned(),
            false => format!("{said}\n{journal}"),
        };
        let (code, signal) = after.main_exit;
        let mut failure = failure::failed(unit, message, code.or(signal.is_none().then_some(1)), &tail);
        if let crate::contract::FailureKind::Failed(exit) = &mut failure.kind {
            exit.signal = signal;
        }
        failure
    }
}

/// What a unit's own processes said last, since it was last started: lines of its journal that are not systemd's.
fn last_words(journal: &str) -> Option<&str> {
    let lines: Vec<&str> = journal.lines().collect();
    let begun = lines.iter().rposition(|line| line.contains(" systemd[1]: Start")).unwrap_or(0);
    let own = lines.get(begun..)?.iter().rfind(|line| !line.contains(" systemd[1]: "))?;
    let (_, said) = own.split_once("]: ")?;
    Some(said.trim())
}

const fn milliseconds(time: u32) -> Duration {
    Duration::from_millis(time as u64)
}

fn within(time: Duration) -> Bounds {
    Bounds { time: Some(time + GRACE), ..Bounds::default() }
}

/// Groups of names that fit into one command each.
fn batches<'u>(units: &[&'u str]) -> Vec<Vec<&'u str>> {
    let mut batches: Vec<Vec<&str>> = Vec::new();
    let mut room = 0;
    for unit in units {
        let size = unit.len() + 3;
        match batches.last_mut() {
            Some(batch) if size <= room => batch.push(unit),
            _ => {
                room = MOST_ARGUMENTS / 2;
                batches.push(vec![unit]);
            }
        }
        room = room.saturating_sub(size);
    }
    batches
}

/// Takes an answer to a write; after a failure, those of the items left out too. Whether it was one.
fn stops<A>(answers: &mut Vec<Result<A, Failure>>, answer: Result<A, Failure>, count: usize, subject: &str) -> bool {
    let failed = answer.is_err();
    answers.push(answer);
    if failed {
        answers.resize_with(count, || Err(failure::not_attempted(subject)));
    }
    failed
}

fn cut_short(unit: &str, host: &str) -> Failure {
    failure::other("systemd", unit, format!("systemctl on {host} said nothing of {unit}"))
}

/// What a command said, if it ended well.
fn ended(finished: Finished, subject: &str, what: &str) -> Result<String, Failure> {
    if finished.ended.code == Some(0) {
        return Ok(finished.stdout.text().into_owned());
    }
    let stderr = finished.stderr.text();
    let no_systemd = ["not been booted with systemd", "systemctl: not found", "journalctl: not found"];
    if no_systemd.iter().any(|text| stderr.contains(text)) {
        let line = stderr.lines().next().unwrap_or_default();
        return Err(failure::unsupported(subject, format!("{what}: there is no systemd: {line}")));
    }
    let line = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason was given");
    Err(failure::failed(subject, format!("{what} failed: {}", line.trim()), finished.ended.code, &stderr))
}

/// The doubt or the failure of a write whose script did not end.
fn unsettled(error: ShellError, item: usize, subject: &str) -> Result<Failure, InDoubt> {
    error.settle(Class::WriteIdempotent, item, subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    // journalctl 252 on Debian 12.
    const JOURNAL: &str = "2026-11-21T13:16:30+0000 node-2 sh[4000]: said by an earlier one\n\
        2026-11-21T13:16:36+0000 node-2 systemd[1]: Starting zz-fail.service...\n\
        2026-11-21T13:16:36+0000 node-2 systemd[1]: zz-fail.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED\n\
        2026-11-21T13:16:36+0000 node-2 sh[5026]: cannot open the store\n\
        2026-11-21T13:16:36+0000 node-2 systemd[1]: zz-fail.service: Failed with result 'exit-code'.\n";

    #[test]
    fn a_failed_unit_is_told_by_its_own_last_words() {
        assert_eq!(last_words(JOURNAL), Some("cannot open the store"));
        let silent: String =
            JOURNAL.lines().filter(|line| !line.contains("[5026]")).map(|l| format!("{l}\n")).collect();
        assert_eq!(last_words(&silent), None);
        assert_eq!(last_words(""), None);
    }

    #[test]
    fn names_go_in_groups_that_fit() {
        let names: Vec<String> = (0..3000).map(|number| format!("unit-{number}.service")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let batches = batches(&names);
        assert!(batches.len() > 1);
        assert!(
            batches.iter().all(|batch| batch.iter().map(|name| name.len() + 3).sum::<usize>() <= MOST_ARGUMENTS / 2)
        );
        assert_eq!(batches.concat(), names);
    }
}
