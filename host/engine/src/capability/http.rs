//! `http`: grants name method and URL.

use super::{Capable, Subject};
use crate::contract::Class;
use crate::contract::http::{Request, Submission};

fn url(url: &str) -> Result<&str, String> {
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        return Err(format!("{url:?} is not an http or https URL"));
    }
    Ok(url)
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
