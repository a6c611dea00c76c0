//! A folder as a filesystem: its files, read-only, with reads that wait in the [`Queue`].

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry,
    ReplyOpen, Request,
};

use super::queue::{Answer, Queue};
use super::{Behaviour, Faults};

/// Reads that the kernel may send before the first is answered. Its own default is 12, which no
/// network disk has.
const AT_ONCE: u16 = 4096;
/// How long the kernel keeps names and lengths, which never change.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// What failing is drawn for.
const PAGE_BYTES: usize = 4096;
/// What the disk was asked for until now, as a file: readers look at it before and after what they
/// measure. It is not listed, and reads of it are not delayed.
pub const SEEN: &str = ".seen";
/// Its number. The folder has number 1.
const SEEN_FILE: INodeNo = INodeNo(2);
/// The number of the first file of the folder.
const FIRST_FILE: u64 = 3;

/// The files of one folder, in memory.
pub struct Mirror {
    files: Vec<Entry>,
    behaviour: Behaviour,
    queue: Arc<Queue>,
}

struct Entry {
    name: String,
    bytes: Arc<[u8]>,
}

impl Mirror {
    /// Reads the files of `source`. What lies in folders below it is left out.
    pub fn of(source: &Path, behaviour: Behaviour, queue: Arc<Queue>) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            if let (true, Ok(name)) =
                (entry.file_type()?.is_file(), entry.file_name().into_string())
            {
                files.push(Entry { name, bytes: fs::read(entry.path())?.into() });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { files, behaviour, queue })
    }

    fn entry(&self, of: INodeNo) -> Option<&Entry> {
        self.files.get(usize::try_from(of.0.checked_sub(FIRST_FILE)?).ok()?)
    }

    fn attributes(&self, of: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match self.entry(of) {
            Some(entry) => (FileType::RegularFile, 0o444, entry.bytes.len() as u64),
            None if of == SEEN_FILE => (FileType::RegularFile, 0o444, 0),
            None if of == INodeNo::ROOT => (FileType::Directory, 0o555, 0),
            None => return None,
        };
        Some(FileAttr {
            ino: of,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: PAGE_BYTES as u32,
            flags: 0,
        })
    }
}

impl Behaviour {
    /// Whether one of the pages in `range` of the file `name` cannot be read: the same ones each
    /// time, whoever reads them.
    pub fn fails(&self, name: &str, range: &Range<usize>) -> bool {
        let Faults { fail_percent, fail_file } = &self.faults;
        if *fail_percent <= 0.0 || fail_file.as_ref().is_some_and(|only| only != name) {
            return false;
        }
        let file = name.bytes().fold(self.pace.seed, |seed, byte| mixed(seed ^ u64::from(byte)));
        let mut pages = range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES);
        // 53 bits are what a float holds exactly.
        let share = |page: usize| (mixed(file ^ page as u64) >> 11) as f64 / (1_u64 << 53) as f64;
        pages.any(|page| share(page) * 100.0 < *fail_percent)
    }
}

/// SplitMix64: neighbours in, strangers out.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Filesystem for Mirror {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = InitFlags::FUSE_ASYNC_DIO | InitFlags::FUSE_ASYNC_READ;
        let missing = |_| io::Error::other("this kernel's FUSE reads one after the other");
        config.add_capabilities(wanted).map_err(missing)?;
        let zero = |_| io::Error::other("room for no read");
        config.set_max_background(AT_ONCE).map_err(zero)?;
        config.set_congestion_threshold(AT_ONCE).map_err(zero)?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let at = self.files.iter().position(|entry| name == entry.name.as_str());
        let number = match at {
            Some(at) => INodeNo(at as u64 + FIRST_FILE),
            None if name == SEEN => SEEN_FILE,
            None => return reply.error(Errno::ENOENT),
        };
        match self.attributes(number).filter(|_| parent == INodeNo::ROOT) {
            Some(attributes) => reply.entry(&KEPT, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, of: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(of) {
            Some(attributes) => reply.attr(&KEPT, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let dots = [".", ".."].map(|name| (INodeNo::ROOT, FileType::Directory, name));
        let files = self.files.iter().zip(FIRST_FILE..);
        let files =
            files.map(|(entry, no)| (INodeNo(no), FileType::RegularFile, entry.name.as_str()));
        let listed = dots.into_iter().chain(files).zip(1_u64..);
        for ((number, kind, name), next) in listed.skip(offset as usize) {
            if reply.add(number, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn open(&self, _: &Request, of: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.entry(of) {
            None if of == SEEN_FILE => {
                reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Some(_) if flags.acc_mode() == fuser::OpenAccMode::O_RDONLY => {
                // What the page cache holds stays when the file is opened again: it never changes.
                reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
            }
            Some(_) => reply.error(Errno::EROFS),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        _: &Request,
        of: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if of == SEEN_FILE {
            let seen = self.queue.seen();
            let begin = seen.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            return reply.data(&seen.as_bytes()[begin..seen.len().min(begin + size as usize)]);
        }
        let Some(Entry { name, bytes }) = self.entry(of) else {
            return reply.error(Errno::ENOENT);
        };
        let start = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let range = start..bytes.len().min(start.saturating_add(size as usize));
        let fails = self.behaviour.fails(name, &range);
        self.queue.push(name, Answer { file: bytes.clone(), range, fails }, reply);
    }
}
