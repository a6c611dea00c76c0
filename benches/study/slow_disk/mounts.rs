//! Mounts that nobody else sees, and how one is taken away again.
#![allow(unsafe_code)]

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// How often unmounting is tried before it is left to the last who has a file open: a ring lets go
/// of its files a moment after its process ended.
const UNMOUNT_TRIES: u32 = 100;

/// How long between two tries.
const UNMOUNT_PAUSE: Duration = Duration::from_millis(10);

/// Gives the calling thread, and what it starts from now on, mounts of its own: the kernel takes
/// them away with the last process that has them, even if all are killed. Without root they stay
/// everybody's.
pub fn leave_the_mounts() -> io::Result<()> {
    // SAFETY: file descriptors stay shared; of what threads share only the current folder and the
    // umask are parted, and no thread here changes either.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    Ok(())
}

/// Unmounts `at`. While somebody has a file open on it, it is only hidden, and goes with that.
pub fn take_away(at: &Path) -> io::Result<()> {
    for _ in 0..UNMOUNT_TRIES {
        match unmount(at, UnmountFlags::empty()) {
            Err(Errno::BUSY) => thread::sleep(UNMOUNT_PAUSE),
            // Somebody else was faster.
            Ok(()) | Err(Errno::INVAL) => return Ok(()),
            Err(Errno::PERM) => return by_program(at),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(unmount(at, UnmountFlags::DETACH)?)
}

/// As those must who are not root.
fn by_program(at: &Path) -> io::Result<()> {
    let mut program = Command::new("fusermount3");
    program.args(["-u", "-z"]).arg(at).stdin(Stdio::null());
    match program.status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("fusermount3 -u: {status}"))),
    }
}
