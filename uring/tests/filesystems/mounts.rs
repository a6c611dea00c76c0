//! Filesystems that are made for one test and gone after it.
//!
//! A test mounts in a mount namespace of its own: nobody else sees it, and the kernel unmounts
//! everything when the test's process ends, even when it is killed. A [`Mount`] that is dropped is
//! also unmounted at once and refuses to be forced: a file that an engine keeps open after its end
//! fails the test.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The size of an image. mkfs.xfs makes nothing below 300 MiB; the file is sparse.
const IMAGE_BYTES: u64 = 320 << 20;
/// How long a filesystem may stay busy after the last file was closed: a ring lets go of its files
/// a moment after it was dropped.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(10);
/// How often unmounting is tried meanwhile.
const UNMOUNT_INTERVAL: Duration = Duration::from_millis(5);

/// Calls `test` on a thread whose mounts nobody else sees, or tells it why that is not allowed.
pub fn in_own_mounts(test: impl FnOnce(Result<(), String>) + Send) {
    let ended = thread::scope(|scope| scope.spawn(|| test(leave_the_mounts())).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

/// Gives the calling thread, and what it starts, a mount namespace of its own.
fn leave_the_mounts() -> Result<(), String> {
    let refused = |what| format!("{what}: {}: it needs root", io::Error::last_os_error());
    // SAFETY: no memory is shared with the kernel but the constant path. Of what threads share,
    // only the current folder and the umask are parted, and nothing here changes either.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) != 0 {
            return Err(refused("no mount namespace"));
        }
        let (none, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
        if libc::mount(none, c"/".as_ptr(), none, flags, std::ptr::null()) != 0 {
            return Err(refused("mounts stay shared"));
        }
    }
    Ok(())
}

/// A filesystem to be made in a file and mounted through a loop device.
pub struct Image {
    kind: &'static str,
    make: &'static [&'static str],
    options: &'static str,
    block_bytes: u32,
}

impl Image {
    /// One of `kind` that the command `make` makes in the file whose path follows it.
    pub fn new(kind: &'static str, make: &'static [&'static str]) -> Self {
        Self { kind, make, options: "defaults", block_bytes: 512 }
    }

    /// What mount is told.
    pub fn options(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    /// The logical blocks of the disk below it, to which direct reads must be aligned.
    pub fn block_bytes(self, block_bytes: u32) -> Self {
        Self { block_bytes, ..self }
    }

    /// Makes it in `dir`, or says what of this machine prevents it.
    ///
    /// # Panics
    /// When its tool is here and makes none.
    pub fn mount(self, dir: &Path) -> Result<Mount, String> {
        let image = dir.join("image");
        File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).unwrap();
        let (tool, arguments) = self.make.split_first().expect("a command");
        Command::new(tool).arg("-V").output().map_err(|error| format!("{tool}: {error}"))?;
        run(Command::new(tool).args(arguments).arg(&image)).unwrap();
        let device = Attached::new(&image, self.block_bytes)?;
        Mount::new(&dir.join("mounted"), self.kind, &device.0, self.options)
    }
}

/// A loop device. Dropped while it is mounted, it goes with the mount.
struct Attached(String);

impl Attached {
    fn new(image: &Path, block_bytes: u32) -> Result<Self, String> {
        let block_bytes = block_bytes.to_string();
        let attach = ["--find", "--show", "--sector-size", &block_bytes];
        let device = run(Command::new("losetup").args(attach).arg(image))?;
        Ok(Self(device.trim().to_string()))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let detached = run(Command::new("losetup").args(["--detach", &self.0]));
        assert!(detached.is_ok() || thread::panicking(), "{detached:?}");
    }
}

/// A mounted filesystem.
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts `source` at the folder `at`, which is made, or says what of this machine prevents it.
    ///
    /// # Panics
    /// When mounting fails although the kernel has the filesystem and permits it.
    pub fn new(at: &Path, kind: &str, source: &str, options: &str) -> Result<Self, String> {
        fs::create_dir(at).unwrap();
        run(Command::new("mount").args(["-t", kind, "-o", options, source]).arg(at)).map_err(
            |why| {
                let known = fs::read_to_string("/proc/filesystems").unwrap();
                let known = known.lines().any(|line| line.ends_with(&format!("\t{kind}")));
                assert!(!known || why.contains("permission denied"), "{why}");
                why
            },
        )?;
        Ok(Self { at: at.to_path_buf() })
    }

    /// What another process has mounted at the folder `at`.
    pub fn of_another(at: &Path) -> Self {
        Self { at: at.to_path_buf() }
    }

    /// The folder where it is.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let deadline = Instant::now() + UNMOUNT_PATIENCE;
        while let Err(why) = run(Command::new("umount").arg(&self.at)) {
            if Instant::now() >= deadline || thread::panicking() {
                let _ = run(Command::new("umount").arg("--lazy").arg(&self.at));
                assert!(thread::panicking(), "something is still open: {why}");
                return;
            }
            thread::sleep(UNMOUNT_INTERVAL);
        }
    }
}

/// What a command printed, or what it or the system said against it, in one line.
fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let output =
        command.env("LC_ALL", "C").output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).collect();
    Err(format!("{program}: {}: {}", output.status, said.join(" ")))
}
