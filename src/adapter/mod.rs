//! The cache behind the session hooks of TLS libraries.

#[cfg(feature = "openssl")]
pub mod openssl;
#[cfg(feature = "rustls")]
pub mod rustls;

/// Overwrites what a `Vec` holds before it is freed.
#[cfg(any(feature = "openssl", feature = "rustls"))]
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // The compiler must believe that somebody looks at the zeros.
    std::hint::black_box(bytes);
}
