//! Vectors that are generated, their true neighbours, and the parameters that find them.

use std::fs;
use std::path::Path;

use ringpool::vectors;

use crate::workshop::{Workshop, done, failed, json, misused};

const GENERATE: [&str; 9] =
    ["generate", "--n", "3000", "--dim", "20", "--clusters", "30", "--seed", "7"];

/// The repository's slice of Fashion-MNIST.
fn shipped(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/fashion-mnist-12k");
    folder.join(file).to_str().unwrap().to_owned()
}

#[test]
fn the_same_seed_gives_the_same_bytes_everywhere() {
    let shop = Workshop::new();
    let flags =
        ["--out", "base.fvecs", "--queries", "50", "--queries-out", "query.fvecs", "--json"];
    let made = json(&shop.ringpool(GENERATE.iter().chain(&flags)));
    assert_eq!((&made["points"], &made["queries"]), (&3000.into(), &50.into()));
    let crc = |name: &str| crc32c::crc32c(&fs::read(shop.path(name)).unwrap());
    // What every machine must give, by these very numbers.
    assert_eq!([crc("base.fvecs"), crc("query.fvecs")].map(|crc| format!("{crc:08x}")), GOLDEN);
    let base = vectors::read(&shop.path("base.fvecs")).unwrap();
    assert_eq!((base.len(), base.dim()), (3000, 20));
    let other = ["--out", "other.fvecs", "--spread", "0.6"];
    done(&shop.ringpool(GENERATE.iter().chain(&other)));
    assert_ne!(crc("other.fvecs"), crc("base.fvecs"));
    assert_eq!(shop.contents().len(), 3);
}
const GOLDEN: [&str; 2] = ["2a175937", "e629a958"];

#[test]
fn every_ending_holds_the_same_rows() {
    let shop = Workshop::new();
    let make = |out: &str, element: &str| {
        let flags = ["--out", out, "--element", element];
        done(&shop.ringpool(GENERATE.iter().chain(&flags)));
        vectors::read(&shop.path(out)).unwrap()
    };
    let plain = make("a.fvecs", "f32");
    for name in ["a.npy", "a.npy.gz", "a.fvecs.gz"] {
        assert_eq!(make(name, "f32"), plain, "{name}");
    }
    assert_eq!(make("b.npy", "u8"), make("b.bvecs.gz", "u8"));
    for (name, element) in [("c.npy", "f16"), ("d.npy", "i8")] {
        assert_eq!(make(name, element).element().to_string(), element);
    }
}

#[test]
fn what_cannot_be_generated_leaves_nothing() {
    let shop = Workshop::new();
    let with = |flags: &[&str]| shop.ringpool(GENERATE.iter().chain(flags));
    failed(&with(&["--out", "a.csv"]), &["a.csv", "ending"]);
    failed(&with(&["--out", "a.bvecs", "--element", "f32"]), &["a.bvecs", "f32"]);
    failed(&with(&["--out", "nowhere/a.fvecs"]), &["nowhere"]);
    // The queries are refused before the vectors are made.
    let queries = ["--out", "a.fvecs", "--queries", "5", "--queries-out", "q.bvecs"];
    failed(&with(&queries), &["q.bvecs"]);
    misused(&with(&["--out", "a.fvecs", "--queries", "5"]), &["--queries-out"]);
    misused(&with(&["--out", "a.fvecs", "--spread", "1e9"]), &["--spread"]);
    misused(&with(&["--out", "a.fvecs", "--skew", "0.8"]), &["--queries"]);
    misused(&with(&["--skew", "1.1"]), &["from 0 to 1"]);
    let huge = ["generate", "--n", "9", "--dim", "65536", "--clusters", "5000", "--out", "a.npy"];
    misused(&shop.ringpool(huge), &["--clusters"]);
    misused(&shop.ringpool(["generate", "--n", "0", "--dim", "3", "--out", "a.npy"]), &["--n"]);
    assert!(shop.contents().is_empty(), "{:?}", shop.contents());
}

/// Over the file, and over a segment by each backend: byte by byte the file that is shipped.
#[test]
fn the_truth_is_the_one_that_is_shipped() {
    let shop = Workshop::new();
    let (base, query) = (shipped("base.bvecs.gz"), shipped("query.bvecs.gz"));
    let expected = vectors::read_ids(Path::new(&shipped("truth.ivecs.gz"))).unwrap();
    let first = ["truth", "--queries", &query, "--out", "found.ivecs", "--json"];
    let truth = |more: &[&str]| {
        let found = json(&shop.ringpool(first.iter().chain(more)));
        let ids = vectors::read_ids(&shop.path("found.ivecs")).unwrap();
        assert!(ids == expected, "{more:?}");
        found
    };
    let found = truth(&["--vectors", &base, "--metric", "l2"]);
    assert_eq!((&found["points"], &found["k"]), (&12_000.into(), &100.into()));
    assert!(found["backend"].is_null());
    let build = ["build", "--vectors", &base, "--out", "segment", "--m", "2"];
    let sparse = ["--ef-construction", "2", "--quantize", "none"];
    done(&shop.ringpool(build.iter().chain(&sparse)));
    for backend in ["pool", "mmap", "memory"] {
        let over = truth(&["--segment", "segment", "--backend", backend, "--memory", "1MiB"]);
        assert_eq!(over["answers_crc32c"], found["answers_crc32c"], "{backend}");
    }
    // A search that measures everything finds the same.
    let search = ["search", "segment", "--queries", &query, "--exact", "--memory", "1MiB"];
    let flags = ["--k", "100", "--ids-out", "searched.ivecs", "--threads", "2", "--json"];
    let searched = json(&shop.ringpool(search.iter().chain(&flags)));
    assert_eq!(searched["answers_crc32c"], found["answers_crc32c"]);
    assert_eq!(
        fs::read(shop.path("searched.ivecs")).unwrap(),
        fs::read(shop.path("found.ivecs")).unwrap()
    );
}

#[test]
fn a_truth_that_cannot_be_made_leaves_nothing() {
    let shop = Workshop::with_segment();
    shop.points("wide.fvecs", 3, 25, 3);
    let mut row = vec![0.5; 24];
    row[3] = f32::NAN;
    shop.fvecs("nan.fvecs", &[vec![0.5; 24], row]);
    let before = shop.contents();
    let truth = |queries: &str, out: &str, flags: &[&str]| {
        let first = ["truth", "--queries", queries, "--out", out];
        shop.ringpool(first.iter().chain(flags))
    };
    let base = ["--vectors", "base.fvecs", "--metric", "l2"];
    for over in [&base[..], &["--segment", "segment"]] {
        failed(&truth("query.fvecs", "t.fvecs", over), &["t.fvecs", ".ivecs"]);
        failed(&truth("wide.fvecs", "t.ivecs", over), &["wide.fvecs", "25", "24"]);
        failed(&truth("nan.fvecs", "t.ivecs", over), &["nan.fvecs", "query 1", "dimension 3"]);
        failed(&truth("missing.fvecs", "t.ivecs", over), &["missing.fvecs"]);
    }
    misused(&truth("query.fvecs", "t.ivecs", &base[..2]), &["--metric"]);
    misused(&truth("query.fvecs", "t.ivecs", &[]), &["--vectors"]);
    let both = [&base[..], &["--segment", "segment"]].concat();
    misused(&truth("query.fvecs", "t.ivecs", &both), &["cannot be used"]);
    assert_eq!(shop.contents(), before);
}

/// A segment of generated vectors with the truth of its queries.
fn tunable() -> Workshop {
    let shop = Workshop::new();
    let out = ["--out", "base.fvecs", "--queries", "200", "--queries-out", "query.fvecs"];
    done(&shop.ringpool(GENERATE.iter().chain(&out)));
    let truth = ["truth", "--vectors", "base.fvecs", "--metric", "l2", "--queries", "query.fvecs"];
    done(&shop.ringpool(truth.iter().chain(&["--out", "truth.ivecs"])));
    let build = ["build", "--vectors", "base.fvecs", "--out", "segment", "--m", "4"];
    done(&shop.ringpool(build.iter().chain(&["--quantize", "sq4"])));
    shop
}

const TUNE: [&str; 6] = ["tune", "segment", "--queries", "query.fvecs", "--truth", "truth.ivecs"];

#[test]
fn what_tune_finds_reaches_the_recall_and_less_does_not() {
    let shop = tunable();
    for (flags, by_codes) in [(&[][..], true), (&["--codes", "none"], false)] {
        let more = ["--recall", "0.9", "--memory", "512KiB", "--html", "curve.html", "--json"];
        let tuned = json(&shop.ringpool(TUNE.iter().chain(&more).chain(flags)));
        let reached = tuned["reached"].as_array().unwrap();
        assert!(
            !reached.is_empty() && reached.iter().all(|r| r["recall"].as_f64().unwrap() >= 0.9)
        );
        let best = &tuned["best"];
        assert!(best["qps"].as_f64() >= reached[0]["qps"].as_f64());
        assert!(by_codes || best["oversample"].is_null());
        // The command that it names gives the recall that it names.
        let command = tuned["command"].as_str().unwrap();
        let words = command.split(' ').skip(1).chain(["--json"]);
        let run = json(&shop.ringpool(words));
        assert_eq!(run["recall"], best["recall"], "{command}");
        // Half the candidates were too few.
        let ef = best["ef"].as_u64().unwrap();
        let curve = tuned["curve"].as_array().unwrap();
        let alike = curve.iter().filter(|m| m["oversample"] == best["oversample"]);
        let fewer = alike.filter(|m| m["ef"].as_u64().unwrap() < ef * 9 / 10);
        assert!(fewer.clone().all(|m| m["recall"].as_f64().unwrap() < 0.9));
        let page = fs::read_to_string(shop.path("curve.html")).unwrap();
        assert!(page.contains("<svg") && page.contains(command));
    }
    let text = done(&shop.ringpool(TUNE.iter().chain(&["--recall", "0.9", "--backend", "memory"])));
    for part in
        ["recall@10 of 0.9", "sq4", "oversample", "ringpool search segment", "--backend memory"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_recall_that_is_out_of_reach_is_said_so() {
    let shop = tunable();
    // Walks by poor codes, and nothing else was ever linked: not all are found.
    let build = ["build", "--vectors", "base.fvecs", "--out", "poor", "--m", "2"];
    done(&shop.ringpool(build.iter().chain(&["--ef-construction", "1", "--quantize", "none"])));
    shop.file("wrong.ivecs", &[&10_i32.to_le_bytes()[..], &[0; 40]].concat().repeat(200));
    let before = shop.contents();
    let args = ["tune", "poor", "--queries", "query.fvecs", "--truth", "wrong.ivecs"];
    let output = shop.ringpool(args.iter().chain(&["--html", "never.html"]));
    failed(&output, &["poor", "recall 0.95 is not reached"]);
    misused(&shop.ringpool(args.iter().chain(&["--recall", "1.5"])), &["--recall"]);
    misused(&shop.ringpool(args.iter().chain(&["--recall", "0"])), &["--recall"]);
    assert_eq!(shop.contents(), before);
}

#[test]
fn a_build_that_needs_more_than_it_may_is_refused_before_it_begins() {
    let shop = Workshop::new();
    done(&shop.ringpool(GENERATE.iter().chain(&["--out", "base.fvecs"])));
    done(&shop.ringpool(GENERATE.iter().chain(&["--out", "base.bvecs.gz"])));
    let before = shop.contents();
    let build = |file: &str, memory: &str| {
        let flags = ["--out", "segment", "--build-memory", memory, "--json"];
        shop.ringpool(["build", "--vectors", file].iter().chain(&flags))
    };
    for file in ["base.fvecs", "base.bvecs.gz"] {
        let parts = ["3,000 vectors", "48.00 MiB", "--build-memory", "of them fit"];
        failed(&build(file, "48MiB"), &[&parts[..], &[file]].concat());
    }
    misused(&build("base.fvecs", "lots"), &["--build-memory"]);
    assert_eq!(shop.contents(), before);
    let built = json(&build("base.fvecs", "96MiB"));
    let (needed, peak) = (&built["memory_needed_bytes"], &built["peak_rss_bytes"]);
    assert!(needed.as_u64().unwrap() <= 96 << 20 && peak.is_u64());
}
