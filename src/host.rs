//! The tag of a session that a second context has a say in: that of the host which the client has asked for.

/// What tells a host's number from a tag of the application's.
const HOST: u64 = 0x5ef2_a1d0 << 32;

/// The tag of a session of the host that has this context's number.
pub(crate) fn tag_of(host: u32) -> u64 {
    HOST | u64::from(host)
}

/// The number of the host's context that a tag names.
pub(crate) fn host_of(tag: u64) -> Option<u32> {
    (tag & !u64::from(u32::MAX) == HOST).then_some(tag as u32)
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn an_applications_tag_is_no_hosts() {
        for host in [1, 7, u32::MAX] {
            assert_eq!(host_of(tag_of(host)), Some(host));
        }
        for tag in [0, 1, 7, 1 << 40, u64::MAX, u64::from(u32::MAX)] {
            assert_eq!(host_of(tag), None, "{tag}");
        }
    }
}
