//! A file of pages, opened for direct reads where its filesystem allows them.
//!
//! Opening asks everything that can go wrong later: is it a regular file, is its length whole
//! pages, which alignment do direct reads need, and does one of them really work. O_DIRECT is
//! accepted by some filesystems at the open and refused at the first read. Where it is refused,
//! pages are at least not kept by the system after they were read (RWF_DONTCACHE), if that works.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ringpool_storage::{Error, PageNo, PageRead, PageSize, Result, open_no_link};

use crate::platform::{self, Fd};

/// Whether a file's reads bypass the page cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// They do.
    Yes,
    /// They go through the page cache, for this reason.
    No(String),
}

/// What a file's reads do with the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// They bypass it.
    Direct,
    /// They go through it and leave nothing behind.
    DontCache,
    /// They go through it.
    Buffered,
}

/// To what direct reads of a file must be aligned, in bytes. See statx(2), STATX_DIOALIGN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DioAlign {
    /// The memory that is read into.
    pub memory_bytes: u32,
    /// The offset in the file and the length.
    pub offset_bytes: u32,
}

/// One open file of pages.
pub(crate) struct PagedFile {
    file: File,
    pub(crate) path: Arc<str>,
    pub(crate) page_size: PageSize,
    pub(crate) page_count: u64,
    pub(crate) direct_io: DirectIo,
    pub(crate) caching: Caching,
    /// What the filesystem says of direct reads, if it does.
    pub(crate) dio_align: Option<DioAlign>,
    /// To what a read's offset and length must be aligned, in bytes.
    offset_align_bytes: usize,
    /// Names it among the files of its engine; never 0, and never used again.
    pub(crate) id: u64,
    /// Told of the id when the file is closed.
    pub(crate) on_close: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
}

impl Drop for PagedFile {
    fn drop(&mut self) {
        if let Some(on_close) = self.on_close.get() {
            on_close(self.id);
        }
    }
}

impl PagedFile {
    /// Opens `path` and reads its first page.
    pub(crate) fn open(path: &Path, page_size: PageSize, id: u64) -> Result<Self> {
        let name: Arc<str> = path.display().to_string().into();
        let failed = |doing: &str, source| Error::io(&name, doing, source);
        let opened = open_no_link(path).map_err(|source| failed("opening for reading", source))?;
        let file = opened.ok_or_else(|| {
            Error::not_pages(&name, "a link, a socket or a device; give a file of pages itself")
        })?;
        let metadata = file.metadata().map_err(|source| failed("asking for its length", source))?;
        if !metadata.is_file() {
            return Err(Error::not_pages(&name, "not a regular file; give a file of pages"));
        }
        let (len_bytes, page_bytes) = (metadata.len(), page_size.bytes() as u64);
        if !len_bytes.is_multiple_of(page_bytes) {
            let reason = format!(
                "{len_bytes} bytes are no whole number of pages of {page_size}: \
                 the file was cut or is no file of pages"
            );
            return Err(Error::not_pages(&name, reason));
        }
        let page_count = len_bytes / page_bytes;
        let (path, direct_io, caching) = (name.clone(), DirectIo::Yes, Caching::Direct);
        let (dio_align, offset_align_bytes) = (None, 512);
        let mut this = Self {
            file,
            path,
            page_size,
            page_count,
            direct_io,
            caching,
            dio_align,
            offset_align_bytes,
            id,
            on_close: OnceLock::new(),
        };
        if let Err(refusal) = this.go_direct().and_then(|()| this.probe()) {
            this.direct_io = DirectIo::No(refusal.to_string());
            let cleared = platform::set_direct(&this.file, false);
            cleared.map_err(|source| failed("clearing O_DIRECT", source))?;
            this.offset_align_bytes = 1;
            this.caching = Caching::DontCache;
            if platform::stop_caching(&this.file).and_then(|()| this.probe()).is_err() {
                this.caching = Caching::Buffered;
                this.probe().map_err(|source| failed("reading page 0", source))?;
            }
        }
        Ok(this)
    }

    /// The RWF_ flags of its reads.
    pub(crate) fn flags(&self) -> i32 {
        if self.caching == Caching::DontCache { platform::DONT_CACHE } else { 0 }
    }

    /// The descriptor, for the ring. Valid as long as `self` is.
    pub(crate) fn fd(&self) -> Fd {
        platform::descriptor(&self.file)
    }

    /// Where `page` starts, in bytes.
    pub(crate) fn offset_bytes(&self, page: PageNo) -> Result<u64> {
        let inside = page.0 < self.page_count;
        self.page_size.offset_bytes(page).filter(|_| inside).ok_or_else(|| Error::NoSuchPage {
            file: self.path.clone(),
            page,
            pages: self.page_count,
        })
    }

    /// Judges one result of the kernel for a read of which `done_bytes` are there already.
    pub(crate) fn judge(&self, result: i32, done_bytes: usize) -> Judgement {
        let page_bytes = self.page_size.bytes();
        if result < 0 {
            let errno = -result;
            return match errno {
                // ECANCELED: the kernel's own worker was interrupted; nobody here cancels.
                libc::EINTR | libc::EAGAIN | libc::ECANCELED => Judgement::Again { done_bytes },
                _ => Judgement::Failed(io::Error::from_raw_os_error(errno)),
            };
        }
        let all_bytes = done_bytes + result as usize;
        if all_bytes >= page_bytes {
            return Judgement::Whole;
        }
        if result == 0 || !all_bytes.is_multiple_of(self.offset_align_bytes) {
            // Nothing more, or a direct read that ends unaligned: the file's end.
            return Judgement::Ended { found_bytes: all_bytes };
        }
        Judgement::Again { done_bytes: all_bytes }
    }

    /// Reads a page on the calling thread, whole or not at all.
    pub(crate) fn read_blocking(&self, read: &mut PageRead) -> Result<()> {
        let (page, start) = (read.page(), self.offset_bytes(read.page())?);
        let mut done_bytes = 0;
        for _ in 0..MAX_TRIES {
            let rest = &mut read.bytes_mut()[done_bytes..];
            let result = self.read_at(rest, start + done_bytes as u64);
            match self.judge(result, done_bytes) {
                Judgement::Whole => return Ok(()),
                Judgement::Again { done_bytes: now } => done_bytes = now,
                ended_or_failed => return Err(self.error(page, ended_or_failed)),
            }
        }
        Err(self.error(page, Judgement::Again { done_bytes }))
    }

    /// The error for a read of `page` that ended like this. `Again` means: once too often.
    pub(crate) fn error(&self, page: PageNo, judgement: Judgement) -> Error {
        let (file, expected_bytes) = (self.path.clone(), self.page_size.bytes());
        match judgement {
            Judgement::Ended { found_bytes } => {
                Error::Truncated { file, page, expected_bytes, found_bytes }
            }
            Judgement::Failed(source) => Error::io(&file, format!("reading page {page}"), source),
            Judgement::Again { .. } | Judgement::Whole => {
                let doing = format!("reading page {page}: gave up after {MAX_TRIES} tries");
                Error::io(&file, doing, io::ErrorKind::Interrupted.into())
            }
        }
    }

    /// Asks for direct reads: by what the filesystem says of its alignment, then on the descriptor.
    fn go_direct(&mut self) -> io::Result<()> {
        self.dio_align = platform::dio_align(&self.file)?;
        if let Some(DioAlign { memory_bytes, offset_bytes }) = self.dio_align {
            let (memory_align, offset_align) = (memory_bytes as usize, offset_bytes as usize);
            let page_bytes = self.page_size.bytes();
            if memory_align == 0 || offset_align == 0 {
                let reason = "the filesystem has no direct I/O for this file (statx)";
                return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
            }
            if memory_align > page_bytes || !page_bytes.is_multiple_of(offset_align) {
                let reason = format!("direct reads need blocks of {offset_align} bytes");
                return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
            }
            self.offset_align_bytes = offset_align;
        } else if platform::lives_in_the_page_cache(&self.file) {
            let reason = "the filesystem keeps its files in the page cache (tmpfs)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        platform::set_direct(&self.file, true)
    }

    /// Reads the first page into memory of its own, if there is one.
    fn probe(&self) -> io::Result<()> {
        let page_bytes = self.page_size.bytes();
        let align = page_bytes.max(DIRECT_ALIGN_BYTES);
        let mut memory = vec![0; page_bytes + align];
        let start = memory.as_ptr().align_offset(align);
        let page = &mut memory[start..start + page_bytes];
        match self.read_at(page, 0) {
            1.. => Ok(()),
            0 if self.page_count == 0 => Ok(()),
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }

    /// One read of the system's, with its result as a ring would give it: bytes, or -errno.
    fn read_at(&self, into: &mut [u8], offset_bytes: u64) -> i32 {
        platform::read_at(&self.file, into, offset_bytes, self.flags())
    }

    /// The file itself, for reads of runs.
    pub(crate) fn as_file(&self) -> &File {
        &self.file
    }
}

/// To what memory is aligned that the first page is read into, at least.
const DIRECT_ALIGN_BYTES: usize = 4096;

/// How often one read is tried again after it was interrupted or came back short.
pub(crate) const MAX_TRIES: u32 = 64;

/// What one result of the kernel means.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// All bytes are there.
    Whole,
    /// Read on from here.
    Again { done_bytes: usize },
    /// The file ends within the page.
    Ended { found_bytes: usize },
    /// The system refused.
    Failed(io::Error),
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn file_of(bytes: usize) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir_in(".").unwrap();
        let path = dir.path().join("pages");
        std::fs::write(&path, vec![1; bytes]).unwrap();
        (dir, path)
    }

    #[test]
    fn each_result_of_the_kernel_has_its_meaning() {
        let (_dir, path) = file_of(8192);
        let mut file = PagedFile::open(&path, PageSize::KIB_4, 1).unwrap();
        file.offset_align_bytes = 512;
        let short = |result, done| match file.judge(result, done) {
            Judgement::Whole => "whole".to_string(),
            Judgement::Again { done_bytes } => format!("again {done_bytes}"),
            Judgement::Ended { found_bytes } => format!("ended {found_bytes}"),
            Judgement::Failed(error) => format!("errno {}", error.raw_os_error().unwrap()),
        };
        assert_eq!(short(4096, 0), "whole");
        assert_eq!(short(3584, 512), "whole");
        assert_eq!(short(0, 0), "ended 0");
        assert_eq!(short(1, 0), "ended 1");
        assert_eq!(short(511, 0), "ended 511");
        assert_eq!(short(512, 0), "again 512");
        assert_eq!(short(4095, 0), "ended 4095");
        assert_eq!(short(0, 512), "ended 512");
        assert_eq!(short(-libc::EINTR, 512), "again 512");
        assert_eq!(short(-libc::EAGAIN, 0), "again 0");
        assert_eq!(short(-libc::EIO, 0), "errno 5");
    }

    #[test]
    fn what_is_no_file_of_pages_is_refused_with_a_reason() {
        let (dir, path) = file_of(5000);
        let refusal = |path: &Path| match PagedFile::open(path, PageSize::KIB_4, 1) {
            Ok(_) => panic!("opened"),
            Err(error) => error.to_string(),
        };
        assert!(refusal(&path).contains("5000 bytes are no whole number of pages of 4 KiB"));
        assert!(refusal(dir.path()).contains("not a regular file"));
        assert!(refusal(&dir.path().join("none")).contains("No such file"));
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        assert!(refusal(&fifo).contains("not a regular file"));
    }

    #[test]
    fn an_empty_file_has_no_pages() {
        let (_dir, path) = file_of(0);
        let file = PagedFile::open(&path, PageSize::KIB_4, 1).unwrap();
        assert_eq!(file.page_count, 0);
        assert!(matches!(file.offset_bytes(PageNo(0)), Err(Error::NoSuchPage { pages: 0, .. })));
    }
}
