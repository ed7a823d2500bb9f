//! Bytes in records: text where they are text, base64 otherwise, so that a journal can be read by eye.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form<'a> {
    Text(std::borrow::Cow<'a, str>),
    Base64 { base64: String },
}

/// Serialises bytes as a string when they are UTF-8, else as `{"base64": "…"}`.
///
/// # Errors
/// Those of the serialiser.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Form::Text(text.into()),
        Err(_) => Form::Base64 { base64: STANDARD.encode(bytes) },
    }
    .serialize(serializer)
}

/// The reverse of [`serialize`].
///
/// # Errors
/// When it is neither a string nor valid base64 in an object.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Form::deserialize(deserializer)? {
        Form::Text(text) => Ok(text.into_owned().into_bytes()),
        Form::Base64 { base64 } => STANDARD.decode(base64).map_err(serde::de::Error::custom),
    }
}
