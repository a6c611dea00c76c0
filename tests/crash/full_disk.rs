//! A disk that is full, and says so in the middle of a write: a tmpfs of so many bytes, in a mount
//! namespace of its own. It takes root and `unshare` and `mount` of util-linux; where these are
//! refused, the test says so and is skipped.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringpool::{BuildError, CompactError, DeleteError, Error, Index, OpenOptions};

use crate::child::{OUT, SOURCES, Said, Work};
use crate::tree::Tree;

const FOLDER: &str = "RINGPOOL_TEST_FULL_DISK";
const NAME: &str = "full_disk::a_full_disk_leaves_the_old_one";
/// By how much the disk grows from one try to the next, and the most that a work takes.
const STEP_KIB: usize = 8;
const MOST_KIB: usize = 4096;

#[test]
fn a_full_disk_leaves_the_old_one() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return on_small_disks(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let unshared = Command::new("unshare").args(["-m", "true"]).output();
    if !unshared.is_ok_and(|output| output.status.success()) {
        // Past the test harness, which keeps what a test that passes prints.
        let skipped = format!("{NAME}: skipped: no mount namespace: it needs root and unshare\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        return;
    }
    let mut command = Command::new("unshare");
    command.arg("-m").arg(std::env::current_exe().unwrap()).args(["--exact", NAME, "--nocapture"]);
    let output = command.env(FOLDER, folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().filter(|line| line.contains("times")).for_each(|line| println!("{line}"));
}

/// A disk of so many bytes, until it is dropped.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn new(at: &'a Path, size_kib: usize) -> Self {
        let size = format!("size={size_kib}k");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).status();
        assert!(mount.unwrap().success());
        Self(at)
    }

    /// Leaves room for nothing more, until the file that is returned is removed.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Lazily: a ring lets go of its files a moment after it was dropped.
        let umount = Command::new("umount").arg("-l").arg(self.0).status();
        assert!(std::thread::panicking() || umount.unwrap().success());
    }
}

fn on_small_disks(folder: &Path) {
    for work in [Work::Build, Work::Compact] {
        grow_until_it_fits(work, folder);
    }
    tombstones(folder);
    outputs(folder);
}

/// The work on disks that are too small, each a little larger than the last: it is refused in
/// another place each time.
fn grow_until_it_fits(work: Work, at: &Path) {
    let before = {
        let folder = tempfile::tempdir().unwrap();
        work.prepare(folder.path());
        Tree::of(folder.path())
    };
    let first_kib = before.bytes() / 1024 + STEP_KIB;
    let mut refused = 0;
    for size_kib in (first_kib..MOST_KIB).step_by(STEP_KIB) {
        let disk = Disk::new(at, size_kib + before.files() * 4);
        before.plant(at);
        match work.run(at, &Said::to_nobody()) {
            Ok(()) => {
                assert!(refused > 3, "{work:?} was refused {refused} times");
                println!("{work:?}: refused {refused} times before it had room");
                return;
            }
            Err(Error::Compact(CompactError::Build(BuildError::DiskFull { .. }))) => refused += 1,
            Err(error) => panic!("{work:?}, {size_kib} KiB: {error}"),
        }
        assert!(Tree::of(at) == before, "{work:?}, {size_kib} KiB: {:?}", Tree::of(at).names());
        drop(disk);
    }
    panic!("{work:?} never has room");
}

fn tombstones(at: &Path) {
    let disk = Disk::new(at, MOST_KIB);
    Work::Delete.prepare(at);
    let dir = at.join(SOURCES[0]);
    ringpool::delete(&dir, &[5]).unwrap();
    let before = Tree::of(at);
    let filler = disk.fill();
    let refused = ringpool::delete(&dir, &[6]);
    assert!(matches!(refused, Err(Error::Delete(DeleteError::DiskFull { .. }))), "{refused:?}");
    fs::remove_file(filler).unwrap();
    assert!(Tree::of(at) == before);
    let live = || Index::open(&dir, &OpenOptions::default()).unwrap().segment().live_points();
    let old = live();
    ringpool::delete(&dir, &[6]).unwrap();
    assert_eq!(live(), old - 1);
}

fn outputs(at: &Path) {
    let disk = Disk::new(at, MOST_KIB);
    Work::Outputs.prepare(at);
    let before = Tree::of(at);
    let filler = disk.fill();
    for name in crate::child::OUTPUTS {
        assert!(crate::child::write_output(at, name, 0).is_err(), "{name}");
        let mut now = Tree::of(at);
        now.remove("filler");
        assert!(now == before, "{name}: {:?}", now.names());
    }
    fs::remove_file(filler).unwrap();
    for name in crate::child::OUTPUTS {
        crate::child::write_output(at, name, 0).unwrap();
    }
    assert!(!at.join(OUT).exists() && Tree::of(at) != before);
}
