//! Pure parts of the inside, shown to the fuzz targets. Exists only under `refrain_internal`.

#![allow(missing_docs, reason = "not a public interface")]

pub use crate::engine::wheel::model as wheel;

/// What is read of a session of libssl's, and of a ClientHello.
#[cfg(feature = "openssl")]
pub mod der {
    use crate::adapter::openssl::der as inside;

    /// `Summary`, with copies.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Summary {
        pub version: i64,
        pub cipher: Vec<u8>,
        pub id: Vec<u8>,
        pub time: Option<i64>,
        pub timeout: Option<i64>,
        pub until: Option<i64>,
        pub secret: Vec<u8>,
        /// The payload without it.
        pub rest: Vec<u8>,
        /// Whether it is expired, and the seconds that it has left, at the moment asked for.
        pub is_expired: bool,
        pub left: Option<i64>,
        /// Whether it can be resumed with suites 0x1301 and 0x1302.
        pub hashes: [bool; 2],
    }

    pub fn read(payload: &[u8], now: i64) -> Option<Summary> {
        let summary = inside::Summary::read(payload)?;
        let (rest, secret) = inside::part(payload)?;
        Some(Summary {
            secret: secret.to_vec(),
            rest,
            version: summary.version,
            cipher: summary.cipher.to_vec(),
            id: summary.id.to_vec(),
            time: summary.time,
            timeout: summary.timeout,
            until: summary.until,
            is_expired: summary.is_expired(now),
            left: summary.left(now),
            hashes: [0x1301, 0x1302].map(|suite| summary.hashes_as(suite)),
        })
    }

    pub fn seal(der: Vec<u8>, until: i64) -> Vec<u8> {
        inside::seal(der, until)
    }

    pub fn host_name(extension: &[u8]) -> Option<String> {
        inside::host_name(extension)
    }
}
