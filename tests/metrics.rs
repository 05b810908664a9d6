//! Every counter is published by its name.

#![allow(missing_docs)]

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::{Rig, secs};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// A recorder that keeps what it was told last.
#[derive(Default)]
struct Page(Mutex<HashMap<String, Arc<AtomicU64>>>);

impl Page {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels = key.labels().map(|label| format!("/{}", label.value()));
        let name = labels.fold(key.name().to_owned(), |name, label| name + &label);
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn value(&self, name: &str) -> Option<u64> {
        let cell = self.0.lock().unwrap().get(name).cloned()?;
        Some(cell.load(Ordering::SeqCst))
    }

    fn gauge(&self, name: &str) -> Option<f64> {
        self.value(name).map(f64::from_bits)
    }
}

impl Recorder for Page {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn what_has_happened_is_on_the_page() {
    let rig = Rig::new(100);
    for n in 0..7 {
        assert!(rig.add_for(n, secs(60)).is_cached());
    }
    assert!(rig.take(1).is_some() && rig.get(2).is_some() && rig.get(99).is_none());
    let page = Page::default();
    metrics::with_local_recorder(&page, || rig.cache.publish_metrics());
    assert_eq!(page.gauge("refrain_entries"), Some(6.0));
    for (name, value) in [("inserted", 7), ("taken", 1), ("hits", 2), ("misses", 1)] {
        assert_eq!(
            page.value(&format!("refrain_{name}_total")),
            Some(value),
            "{name}"
        );
    }
    // Every field of the snapshot is there.
    let fields = format!("{:?}", rig.cache.stats()).matches(": ").count();
    assert_eq!(page.0.lock().unwrap().len(), fields);
}
