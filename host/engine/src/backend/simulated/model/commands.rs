//! Commands and HTTP requests, as behaviours answer them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Model, Scope};
use crate::backend::failure;
use crate::backend::simulated::pattern;
use crate::contract::exec::{Captured, Command, Output};
use crate::contract::http::Response;
use crate::contract::types::{EffectClass, Label, Part};
use crate::contract::{Failure, FailureKind};
use runner_types::simulated::{self as behaviour, Order};

/// Bytes of an output that are kept where the command does not say.
const DEFAULT_OUTPUT: u32 = 64 * 1024;
const MOST_OUTPUT: u32 = 1 << 20;
/// Exit code of a command whose behaviour cannot be evaluated.
const BROKEN: i32 = 125;
/// Exit code of a command that is not there.
const MISSING: i32 = 127;

/// What a command said and how it ended.
#[derive(Debug, Default)]
struct Ran {
    code: i32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// A request in whichever form it came.
pub(crate) struct HttpRequest<'r> {
    pub(crate) method: &'r str,
    pub(crate) url: &'r str,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) via: Option<&'r str>,
    pub(crate) effect: EffectClass,
    pub(crate) limit: u32,
}

/// Content with its pieces joined. A secret is not known here: its handle stands for it.
pub(crate) fn joined(content: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in content {
        match part {
            Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Part::Bytes(data) => bytes.extend_from_slice(data),
            Part::Secret(handle) => bytes.extend_from_slice(handle.as_bytes()),
        }
    }
    bytes
}

fn limit(asked: u32) -> usize {
    let limit = match asked {
        0 => DEFAULT_OUTPUT,
        asked => asked.min(MOST_OUTPUT),
    };
    limit as usize
}

fn dropped(all: usize, kept: usize) -> u32 {
    u32::try_from(all - kept).unwrap_or(u32::MAX)
}

impl Model<'_> {
    /// Runs a command.
    pub(crate) fn run(&mut self, command: &Command) -> Result<Output, Failure> {
        let ran = match self.answer(command) {
            Err(failure) if matches!(failure.kind, FailureKind::Other(_)) => {
                Ran { code: BROKEN, stderr: format!("{}\n", failure.message).into_bytes(), ..Ran::default() }
            }
            ran => ran?,
        };
        let options = command.options.as_ref();
        let accepted = ran.code == 0 || options.is_some_and(|o| o.accept.contains(&ran.code));
        if !accepted {
            let mut tail = ran.stderr;
            if tail.is_empty() {
                tail = ran.stdout;
            }
            let program = command.argv.first().map_or("", String::as_str);
            return Err(failure::failed(
                command.argv.join(" "),
                format!("{program} on {} ended with exit code {}", command.host, ran.code),
                Some(ran.code),
                &String::from_utf8_lossy(&tail),
            ));
        }
        let limit = limit(options.map_or(0, |options| options.output_limit));
        let (mut stdout, mut stderr) = (ran.stdout, ran.stderr);
        let (out, err) = (stdout.len(), stderr.len());
        stdout.truncate(limit);
        stderr.drain(..err.saturating_sub(limit));
        Ok(Output {
            code: ran.code,
            stdout: Captured { dropped: dropped(out, stdout.len()), data: stdout },
            stderr: Captured { dropped: dropped(err, stderr.len()), data: stderr },
            unseen: false,
        })
    }

    fn answer(&mut self, command: &Command) -> Result<Ran, Failure> {
        let host = command.host.as_str();
        let program = command.argv.first().map_or("", String::as_str);
        let rules = self.rules;
        for behaviours in &rules.behaviours {
            for entry in &behaviours.commands {
                let Some(captures) = pattern::arguments(&entry.argv, &command.argv) else {
                    continue;
                };
                if let Some(package) = &entry.package
                    && self.installed(host, package)?.is_none()
                {
                    return Ok(missing(format!("{program}: command not found\n")));
                }
                let mut scope = Scope::on(&behaviours.component, Some(host));
                scope.set("args", captures.into_iter().collect::<serde_json::Map<_, _>>());
                scope.set("argv", command.argv.clone());
                scope.set("stdin", String::from_utf8_lossy(&joined(&command.stdin)).into_owned());
                let options = command.options.as_ref();
                let environment = options.map(|o| {
                    o.environment
                        .iter()
                        .map(|l| (l.name.clone(), Value::from(l.value.as_str())))
                        .collect::<serde_json::Map<_, _>>()
                });
                scope.set("env", environment.unwrap_or_default());
                scope.set("user", options.and_then(|o| o.user.clone()).unwrap_or_else(|| "root".to_owned()));
                scope.set("directory", options.and_then(|o| o.directory.clone()).unwrap_or_else(|| "/".to_owned()));
                if self.when(&scope, entry.when.as_deref())? {
                    return self.behave(&scope, entry, command);
                }
            }
        }
        Ok(missing(format!(
            "{program}: no behaviour of `{}` is known to the simulated platform; add one to `commands` of plugins/<component>/simulated.json\n",
            command.argv.join(" ")
        )))
    }

    fn behave(&mut self, scope: &Scope, entry: &behaviour::Command, command: &Command) -> Result<Ran, Failure> {
        let code = match self.fill(scope, &entry.exit)? {
            Value::Null => 0,
            Value::Number(number) => number.as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(BROKEN),
            other => {
                return Err(failure::other(
                    "behaviour",
                    command.argv.join(" "),
                    format!("exit code {other} is no number"),
                ));
            }
        };
        let mut stdout = Vec::new();
        if entry.order == Order::OutputFirst {
            stdout = self.output(scope, &entry.stdout, true)?;
        }
        let stderr = self.render(scope, &entry.stderr)?;
        if code == 0 || entry.sets_always {
            self.apply_changes(scope, &entry.sets)?;
            self.honest(command.effect, &command.argv.join(" "))?;
            if code != 0 {
                self.keep();
            }
        }
        if entry.order == Order::SetsFirst {
            stdout = self.output(scope, &entry.stdout, true)?;
        }
        Ok(Ran { code, stdout, stderr: stderr.into_bytes() })
    }

    /// Refuses what was called a read and changes something.
    fn honest(&self, effect: EffectClass, subject: &str) -> Result<(), Failure> {
        match effect {
            EffectClass::Read if self.tx.changed() => {
                Err(failure::invalid(subject, "it is declared `read`, but it changes the platform"))
            }
            EffectClass::Read | EffectClass::WriteIdempotent | EffectClass::WriteOnce => Ok(()),
        }
    }

    fn output(&self, scope: &Scope, template: &Value, line_end: bool) -> Result<Vec<u8>, Failure> {
        if let Value::String(text) = template {
            let filled = self.render(scope, text)?;
            return Ok(filled.into_bytes());
        }
        let mut text = match self.fill(scope, template)? {
            Value::Null => return Ok(Vec::new()),
            value => value.to_string(),
        };
        if line_end {
            text.push('\n');
        }
        Ok(text.into_bytes())
    }

    /// Answers an HTTP request.
    pub(crate) fn request(&mut self, request: &HttpRequest<'_>) -> Result<Response, Failure> {
        let rules = self.rules;
        let host = self.addressed(request)?;
        let mut any = false;
        for behaviours in &rules.behaviours {
            for entry in behaviours.http.iter().filter(|e| e.method == request.method) {
                let Some(captures) = pattern::url(&entry.url, request.url) else {
                    continue;
                };
                any = true;
                let mut scope = Scope::on(&behaviours.component, host.as_deref());
                scope.set("args", captures.into_iter().collect::<serde_json::Map<_, _>>());
                scope.set("via", request.via);
                scope.set("request", described(request));
                if self.when(&scope, entry.when.as_deref())? {
                    return self.respond(&scope, entry, request);
                }
            }
        }
        let label = format!("{} {}", request.method, request.url);
        Err(failure::unreachable(
            &label,
            match any {
                true => format!("{label}: connection refused"),
                false => format!(
                    "{label}: connection refused; the simulated platform knows no such endpoint, add one to `http` of plugins/<component>/simulated.json"
                ),
            },
        ))
    }

    fn respond(
        &mut self,
        scope: &Scope,
        entry: &behaviour::Endpoint,
        request: &HttpRequest<'_>,
    ) -> Result<Response, Failure> {
        let label = format!("{} {}", request.method, request.url);
        if let Some(reason) = &entry.refused {
            let reason = self.render(scope, reason)?;
            return Err(failure::unreachable(&label, format!("{label}: {reason}")));
        }
        let mut body = Vec::new();
        if entry.order == Order::OutputFirst {
            body = self.output(scope, &entry.body, false)?;
        }
        let status = self.fill(scope, &entry.status)?;
        let status = status.as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.ok_or_else(|| failure::other("behaviour", &label, "its status is no number"))?;
        let mut headers = Vec::new();
        for (name, value) in &entry.headers {
            headers.push(Label { name: name.to_lowercase(), value: self.render(scope, value)? });
        }
        self.apply_changes(scope, &entry.sets)?;
        self.honest(request.effect, &label)?;
        if entry.order == Order::SetsFirst {
            body = self.output(scope, &entry.body, false)?;
        }
        let all = body.len();
        body.truncate(limit(request.limit));
        Ok(Response { status, headers, dropped: dropped(all, body.len()), body })
    }

    /// The host that a URL addresses, else the one the request goes through.
    fn addressed(&self, request: &HttpRequest<'_>) -> Result<Option<String>, Failure> {
        let authority = request.url.split("://").nth(1).unwrap_or_default();
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        let address = match authority.rsplit_once(':') {
            Some((address, _)) => address,
            None => authority,
        };
        match (self.host_at(address)?, request.via) {
            (Some(host), _) => Ok(Some(host)),
            (None, via) => Ok(via.map(str::to_owned)),
        }
    }
}

fn missing(stderr: String) -> Ran {
    Ran { code: MISSING, stdout: Vec::new(), stderr: stderr.into_bytes() }
}

fn described(request: &HttpRequest<'_>) -> Value {
    let rest = request.url.split("://").nth(1).unwrap_or_default();
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    let path = path.split('#').next().unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let query: BTreeMap<&str, &str> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .collect();
    json!({
        "method": request.method,
        "url": request.url,
        "path": path,
        "query": query,
        "headers": request.headers,
        "body": String::from_utf8_lossy(&request.body),
    })
}
