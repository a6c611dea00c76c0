//! Segments that are not as they were written: named by verify, refused by search.

use std::fs;

use crate::workshop::{Workshop, done, failed, json, one_line, stdout};

/// Flips one bit of a file.
fn flip(shop: &Workshop, file: &str, byte: usize) {
    let path = shop.path(file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[byte] ^= 0x10;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_flipped_byte_is_named_by_verify_and_refused_by_search() {
    let shop = Workshop::with_segment();
    done(&shop.ringpool(["verify", "segment"]));
    flip(&shop, "segment/vectors.pages", 7 * 4096 + 1234);

    let output = shop.ringpool(["verify", "segment"]);
    let line = one_line(&output, 1);
    assert!(line.contains("segment: 1 of "), "{line}");
    assert!(stdout(&output).starts_with("vectors page 7: "), "{}", stdout(&output));
    assert_eq!(stdout(&output).lines().count(), 1);

    // Candidates enough to read every page.
    let wide = ["--ef", "2000", "--k", "500"];
    for backend in ["pool", "mmap", "memory"] {
        let flags = [&wide[..], &["--backend", backend, "--json"]].concat();
        failed(&shop.search(&flags), &["vectors.pages", "page 7", "checksum"]);
    }
    let trusting = [&wide[..], &["--backend", "mmap", "--mmap-verify", "never"]].concat();
    done(&shop.search(&trusting));
}

#[test]
fn verify_lists_bad_pages_as_json() {
    let shop = Workshop::with_segment();
    let whole = json(&shop.ringpool(["verify", "segment", "--json"]));
    assert_eq!(whole["bad"].as_array().unwrap().len(), 0);
    flip(&shop, "segment/graph.pages", 5000);
    flip(&shop, "segment/vectors.pages", 100);
    flip(&shop, "segment/vectors.pages", 9000);
    let output = shop.ringpool(["verify", "segment", "--json"]);
    one_line(&output, 1);
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(found["pages"], whole["pages"]);
    let bad = found["bad"].as_array().unwrap().iter();
    let mut bad: Vec<_> =
        bad.map(|bad| (bad["component"].to_string(), bad["page"].as_u64())).collect();
    bad.sort();
    let expected = [("\"graph\"", 1), ("\"vectors\"", 0), ("\"vectors\"", 2)];
    assert_eq!(bad, expected.map(|(name, page)| (name.to_owned(), Some(page))));
}

#[test]
fn a_flipped_byte_in_what_is_loaded_is_refused_at_once() {
    for file in ["graph.pages", "codes-sq8.pages", "vectors.crc", "MANIFEST"] {
        let shop = Workshop::with_segment();
        let place = format!("segment/{file}");
        flip(&shop, &place, 60);
        for backend in ["pool", "mmap", "memory"] {
            failed(&shop.search(&["--backend", backend]), &[file]);
        }
    }
}

#[test]
fn a_component_that_is_missing_or_cut() {
    for file in ["vectors.pages", "graph.pages", "codes-sq8.pages", "vectors.crc"] {
        let shop = Workshop::with_segment();
        let path = shop.path("segment").join(file);
        let bytes = fs::read(&path).unwrap();
        for cut in [bytes.len() - 1, bytes.len() / 2, 0] {
            fs::write(&path, &bytes[..cut]).unwrap();
            for command in ["verify", "inspect"] {
                failed(&shop.ringpool([command, "segment"]), &[file]);
            }
            failed(&shop.search(&[]), &[file]);
        }
        fs::remove_file(&path).unwrap();
        failed(&shop.search(&[]), &[file, "missing"]);
        failed(&shop.ringpool(["verify", "segment", "--json"]), &[file, "missing"]);
    }
}

#[test]
fn a_folder_that_is_no_segment() {
    let shop = Workshop::with_segment();
    fs::create_dir(shop.path("folder")).unwrap();
    for dir in ["folder", "nowhere", "base.fvecs"] {
        failed(&shop.ringpool(["inspect", dir]), &[dir]);
        failed(&shop.ringpool(["verify", dir]), &[dir]);
        failed(&shop.ringpool(["search", dir, "--queries", "query.fvecs"]), &[dir]);
        failed(&shop.ringpool(["compare", dir, "--queries", "query.fvecs"]), &[dir]);
    }
}
