//! `ringpool probe`: what it prints and in which ranges, what it refuses, and that a folder is
//! left as it was found. How fast the disk is, is nobody's business here.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use ringpool::storage::PageSize;
use ringpool::storage::conformance::skipped;
use ringpool::uring::{DirectIo, Engine, EngineChoice, Rung};
use rustix::fs::statfs;
use rustix::process::geteuid;
use serde_json::Value;

use crate::workshop::{RINGPOOL, Workshop, done, failed, json, misused, stdout};

/// The keys that are a contract, in order.
const CONTRACT: [&str; 7] =
    ["rung", "reason", "direct_io", "dio_mem_align", "dio_offset_align", "knee_depth", "ladder"];

/// Those of a step of the ladder.
const STEP: [&str; 7] =
    ["queue_depth", "iops", "mean_us", "p50_us", "p99_us", "cpu_us_per_read", "reads_per_syscall"];

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// A folder with a file of 4 MiB, `pages`.
fn shop_with_pages() -> Workshop {
    let shop = Workshop::new();
    shop.file("pages", &[7; 4 << 20]);
    shop
}

/// What a probe of `path` finds, with so little time a depth.
fn probe(shop: &Workshop, path: &str, more: &[&str]) -> Value {
    json(&shop.ringpool([&["probe", path, "--seconds", "0.05", "--json"], more].concat()))
}

fn figure(object: &Value, key: &str) -> f64 {
    object[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {object}"))
}

/// Passes when all figures of a step, or of the adapted engine, can be true.
fn check_figures(figures: &Value) {
    for key in ["iops", "mean_us", "p50_us", "p99_us", "cpu_us_per_read"] {
        let value = figure(figures, key);
        assert!(value > 0.0 && value < 1e9, "{key} in {figures}");
    }
    assert!(figure(figures, "p50_us") <= figure(figures, "p99_us"), "{figures}");
}

/// Passes when the ladder has its depths, and the knee is where the definition puts it.
fn check_ladder(found: &Value) {
    let ladder = found["ladder"].as_array().unwrap();
    let depths: Vec<u64> =
        ladder.iter().map(|step| step["queue_depth"].as_u64().unwrap()).collect();
    assert_eq!(depths, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    ladder.iter().for_each(check_figures);
    let best = ladder.iter().map(|step| figure(step, "iops")).fold(0.0, f64::max);
    let knee = ladder.iter().find(|step| figure(step, "iops") >= 0.95 * best).unwrap();
    assert_eq!(found["knee_depth"], knee["queue_depth"]);
}

#[test]
fn the_json_has_the_keys_of_the_contract_in_order_and_figures_that_can_be_true() {
    let shop = shop_with_pages();
    let before = shop.contents();
    let output = shop.ringpool(["probe", "pages", "--seconds", "0.05", "--json"]);
    let (found, text) = (json(&output), stdout(&output));
    let places = CONTRACT.map(|key| text.find(&format!("\"{key}\":")).expect(key));
    assert!(places.is_sorted() && places[0] == 1, "{text}");
    let places = STEP.map(|key| text.find(&format!("\"{key}\":")).expect(key));
    assert!(places.is_sorted() && places[0] > text.find("\"ladder\":").unwrap(), "{text}");

    let rung = found["rung"].as_str().unwrap();
    assert!(Rung::LADDER.iter().any(|known| known.as_str() == rung), "{rung}");
    assert_eq!(found["direct_io"], rung.ends_with("direct"));
    for key in ["reason", "advice", "kernel", "filesystem"] {
        assert!(!found[key].as_str().unwrap().is_empty(), "{key}");
    }
    for key in ["dio_mem_align", "dio_offset_align", "memlock_bytes", "io_uring_disabled"] {
        assert!(found[key].is_u64() || found[key].is_null(), "{key}");
    }
    assert!(found["lift"].is_string() || found["lift"].is_null());
    assert_eq!(found["temporary_file"], false);
    assert_eq!(
        (&found["file_bytes"], &found["page_size_bytes"]),
        (&(4 << 20).into(), &4096.into())
    );
    check_ladder(&found);
    for key in ["engine_p50_us", "pread_p50_us"] {
        assert!(figure(&found["lone_read"], key) > 0.0);
    }
    if rung.starts_with("uring") {
        check_figures(&found["adapted"]);
        assert!((1..=256).contains(&found["adapted"]["depth"].as_u64().unwrap()));
        assert!(found["io_uring_features"].as_array().unwrap().contains(&"EXT_ARG".into()));
    }
    assert_eq!(shop.contents(), before);
}

#[test]
fn it_says_of_a_file_what_the_engine_says() {
    let shop = shop_with_pages();
    for choice in ["auto", "blocking"] {
        let engine = Engine::start(choice.parse::<EngineChoice>().unwrap()).unwrap();
        let opened = engine.open(&shop.path("pages"), PageSize::KIB_4).unwrap();
        let found = probe(&shop, "pages", &["--engine", choice]);
        assert_eq!(found["rung"], opened.rung.as_str());
        assert_eq!(found["reason"], opened.reason.as_str());
        assert_eq!(found["direct_io"], opened.direct_io == DirectIo::Yes);
        let align = opened.dio_align.map(|align| align.offset_bytes);
        assert_eq!(found["dio_offset_align"], Value::from(align));
    }
}

#[test]
fn the_blocking_engine_has_a_ladder_and_nothing_to_adapt() {
    let shop = shop_with_pages();
    let found = probe(&shop, "pages", &["--engine", "blocking"]);
    check_ladder(&found);
    assert!(found["rung"].as_str().unwrap().starts_with("pread"), "{found}");
    assert!(found["reason"].as_str().unwrap().contains("asked for"), "{found}");
    assert!(found["lift"].as_str().unwrap().contains("--engine auto"), "{found}");
    assert!(found["adapted"].is_null());
    let steps = found["ladder"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["reads_per_syscall"] == 1.0), "{found}");
}

#[test]
fn a_folder_is_left_as_it_was() {
    let shop = Workshop::new();
    let found = probe(&shop, ".", &["--file-size", "1025KiB", "--page-size", "16KiB"]);
    assert_eq!(shop.contents(), BTreeSet::new());
    assert_eq!(found["temporary_file"], true);
    assert_eq!(found["file_bytes"], 1 << 20, "whole pages");
    assert_eq!(found["page_size_bytes"], 16 << 10);
    check_ladder(&found);
}

#[test]
fn people_get_a_table_with_the_knee_and_advice() {
    let shop = shop_with_pages();
    let flags = ["probe", "pages", "--seconds", "0.01", "--max-depth", "4"];
    let text = done(&shop.ringpool(flags));
    let rows: Vec<&str> = text.lines().skip_while(|line| !line.contains("IOPS")).collect();
    for (row, depth) in rows[1..].iter().zip(["1", "2", "4"]) {
        assert_eq!(row.split_whitespace().next(), Some(depth), "{text}");
    }
    assert_eq!(text.matches("<- knee").count(), 1, "{text}");
    for part in
        ["rung", "because", "lockable memory", "a lone read", "4.00 MiB in pages of 4.00 KiB"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn on_tmpfs_it_says_that_reads_are_not_direct_and_why() {
    let folder = Path::new("/dev/shm");
    if !statfs(folder).is_ok_and(|found| found.f_type == libc::TMPFS_MAGIC) {
        return skipped("/dev/shm is no tmpfs here");
    }
    let (shop, folder) = (Workshop::new(), tempfile::tempdir_in(folder).unwrap());
    let path = folder.path();
    let found = probe(&shop, path.to_str().unwrap(), &["--file-size", "2MiB"]);
    assert_eq!(fs::read_dir(path).unwrap().count(), 0, "something was left");
    assert_eq!((&found["filesystem"], &found["direct_io"]), (&"tmpfs".into(), &false.into()));
    assert!(found["dio_mem_align"].is_null());
    let has = |key: &str, part| found[key].as_str().unwrap().contains(part);
    assert!(has("reason", "page cache") && has("reason", "tmpfs"), "{found}");
    assert!(has("lift", "ext4") && has("advice", "page cache rather than"), "{found}");
}

#[test]
fn what_cannot_be_probed_is_refused_in_one_line() {
    let shop = Workshop::new();
    shop.file("empty", b"");
    shop.file("short", &[0; 4095]);
    shop.file("ragged", &[0; 6000]);
    let before = shop.contents();
    for (path, parts) in [
        ("missing", &["missing", "No such file"][..]),
        ("empty", &["empty", "folder"]),
        ("short", &["4095 bytes", "4 KiB", "folder"]),
        ("ragged", &["6000 bytes", "folder"]),
        ("/dev/null", &["/dev/null", "not a regular file", "folder"]),
    ] {
        failed(&shop.ringpool(["probe", path]), parts);
    }
    // More than any disk has.
    let huge = ["probe", ".", "--file-size", "1000000TiB"];
    failed(&shop.ringpool(huge), &["does not fit", "--file-size"]);
    assert_eq!(shop.contents(), before);
}

#[test]
fn arguments_that_cannot_be_meant() {
    let shop = shop_with_pages();
    let before = shop.contents();
    for (flag, value) in [
        ("--seconds", "0"),
        ("--seconds", "NaN"),
        ("--seconds", "inf"),
        ("--seconds", "-1"),
        ("--seconds", "soon"),
        ("--page-size", "3000"),
        ("--page-size", "2KiB"),
        ("--page-size", "12KiB"),
        ("--page-size", "128KiB"),
        ("--page-size", "10%"),
        ("--engine", "steam"),
        ("--file-size", "0"),
        ("--file-size", "10%"),
        ("--max-depth", "0"),
        ("--max-depth", "3"),
        ("--max-depth", "8192"),
    ] {
        misused(&shop.ringpool(["probe", "pages", flag, value]), &[value]);
    }
    misused(&shop.ringpool(["probe", ".", "--file-size", "4095"]), &["--file-size", "4 KiB"]);
    misused(&shop.ringpool(["probe"]), &["Usage"]);
    assert_eq!(shop.contents(), before);
}

#[test]
fn no_permission_is_said_with_the_path() {
    // Where everybody may go: `nobody` may not look into every folder that a build may be in.
    let public = tempfile::tempdir().unwrap();
    let at = |name: &str| public.path().join(name);
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(public.path(), 0o755);
    fs::copy(RINGPOOL, at("ringpool")).unwrap();
    fs::write(at("secret"), [0; 4096]).unwrap();
    fs::create_dir(at("locked")).unwrap();
    mode(&at("secret"), 0o000);
    mode(&at("locked"), 0o555);
    for name in ["secret", "locked"] {
        let mut command = std::process::Command::new(at("ringpool"));
        command.args(["probe", name]).current_dir(public.path());
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        failed(&command.output().unwrap(), &[name, "ermission denied"]);
    }
    assert_eq!(fs::read_dir(at("locked")).unwrap().count(), 0);
}
