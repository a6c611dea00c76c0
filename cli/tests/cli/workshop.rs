//! A folder of a test's own, with vectors in it, and the command run there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The command under test.
pub const RINGPOOL: &str = env!("CARGO_BIN_EXE_ringpool");

/// A folder on the disk that the tests are built on: one on tmpfs has no cold reads.
pub struct Workshop {
    dir: TempDir,
}

impl Workshop {
    /// An empty folder.
    pub fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { dir }
    }

    /// A folder with 2,000 points (`base.fvecs`), 40 queries near some of them (`query.fvecs`)
    /// and a segment of the points (`segment`).
    pub fn with_segment() -> Self {
        let shop = Self::new();
        shop.points("base.fvecs", 2000, 24, 1);
        shop.points("query.fvecs", 40, 24, 2);
        done(&shop.ringpool(["build", "--vectors", "base.fvecs", "--out", "segment"]));
        shop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `bytes` to a file.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes rows of floats as fvecs.
    pub fn fvecs(&self, name: &str, rows: &[Vec<f32>]) -> PathBuf {
        let row = |row: &Vec<f32>| {
            let values = row.iter().flat_map(|value| value.to_le_bytes());
            let length = (row.len() as i32).to_le_bytes();
            length.into_iter().chain(values).collect::<Vec<u8>>()
        };
        let bytes: Vec<u8> = rows.iter().flat_map(row).collect();
        self.file(name, &bytes)
    }

    /// Writes `count` points that look random and are always the same for a seed.
    pub fn points(&self, name: &str, count: usize, dim: usize, seed: u64) -> PathBuf {
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut draw = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 40) as f32 / (1 << 24) as f32
        };
        let rows: Vec<Vec<f32>> = (0..count).map(|_| (0..dim).map(|_| draw()).collect()).collect();
        self.fvecs(name, &rows)
    }

    /// The command, to be run in this folder.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(RINGPOOL);
        command.args(args).current_dir(self.dir.path()).env_remove("RUST_LOG");
        command
    }

    /// Runs the command to its end.
    pub fn ringpool<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the command on the segment and the queries, with more flags behind.
    pub fn search(&self, more: &[&str]) -> Output {
        let first = ["search", "segment", "--queries", "query.fvecs", "--memory", "512KiB"];
        self.ringpool(first.iter().chain(more))
    }

    /// Everything below the folder, by name, hidden files as well.
    pub fn contents(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        collect(self.dir.path(), &mut found);
        found
    }
}

fn collect(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        }
        found.insert(path);
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Passes when the command did its work and said nothing on stderr.
#[track_caller]
pub fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert_eq!(stderr(output), "");
    stdout(output)
}

/// Passes when the command did its work and printed one JSON object, which is returned.
#[track_caller]
pub fn json(output: &Output) -> Value {
    let text = done(output);
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value.is_object(), "{text}");
    value
}

/// Passes when the command failed with one line that has all of `parts`, and printed nothing.
#[track_caller]
pub fn failed(output: &Output, parts: &[&str]) -> String {
    let line = one_line(output, 1);
    assert_eq!(stdout(output), "");
    has(&line, parts);
    line
}

/// The one line on stderr of a command that ended with `code`.
#[track_caller]
pub fn one_line(output: &Output, code: i32) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("error: "), "{text}");
    text
}

/// Passes when the command was used wrongly: exit code 2, `parts` on stderr, nothing printed.
#[track_caller]
pub fn misused(output: &Output, parts: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(stdout(output), "");
    assert!(!text.contains("panicked"), "{text}");
    has(&text, parts);
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}
