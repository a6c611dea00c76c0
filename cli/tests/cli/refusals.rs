//! Bad input: a typed error on one line, the right exit code, and nothing half-made left.

use crate::workshop::{Workshop, failed, misused};

/// Builds from `name`, which must be refused with `parts`, and leave nothing behind.
#[track_caller]
fn refuses_to_build(shop: &Workshop, name: &str, parts: &[&str]) {
    let before = shop.contents();
    let output = shop.ringpool(["build", "--vectors", name, "--out", "segment"]);
    let mut parts = parts.to_vec();
    parts.push(name);
    failed(&output, &parts);
    assert_eq!(shop.contents(), before, "something was left");
}

#[test]
fn an_empty_file() {
    let shop = Workshop::new();
    for name in ["v.fvecs", "v.bvecs", "v.npy", "v.fvecs.gz", "v.npy.gz"] {
        shop.file(name, b"");
        refuses_to_build(&shop, name, &[]);
    }
}

#[test]
fn truncated_vectors() {
    let shop = Workshop::new();
    let whole = std::fs::read(shop.points("whole.fvecs", 10, 8, 1)).unwrap();
    for cut in [1, 3, 4, 5, whole.len() - 36, whole.len() - 1] {
        let name = format!("cut-{cut}.fvecs");
        shop.file(&name, &whole[..cut]);
        // A cut between two rows cannot be seen.
        if cut % 36 != 0 {
            refuses_to_build(&shop, &name, &[]);
        }
    }
}

#[test]
fn rows_of_different_length() {
    let shop = Workshop::new();
    shop.fvecs("v.fvecs", &[vec![1.0; 4], vec![1.0; 4], vec![1.0; 5]]);
    refuses_to_build(&shop, "v.fvecs", &["row 2"]);
}

#[test]
fn a_negative_or_absurd_dimension() {
    let shop = Workshop::new();
    for dim in [-1, 0, i32::MIN, i32::MAX, 1 << 24] {
        let name = format!("dim{dim}.fvecs");
        let mut bytes = dim.to_le_bytes().to_vec();
        bytes.extend([0; 64]);
        shop.file(&name, &bytes);
        refuses_to_build(&shop, &name, &["row 0", &dim.to_string()]);
    }
}

#[test]
fn an_unknown_ending_and_a_missing_file() {
    let shop = Workshop::new();
    shop.file("v.csv", b"1,2");
    refuses_to_build(&shop, "v.csv", &[]);
    refuses_to_build(&shop, "missing.fvecs", &[]);
}

#[test]
fn values_that_are_no_numbers() {
    let shop = Workshop::with_segment();
    for (name, value) in [("nan", f32::NAN), ("inf", f32::INFINITY)] {
        let file = format!("{name}.fvecs");
        let mut row = vec![0.5; 24];
        row[3] = value;
        shop.fvecs(&file, &[vec![0.5; 24], row]);
        let before = shop.contents();
        let output = shop.ringpool(["build", "--vectors", &file, "--out", "other"]);
        failed(&output, &[&file, "vector 1", "dimension 3"]);
        let output = shop.ringpool(["search", "segment", "--queries", &file]);
        failed(&output, &[&file, "query 1", "dimension 3"]);
        assert_eq!(shop.contents(), before);
    }
}

#[test]
fn queries_of_another_dimension() {
    let shop = Workshop::with_segment();
    shop.points("wide.fvecs", 3, 25, 3);
    let output = shop.ringpool(["search", "segment", "--queries", "wide.fvecs"]);
    failed(&output, &["wide.fvecs", "25", "24", "segment"]);
}

#[test]
fn an_existing_output_folder() {
    let shop = Workshop::with_segment();
    std::fs::create_dir(shop.path("empty")).unwrap();
    shop.file("taken", b"mine");
    let before = shop.contents();
    for out in ["segment", "empty", "taken"] {
        let output = shop.ringpool(["build", "--vectors", "base.fvecs", "--out", out]);
        failed(&output, &[out, "exists"]);
    }
    assert_eq!(shop.contents(), before);
    assert_eq!(std::fs::read(shop.path("taken")).unwrap(), b"mine");
}

#[test]
fn too_little_memory_names_the_minimum() {
    let shop = Workshop::with_segment();
    let flags = ["search", "segment", "--queries", "query.fvecs", "--memory", "4KiB"];
    failed(&shop.ringpool(flags), &["4096 bytes", "minimum"]);
    let all = ["--place", "graph=pool,codes=pool"];
    failed(&shop.ringpool(flags.iter().chain(&all)), &["4096 bytes", "minimum", "put less"]);
}

#[test]
fn a_place_that_a_component_cannot_have() {
    let shop = Workshop::with_segment();
    failed(&shop.search(&["--place", "graph=inlined,codes=inlined"]), &["not inlined"]);
    misused(&shop.search(&["--place", "vectors=inlined"]), &["put the others elsewhere"]);
}

#[test]
fn a_truth_of_something_else() {
    let shop = Workshop::with_segment();
    let row = |ids: &[i32]| -> Vec<u8> {
        let words = std::iter::once(ids.len() as i32).chain(ids.iter().copied());
        words.flat_map(i32::to_le_bytes).collect()
    };
    shop.file("few.ivecs", &row(&[1; 10]).repeat(39));
    failed(&shop.search(&["--truth", "few.ivecs"]), &["few.ivecs", "39", "40"]);
    shop.file("narrow.ivecs", &row(&[1; 9]).repeat(40));
    failed(&shop.search(&["--truth", "narrow.ivecs"]), &["narrow.ivecs", "recall@10"]);
    shop.file("strange.ivecs", &row(&[2000; 10]).repeat(40));
    failed(&shop.search(&["--truth", "strange.ivecs"]), &["strange.ivecs", "2000"]);
}

#[test]
fn arguments_that_cannot_be_meant() {
    let shop = Workshop::with_segment();
    let before = shop.contents();
    for (flags, parts) in [
        (["--k", "0"], ["--k"]),
        (["--k", "-3"], ["-3"]),
        (["--ef", "0"], ["--ef"]),
        (["--oversample", "0.5"], ["at least 1"]),
        (["--oversample", "NaN"], ["at least 1"]),
        (["--memory", "lots"], ["no amount of memory"]),
        (["--memory", "-1"], ["-1"]),
        (["--memory", "0%"], ["more than 0"]),
        (["--memory", "99999999999TiB"], ["64 bits"]),
        (["--backend", "tape"], ["pool, mmap, direct or memory"]),
        (["--place", "graph=poll"], ["is it pool?"]),
        (["--place", "grahp=pool"], ["is it graph?"]),
        (["--place", "pool"], ["graph=pool"]),
        (["--place", "codes=pool,codes=mmap"], ["twice"]),
        (["--mmap-advice", "please"], ["random"]),
        (["--mmap-verify", "always"], ["first-touch"]),
        (["--engine", "steam"], ["blocking"]),
        (["--threads", "0"], ["--threads"]),
        (["--threads", "100000"], ["--threads"]),
        (["--inflight", "0"], ["--inflight"]),
        (["--inflight", "1025"], ["--inflight"]),
        (["--colour", "red"], ["--colour"]),
    ] {
        let args = ["search", "segment", "--queries", "query.fvecs"];
        misused(&shop.ringpool(args.iter().chain(&flags)), &parts);
    }
    for flags in [
        &["--metric", "hamming"][..],
        &["--m", "1"],
        &["--m", "-1"],
        &["--m", "100000"],
        &["--ef-construction", "0"],
        &["--quantize", "sq7"],
        &["--element", "f64"],
        &["--page-size", "3000"],
        &["--page-size", "10%"],
        &["--page-size", "1GiB"],
        &["--seed", "x"],
    ] {
        let args = ["build", "--vectors", "base.fvecs", "--out", "other"];
        misused(&shop.ringpool(args.iter().chain(flags)), &[]);
    }
    for line in [&["frobnicate"][..], &["search"], &["search", "segment"], &["build"], &[]] {
        misused(&shop.ringpool(line), &["Usage"]);
    }
    let wide = ["--k", "70000", "--ids-out", "ids.ivecs"];
    misused(&shop.search(&wide), &["70000", "65536"]);
    misused(&shop.search(&["--exact", "--inflight", "4"]), &["--inflight", "--exact"]);
    assert_eq!(shop.contents(), before);
}
