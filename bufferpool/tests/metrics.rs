//! What the `metrics` facade is told is what the snapshot says.

#![cfg(feature = "metrics")]

use std::collections::BTreeMap;
use std::sync::Arc;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use ringpool_bufferpool::{Pool, PoolOptions};
use ringpool_storage::{MemoryDevice, MemorySource, PageNo, PageSize, PageSource};

#[test]
fn a_recorder_is_told_what_the_snapshot_says() {
    let pool = Pool::new(&PoolOptions { memory_bytes: 1 << 20, ..Default::default() }).unwrap();
    let bytes = MemorySource::new("sevens", PageSize::KIB_4, vec![7; 1000 * 4096]).unwrap();
    let file = pool.attach(Arc::new(MemoryDevice::new(bytes)), None).unwrap();
    for first in [0, 5, 400] {
        let pages: Vec<PageNo> = (first..first + 400).map(PageNo).collect();
        file.visit(&pages, &mut |_, _| {}).unwrap();
    }
    let kept = file.pin(PageNo(3)).unwrap();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        Pool::describe_metrics();
        pool.publish_metrics("segments");
        pool.publish_metrics("segments"); // Set, not added.
    });
    let mut told = BTreeMap::new();
    for (key, unit, meaning, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<String> = key.key().labels().map(|label| label.value().into()).collect();
        let name = key.key().name().to_string();
        assert!(unit.is_some() && meaning.is_some(), "{name} is described");
        assert_eq!(labels[0], "segments", "{name}");
        let value = match value {
            DebugValue::Counter(count) => {
                assert!(name.ends_with("_total"), "{name} counts");
                count as f64
            }
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => panic!("{name}"),
        };
        told.insert((name, labels[1..].join(",")), value);
    }
    let snapshot = pool.snapshot();
    let (total, of_file) = (&snapshot.total, &snapshot.files[0]);
    let expected = [
        ("pool_hits_total", "", total.hits as f64),
        ("pool_misses_total", "", total.misses as f64),
        ("pool_reads_total", "", total.reads as f64),
        ("pool_evictions_total", "", total.evictions as f64),
        ("pool_sweep_steps_total", "", total.sweep_steps as f64),
        ("pool_resident_pages", "", total.resident() as f64),
        ("pool_pinned_pages", "", 1.0),
        ("pool_memory_bytes", "", (1 << 20) as f64),
        ("pool_miss_latency_seconds", "0.99", total.miss_latency.p99_us / 1e6),
        ("file_hits_total", "sevens", of_file.hits as f64),
        ("file_evictions_total", "sevens", of_file.evictions as f64),
        ("file_pinned_pages", "sevens", 1.0),
    ];
    for (name, labels, value) in expected {
        let key = (format!("ringpool_{name}"), labels.to_string());
        assert_eq!(told.get(&key), Some(&value), "{key:?} of {told:?}");
    }
    assert!(total.evictions > 0 && total.hits > 0, "{total:?}");
    drop(kept);
}
