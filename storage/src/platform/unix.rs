//! What Linux and the other unixes have in common.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(crate) fn system_page_bytes() -> Option<usize> {
    // SAFETY: asks for a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok()
}

/// See proc(5): `7` in it is a link to the file of descriptor 7, which the process has open already.
const OWN_FILES: &str = "/proc/self/fd";

pub(crate) fn open_no_link(path: &Path) -> io::Result<Option<File>> {
    let is_own = path.parent() == Some(Path::new(OWN_FILES));
    let no_link = if is_own { 0 } else { libc::O_NOFOLLOW };
    // O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    let flags = no_link | libc::O_NONBLOCK | libc::O_NOCTTY;
    match File::options().read(true).custom_flags(flags).open(path) {
        // A link is ELOOP, but EMLINK on FreeBSD; a pipe or a device without its other side is ENXIO.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EMLINK | libc::ENXIO)) =>
        {
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
