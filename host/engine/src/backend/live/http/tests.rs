//! Both ways of asking, against a server on this machine.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::backend::live::process::ProcessShell;
use crate::contract::FailureKind;
use crate::contract::http::Header;
use crate::contract::types::Part;
use runner_types::SecretSource;

/// What the server was sent.
type Heard = Arc<Mutex<Vec<u8>>>;

/// A server that answers every connection with this text and keeps what it was sent.
async fn server(answer: &'static [u8]) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/path?a=1", listener.local_addr().unwrap());
    let heard = Heard::default();
    let keep = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 64 << 10];
            let length = stream.read(&mut buffer).await.unwrap_or(0);
            // A body may come after its headers.
            let rest = stream.read(&mut buffer[length..]);
            let more =
                tokio::time::timeout(Duration::from_millis(100), rest).await.map_or(0, Result::unwrap_or_default);
            keep.lock().unwrap().extend_from_slice(&buffer[..length + more]);
            let _ = stream.write_all(answer).await;
        }
    });
    (url, heard)
}

fn secrets() -> Secrets {
    let file = SecretSource::Command(["printf", "%s", "to\"k\\en"].map(str::to_owned).to_vec());
    Secrets::new(&indexmap::IndexMap::from([("token".to_owned(), file)]), std::path::Path::new("."))
}

/// From this machine, and through a host.
fn carriers() -> Vec<Box<dyn Carrier>> {
    struct Through(Secrets, ProcessShell);

    #[async_trait::async_trait]
    impl Carrier for Through {
        fn secrets(&self) -> &Secrets {
            &self.0
        }
        async fn carry(&self, request: &Prepared) -> Result<Response, NoAnswer> {
            curl::ask(&self.1, request).await
        }
    }

    struct Here(Secrets);

    #[async_trait::async_trait]
    impl Carrier for Here {
        fn secrets(&self) -> &Secrets {
            &self.0
        }
        async fn carry(&self, request: &Prepared) -> Result<Response, NoAnswer> {
            ask(request).await
        }
    }

    vec![Box::new(Here(secrets())), Box::new(Through(secrets(), ProcessShell { effects: None }))]
}

fn request(url: &str) -> Request {
    Request {
        url: url.to_owned(),
        headers: vec![Header { name: "X-Token".to_owned(), value: vec![Part::Secret("secret:token".to_owned())] }],
        via: None,
        trust: None,
        time_out: 2_000,
        body_limit: 4,
        forecast: None,
    }
}

fn submission(url: &str) -> Submission {
    Submission {
        request: request(url),
        method: "POST".to_owned(),
        body: vec![Part::Text("body \"\\\n@- ".to_owned()), Part::Bytes(vec![0, 255, 13, 10])],
        effect: crate::contract::types::EffectClass::WriteOnce,
        key: String::new(),
    }
}

#[tokio::test]
async fn an_answer_comes_whole_but_for_what_is_beyond_the_limit() {
    let (url, heard) =
        server(b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabcdef").await;
    for carrier in carriers() {
        let answer = get(carrier.as_ref(), &Caller::runner(), vec![request(&url)]).await.remove(0).unwrap();
        assert_eq!((answer.status, answer.body.as_slice(), answer.dropped), (404, b"abcd".as_slice(), 2));
        assert!(answer.headers.contains(&Label { name: "x-a".to_owned(), value: "b".to_owned() }));
        let heard = String::from_utf8_lossy(&std::mem::take(&mut *heard.lock().unwrap())).to_lowercase();
        assert!(heard.starts_with("get /path?a=1 http/1.1\r\n"), "{heard}");
        assert!(heard.contains("x-token: to\"k\\en\r\n"), "{heard}");
    }
}

#[tokio::test]
async fn a_body_arrives_byte_by_byte_as_it_is() {
    let (url, heard) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    for carrier in carriers() {
        let answers = send(carrier.as_ref(), &Caller::runner(), vec![submission(&url)]).await.unwrap();
        assert_eq!(answers[0].as_ref().map(|answer| answer.status), Ok(200));
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        assert!(heard.ends_with(b"\r\n\r\nbody \"\\\n@- \x00\xff\r\n"), "{}", String::from_utf8_lossy(&heard));
        assert!(heard.starts_with(b"POST "), "{}", String::from_utf8_lossy(&heard));
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_what_follows_is_not_attempted() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{gone}/");
    for carrier in carriers() {
        let answers =
            send(carrier.as_ref(), &Caller::runner(), vec![submission(&url), submission(&url)]).await.unwrap();
        let kinds: Vec<FailureKind> = answers.into_iter().map(|answer| answer.unwrap_err().kind).collect();
        assert_eq!(kinds, [FailureKind::Unreachable, FailureKind::NotAttempted]);
    }
}

#[tokio::test]
async fn a_write_without_an_answer_is_in_doubt_and_a_read_is_not() {
    let (answers, _) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // Takes what is sent and closes.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    for carrier in carriers() {
        let cut = send(carrier.as_ref(), &Caller::runner(), vec![submission(&answers), submission(&url)]).await;
        let cut = cut.unwrap_err();
        assert!(matches!(cut.stop, crate::gate::Stop::InDoubt(InDoubt { item: 1, .. })), "{cut:?}");
        assert!(matches!(cut.known.as_slice(), [(0, Ok(answer))] if answer.status == 200), "{cut:?}");
        let read = get(carrier.as_ref(), &Caller::runner(), vec![request(&url)]).await.remove(0).unwrap_err();
        assert_eq!(read.kind, FailureKind::Unreachable);
    }
}

#[tokio::test]
async fn silence_is_a_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    for carrier in carriers() {
        let quick = Request { time_out: 300, ..request(&url) };
        let read = get(carrier.as_ref(), &Caller::runner(), vec![quick]).await.remove(0).unwrap_err();
        assert_eq!(read.kind, FailureKind::TimedOut);
    }
}

#[tokio::test]
async fn many_large_answers_are_bounded_together() {
    let body = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(1 << 20));
    let (url, heard) = server(body.into_bytes().leak()).await;
    for carrier in carriers() {
        heard.lock().unwrap().clear();
        let asked = Request { body_limit: 1 << 20, time_out: 60_000, ..request(&url) };
        let answers = get(carrier.as_ref(), &Caller::runner(), vec![asked; 60]).await;
        let held: usize = answers.iter().flatten().map(|answer| answer.body.len()).sum();
        assert!((8 << 20..=16 << 20).contains(&held), "{held} bytes in all");
        let refused = |answer: &Result<Response, Failure>| {
            answer.as_ref().is_err_and(|failure| failure.kind == FailureKind::TooLarge)
        };
        assert!(answers.iter().filter(|answer| refused(answer)).count() >= 20);
        let sent = String::from_utf8_lossy(&heard.lock().unwrap()).matches("GET ").count();
        assert!(sent <= 40, "{sent} were sent");
    }
}

#[tokio::test]
async fn a_write_is_answered_whatever_the_call_has_brought_before() {
    let body = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(1 << 20));
    let (url, _) = server(body.into_bytes().leak()).await;
    for carrier in carriers() {
        let large = Request { body_limit: 1 << 20, time_out: 60_000, ..request(&url) };
        let sent = Submission { request: large, ..submission(&url) };
        let answers = send(carrier.as_ref(), &Caller::runner(), vec![sent; 18]).await.unwrap();
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)));
        let last = answers[17].as_ref().unwrap();
        assert_eq!((last.body.len(), last.dropped), (0, 1 << 20));
    }
}
