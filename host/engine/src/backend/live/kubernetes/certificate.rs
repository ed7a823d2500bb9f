//! When a certificate ends.

use chrono::{DateTime, NaiveDateTime, Utc};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The moment at which the first certificate of a PEM text ends; none where it cannot be read.
pub(super) fn end(pem: &[u8]) -> Option<DateTime<Utc>> {
    let certificate = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version OPTIONAL, serialNumber INTEGER,
    //   signature SEQUENCE, issuer SEQUENCE, validity SEQUENCE { notBefore, notAfter }, … } … } (RFC 5280, 4.1)
    let (_, certificate, _) = element(&certificate)?;
    let (_, mut inside, _) = element(certificate)?;
    if inside.first() == Some(&0xa0) {
        inside = element(inside)?.2;
    }
    for _ in ["serialNumber", "signature", "issuer"] {
        inside = element(inside)?.2;
    }
    let (_, validity, _) = element(inside)?;
    let (_, _, after) = element(validity)?;
    let (tag, text, _) = element(after)?;
    let text = std::str::from_utf8(text).ok()?;
    let time = match tag {
        // UTCTime: 49 and below are years of this century (RFC 5280, 4.1.2.5.1).
        0x17 => {
            let century = if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            NaiveDateTime::parse_from_str(&format!("{century}{text}"), "%Y%m%d%H%M%SZ").ok()?
        }
        0x18 => NaiveDateTime::parse_from_str(text, "%Y%m%d%H%M%SZ").ok()?,
        _ => return None,
    };
    Some(time.and_utc())
}

/// Tag, content and rest of a DER text (X.690, 8.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length >= 0x80 {
        let bytes = length & 0x7f;
        if bytes == 0 || bytes > 4 {
            return None;
        }
        length = 0;
        for _ in 0..bytes {
            let (byte, more) = rest.split_first()?;
            length = length << 8 | usize::from(*byte);
            rest = more;
        }
    }
    let content = rest.get(..length)?;
    Some((*tag, content, rest.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 1`.
    const PEM: &str = include_str!("tests/certificate.pem");

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let end = end(PEM.as_bytes()).expect("an end");
        assert_eq!(end.to_rfc3339(), include_str!("tests/certificate.end").trim());
        assert_eq!(super::end(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None);
        assert_eq!(super::end(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(der in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = element(&der);
        }
    }
}
