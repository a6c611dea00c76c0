//! `compare` and `demo`: every run a process under one limit, the same answers, a page.

use std::fs;

use ringpool::storage::conformance::skipped;
use serde_json::Value;

use crate::workshop::{Workshop, done, failed, json};

fn compare(more: &[&str]) -> Vec<String> {
    let first = ["compare", "segment", "--queries", "query.fvecs", "--memory", "512KiB"];
    first.iter().chain(more).map(ToString::to_string).collect()
}

#[test]
fn every_backend_runs_cold_and_warm_under_one_limit() {
    let shop = Workshop::with_segment();
    let found = json(&shop.ringpool(compare(&["--threads", "1,2", "--json"])));
    let runs = found["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3 * 2 * 2);
    let limited = found["limit_bytes"].is_u64();
    assert_eq!(limited, found["unlimited_reason"].is_null());
    for run in runs {
        assert_eq!(run["answers_crc32c"], runs[0]["answers_crc32c"]);
        assert_eq!(run["memory_budget_bytes"], 512 << 10);
        let enforced = run["memory_enforced_by"].as_str().unwrap();
        match run["backend"].as_str().unwrap() {
            "memory" => assert_eq!(enforced, "none"),
            _ if limited => assert!(enforced.starts_with("cgroup-v"), "{enforced}"),
            "pool" => assert_eq!(enforced, "pool"),
            _ => assert_eq!(enforced, "none"),
        }
        if run["backend"] == "pool" && run["direct_io"] == true {
            assert_eq!(run["page_cache_bytes"], 0);
        }
    }
    if limited {
        let part = |key: &str| found[key].as_u64().unwrap();
        let parts = ["anonymous_bytes", "page_table_bytes", "budget_bytes", "headroom_bytes"];
        assert_eq!(part("limit_bytes"), parts.map(part).iter().sum::<u64>());
    }
    let ratios = found["ratios"].as_array().unwrap();
    assert_eq!(ratios.len(), 2 * 2 * 2);
    for ratio in ratios {
        let winner = ratio["winner"].as_str().unwrap();
        let against = ratio["against"].as_str().unwrap();
        assert!(["pool", "even", against].contains(&winner), "{winner}");
    }
    for key in ["kernel", "cpu_model", "filesystem", "read_ahead_kb"] {
        assert!(found["machine"].get(key).is_some(), "{key}");
    }
}

#[test]
fn repeats_are_interleaved_and_advices_compete() {
    let shop = Workshop::with_segment();
    let flags = [
        "--backends",
        "mmap,pool",
        "--mmap-advice",
        "random,willneed",
        "--threads",
        "1",
        "--repeats",
        "2",
        "--json",
    ];
    let found = json(&shop.ringpool(compare(&flags)));
    let name = |run: &Value| {
        let words = [&run["backend"], &run["mmap_advice"], &run["temperature"]];
        words.map(|word| word.as_str().unwrap_or("-").to_owned()).join(" ")
    };
    let names: Vec<String> = found["runs"].as_array().unwrap().iter().map(name).collect();
    let once = [
        "mmap random cold",
        "mmap willneed cold",
        "pool - cold",
        "mmap random warm",
        "mmap willneed warm",
        "pool - warm",
    ];
    assert_eq!(names, [once, once].concat());
    assert_eq!(found["commands"].as_array().unwrap().len(), once.len());
    assert_eq!(found["ratios"].as_array().unwrap().len(), 4);
}

#[test]
fn a_warm_mapping_is_held_to_the_limit() {
    let shop = Workshop::new();
    // 12 MiB of vectors, of which the limit leaves room for a fraction.
    shop.points("base.fvecs", 3072, 1024, 1);
    shop.points("query.fvecs", 100, 1024, 2);
    let build = ["build", "--vectors", "base.fvecs", "--out", "segment", "--ef-construction", "20"];
    done(&shop.ringpool(build));
    let flags = [
        "--backends",
        "pool,mmap",
        "--threads",
        "1",
        "--ef",
        "400",
        "--oversample",
        "40",
        "--json",
    ];
    let found = json(&shop.ringpool(compare(&flags)));
    if found["limit_bytes"].is_null() {
        return skipped(format!("no memory cgroup: {}", found["unlimited_reason"]));
    }
    let room = found["budget_bytes"].as_u64().unwrap() + found["headroom_bytes"].as_u64().unwrap();
    for run in found["runs"].as_array().unwrap() {
        let held = run["page_cache_bytes"].as_u64().unwrap();
        // What one kind of run needs less than the other is the page cache's as well.
        assert!(held <= room + (1 << 20), "{held} bytes where there is room for {room}");
    }
}

#[test]
fn the_report_is_written_whole() {
    let shop = Workshop::with_segment();
    let flags = ["--backends", "pool,mmap", "--threads", "1", "--report", "r.html"];
    let text = done(&shop.ringpool(compare(&flags)));
    assert!(text.contains("report: r.html"), "{text}");
    let page = fs::read_to_string(shop.path("r.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    for part in ["<svg", "ringpool search segment", "The machine", "mmap willneed"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_run_that_fails_is_named() {
    let shop = Workshop::with_segment();
    let path = shop.path("segment/vectors.pages");
    let mut bytes = fs::read(&path).unwrap();
    bytes.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
    fs::write(&path, bytes).unwrap();
    let before = shop.contents();
    let output = shop.ringpool(compare(&["--report", "r.html"]));
    failed(&output, &["rehearsal of pool", "vectors.pages", "checksum"]);
    assert_eq!(shop.contents(), before);
}

#[test]
fn a_limit_that_is_too_small_for_a_pool_is_the_pools_to_say() {
    let shop = Workshop::with_segment();
    let flags = ["compare", "segment", "--queries", "query.fvecs", "--memory", "8KiB"];
    failed(&shop.ringpool(flags), &["pool", "minimum"]);
}
