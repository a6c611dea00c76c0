//! `ringpool replay`: what it prints, and which traces it refuses.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::workshop::{Workshop, done, failed, json, misused, stdout};

/// The keys of a replay, in order.
const REPLAY: [&str; 10] = [
    "requests",
    "distinct",
    "frames",
    "policy",
    "hits",
    "misses",
    "miss_ratio",
    "lru_miss_ratio",
    "opt_miss_ratio",
    "sweep_steps_per_eviction",
];

/// A loop over 300 pages, ten times, and how it looks in a file.
fn a_loop() -> Vec<u8> {
    (0..300_u32).cycle().take(3_000).flat_map(|page| (1_000_000 * page).to_le_bytes()).collect()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder with the loop, plain and gzipped.
fn shop() -> Workshop {
    let shop = Workshop::new();
    shop.file("loop.u32", &a_loop());
    shop.file("loop.u32.gz", &gzipped(&a_loop()));
    shop
}

fn replay(shop: &Workshop, flags: &[&str]) -> Value {
    let first = ["replay", "--trace", "loop.u32.gz", "--json"];
    json(&shop.ringpool(first.iter().chain(flags)))
}

#[test]
fn a_replay_has_the_keys_of_the_contract_in_order() {
    let shop = shop();
    let output = shop.ringpool(["replay", "--trace", "loop.u32.gz", "--frames", "100", "--json"]);
    let (report, text) = (json(&output), stdout(&output));
    let places = REPLAY.map(|key| text.find(&format!("\"{key}\":")).expect(key));
    assert!(places.is_sorted(), "{text}");
    assert_eq!(report.as_object().unwrap().len(), REPLAY.len(), "{text}");
    assert_eq!((&report["requests"], &report["distinct"]), (&3_000.into(), &300.into()));
    assert_eq!((&report["frames"], &report["policy"]), (&100.into(), &"probation".into()));
    let count = |key: &str| report[key].as_u64().unwrap();
    assert_eq!(count("hits") + count("misses"), 3_000);
    let ratio = |key: &str| report[key].as_f64().unwrap();
    assert_eq!(ratio("miss_ratio"), count("misses") as f64 / 3_000.0);
    assert_eq!(ratio("lru_miss_ratio"), 1.0, "a loop over more than there is room for");
    // The first lap misses; then at best a hundred of the 299 other pages are there.
    assert!((0.69..0.72).contains(&ratio("opt_miss_ratio")), "{text}");
    assert!((ratio("opt_miss_ratio")..1.0).contains(&ratio("miss_ratio")), "{text}");
    assert!((1.0..5.0).contains(&ratio("sweep_steps_per_eviction")), "{text}");
}

#[test]
fn frames_policies_and_threads_are_what_was_asked_for() {
    let shop = shop();
    // A pool has sixty-four frames at least, a replay as few as one likes.
    for (asked, frames) in [("1", 1), ("20", 20), ("10%", 30), ("100", 100), ("100%", 300)] {
        let report = replay(&shop, &["--frames", asked]);
        assert_eq!(report["frames"], frames, "{asked}");
        let misses = report["misses"].as_u64().unwrap();
        let room = frames * 9; // What is not there in the first lap cannot be hit.
        assert!((3_000 - room..=3_000).contains(&misses), "{report}");
    }
    let clock = replay(&shop, &["--frames", "100", "--policy", "clock"]);
    assert_eq!((&clock["policy"], &clock["miss_ratio"]), (&"clock".into(), &1.0.into()));
    let all = replay(&shop, &["--frames", "300", "--threads", "4"]);
    assert_eq!(all["misses"], 300, "each page once, whoever asks first");
    assert!(all["sweep_steps_per_eviction"].is_null(), "nothing was evicted");
}

#[test]
fn a_trace_may_be_plain_and_the_table_is_for_people() {
    let shop = shop();
    let text = done(&shop.ringpool(["replay", "--trace", "loop.u32", "--frames", "100"]));
    for word in ["3,000 requests", "300 pages", "100 frames", "probation", "LRU", "OPT", "100.00 %"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(text, done(&shop.ringpool(["replay", "--trace", "loop.u32.gz", "--frames", "100"])));
}

#[test]
fn traces_that_are_none() {
    let shop = shop();
    let cut = &gzipped(&a_loop())[..40];
    for (name, bytes, part) in [
        ("empty.u32", &b""[..], "empty"),
        ("empty.u32.gz", &gzipped(b""), "empty"),
        ("three.u32", b"abc", "3 bytes"),
        ("three.u32.gz", &gzipped(b"abc"), "3 bytes"),
        ("plain.u32.gz", &a_loop(), "cannot read the trace"),
        ("cut.u32.gz", cut, "cannot read the trace"),
    ] {
        shop.file(name, bytes);
        failed(&shop.ringpool(["replay", "--trace", name, "--frames", "10%"]), &[name, part]);
    }
    failed(&shop.ringpool(["replay", "--trace", "none.u32", "--frames", "1"]), &["none.u32"]);
    failed(&shop.ringpool(["replay", "--trace", ".", "--frames", "1"]), &["cannot read"]);
}

#[test]
fn frames_and_policies_that_are_none() {
    let shop = shop();
    for frames in ["0", "-1", "0%", "101%", "NaN%", "some"] {
        let flag = format!("--frames={frames}");
        misused(&shop.ringpool(["replay", "--trace", "loop.u32", &flag]), &["--frames"]);
    }
    let replay = |flags: &[&str]| {
        let first = ["replay", "--trace", "loop.u32"];
        shop.ringpool(first.iter().chain(flags))
    };
    failed(&replay(&["--frames", "301"]), &["301", "300"]);
    misused(&replay(&[]), &["--frames"]);
    misused(&replay(&["--frames", "9", "--policy", "lru"]), &["lru", "probation", "clock"]);
    misused(&replay(&["--frames", "9", "--threads", "0"]), &["--threads"]);
}
