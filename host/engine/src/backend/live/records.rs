//! What the scripts of this module answer: records, each a word, a number and as many fields, every one ended by a NUL.
//! So names of files with any byte arrive as they are; data that may hold a NUL comes as base64.

use crate::backend::budget::{Budget, spent};
use crate::backend::failure;
use crate::contract::{Class, Cut, Failure, InDoubt, Performed};

use super::shell::{Bounds, Finished, MOST_ARGUMENTS, Script, Shell, ShellError};

/// What scripts that answer in records begin with. `say WORD NUMBER FIELD…` writes a record, `wrong CODE TEXT` one of a
/// command that failed. The first record only says that the shell was reached.
pub(super) const PRELUDE: &str = r#"
export LC_ALL=C LANGUAGE=C
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
say() { printf '%s\0' "$@"; }
wrong() { say failed 2 "$1" "$2"; return 1; }
say begun 0
"#;

/// Performs items one after the other, each to an answer or a stop, and ends at the first that fails.
macro_rules! in_order {
    ($items:expr, |$item:ident| $body:expr) => {{
        let mut answers = Vec::with_capacity($items.len());
        for item in $items {
            if answers.iter().any(Result::is_err) {
                answers.push(Err($crate::backend::failure::not_attempted($crate::contract::Capable::label(&item))));
                continue;
            }
            let $item = &item;
            match $body {
                Ok(answer) => answers.push(answer),
                Err(stop) => return Err($crate::contract::Cut::after(&mut answers, stop)),
            }
        }
        Ok(answers)
    }};
}
pub(super) use in_order;

/// One answer of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// What it is: `failed` has exit status and text; the others are the script's own.
    pub(super) kind: String,
    fields: Vec<Vec<u8>>,
}

impl Record {
    /// A record that was read by itself.
    pub(super) fn new(kind: &[u8], fields: Vec<Vec<u8>>) -> Self {
        Self { kind: String::from_utf8_lossy(kind).into_owned(), fields }
    }

    /// A field as text; empty where there is none.
    pub(super) fn text(&self, index: usize) -> String {
        self.fields.get(index).map(|field| String::from_utf8_lossy(field).into_owned()).unwrap_or_default()
    }

    /// A field that may be empty, which is nothing.
    pub(super) fn optional(&self, index: usize) -> Option<String> {
        Some(self.text(index)).filter(|text| !text.is_empty())
    }

    /// A field as a number.
    pub(super) fn number(&self, index: usize) -> Option<u64> {
        self.text(index).trim().parse().ok()
    }

    /// All fields as text.
    pub(super) fn texts(&self) -> Vec<String> {
        (0..self.fields.len()).map(|index| self.text(index)).collect()
    }
}

/// The whole records at the beginning of an output.
pub(super) fn records(output: &[u8]) -> Vec<Record> {
    let Some(end) = output.iter().rposition(|byte| *byte == 0) else {
        return Vec::new();
    };
    let mut fields = output[..end].split(|byte| *byte == 0);
    let mut found = Vec::new();
    while let (Some(kind), Some(count)) = (fields.next(), fields.next()) {
        let Some(count) = std::str::from_utf8(count).ok().and_then(|count| count.parse::<usize>().ok()) else {
            break;
        };
        let own: Vec<Vec<u8>> = fields.by_ref().take(count).map(<[u8]>::to_vec).collect();
        if own.len() < count {
            break;
        }
        found.push(Record::new(kind, own));
    }
    found
}

/// One item of a list for a script.
#[derive(Debug, Clone, Default)]
pub(super) struct Item {
    /// What it is about, for failures.
    pub(super) subject: String,
    /// Its arguments; all items of a list have as many.
    pub(super) arguments: Vec<String>,
    /// Its part of standard input.
    pub(super) input: Vec<u8>,
}

/// Runs `text`, which defines a function `item`, over a list: one script, or as many as the arguments need. The function
/// answers with one record an item; status 1 ends the list.
///
/// # Errors
/// When an item of a write was begun and nobody knows how it ended.
pub(super) async fn each(
    shell: &(dyn Shell + 'static),
    text: &str,
    class: Class,
    bounds: Bounds,
    budget: &Budget,
    items: Vec<Item>,
) -> Performed<Record> {
    let count = items.first().map_or(0, |item| item.arguments.len());
    let text = format!("{PRELUDE}{text}{}", every(count, class));
    let mut answers: Vec<Result<Record, Failure>> = Vec::with_capacity(items.len());
    let mut rest = items.as_slice();
    while !rest.is_empty() {
        if class.is_write() && answers.iter().any(failed) {
            answers.extend(rest.iter().map(|item| Err(failure::not_attempted(item.subject.clone()))));
            break;
        }
        if !class.is_write() && budget.is_spent() {
            answers.extend(rest.iter().map(|item| Err(spent(&item.subject))));
            break;
        }
        let (now, later) = rest.split_at(fitting(rest, text.len()));
        rest = later;
        let script = Script::new(&text).arguments(now.iter().flat_map(|item| item.arguments.iter().cloned()));
        let input = now.iter().flat_map(|item| item.input.iter().copied()).collect();
        let taken = match shell.listen(script, input, bounds, budget).await {
            Ok(finished) => matched(&finished, class, now, &mut answers),
            Err((error, said)) => unanswered(error, &said.data, class, now, &mut answers),
        };
        taken.map_err(|doubt| Cut::after(&mut answers, doubt))?;
    }
    Ok(answers)
}

/// Whether a write stops here.
fn failed(answer: &Result<Record, Failure>) -> bool {
    answer.as_ref().map_or(true, |record| record.kind != "ok")
}

/// The loop over the items; writes stop at the first that fails.
fn every(count: usize, class: Class) -> String {
    let arguments: Vec<String> = (1..=count).map(|index| format!("\"${{{index}}}\"")).collect();
    let ends = if class.is_write() { "|| exit 0" } else { "|| :" };
    if count == 0 {
        return format!("\nitem {ends}\n");
    }
    format!("\nwhile [ $# -ge {count} ]; do item {} {ends}; shift {count}; done\n", arguments.join(" "))
}

/// How many of the items go into one script; at least one.
fn fitting(items: &[Item], text: usize) -> usize {
    let mut room = MOST_ARGUMENTS.saturating_sub(text);
    let fits = items.iter().take_while(|item| {
        let needs: usize = item.arguments.iter().map(|argument| argument.len() + 3).sum();
        let fits = needs <= room;
        room = room.saturating_sub(needs);
        fits
    });
    fits.count().max(1)
}

/// Takes what a script said of its items that came to its end.
fn matched(
    finished: &Finished,
    class: Class,
    items: &[Item],
    answers: &mut Vec<Result<Record, Failure>>,
) -> Result<(), InDoubt> {
    let mut records = records(&finished.stdout.data).into_iter();
    let begun = records.next().is_some();
    for item in items {
        let stopped = class.is_write() && answers.iter().any(failed);
        answers.push(match records.next() {
            Some(record) => Ok(record),
            None if stopped => Err(failure::not_attempted(item.subject.clone())),
            None if class.is_write() && begun => {
                return Err(InDoubt { item: answers.len(), message: ended(finished) });
            }
            None if finished.stdout.dropped > 0 => {
                Err(failure::too_large(item.subject.clone(), "the host answers with more than a call may carry"))
            }
            None => Err(failure::failed(
                item.subject.clone(),
                ended(finished),
                finished.ended.code,
                &finished.stderr.text(),
            )),
        });
    }
    Ok(())
}

/// How a script ended that should have said more.
fn ended(finished: &Finished) -> String {
    let said = finished.stderr.text();
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    match (finished.ended.code, finished.ended.signal) {
        (_, Some(signal)) => format!("the script on the host ended by signal {signal}: {last}"),
        (code, None) => format!("the script on the host ended early with status {}: {last}", code.unwrap_or_default()),
    }
}

/// Takes what a script said of its items whose end is not known. Each record of a write is the end of its item.
fn unanswered(
    error: ShellError,
    said: &[u8],
    class: Class,
    items: &[Item],
    answers: &mut Vec<Result<Record, Failure>>,
) -> Result<(), InDoubt> {
    if !class.is_write() {
        answers.extend(items.iter().map(|item| Err(error.clone().of_read(&item.subject))));
        return Ok(());
    }
    let mut records = records(said).into_iter().skip(1);
    for item in items {
        let answer = match records.next() {
            Some(record) => Ok(record),
            None if answers.iter().any(failed) => Err(failure::not_attempted(item.subject.clone())),
            None => Err(error.clone().settle(class, answers.len(), &item.subject)?),
        };
        answers.push(answer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::live::process::ProcessShell;
    use proptest::prelude::*;

    fn said(records: &[(String, Vec<Vec<u8>>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, fields) in records {
            for field in [kind.as_bytes(), fields.len().to_string().as_bytes()] {
                out.extend_from_slice(field);
                out.push(0);
            }
            for field in fields {
                out.extend_from_slice(field);
                out.push(0);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_said(
            all in prop::collection::vec(("[a-z]{1,6}", prop::collection::vec(prop::collection::vec(1_u8..=255, 0..9), 0..5)), 0..6),
            cut in 0_usize..200,
        ) {
            let whole = said(&all);
            let expected: Vec<Record> =
                all.into_iter().map(|(kind, fields)| Record { kind, fields }).collect();
            prop_assert_eq!(&records(&whole), &expected);
            let torn = records(&whole[..cut.min(whole.len())]);
            prop_assert_eq!(&torn[..], &expected[..torn.len()]);
        }
    }

    fn item(argument: &str) -> Item {
        Item { subject: argument.to_owned(), arguments: vec![argument.to_owned(), String::new()], input: Vec::new() }
    }

    #[tokio::test]
    async fn arguments_arrive_and_writes_stop_at_the_first_failure() {
        let shell = ProcessShell { effects: None };
        let text = r#"item() { [ "$1" = bad ] && { wrong 3 "no $1"; return 1; }; say ok 1 "$1"; }"#;
        let odd = "a'b\"c\\d\n$(x) `y` é *\u{1}";
        let items = || vec![item(odd), item("bad"), item("later")];
        let read = each(&shell, text, Class::Read, Bounds::default(), &Budget::default(), items()).await.unwrap();
        assert_eq!(read[0].as_ref().unwrap().text(0), odd);
        assert_eq!(read[1].as_ref().unwrap().kind, "failed");
        assert_eq!(read[2].as_ref().unwrap().text(0), "later");
        let written =
            each(&shell, text, Class::WriteIdempotent, Bounds::default(), &Budget::default(), items()).await.unwrap();
        assert_eq!(written[1].as_ref().unwrap().kind, "failed");
        assert_eq!(written[2].as_ref().unwrap_err().kind, crate::contract::FailureKind::NotAttempted);
    }

    #[tokio::test]
    async fn long_lists_are_cut_and_a_write_without_answer_is_in_doubt() {
        let shell = ProcessShell { effects: None };
        let many: Vec<Item> = (0..40).map(|index| item(&format!("{index}{}", "x".repeat(9000)))).collect();
        let answers = each(
            &shell,
            r#"item() { say ok 1 "$1"; }"#,
            Class::Read,
            Bounds::default(),
            &Budget::default(),
            many.clone(),
        )
        .await;
        let answers: Vec<String> = answers.unwrap().into_iter().map(|answer| answer.unwrap().text(0)).collect();
        assert_eq!(answers, many.iter().map(|item| item.subject.clone()).collect::<Vec<_>>());
        let refused =
            each(&shell, "exit 1", Class::WriteOnce, Bounds::default(), &Budget::default(), vec![item("a"), item("b")])
                .await;
        assert!(refused.is_err(), "it was begun");
        let dies = each(
            &shell,
            "item() { kill -9 $$; }",
            Class::WriteOnce,
            Bounds::default(),
            &Budget::default(),
            vec![item("a")],
        )
        .await;
        assert!(dies.unwrap_err().known.is_empty());
    }

    #[tokio::test]
    async fn what_ended_before_a_doubt_is_known() {
        let shell = ProcessShell { effects: None };
        let bounds = Bounds { time: Some(std::time::Duration::from_millis(500)), ..Bounds::default() };
        let budget = Budget::default();
        // The script breaks off; nobody hears of its end.
        for ends in ["kill -9 $$", "sleep 2"] {
            let text = format!("item() {{ [ \"$1\" = b ] && {ends}; say ok 1 \"$1\"; }}");
            let items = ["a", "b", "c"].map(item).to_vec();
            let cut = each(&shell, &text, Class::WriteIdempotent, bounds, &budget, items.clone()).await.unwrap_err();
            assert!(matches!(&cut.stop, crate::gate::Stop::InDoubt(doubt) if doubt.item == 1), "{cut:?}");
            assert!(matches!(cut.known.as_slice(), [(0, Ok(record))] if record.text(0) == "a"), "{cut:?}");
            let text = format!("item() {{ say ok 1 \"$1\"; [ \"$1\" = c ] && {ends}; :; }}");
            let whole = each(&shell, &text, Class::WriteIdempotent, bounds, &budget, items).await.unwrap();
            assert!(whole.iter().all(Result::is_ok), "each said its end: {whole:?}");
        }
    }
}
