//! What is printed: the JSON keys are a contract, and stdout has nothing else.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::Value;

use crate::workshop::{Workshop, done, json, one_line, stderr, stdout};

/// The keys of a run, in order.
const RUN: [&str; 25] = [
    "backend",
    "temperature",
    "mmap_advice",
    "engine",
    "engine_reason",
    "direct_io",
    "memory_enforced_by",
    "queries",
    "threads",
    "k",
    "recall",
    "qps",
    "latency_us",
    "cpu_seconds",
    "wall_seconds",
    "reads",
    "read_bytes",
    "reads_per_query",
    "hits",
    "misses",
    "evictions",
    "memory_budget_bytes",
    "peak_rss_bytes",
    "page_cache_bytes",
    // Beside the contract, behind all of it.
    "mmap_verify",
];

#[test]
fn a_run_has_the_keys_of_the_contract_in_order() {
    let shop = Workshop::with_segment();
    for backend in ["pool", "mmap", "direct", "memory"] {
        let output = shop.search(&["--backend", backend, "--json"]);
        let run = json(&output);
        let text = stdout(&output);
        let places = RUN.map(|key| text.find(&format!("\"{key}\":")).expect(key));
        assert!(places.is_sorted(), "{text}");
        let mut keys: Vec<_> = run.as_object().unwrap().keys().map(String::as_str).collect();
        keys.retain(|key| !RUN.contains(key));
        let beside = [
            "answers_crc32c",
            "components",
            "inflight",
            "originals_per_query",
            "place",
            "resident_bytes",
            "segments",
        ];
        assert_eq!(keys, beside);
        let latency = run["latency_us"].as_object().unwrap();
        let mut names: Vec<_> = latency.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["max", "p50", "p95", "p99", "p999"]);
        assert!(latency.values().all(|us| us.as_f64().unwrap() > 0.0));
    }
}

#[test]
fn figures_without_a_meaning_are_null() {
    let shop = Workshop::with_segment();
    let run = |backend| json(&shop.search(&["--backend", backend, "--json"]));
    let (pool, mmap, memory) = (run("pool"), run("mmap"), run("memory"));
    for key in ["hits", "misses", "evictions"] {
        assert!(pool[key].is_u64(), "{key}");
        assert!(mmap[key].is_null() && memory[key].is_null(), "{key}");
    }
    for run in [&pool, &mmap, &memory] {
        assert!(run["recall"].is_null());
        assert_eq!(run["queries"], 40);
        assert_eq!(run["temperature"], "as-is");
        assert!(run["read_bytes"].is_u64() && run["peak_rss_bytes"].is_u64());
        assert!(run["page_cache_bytes"].is_u64() || run["page_cache_reason"].is_string());
    }
    assert!(pool["engine"].is_string() && pool["engine_reason"].is_string());
    assert!(pool["mmap_advice"].is_null() && mmap["mmap_advice"] == "willneed");
    assert!(mmap["mmap_verify"] == "first-touch" && pool["mmap_verify"].is_null());
    assert!(memory["reads"].is_null() && mmap["reads"].is_u64());
    assert_eq!(pool["memory_enforced_by"], "pool");
    assert_eq!(mmap["memory_enforced_by"], "none");
    assert_eq!(pool["memory_budget_bytes"], 512 << 10);
    // Where everything is in memory there is nothing to wait for.
    assert!(pool["inflight"].as_u64() > Some(1) && pool["inflight"] == mmap["inflight"]);
    assert_eq!(memory["inflight"], 1);
    assert_eq!(json(&shop.search(&["--inflight", "5", "--json"]))["inflight"], 5);
    assert!(json(&shop.search(&["--exact", "--json"]))["inflight"].is_null());
}

#[test]
fn every_backend_engine_budget_and_thread_count_gives_the_same_answers() {
    let shop = Workshop::with_segment();
    let crc = |flags: &[&str]| {
        let run = json(&shop.search(&[flags, &["--json"]].concat()));
        run["answers_crc32c"].as_str().unwrap().to_owned()
    };
    let one = crc(&[]);
    for flags in [
        &["--backend", "mmap", "--mmap-advice", "random"][..],
        &["--backend", "memory", "--threads", "3"],
        &["--engine", "blocking", "--threads", "2"],
        &["--temperature", "cold"],
        &["--temperature", "warm", "--threads", "4"],
        &["--inflight", "1"],
        &["--inflight", "3", "--threads", "2", "--engine", "blocking"],
        &["--inflight", "1024", "--backend", "mmap"],
        &["--inflight", "40", "--backend", "memory"],
        &["--backend", "direct", "--threads", "3"],
        &["--place", "graph=pool,codes=pool,vectors=pool", "--threads", "2"],
        &["--place", "graph=mmap,codes=direct"],
        &["--place", "graph=mmap,codes=mmap,vectors=mmap", "--temperature", "cold"],
        &["--place", "vectors=resident,codes=pool", "--inflight", "1"],
    ] {
        assert_eq!(crc(flags), one, "{flags:?}");
    }
    assert_ne!(crc(&["--k", "9"]), one);
}

#[test]
fn places_are_said_and_counted() {
    let shop = Workshop::with_segment();
    let args = ["search", "segment", "--queries", "query.fvecs", "--memory", "100%", "--json"];
    let run = |place| json(&shop.ringpool(args.iter().chain(&["--place", place])));
    let all = run("graph=pool,codes=pool");
    assert_eq!(all["place"], "graph=pool,codes=pool,vectors=pool");
    let names: Vec<_> =
        all["components"].as_array().unwrap().iter().map(|one| &one["component"]).collect();
    assert_eq!(names, ["vectors", "codes-sq8", "graph"]);
    let sum = |key: &str| -> u64 {
        all["components"].as_array().unwrap().iter().map(|one| one[key].as_u64().unwrap()).sum()
    };
    // What the layers above the lowest took at open is read as well.
    assert!(sum("reads") >= all["reads"].as_u64().unwrap() && sum("hits") > 0);
    assert_eq!(all["memory_budget_bytes"], 4096 * sum("pages"));
    let graph_alone = run("graph=pool,vectors=resident");
    assert_eq!((&graph_alone["backend"], &all["backend"]), (&"memory".into(), &"pool".into()));
    assert!(graph_alone["resident_bytes"].as_u64() > all["resident_bytes"].as_u64());
    let straight = json(&shop.search(&["--backend", "direct", "--json"]));
    assert_eq!(
        (&straight["memory_enforced_by"], &straight["hits"]),
        (&"none".into(), &Value::Null)
    );
    assert!(straight["reads"].as_u64().unwrap() > 0 && straight["engine"].is_string());
    let text = done(&shop.search(&["--place", "codes=mmap"]));
    assert!(text.contains("graph=resident,codes=mmap,vectors=pool"), "{text}");
    let shown = done(&shop.ringpool(["inspect", "segment", "--place", "graph=pool"]));
    assert!(shown.contains("pool") && shown.contains("resident"), "{shown}");
}

#[test]
fn a_warm_pool_that_holds_everything_reads_nothing() {
    let shop = Workshop::with_segment();
    let args = ["search", "segment", "--queries", "query.fvecs", "--memory", "16MiB", "--json"];
    let run =
        |temperature| json(&shop.ringpool(args.iter().chain(&["--temperature", temperature])));
    let (cold, warm) = (run("cold"), run("warm"));
    assert!(cold["reads"].as_u64().unwrap() > 0);
    assert_eq!((&warm["reads"], &warm["misses"]), (&Value::from(0), &Value::from(0)));
    assert!(warm["hits"].as_u64().unwrap() >= 40);
}

#[test]
fn ids_are_padded_where_there_are_fewer_points() {
    let shop = Workshop::new();
    shop.points("base.fvecs", 5, 4, 1);
    shop.points("query.fvecs", 3, 4, 2);
    done(&shop.ringpool(["build", "--vectors", "base.fvecs", "--out", "segment"]));
    done(&shop.search(&["--k", "8", "--ids-out", "ids.ivecs"]));
    let bytes = fs::read(shop.path("ids.ivecs")).unwrap();
    let words: Vec<i32> =
        bytes.chunks(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(words.len(), 3 * 9);
    for row in words.chunks(9) {
        assert_eq!((row[0], &row[6..]), (8, &[-1; 3][..]));
        let mut ids = row[1..6].to_vec();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2, 3, 4]);
    }
    // All five points are the truth of every query, in any order.
    let truth = shop.search(&["--k", "8", "--truth", "ids.ivecs", "--json"]);
    assert_eq!(json(&truth)["recall"], 1.0);
}

#[test]
fn build_and_inspect_agree() {
    let shop = Workshop::new();
    shop.points("base.fvecs", 100, 24, 1);
    let flags = ["--metric", "cosine", "--m", "8", "--page-size", "16KiB", "--seed", "5", "--json"];
    let args = ["build", "--vectors", "base.fvecs", "--out", "segment"];
    let built = json(&shop.ringpool(args.iter().chain(&flags)));
    let found = json(&shop.ringpool(["inspect", "segment", "--json"]));
    for key in ["points", "dimensions", "element", "metric", "m", "ef_construction", "seed"] {
        assert_eq!(built[key], found[key], "{key}");
    }
    assert_eq!((&found["metric"], &found["points"]), (&"cosine".into(), &100.into()));
    let components = found["components"].as_array().unwrap();
    let sum: u64 = components.iter().map(|c| c["bytes"].as_u64().unwrap()).sum();
    assert_eq!(built["bytes"], sum);
    for component in components {
        assert_eq!(component["page_size_bytes"], 16 << 10);
        let length = shop.path(component["file"].as_str().unwrap()).metadata().unwrap().len();
        assert_eq!(component["bytes"], length);
    }
    let text = done(&shop.ringpool(["inspect", "segment"]));
    let version = format!("version {}", ringpool::FORMAT_VERSION);
    for part in [&*version, "cosine", "vectors", "graph", "in memory", "by page"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn wider_elements_are_stored_on_request() {
    let shop = Workshop::new();
    let row = |i: u8| [&4_i32.to_le_bytes()[..], &[i, 1, 2, 3]].concat();
    shop.file("base.bvecs", &(0..50).flat_map(row).collect::<Vec<u8>>());
    for (flags, element) in [(&[][..], "u8"), (&["--element", "f32"], "f32")] {
        let args = ["build", "--vectors", "base.bvecs", "--json", "--out", element];
        assert_eq!(json(&shop.ringpool(args.iter().chain(flags)))["element"], element);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let shop = Workshop::with_segment();
    for args in [&["inspect", "segment"][..], &["verify", "segment", "--json"], &["--help"]] {
        let mut child =
            shop.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Closed before anything is written.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    }
    let mut child = shop.command(["inspect", "segment"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap().take(4)).read_line(&mut first).unwrap();
    assert_eq!((first.as_str(), child.wait().unwrap().code()), ("segm", Some(0)));
}

#[test]
fn a_full_stdout_is_a_failure() {
    let shop = Workshop::with_segment();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = shop.command(["inspect", "segment"]).stdout(full).output().unwrap();
    assert!(one_line(&output, 1).contains("stdout"));
}

#[test]
fn people_get_words_and_figures() {
    let shop = Workshop::with_segment();
    let text = done(&shop.search(&["--temperature", "cold", "--backend", "mmap"]));
    for part in
        ["40 queries through mmap, cold, 1 thread", "QPS", "p99.9", "willneed", "first-touch"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(done(&shop.search(&["--inflight", "3"])).contains("1 thread with 3 in flight, k 10"));
    assert!(done(&shop.ringpool(["--help"])).contains("compare"));
    assert!(done(&shop.ringpool(["--version"])).starts_with("ringpool "));
}
