//! `secrets`: grants name the secret.

use super::{Capable, Subject, plain};
use crate::contract::secrets::SecretRef;

impl Capable for SecretRef {
    fn subject(&self) -> Result<Subject<'_>, String> {
        plain("a secret", &self.name).map(Subject::Secret)
    }
    fn label(&self) -> String {
        self.name.clone()
    }
}
