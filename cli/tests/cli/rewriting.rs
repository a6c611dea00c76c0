//! Ids of one's own, points that are deleted, and segments that become one.

use std::fs;

use ringpool::vectors;
use serde_json::json as object;

use crate::workshop::{Workshop, done, failed, json, misused};

/// Ids that no i32 holds, in no order.
fn own_id(row: u64) -> u64 {
    (1 << 40) + row * 7919 % 2000
}

/// As `Workshop::with_segment`, whose points have these ids as well.
fn with_ids() -> Workshop {
    let shop = Workshop::with_segment();
    let lines: String = (0..2000).map(|row| format!("{}\n", own_id(row))).collect();
    shop.file("ids.txt", lines.as_bytes());
    let build = ["build", "--vectors", "base.fvecs", "--ids", "ids.txt", "--out", "own"];
    done(&shop.ringpool(build));
    shop
}

#[test]
fn hits_truth_and_files_speak_of_ids() {
    let shop = with_ids();
    let search = |segment: &str, more: &[&str]| {
        let first = ["search", segment, "--queries", "query.fvecs", "--exact", "--json"];
        shop.ringpool(first.iter().chain(more))
    };
    let found = json(&search("segment", &["--ids-out", "rows.ivecs"]));
    let own = json(&search("own", &["--ids-out", "own.npy"]));
    assert_ne!(found["answers_crc32c"], own["answers_crc32c"]);
    let read = |name: &str| vectors::read_ids(&shop.path(name)).unwrap();
    let expected: Vec<u64> = read("rows.ivecs").rows().flatten().map(|&row| own_id(row)).collect();
    assert_eq!(read("own.npy").rows().flatten().copied().collect::<Vec<_>>(), expected);
    let refused = ["search", "own", "--queries", "query.fvecs", "--ids-out", "own.ivecs"];
    failed(&shop.ringpool(refused), &["own.ivecs", "name a .npy"]);
    assert!(!shop.path("own.ivecs").exists());
    // The same as a truth, made of the segment.
    let truth = ["truth", "--segment", "own", "--queries", "query.fvecs", "--k", "10"];
    done(&shop.ringpool(truth.iter().chain(&["--out", "truth.npy"])));
    assert!(read("truth.npy") == read("own.npy"));
    assert_eq!(json(&search("own", &["--truth", "truth.npy"]))["recall"], 1.0);
    failed(&search("segment", &["--truth", "truth.npy"]), &["truth.npy", "names point 10995116"]);
    let inspected = json(&shop.ringpool(["inspect", "own", "--json"]));
    assert_eq!((&inspected["ids"], &inspected["first_id"]), (&object!("given"), &object!(null)));
}

#[test]
fn ids_that_cannot_be_leave_nothing() {
    let shop = Workshop::new();
    shop.points("base.fvecs", 30, 8, 1);
    let build = |more: &[&str]| {
        let first = ["build", "--vectors", "base.fvecs", "--out", "segment"];
        shop.ringpool(first.iter().chain(more))
    };
    let text = |ids: &[u64]| ids.iter().map(|id| format!("{id}\n")).collect::<String>();
    shop.file("few.txt", text(&(0..29).collect::<Vec<_>>()).as_bytes());
    let mut twice: Vec<u64> = (0..30).collect();
    twice[7] = 21;
    shop.file("twice.txt", text(&twice).as_bytes());
    shop.file("words.txt", b"1\ntwo\n3\n");
    shop.file("rows.ivecs", &[1, 0, 0, 0, 7, 0, 0, 0]);
    let before = shop.contents();
    failed(&build(&["--ids", "few.txt"]), &["few.txt", "29 ids for 30 vectors"]);
    failed(&build(&["--ids", "twice.txt"]), &["twice.txt", "vectors 7 and 21", "id 21"]);
    failed(&build(&["--ids", "words.txt"]), &["words.txt", "line 2"]);
    failed(&build(&["--ids", "rows.ivecs"]), &["rows.ivecs", ".npy", "numpy.save"]);
    failed(&build(&["--ids", "none.txt"]), &["none.txt"]);
    misused(&build(&["--ids", "few.txt", "--first-id", "3"]), &["--first-id"]);
    misused(&build(&["--first-id", "18446744073709551600"]), &["begin lower"]);
    assert_eq!(shop.contents(), before);
}

/// Segments of rows go on counting; where one tells its own ids all do.
#[test]
fn ids_of_several_segments() {
    let shop = Workshop::with_segment();
    let build = ["build", "--vectors", "base.fvecs", "--first-id", "2000", "--out", "later"];
    done(&shop.ringpool(build));
    let search = |second: &str, out: &str| {
        let first = ["search", "segment", second, "--queries", "query.fvecs", "--exact", "--json"];
        json(&shop.ringpool(first.iter().chain(&["--ids-out", out])))
    };
    let counted = search("segment", "counted.ivecs");
    let told = search("later", "told.ivecs");
    assert_eq!(counted["answers_crc32c"], told["answers_crc32c"]);
    let [counted, told] = ["counted.ivecs", "told.ivecs"].map(|name| fs::read(shop.path(name)));
    assert_eq!(counted.unwrap(), told.unwrap());
}

#[test]
fn points_are_deleted_and_counted() {
    let shop = with_ids();
    let nearest = |segment: &str| {
        let search = ["search", segment, "--queries", "query.fvecs", "--k", "1", "--exact"];
        done(&shop.ringpool(search.iter().chain(&["--ids-out", "nearest.npy"])));
        let rows = vectors::read_ids(&shop.path("nearest.npy")).unwrap();
        rows.rows().flatten().copied().collect::<Vec<u64>>()
    };
    let before = nearest("own");
    let lines: String = before.iter().map(|id| format!("{id}\n")).collect();
    shop.file("dead.txt", lines.as_bytes());
    let delete = |more: &[&str]| {
        let first = ["delete", "own", "--json"];
        json(&shop.ringpool(first.iter().chain(more)))
    };
    let mut distinct = before.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let count = distinct.len() as u64;
    let deleted = delete(&["--ids", "dead.txt", "--id", "5"]);
    assert_eq!(
        deleted,
        object!({
            "dir": "own", "deleted": count, "already": 0, "missing": 1, "live": 2000 - count,
            "points": 2000,
        })
    );
    let again = delete(&["--id", &before[0].to_string()]);
    assert_eq!((&again["deleted"], &again["already"]), (&object!(0), &object!(1)));
    let after = nearest("own");
    assert!(after.iter().all(|id| !before.contains(id)));
    let inspected = json(&shop.ringpool(["inspect", "own", "--json"]));
    let live = [&inspected["points"], &inspected["live"], &inspected["deleted"]];
    assert_eq!(live, [&object!(2000), &object!(2000 - count), &object!(count)]);

    misused(&shop.ringpool(["delete", "own"]), &["--id"]);
    misused(&shop.ringpool(["delete", "own", "--id", "-3"]), &["-3"]);
    failed(&shop.ringpool(["delete", "nowhere", "--id", "3"]), &["nowhere"]);
    let path = shop.path("own/TOMBSTONES");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    for command in [&["inspect", "own"][..], &["verify", "own"], &["delete", "own", "--id", "3"]] {
        failed(&shop.ringpool(command), &["TOMBSTONES", "found again"]);
    }
}

/// What is found in the whole is what was found in the parts.
#[test]
fn segments_become_one() {
    let shop = with_ids();
    shop.points("more.fvecs", 500, 24, 9);
    let build = ["build", "--vectors", "more.fvecs", "--m", "4", "--out", "more"];
    done(&shop.ringpool(build));
    let dead: Vec<String> = (0..600).map(|row| own_id(row).to_string()).collect();
    shop.file("dead.txt", dead.join("\n").as_bytes());
    done(&shop.ringpool(["delete", "own", "--ids", "dead.txt"]));
    let exact = |dirs: &[&str]| {
        let flags = ["--queries", "query.fvecs", "--exact", "--json"];
        let line = ["search"].iter().chain(dirs).chain(&flags);
        json(&shop.ringpool(line))["answers_crc32c"].clone()
    };
    let parts = exact(&["own", "more"]);
    let before = shop.contents();
    let small = ["compact", "whole", "own", "more", "--build-memory", "1MiB"];
    failed(&shop.ringpool(small), &["whole", "1,900 points", "--build-memory"]);
    failed(&shop.ringpool(["compact", "own", "more"]), &["own", "exists"]);
    failed(
        &shop.ringpool(["compact", "whole", "more", "segment"]),
        &["more", "segment", "the id 0"],
    );
    misused(&shop.ringpool(["compact", "whole"]), &["DIR"]);
    assert_eq!(shop.contents(), before);
    let made = json(&shop.ringpool(["compact", "whole", "own", "more", "--json"]));
    for (key, value) in [
        ("segments", object!(2)),
        ("points_before", object!(2500)),
        ("deleted", object!(600)),
        ("points", object!(1900)),
        ("m", object!(16)),
        ("sources_removed", object!(false)),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    assert_eq!(exact(&["whole"]), parts);
    done(&shop.ringpool(["verify", "whole"]));
    let again = ["compact", "again", "whole", "--m", "4", "--quantize", "sq4", "--remove-sources"];
    done(&shop.ringpool(again));
    assert!(!shop.path("whole").exists());
    assert_eq!(exact(&["again"]), parts);
}
