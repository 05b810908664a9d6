//! What an operator sees of it.

use std::sync::Arc;

use crate::common::watchdog;
use crate::node::Node;
use crate::store::{Fault, Shop};

#[test]
fn the_last_failure_is_told_in_words() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::new(&shop);
    assert_eq!(node.cache.external_failure(), None);
    for (fault, word) in [
        (Fault::Refuses, "WRONGPASS"),
        (Fault::Nonsense, "HTTP/1.1"),
        (Fault::Panics, "panicked"),
    ] {
        shop.set(fault);
        assert!(!node.resume(1));
        let told = node.cache.external_failure().unwrap();
        assert!(told.contains(word), "{told}");
    }
}

#[cfg(feature = "tracing")]
#[test]
fn failures_are_heard_of() {
    use std::sync::Mutex;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    struct Message(String);

    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "refrain"
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut message = Message(String::new());
            event.record(&mut message);
            self.0.lock().unwrap().push(message.0);
        }
    }

    let _dog = watchdog();
    let log = Log::default();
    let shop = Arc::new(Shop::default());
    let node = Node::new(&shop);
    shop.set(Fault::Refuses);
    tracing::subscriber::with_default(log.clone(), || {
        for n in 0..5 {
            assert!(!node.resume(n));
        }
    });
    let heard = log.0.lock().unwrap().concat();
    assert!(
        heard.contains("a call of the shared store failed"),
        "{heard}"
    );
}
