//! The pages for operators, run: each `sh` block of `docs/operating` and of `docs/statistics.md`, in
//! the order of the page, as whoever reads it would, and what it prints compared with the `text`
//! block that follows.
//!
//! What stands behind `sh` says what a block needs or does: see [`NEEDS`]. Those with a need are run
//! with `RINGPOOL_PAGES=all`, where the machine has what they need; without a need a block runs
//! with every `cargo test`. Numbers differ from machine to machine, so that each is like any other;
//! `...` stands for lines that are left out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringpool::storage::conformance::skipped;

use crate::workshop::{RINGPOOL, Workshop};

/// A word behind `sh`, and a command that succeeds where a block with it can be run. Beside them
/// there are `fails`, commands that end with an error, and `elsewhere`, what is not a test's to do.
const NEEDS: [(&str, &str); 8] = [
    ("ring", "ringpool probe target/seg/ids.pages --seconds 0.1 --max-depth 1 | grep uring+reg"),
    (
        "thp",
        "test -e /sys/kernel/mm/transparent_hugepage/enabled && test -e /proc/self/smaps_rollup",
    ),
    ("root", "test $(id -u) = 0"),
    ("docker", "docker info && jq --version && test -e target/default.json"),
    ("cgroup1", "test -w /sys/fs/cgroup/memory/cgroup.procs"),
    ("cgroup2", "grep -w memory /sys/fs/cgroup/cgroup.controllers && test $(id -u) = 0"),
    ("nfs", "grep -w nfsd /proc/filesystems && test $(id -u) = 0"),
    ("dm", "dmsetup version && test $(id -u) = 0"),
];
/// Of these, what changes nothing on the machine: a block that needs no more is always run.
const UNASKED: [&str; 2] = ["ring", "thp"];
/// Docker's seccomp profile, where a page has it.
const PROFILE: &str = "target/default.json";
/// Runs blocks with needs, too.
const ALL: &str = "RINGPOOL_PAGES";
/// What may stand behind a number, and differs from machine to machine as the number does.
const UNITS: [&str; 8] = ["ns", "us", "ms", "s", "B", "KiB", "MiB", "GiB"];
/// Where the shipped vectors are, and the pages.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The page with what all others begin with.
const FIRST: &str = "README.md";

#[test]
fn commands_on_the_pages_for_operators_do_what_the_pages_say() {
    let shop = Workshop::new();
    fs::create_dir(shop.path("target")).unwrap();
    let root = Path::new(ROOT).canonicalize().unwrap();
    symlink(root.join("data"), shop.path("data")).unwrap();
    // What a page fetches, where there is no network.
    let _ = fs::copy(root.join(PROFILE), shop.path(PROFILE));
    let mut run = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text) {
            let at = format!("{}:{}", page.file_name().unwrap().display(), block.line);
            if let Some(reason) = block.is_left_out(&shop.path("")) {
                skipped(format!("{at}: {reason}"));
                continue;
            }
            run += 1;
            block.check(&shop.path(""), &at);
        }
    }
    assert!(run >= 10, "{run} commands were found");
}

/// All pages, the first one first.
fn pages() -> Vec<PathBuf> {
    let folder = fs::read_dir(Path::new(ROOT).join("docs/operating")).unwrap();
    let mut pages: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    pages.push(Path::new(ROOT).join("docs/statistics.md"));
    pages.sort_by_key(|page| (!page.ends_with(FIRST), page.clone()));
    pages
}

/// Some lines of shell.
struct Block {
    line: usize,
    words: Vec<String>,
    commands: String,
    /// What they print, where the page says so.
    printed: Option<String>,
}

/// The blocks of shell in a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = page.lines().enumerate();
    // Whether nothing but an empty line is between the last block and this line.
    let mut follows = false;
    while let Some((at, line)) = lines.next() {
        let Some(fence) = line.trim_start().strip_prefix("```") else {
            follows &= line.is_empty();
            continue;
        };
        // A block within a list is indented.
        let indent = line.len() - line.trim_start().len();
        let body = lines.by_ref().map(|(_, line)| line.get(indent..).unwrap_or_default());
        let body = body.take_while(|line| *line != "```");
        let body = body.map(|line| format!("{line}\n")).collect::<String>();
        let mut words = fence.split(' ').map(str::to_owned);
        match words.next().as_deref() {
            Some("sh") => {
                let (words, commands) = (words.collect(), body);
                blocks.push(Block { line: at + 1, words, commands, printed: None });
                follows = true;
            }
            Some("text") if follows => {
                blocks.last_mut().expect("one was pushed").printed = Some(body);
                follows = false;
            }
            _ => follows = false,
        }
    }
    blocks
}

impl Block {
    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    /// Why it is not run, if it is not.
    fn is_left_out(&self, folder: &Path) -> Option<String> {
        for word in &self.words {
            match word.as_str() {
                "fails" => continue,
                "elsewhere" => return Some("not a test's to do".into()),
                _ => {}
            }
            let need = NEEDS.iter().find(|(need, _)| need == word);
            let (_, met) = need.unwrap_or_else(|| panic!("line {}: what is {word}?", self.line));
            if !UNASKED.contains(&word.as_str()) && std::env::var(ALL).as_deref() != Ok("all") {
                return Some(format!("it needs {word}; {ALL}=all runs it"));
            }
            if !succeeds(met, folder) {
                return Some(format!("it needs {word}, and `{met}` fails here"));
            }
        }
        None
    }

    /// Runs it in `folder`.
    #[track_caller]
    fn check(&self, folder: &Path, at: &str) {
        let mut shell = shell(&format!("set -e; exec 2>&1\n{}", self.commands), folder);
        let output = shell.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = !output.status.success();
        assert_eq!(failed, self.has("fails"), "{at}: {}\n{text}", output.status);
        let printed: Vec<_> = text.lines().map(masked).collect();
        let mut printed = printed.iter();
        for line in self.printed.iter().flat_map(|text| text.lines()) {
            let wanted = masked(line);
            let found = wanted == "..." || printed.any(|line| *line == wanted);
            assert!(found, "{at}: \"{line}\" is not, or not there, in what was printed:\n{text}");
        }
    }
}

/// A line with `#` for each number, whatever its unit, and one blank for several.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    for word in line.split_whitespace() {
        let unit = UNITS.iter().find(|unit| word.trim_end_matches([',', ';', ')']) == **unit);
        if let Some(unit) = unit.filter(|_| masked.ends_with("# ")) {
            masked.push_str(&word[unit.len()..]);
            continue;
        }
        let mut previous = ' ';
        for letter in word.chars() {
            let letter = if letter.is_ascii_digit() { '#' } else { letter };
            if previous != '#' || !matches!(letter, '#' | ',' | '.') {
                masked.push(letter);
                previous = letter;
            }
        }
        masked.push(' ');
    }
    masked.trim_end().to_owned()
}

fn succeeds(command: &str, folder: &Path) -> bool {
    let mut shell = shell(command, folder);
    shell.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A shell that finds the command under test.
fn shell(commands: &str, folder: &Path) -> Command {
    let own = Path::new(RINGPOOL).parent().expect("the command is in a folder");
    let path = format!("{}:{}", own.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("bash");
    shell.args(["-c", commands]).current_dir(folder).env("PATH", path).env_remove("RUST_LOG");
    // The command takes it for one of its own, misspelt.
    shell.env_remove(ALL);
    shell
}
