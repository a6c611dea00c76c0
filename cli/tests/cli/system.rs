//! What the system refuses: permissions, room on the disk, memory cgroups.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ringpool::storage::conformance::skipped;
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::workshop::{RINGPOOL, Workshop, done, failed, json};

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// A copy of the command and a segment where everybody may read them. `nobody` may not look into
/// every folder that a build may be in.
struct Public {
    dir: TempDir,
}

impl Public {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let public = Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), public).unwrap();
        fs::copy(RINGPOOL, dir.path().join("ringpool")).unwrap();
        let shop = Workshop::with_segment();
        for name in ["base.fvecs", "query.fvecs"] {
            fs::copy(shop.path(name), dir.path().join(name)).unwrap();
        }
        fs::rename(shop.path("segment"), dir.path().join("segment"))
            .or_else(|_| copy_dir(&shop.path("segment"), &dir.path().join("segment")))
            .unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the command as somebody who owns nothing; root drops to `nobody` for it.
    fn as_stranger(&self, args: &[&str]) -> Output {
        let mut command = Command::new(self.path("ringpool"));
        command.args(args).current_dir(self.dir.path()).env_remove("RUST_LOG");
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output().unwrap()
    }
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[test]
fn no_permission_is_said_with_the_path() {
    let public = Public::new();
    let closed = |name: &str, mode| {
        fs::set_permissions(public.path(name), Permissions::from_mode(mode)).unwrap();
    };
    closed("base.fvecs", 0o000);
    let args = ["build", "--vectors", "base.fvecs", "--out", "other"];
    failed(&public.as_stranger(&args), &["base.fvecs", "ermission denied"]);
    closed("base.fvecs", 0o644);

    fs::create_dir(public.path("locked")).unwrap();
    closed("locked", 0o555);
    let args = ["build", "--vectors", "base.fvecs", "--out", "locked/segment"];
    failed(&public.as_stranger(&args), &["locked", "ermission denied"]);
    assert_eq!(fs::read_dir(public.path("locked")).unwrap().count(), 0);

    closed("segment/vectors.pages", 0o000);
    let args = ["search", "segment", "--queries", "query.fvecs"];
    failed(&public.as_stranger(&args), &["vectors.pages", "ermission denied"]);
    closed("segment/vectors.pages", 0o644);

    closed("segment", 0o000);
    for command in ["inspect", "verify"] {
        failed(&public.as_stranger(&[command, "segment"]), &["segment", "ermission denied"]);
    }
    closed("segment", 0o755);
}

#[test]
fn without_a_cgroup_the_comparison_says_that_mmap_ran_unlimited() {
    if !geteuid().is_root() {
        return skipped("this user may be allowed to make cgroups, which root can drop");
    }
    let public = Public::new();
    let args = [
        "compare",
        "segment",
        "--queries",
        "query.fvecs",
        "--memory",
        "512KiB",
        "--threads",
        "1",
        "--backends",
        "pool,mmap",
    ];
    let output = public.as_stranger(&args);
    if String::from_utf8_lossy(&output.stderr).contains("stay in the page cache") {
        return skipped("the folder for temporary files keeps its pages, as tmpfs does");
    }
    let text = done(&output);
    assert!(text.contains("NOT the same memory: mmap ran unlimited"), "{text}");
    assert!(text.contains("(which ran unlimited)"), "{text}");
    let found = json(&public.as_stranger(&[&args[..], &["--json"]].concat()));
    assert!(found["limit_bytes"].is_null() && found["unlimited_reason"].is_string());
    for run in found["runs"].as_array().unwrap() {
        // Root owns the files: the kernel does not tell others what it holds of them.
        assert!(run["page_cache_bytes"].is_null() && run["page_cache_reason"].is_string());
    }
}

/// A mounted tmpfs, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Result<Self, String> {
        fs::create_dir(&at).unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(at)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    let shop = Workshop::with_segment();
    let disk = match SmallDisk::mount(shop.path("disk"), "64k") {
        Ok(disk) => disk,
        Err(reason) => return skipped(format!("no small disk can be mounted: {reason}")),
    };
    let args = ["build", "--vectors", "base.fvecs", "--out", "disk/segment"];
    failed(&shop.ringpool(args), &["disk", "full"]);
    let wide = ["--k", "2000", "--ids-out", "disk/ids.ivecs"];
    failed(&shop.search(&wide), &["disk/ids.ivecs", "No space left"]);
    assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 0, "something was left");
}

#[test]
fn a_file_that_may_not_grow_leaves_nothing() {
    let shop = Workshop::with_segment();
    let before = shop.contents();
    let limited = |line: &str| {
        // Blocks of 512 bytes. The signal would end the process before it can say anything.
        let script = format!("trap '' XFSZ; ulimit -f 16; exec \"$0\" {line}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, RINGPOOL]).current_dir(shop.path("")).output().unwrap()
    };
    failed(&limited("build --vectors base.fvecs --out other"), &["other", "too large"]);
    let line = "search segment --queries query.fvecs --memory 512KiB --k 2000 --ids-out ids.ivecs";
    failed(&limited(line), &["ids.ivecs", "too large"]);
    let line = "compare segment --queries query.fvecs --memory 512KiB --threads 1 --report r.html";
    failed(&limited(line), &["r.html", "too large"]);
    assert_eq!(shop.contents(), before);
}
