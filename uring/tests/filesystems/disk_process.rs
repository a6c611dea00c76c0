//! The process behind a [`SlowDisk`](crate::slow_disk::SlowDisk): it mounts, answers reads when
//! their time has come, takes orders from its standard input, and ends with it.
//!
//! Reads pass by the page cache and its readahead (FOPEN_DIRECT_IO), and the kernel waits for none
//! of them before it sends the next (FUSE_ASYNC_DIO, and room for all in the background): what a
//! ring has in flight is in flight here.

#![allow(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr,
    ReplyData, ReplyEntry, ReplyOpen, Request,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::slow_disk::{ANSWER, AT_VARIABLE, Behaviour, FILE_NAME, PAGE, SOURCE_VARIABLE, Seen};

/// The longest that a read is held; it then fails, so that nobody waits for ever.
const HOLD_LIMIT: Duration = Duration::from_secs(120);
/// Reads that the kernel may send before the first is answered.
const AT_ONCE: u16 = 1024;
/// The kernel asks each time: a file that is cut has its new length at once.
const NEVER_KEPT: Duration = Duration::ZERO;
/// The number of the only file. The folder that it is in has number 1.
const FILE: INodeNo = INodeNo(2);

#[test]
#[ignore = "no test: the process of the slow disk, which the tests start by themselves"]
fn serves() {
    let (Some(source), Some(at)) = (env::var_os(SOURCE_VARIABLE), env::var_os(AT_VARIABLE)) else {
        return;
    };
    end_with_the_test();
    let (_session, queue) = match mount(Path::new(&source), Path::new(&at)) {
        Ok(mounted) => mounted,
        Err(why) => return answer(&Err(format!("FUSE mounts nothing for this user: {why}"))),
    };
    answer(&Ok(Seen::default()));
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let behaviour = serde_json::from_str(&line).map_err(|error| error.to_string());
        answer(&behaviour.map(|behaviour| queue.obey(behaviour)));
    }
}

/// Ends this process when the thread that started it does. Its standard input is not enough: a
/// test that was killed keeps its files open while it waits for answers that are held here.
fn end_with_the_test() {
    // SAFETY: concerns this process alone; no memory is passed.
    let asked = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    assert_eq!(asked, 0);
}

/// One line for the process that gave the order.
fn answer(seen: &Result<Seen, String>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{ANSWER}{}", serde_json::to_string(seen).unwrap());
}

fn mount(source: &Path, at: &Path) -> io::Result<(BackgroundSession, Arc<Queue>)> {
    let queue = Arc::new(Queue::default());
    let answering = queue.clone();
    thread::spawn(move || answering.answer_in_time());
    let disk = Disk { file: File::open(source)?, queue: queue.clone() };
    let mut config = Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("slow-disk".to_string())];
    Ok((fuser::spawn_mount(disk, at, &config)?, queue))
}

struct Disk {
    file: File,
    queue: Arc<Queue>,
}

impl Disk {
    fn attributes(&self, of: INodeNo) -> io::Result<FileAttr> {
        let kind = if of == FILE { FileType::RegularFile } else { FileType::Directory };
        let size = self.file.metadata()?.len();
        Ok(FileAttr {
            ino: of,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o755,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: PAGE.bytes() as u32,
            flags: 0,
        })
    }

    /// Up to `size` bytes from `offset` of the file, less where it ends.
    fn bytes(&self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        let mut filled = 0;
        while filled < size {
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                more => filled += more,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

impl Filesystem for Disk {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let missing = |_| io::Error::other("this kernel's FUSE has no asynchronous direct reads");
        config.add_capabilities(InitFlags::FUSE_ASYNC_DIO).map_err(missing)?;
        let zero = |_| io::Error::other("room for no read");
        config.set_max_background(AT_ONCE).map_err(zero)?;
        config.set_congestion_threshold(AT_ONCE).map_err(zero)?;
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attributes(FILE) {
            Ok(attributes) if name == FILE_NAME => {
                reply.entry(&NEVER_KEPT, &attributes, Generation(0));
            }
            Ok(_) => reply.error(Errno::ENOENT),
            Err(error) => reply.error(error.into()),
        }
    }

    fn getattr(&self, _: &Request, of: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(of) {
            Ok(attributes) => reply.attr(&NEVER_KEPT, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.bytes(offset, size as usize).map_err(Errno::from);
        self.queue.push(offset / PAGE.bytes() as u64, bytes, reply);
    }
}

/// The reads that are not answered yet.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Told when what is due first has changed.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    behaviour: Behaviour,
    chance: Option<SmallRng>,
    reads: BinaryHeap<Reverse<Read>>,
    asked: u64,
    seen: Seen,
}

struct Read {
    due: Instant,
    /// Counted from the first: of two that are due together, the older is answered first.
    no: u64,
    page: u64,
    held: bool,
    bytes: Result<Vec<u8>, Errno>,
    reply: ReplyData,
}

impl Queue {
    fn push(&self, page: u64, bytes: Result<Vec<u8>, Errno>, reply: ReplyData) {
        let mut waiting = self.waiting.lock().unwrap();
        let (due, held) = waiting.due(page);
        let bytes = waiting.spoil(page, bytes);
        waiting.asked += 1;
        let read = Read { due, no: waiting.asked, page, held, bytes, reply };
        waiting.reads.push(Reverse(read));
        let in_flight = waiting.reads.len() as u64;
        waiting.seen.most_in_flight = waiting.seen.most_in_flight.max(in_flight);
        if waiting.reads.peek().is_some_and(|first| first.0.no == waiting.asked) {
            self.changed.notify_one();
        }
    }

    /// Answers from now on like this, also what waits already.
    fn obey(&self, behaviour: Behaviour) -> Seen {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.chance = Some(SmallRng::seed_from_u64(behaviour.seed));
        waiting.behaviour = behaviour;
        for Reverse(mut read) in std::mem::take(&mut waiting.reads).into_vec() {
            (read.due, read.held) = waiting.due(read.page);
            waiting.reads.push(Reverse(read));
        }
        self.changed.notify_one();
        let in_flight = waiting.reads.len() as u64;
        let seen = Seen { in_flight, ..waiting.seen };
        waiting.seen.most_in_flight = in_flight;
        seen
    }

    fn answer_in_time(&self) {
        let mut waiting = self.waiting.lock().unwrap();
        loop {
            let now = Instant::now();
            let Some(Reverse(first)) = waiting.reads.peek() else {
                waiting = self.changed.wait(waiting).unwrap();
                continue;
            };
            if first.due > now {
                let left = first.due - now;
                waiting = self.changed.wait_timeout(waiting, left).unwrap().0;
                continue;
            }
            let Some(Reverse(read)) = waiting.reads.pop() else { continue };
            waiting.seen.answered += 1;
            drop(waiting);
            match read.bytes {
                Ok(bytes) if !read.held => read.reply.data(&bytes),
                Ok(_) => read.reply.error(Errno::EIO),
                Err(errno) => read.reply.error(errno),
            }
            waiting = self.waiting.lock().unwrap();
        }
    }
}

impl Waiting {
    /// When a read of `page` that has come now is answered, and whether it is held until then.
    fn due(&mut self, page: u64) -> (Instant, bool) {
        let now = Instant::now();
        if self.behaviour.held.contains(&page) {
            return (now + HOLD_LIMIT, true);
        }
        let jitter_us = match (&mut self.chance, self.behaviour.jitter_us) {
            (Some(chance), 1..) => chance.random_range(0..=self.behaviour.jitter_us),
            _ => 0,
        };
        (now + Duration::from_micros(self.behaviour.latency_us + jitter_us), false)
    }

    /// What is answered instead of the right bytes of `page`.
    fn spoil(&self, page: u64, bytes: Result<Vec<u8>, Errno>) -> Result<Vec<u8>, Errno> {
        if self.behaviour.failing.contains(&page) {
            return Err(Errno::EIO);
        }
        bytes.map(|mut bytes| {
            bytes.truncate(self.behaviour.short.get(&page).copied().unwrap_or(usize::MAX));
            bytes
        })
    }
}

impl Ord for Read {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.no).cmp(&(other.due, other.no))
    }
}

impl PartialOrd for Read {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Read {
    fn eq(&self, other: &Self) -> bool {
        self.no == other.no
    }
}

impl Eq for Read {}
