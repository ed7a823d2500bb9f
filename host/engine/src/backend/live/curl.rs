//! HTTP from a host, by its curl.
//!
//! Everything that varies goes over standard input: first curl's configuration, whose length is the script's argument,
//! then the body. So nothing of a request stands in an argument list, where others on that host could read it.

use super::http::{NoAnswer, Prepared};
use super::shell::{Bounds, RunAs, Script, Shell, ShellError};
use crate::backend::failure;
use crate::contract::http::Response;
use crate::contract::types::Label;

/// `$1`: bytes of the configuration; `$2`: bytes of the PEM certificates that follow it, 0 for none.
const SCRIPT: &str = r#"
command -v curl >/dev/null || { echo "there is no curl" >&2; exit 127; }
exec 3<&0
configuration=$(head -c "$1" <&3)
if [ "$2" -gt 0 ]; then
    trusted=$(umask 077 && mktemp) || exit 125
    trap 'rm -f "$trusted"' EXIT
    head -c "$2" <&3 >"$trusted" || exit 125
    configuration="$configuration
cacert = \"$trusted\""
fi
printf '%s\n' "$configuration" | { exec 4<&0; cat <&3 | curl --disable --config /dev/fd/4; }
"#;

/// Bytes of headers that an answer may have.
const HEADERS: usize = 64 << 10;

/// Exit codes of curl that say that nothing was sent (curl(1), EXIT CODES): the host's name is not known, no connection,
/// no TLS connection, a certificate that is not trusted.
const NOTHING_SENT: [i32; 4] = [6, 7, 35, 60];

pub(super) async fn ask(shell: &dyn Shell, request: &Prepared) -> Result<Response, NoAnswer> {
    let configuration = configuration(request);
    let trust = request.trust.as_deref().unwrap_or_default();
    let script = Script::new(SCRIPT)
        .argument(configuration.len().to_string())
        .argument(trust.len().to_string())
        .run_as(RunAs::Login);
    let mut stdin = configuration;
    stdin.extend_from_slice(trust.as_bytes());
    stdin.extend_from_slice(&request.body);
    // curl keeps the request's time; the shell's is for a host that went away.
    let time = request.time_out + std::time::Duration::from_secs(10);
    let bounds = Bounds { stdout: request.limit + HEADERS, stderr: 4 << 10, time: Some(time) };
    let finished = match shell.run(script, stdin, bounds).await {
        Ok(finished) => finished,
        Err(error @ (ShellError::Lost(_) | ShellError::TimedOut(_))) => {
            return Err(request.unanswered(error.of_read(&request.url)));
        }
        Err(error) => return Err(NoAnswer::Failed(error.of_read(&request.url))),
    };
    let said = finished.stderr.text().trim().to_owned();
    let url = request.url.as_str();
    match finished.ended.code {
        Some(0) => match parse(&finished.stdout.data, finished.stdout.dropped, request.limit) {
            Some(mut response) => {
                request.budget.cut(&mut response.body, &mut response.dropped);
                Ok(response)
            }
            None => Err(request.unanswered(failure::unreachable(url, "curl printed no HTTP answer"))),
        },
        Some(127) => Err(NoAnswer::Failed(failure::unsupported(url, format!("{said}; install curl on that host")))),
        Some(28) => Err(request.unanswered(failure::timed_out(url, said))),
        Some(code) if NOTHING_SENT.contains(&code) => Err(NoAnswer::Failed(failure::unreachable(url, said))),
        _ => Err(request.unanswered(failure::unreachable(url, said))),
    }
}

/// A configuration file of curl (curl(1), `--config`): one option a line, values quoted.
fn configuration(request: &Prepared) -> Vec<u8> {
    let mut text = Vec::new();
    let mut option = |name: &str, value: &[u8]| {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b" = \"");
        for byte in value {
            match byte {
                b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\r' => text.extend_from_slice(b"\\r"),
                b'\t' => text.extend_from_slice(b"\\t"),
                other => text.push(*other),
            }
        }
        text.extend_from_slice(b"\"\n");
    };
    option("url", request.url.as_bytes());
    option("request", request.method.as_bytes());
    option("max-time", request.time_out.as_secs_f64().max(0.001).to_string().as_bytes());
    option("noproxy", b"*");
    for (name, value) in &request.headers {
        let mut line = format!("{name}: ").into_bytes();
        line.extend_from_slice(value);
        option("header", &line);
    }
    if request.method == "GET" {
        text.extend_from_slice(b"get\n");
    } else {
        option("data-binary", b"@-");
        if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            // curl would call it a form.
            text.extend_from_slice(b"header = \"Content-Type;\"\n");
        }
    }
    text.extend_from_slice(b"globoff\ninclude\nsilent\nshow-error\nheader = \"Expect:\"\n");
    text
}

/// Status, headers and body of what `curl --include` printed: interim answers (1xx) come before the last one.
fn parse(printed: &[u8], dropped: u64, limit: usize) -> Option<Response> {
    let mut rest = printed;
    loop {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let mut status = lines.next()?.split_whitespace();
        status.next().filter(|version| version.starts_with("HTTP/"))?;
        let status: u16 = status.next()?.parse().ok()?;
        if (100..200).contains(&status) {
            continue;
        }
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| Label { name: name.to_ascii_lowercase(), value: value.trim().to_owned() });
        let kept = rest.len().min(limit);
        let dropped = dropped + (rest.len() - kept) as u64;
        return Some(Response {
            status,
            headers: headers.collect(),
            body: rest[..kept].to_vec(),
            dropped: u32::try_from(dropped).unwrap_or(u32::MAX),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interim_answer_is_skipped_and_the_body_is_bounded() {
        let printed = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nX-A: b: c\r\n\r\nbody\r\n\r\nmore";
        let response = parse(printed, 0, 4).unwrap();
        assert_eq!((response.status, response.body.as_slice(), response.dropped), (201, b"body".as_slice(), 8));
        assert_eq!(response.headers, [Label { name: "x-a".to_owned(), value: "b: c".to_owned() }]);
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for printed in ["", "HTTP/1.1 200 OK\r\n", "rubbish\r\n\r\n", "HTTP/1.1 many\r\n\r\n"] {
            assert_eq!(parse(printed.as_bytes(), 0, 10), None, "{printed:?}");
        }
    }
}
