//! The processor's wide vectors change how long things take and nothing else.

use std::fs;
use std::path::Path;

use crate::workshop::{Workshop, done};

/// The names and the bytes of a segment's files.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn segments_and_hits_are_the_same_without_wide_vectors() {
    let shop = Workshop::new();
    // No multiple of a vector's length.
    shop.points("base.fvecs", 1500, 45, 1);
    shop.points("query.fvecs", 40, 45, 2);
    let codes = ["sq8", "sq4", "rabitq:1", "rabitq:4"];
    for (metric, element) in [("l2", "as-given"), ("cosine", "f16"), ("ip", "bf16")] {
        let [wide, plain] = ["auto", "plain"].map(|simd| {
            let out = format!("{metric}-{simd}");
            let mut build = vec!["--simd", simd, "build", "--vectors", "base.fvecs"];
            build.extend(["--out", &out, "--metric", metric, "--element", element]);
            build.extend(codes.iter().flat_map(|codes| ["--quantize", codes]));
            done(&shop.ringpool(&build));
            let found = codes.iter().chain(&["none"]).map(|codes| {
                let mut search = vec!["search", &out, "--queries", "query.fvecs"];
                search.extend(["--codes", codes, "--ids-out", "ids.ivecs", "--simd", simd]);
                done(&shop.ringpool(&search));
                fs::read(shop.path("ids.ivecs")).unwrap()
            });
            (found.collect::<Vec<_>>(), files(&shop.path(&out)))
        });
        assert!(wide.0 == plain.0, "{metric}: other hits");
        assert!(wide.1 == plain.1, "{metric}: other bytes");
        assert_eq!(wide.0[0].len(), 40 * (1 + 10) * 4);
    }
}
