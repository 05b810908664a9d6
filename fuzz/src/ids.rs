//! Ids that come from the network: what is an id at all, and what carries this server's tag.

#![allow(
    deprecated,
    reason = "the standard library's own SipHash-2-4 has been deprecated, not changed"
)]

use std::hash::{Hasher, SipHasher};

use arbitrary::{Result, Unstructured};
use refrain::{ContextId, Error, SessionId, TaggedIds};

pub(crate) fn run(data: &[u8]) {
    // Bytes that end too early are no case.
    let _ = case(&mut Unstructured::new(data));
}

fn case(u: &mut Unstructured<'_>) -> Result<()> {
    let key: [u8; 16] = u.arbitrary()?;
    let forgery = u.int_in_range(0..=3)?;
    let mut id = u.bytes(u.len().min(40))?.to_vec();
    // Mostly of the right length, and then often with the right tag, or with one bit of it wrong.
    if forgery > 0 {
        id.resize(32, 0);
    }
    if forgery > 1 {
        let right = tag(&key, &id[..24]) ^ u64::from(forgery > 2) << (id[31] % 64);
        id[24..].copy_from_slice(&right.to_le_bytes());
    }
    crate::trace(&(key, &id));

    let fits = (1..=32).contains(&id.len());
    match SessionId::new(&id) {
        Ok(made) => {
            assert!(fits);
            assert_eq!(made.as_bytes(), id);
            assert_eq!(SessionId::try_from(&id[..]), Ok(made));
        }
        Err(error) => assert_eq!((fits, error), (false, Error::IdLength { len: id.len() })),
    }
    match ContextId::new(&id) {
        Ok(made) => assert_eq!((fits, made.as_bytes()), (true, &id[..])),
        Err(error) => {
            assert_eq!(
                (fits, error),
                (false, Error::ContextLength { len: id.len() })
            );
        }
    }

    let ids = match TaggedIds::new(&key) {
        Ok(ids) => ids,
        Err(error) => {
            assert_eq!((key, error), ([0; 16], Error::ZeroTagKey));
            return Ok(());
        }
    };
    let right = id.len() == 32 && id[24..] == tag(&key, &id[..24]).to_le_bytes();
    assert_eq!(ids.recognizes(&id), right);
    let fresh = ids.generate().expect("randomness");
    assert!(ids.recognizes(fresh.as_bytes()));
    Ok(())
}

fn tag(key: &[u8; 16], random: &[u8]) -> u64 {
    let half = |from: usize| u64::from_le_bytes(key[from..from + 8].try_into().expect("eight"));
    let mut hasher = SipHasher::new_with_keys(half(0), half(8));
    hasher.write(random);
    hasher.finish()
}
