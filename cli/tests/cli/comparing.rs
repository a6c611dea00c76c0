//! `compare` and `demo`: every run a process under one limit, the same answers, a page.

use std::fs;

use ringpool::storage::conformance::skipped;
use serde_json::Value;

use crate::workshop::{Workshop, done, failed, json, misused};

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
fn the_pool_runs_against_itself_and_the_disk_is_measured() {
    let shop = Workshop::with_segment();
    let flags = ["--backends", "pool,mmap", "--threads", "1", "--repeats", "2", "--json"];
    let found = json(&shop.ringpool(compare(&flags)));
    let again = found["aa_runs"].as_array().unwrap();
    assert_eq!((again.len(), found["runs"].as_array().unwrap().len()), (2 * 2, 2 * 2 * 2));
    assert!(again.iter().all(|run| run["contestant"] == "pool again"));
    let noise = found["noise"].as_array().unwrap();
    assert_eq!(noise.len(), 2);
    for (noise, ratio) in noise.iter().zip(found["ratios"].as_array().unwrap()) {
        assert_eq!(noise["ratios"].as_array().unwrap().len(), 2);
        assert_eq!(noise["factor"], ratio["noise_factor"]);
        let factor = noise["factor"].as_f64().unwrap();
        let away = ratio["ratio"].as_f64().unwrap();
        assert_eq!(ratio["within_noise"], away.max(1.0 / away) <= factor);
    }
    let ladder = found["disk"]["ladder"].as_array().unwrap();
    let measured = found["disk"]["unmeasured_reason"].is_null();
    assert_eq!(ladder.is_empty(), !measured);
    if measured {
        assert!(ladder.iter().all(|step| step["iops"].as_f64().unwrap() > 0.0));
    }
}

#[test]
fn several_memories_have_a_limit_each_and_every_run_is_a_row() {
    let shop = Workshop::with_segment();
    let flags = ["compare", "segment", "--queries", "query.fvecs", "--memories", "1MiB,512KiB"];
    let more = ["--threads", "1", "--aa", "on", "--probe", "off", "--csv", "r.csv", "--json"];
    let mappings = ["--mmap-advice", "normal,populate", "--series", "1"];
    let found = json(&shop.ringpool(flags.iter().chain(&more).chain(&mappings)));
    let memories = found["memories"].as_array().unwrap();
    assert_eq!(memories.len(), 2);
    assert_eq!(memories[0]["limit_bytes"], found["limit_bytes"]);
    for (memory, budget) in memories.iter().zip([1_u64 << 20, 512 << 10]) {
        assert_eq!(memory["budget_bytes"], budget);
        let of_it = |run: &&Value| run["budget_bytes"] == budget;
        let names = |temperature: &str| {
            let runs = found["runs"].as_array().unwrap().iter().filter(of_it);
            let runs = runs.filter(|run| run["temperature"] == temperature);
            runs.map(|run| run["contestant"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        // The yardstick has no limit, so that it runs once; what is populated is never cold.
        let yardstick = if budget == 1 << 20 { &["memory"][..] } else { &[] };
        assert_eq!(names("cold"), [&["pool", "mmap normal"], yardstick].concat());
        assert_eq!(names("warm"), [&["pool", "mmap normal", "mmap populate"], yardstick].concat());
    }
    let series = found["series"].as_array().unwrap();
    assert_eq!(series.len(), 2);
    for one in series {
        assert_eq!(one["budget_bytes"], 512 << 10);
        assert!(!one["points"].as_array().unwrap().is_empty());
    }
    let rows = fs::read_to_string(shop.path("r.csv")).unwrap();
    let runs = found["runs"].as_array().unwrap().len() + found["aa_runs"].as_array().unwrap().len();
    assert_eq!(rows.lines().count(), 1 + runs);
    assert!(rows.starts_with("contestant,round,budget_bytes,threads,temperature,"), "{rows}");
}

#[test]
fn one_memory_or_several_and_known_ways_to_map() {
    let shop = Workshop::with_segment();
    misused(&shop.ringpool(compare(&["--memories", "10%"])), &["--memories", "--memory"]);
    misused(&shop.ringpool(compare(&["--mmap-advice", "soon"])), &["populate"]);
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
