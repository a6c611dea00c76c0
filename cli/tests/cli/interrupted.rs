//! Ctrl-C: one line, exit code 1, and nothing left behind.

use std::fs;
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::workshop::{Workshop, failed, stderr};

/// How long a command may take to stop: far less than what it was doing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interrupts `child` and returns what it had to say.
fn interrupt(child: Child) -> Output {
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    let asked = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(asked.elapsed() < PATIENCE, "it took {:?} to stop", asked.elapsed());
    output
}

fn start(shop: &Workshop, args: &[&str]) -> Child {
    let mut command = shop.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until `ready`, or fails.
#[track_caller]
fn wait_until(ready: impl Fn() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < PATIENCE, "it never came to that");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_build_leaves_nothing() {
    let shop = Workshop::new();
    // With so many candidates the graph takes minutes.
    shop.points("base.fvecs", 20_000, 64, 1);
    let before = shop.contents();
    let flags = ["--ef-construction", "5000", "--m", "64"];
    let args = ["build", "--vectors", "base.fvecs", "--out", "segment"];
    let child = start(&shop, &[&args[..], &flags].concat());
    thread::sleep(Duration::from_millis(700));
    failed(&interrupt(child), &["interrupted"]);
    assert_eq!(shop.contents(), before);
}

#[test]
fn a_search_stops_with_queries_in_flight() {
    let shop = Workshop::with_segment();
    // Minutes of queries, each of which looks at every point.
    shop.points("many.fvecs", 200_000, 24, 3);
    let before = shop.contents();
    for inflight in ["1", "64"] {
        let flags = ["search", "segment", "--queries", "many.fvecs", "--ef", "2000"];
        let child = start(&shop, &[&flags[..], &["--inflight", inflight]].concat());
        thread::sleep(Duration::from_millis(700));
        failed(&interrupt(child), &["interrupted"]);
    }
    assert_eq!(shop.contents(), before);
}

#[test]
fn vectors_that_are_half_made_leave_nothing() {
    let shop = Workshop::new();
    // 20 GiB.
    let size = ["generate", "--n", "10000000", "--dim", "512"];
    let out = ["--out", "base.npy", "--queries", "10", "--queries-out", "query.npy"];
    let child = start(&shop, &[&size[..], &out].concat());
    wait_until(|| shop.contents().len() == 2);
    failed(&interrupt(child), &["interrupted"]);
    assert!(shop.contents().is_empty(), "{:?}", shop.contents());
}

#[test]
fn a_truth_that_is_half_found_leaves_nothing() {
    let shop = Workshop::with_segment();
    // A minute's work and more.
    shop.points("base2.fvecs", 40_000, 64, 1);
    shop.points("query2.fvecs", 40_000, 64, 2);
    let before = shop.contents();
    let flags = ["--vectors", "base2.fvecs", "--metric", "cosine", "--out", "truth.ivecs"];
    let child = start(&shop, &[&["truth", "--queries", "query2.fvecs"][..], &flags].concat());
    thread::sleep(Duration::from_millis(700));
    failed(&interrupt(child), &["interrupted"]);
    assert_eq!(shop.contents(), before);
}

#[test]
fn a_comparison_ends_its_runs_and_removes_its_groups() {
    let shop = Workshop::with_segment();
    let before = shop.contents();
    let args = ["compare", "segment", "--queries", "query.fvecs", "--memory", "512KiB"];
    let flags = ["--repeats", "1000", "--report", "r.html"];
    let child = start(&shop, &[&args[..], &flags].concat());
    let pid = child.id();
    thread::sleep(Duration::from_millis(700));
    failed(&interrupt(child), &["interrupted"]);
    assert_eq!(shop.contents(), before);
    let name = format!("ringpool-{pid}-");
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    for path in groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)) {
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"] {
            let entries = fs::read_dir(format!("{root}{path}")).into_iter().flatten().flatten();
            let left: Vec<_> =
                entries.filter(|e| e.file_name().to_string_lossy().starts_with(&name)).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

#[test]
fn a_demo_removes_its_folder() {
    let shop = Workshop::new();
    let child = start(&shop, &["demo"]);
    wait_until(|| !shop.contents().is_empty());
    thread::sleep(Duration::from_millis(200));
    let output = interrupt(child);
    failed(&output, &["interrupted"]);
    assert!(shop.contents().is_empty(), "{:?}: {}", shop.contents(), stderr(&output));
}

/// How many descriptors of `child` are of files in the shop that have no name any more.
fn nameless(shop: &Workshop, child: &Child) -> usize {
    let entries = fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let folder = shop.path("").canonicalize().unwrap();
    let ours = targets.filter(|path| path.starts_with(&folder));
    ours.filter(|path| path.to_string_lossy().ends_with("(deleted)")).count()
}

/// Starts a probe that takes ages, and waits until its temporary file is open so many times:
/// once it is being written, twice it is being read.
fn start_probe(shop: &Workshop, file_size: &str, opened: usize) -> Child {
    let child = start(shop, &["probe", ".", "--seconds", "600", "--file-size", file_size]);
    wait_until(|| nameless(shop, &child) >= opened);
    child
}

#[test]
fn a_probe_leaves_no_file() {
    let shop = Workshop::new();
    for (file_size, opened) in [("2GiB", 1), ("1MiB", 2)] {
        let child = start_probe(&shop, file_size, opened);
        failed(&interrupt(child), &["interrupted"]);
        assert!(shop.contents().is_empty(), "{:?}", shop.contents());
    }
    // Also not when nobody asks: the file never had a name.
    let mut child = start_probe(&shop, "1MiB", 2);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(shop.contents().is_empty(), "{:?}", shop.contents());
}
