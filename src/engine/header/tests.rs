//! What is left of a session in its memory.

use super::*;
use crate::sync::thread_number;

/// Whether what a session leaves is there for the next one of this thread that is as large.
fn keeps() -> bool {
    !cfg!(any(miri, refrain_modelled, refrain_unpooled)) && thread_number().is_some()
}

#[test]
fn nothing_is_left_but_zeros_behind_the_first_word() {
    const ONES: [u8; 4096] = [0xff; 4096];
    let some = Some(Extras {
        timeout: u64::MAX / 3,
        not_after: Time::MAX,
        tag: u64::MAX,
        name_len: 0,
    });
    let mut seen = 0;
    for (extras, name) in [(None, 0), (some, 0), (some, MAX_NAME)] {
        for payload in [0, 1, 63, 64, 500, 2000, 3700] {
            let parts = Parts {
                id: &SessionId::from([0xff; 32]),
                context: u32::MAX,
                owner: u32::MAX,
                extras,
                name: &ONES[..name],
                payload: &ONES[..payload],
            };
            let raw = Raw::new(&parts).unwrap();
            let address = raw.as_ptr().addr();
            // SAFETY: the one reference, made above.
            let layout = unsafe { raw.layout() };
            // SAFETY: as above; it is not used any more.
            unsafe { raw.release() };
            let again = blocks::alloc(layout).unwrap();
            if keeps() {
                let at = again.at;
                assert_eq!(at.addr().get(), address, "the last one is the next one");
                // SAFETY: a block of that layout, all of which was written when it was wiped, or has been since.
                let bytes = unsafe { std::slice::from_raw_parts(at.as_ptr(), layout.size()) };
                let first = bytes.iter().skip(8).position(|&byte| byte != 0);
                assert_eq!(first, None, "{payload} bytes, {name} of a name");
                seen += 1;
            }
            // SAFETY: from `alloc`, with this layout; but for the first word it is as it was.
            unsafe { blocks::free(again, layout) };
        }
    }
    assert_eq!(seen, if keeps() { 21 } else { 0 });
}
