//! Build a cache, add a session, resume from it, and hear what leaves.

use std::time::Duration;

use refrain::{ContextId, Session, SessionCache, SessionId};

fn main() -> Result<(), refrain::Error> {
    let cache = SessionCache::builder()
        .capacity(10_000)
        .timeout(Duration::from_secs(3600))
        .on_remove(|session, cause| println!("{:02x?} left: {}", session.id(), cause.as_str()))
        .build()?;

    // Sessions of one context are never found from another: one context per application and certificate.
    let context = cache.context(ContextId::derive("quickstart", &[("cert", b"fingerprint")]))?;

    // After a full handshake: keep what the TLS library needs to resume it.
    let id = SessionId::new(&[0x5e; 4])?;
    let session = Session::new(&context, id, b"the master secret and friends")?;
    let added = cache.add(session);
    println!("added: {added:?}");

    // TLS 1.2 looks a session up as often as it likes.
    let length = cache.with(&context, &id, |session| session.payload().len());
    println!("resumed: {length:?} bytes of state");

    // TLS 1.3 takes it: of all threads that try, one gets it.
    let first = cache.take(&context, &id).is_some();
    let second = cache.take(&context, &id).is_some();
    println!("taken: {first}, taken again: {second}");
    Ok(())
}
