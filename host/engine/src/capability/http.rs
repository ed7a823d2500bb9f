//! `http`: grants name method and URL.

use url::{Position, Url};

use super::{Capable, Subject};
use crate::contract::Class;
use crate::contract::http::{Request, Submission};

/// Refuses a URL that is not written as it is read: grants match its text, the request goes where it leads. Two parts may
/// stand there or not: the path `/` when it is all that follows the host, and the port that the scheme has anyway, so that
/// a grant can name it.
fn url(text: &str) -> Result<&str, String> {
    let read = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(read) = read else {
        return Err(format!("{text:?} is not an http or https URL"));
    };
    if !read.username().is_empty() || read.password().is_some() {
        return Err("a URL with a user or password; give what proves who asks as a header".to_owned());
    }
    if read.fragment().is_some() {
        return Err(format!("{text:?} has a fragment, which no server sees"));
    }
    let (host, rest) = (&read[..Position::AfterHost], &read[Position::AfterPort..]);
    let is_same = |port: &str, rest: &str| {
        text.strip_prefix(host).and_then(|left| left.strip_prefix(port)).is_some_and(|left| left == rest)
    };
    let usual = if read.scheme() == "https" { ":443" } else { ":80" };
    let port = read.port().map(|port| format!(":{port}"));
    let ports = match &port {
        Some(port) => vec![port.as_str()],
        None => vec!["", usual],
    };
    if ports.iter().any(|port| is_same(port, rest) || (rest == "/" && is_same(port, ""))) {
        return Ok(text);
    }
    Err(format!("{text:?} means {:?}; write it so", read.as_str()))
}

impl Capable for Request {
    fn subject(&self) -> Result<Subject<'_>, String> {
        Ok(Subject::Request { method: "GET", url: url(&self.url)?, class: Class::Read })
    }
    fn label(&self) -> String {
        format!("GET {}", self.url)
    }
}

impl Capable for Submission {
    fn subject(&self) -> Result<Subject<'_>, String> {
        if !matches!(self.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE") {
            return Err(format!("{:?} is no method of `send`: POST, PUT, PATCH or DELETE", self.method));
        }
        let url = url(&self.request.url)?;
        Ok(Subject::Request { method: &self.method, url, class: Class::from(self.effect) })
    }
    fn label(&self) -> String {
        format!("{} {}", self.method, self.request.url)
    }
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn a_url_stands_for_itself() {
        let plain = [
            "http://10.0.0.2:80/",
            "http://10.0.0.2/",
            "http://10.0.0.2",
            "http://10.0.0.2:80",
            "https://node-1.corp:443/x/y?a=1&b=%2F",
            "http://[fd00::2]:80/x",
            "http://10.96.0.90:9090/api/v1/query?query=sum%28up%7Bjob%3D%22a%20b%22%7D%29",
            "http://127.0.0.1:9090/-/ready",
        ];
        for text in plain {
            assert_eq!(url(text), Ok(text));
        }
    }

    #[test]
    fn what_is_read_as_another_url_is_refused() {
        let wrong = [
            // Each would be covered by a grant of another host, port or path than it leads to.
            r"http://169.254.169.254\latest\meta-data\?:80/",
            "http://10.0.0.5:6443#:80/",
            "https://evil?.corp/x",
            "https://evil#.corp/x",
            r"http://h:9/-/..\api\v1\admin",
            "http://h:9/-/../api",
            "http://h:9/-/%2e%2e/api",
            "http://h:9/-/.",
            "http://good.corp@evil/x",
            "http://:secret@h/x",
            "http://@h/x",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://h:080/",
            "http://h:/",
            "http://h:443443443/",
            "https://h:80443/",
            "http://H/",
            "http://h%2ecorp/",
            "http:h/",
            "http:///h/",
            "HTTP://h/",
            "http://h\t/x",
            "http://h/x\n",
            " http://h/x",
            "http://h/a b",
            "http://h/#",
            "http://h?",
            "http://",
            "file:///etc/passwd",
            "ftp://h/x",
            "h/x",
            "",
        ];
        for text in wrong {
            assert!(url(text).is_err(), "{text:?}");
        }
        assert!(
            url("http://user:pass@h/").is_err_and(|reason| !reason.contains("pass@")),
            "a password is not repeated"
        );
        assert!(url("http://h/a b").is_err_and(|reason| reason.ends_with("means \"http://h/a%20b\"; write it so")));
    }

    #[test]
    fn the_usual_port_of_another_scheme_is_none() {
        assert!(url("http://h:443/").is_ok() && url("https://h:80/").is_ok());
        assert!(url("https://h:443").is_ok() && url("https://h").is_ok());
    }
}
