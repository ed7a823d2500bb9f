//! The cryptography under TLS.

/// Makes it known, once for the whole process.
pub(super) fn provide() {
    // The only failure is that it is known already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
