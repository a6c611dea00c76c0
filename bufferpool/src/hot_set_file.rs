//! A hot set on disk: a few bytes a page, believed only whole.
//!
//! ```text
//!   0  "RINGHOTS"        8   version, page size   16  key, pages of the file    32
//!   for each count of chances, from the most: how many pages, and each one's distance to the last
//!   CRC32C of everything before
//! ```
//!
//! Whole numbers are little-endian, of 4 bytes (version, page size, CRC) or 8; how many and how
//! far are varints (seven bits a byte, the lowest first). Pages that are near each other, as hot
//! ones are, take a byte. It is written beside its place and renamed into it, so that it is there
//! whole or not at all; who is killed meanwhile leaves `.ringpool-*.partial`, which nobody reads and
//! which may be removed. Nothing in it is believed before its checksum was compared, and nothing is
//! allocated that the file's own length does not account for.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringpool_storage::{FileKey, PageNo, PageSize, open_no_link, sync_folder};

use crate::hot_set::{HEATS, HotSet};

const MAGIC: &[u8; 8] = b"RINGHOTS";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const CRC_BYTES: usize = 4;
/// No number takes more.
const MAX_VARINT_BYTES: u64 = 10;
/// The bits of a page number.
const PAGE_BITS: u32 = 48;

/// Why a hot set cannot be written, read or restored. The pool is as if nobody had tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HotSetError {
    /// The system refused.
    #[error("{path}: {doing}: {source}", path = path.display())]
    Io {
        /// Path of the hot set.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's own answer.
        source: io::Error,
    },

    /// The file is something else.
    #[error("{path} is no hot set; name another file", path = path.display())]
    NotAHotSet {
        /// Path of the file.
        path: PathBuf,
    },

    /// Longer than a hot set may be.
    #[error(
        "{path} has {len_bytes} bytes, and a hot set at most {max_bytes}; delete it",
        path = path.display()
    )]
    TooLong {
        /// Path of the hot set.
        path: PathBuf,
        /// Its length.
        len_bytes: u64,
        /// The longest that is read or written.
        max_bytes: u64,
    },

    /// Written by another version of ringpool.
    #[error(
        "{path} is of version {found}, and this is for version {expected}; save it again",
        path = path.display()
    )]
    Version {
        /// Path of the hot set.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The one that is read.
        expected: u32,
    },

    /// Not what was written.
    #[error("{path} is damaged: {reason}; delete it, and save it again", path = path.display())]
    Damaged {
        /// Path of the hot set.
        path: PathBuf,
        /// How that is known.
        reason: &'static str,
    },

    /// Of another file, or of another version of the file.
    #[error(
        "{path} belongs to the file with key {found:016x}, not {expected:016x}; save it again",
        path = path.display()
    )]
    Foreign {
        /// Path of the hot set.
        path: PathBuf,
        /// The key of the file whose it is.
        found: u64,
        /// The key that was asked for.
        expected: u64,
    },

    /// The file has other pages than the hot set's.
    #[error("{file}: {reason}; save its hot set again")]
    Mismatch {
        /// Path of the file that was to be warmed.
        file: Arc<str>,
        /// What does not fit.
        reason: String,
    },

    /// No thread can be had to read in the background.
    #[error("{file}: no thread to restore its hot set with: {source}")]
    NoThread {
        /// Path of the file that was to be warmed.
        file: Arc<str>,
        /// The system's own answer.
        source: io::Error,
    },

    /// This process is a child of the one that made the pool.
    #[error("{file}: attached before a fork: attach it again in the child process")]
    Forked {
        /// Path of the file that was to be warmed.
        file: Arc<str>,
    },
}

impl HotSet {
    /// The longest hot set that is written or read: enough for more than 10^8 pages.
    pub const MAX_BYTES: u64 = 256 << 20;

    /// Writes it to `path`, whole or not at all: what was there before is replaced at the end.
    ///
    /// # Errors
    /// [`HotSetError::Io`], and [`HotSetError::TooLong`] past [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), HotSetError> {
        let path = path.as_ref();
        let bytes = self.encode();
        bounded(path, bytes.len() as u64, Self::MAX_BYTES)?;
        let refused = |doing| move |source| HotSetError::Io { path: path.into(), doing, source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut beside = tempfile::Builder::new();
        let beside = beside.prefix(".ringpool-").suffix(".partial").tempfile_in(folder);
        let mut beside = beside.map_err(refused("write beside it"))?;
        beside.write_all(&bytes).map_err(refused("write"))?;
        beside.as_file().sync_all().map_err(refused("sync"))?;
        beside.persist(path).map_err(|error| refused("rename into place")(error.error))?;
        sync_folder(folder).map_err(refused("sync its folder"))
    }

    /// Reads the hot set of the file with `key` from `path`.
    ///
    /// # Errors
    /// When it is not there, too long, damaged, of another version or of another file: each has
    /// its own [`HotSetError`].
    pub fn read(path: impl AsRef<Path>, key: FileKey) -> Result<Self, HotSetError> {
        Self::read_bounded(path.as_ref(), key, Self::MAX_BYTES)
    }

    /// [`read`](Self::read) where the file has so many pages: a hot set that is longer than that of
    /// all of them can be is refused before it is read.
    ///
    /// # Errors
    /// As those of `read`.
    pub fn read_for(
        path: impl AsRef<Path>,
        key: FileKey,
        page_count: u64,
    ) -> Result<Self, HotSetError> {
        let lists = (HEATS as u64 + page_count) * MAX_VARINT_BYTES;
        let most = (HEADER_BYTES + CRC_BYTES) as u64 + lists;
        Self::read_bounded(path.as_ref(), key, most.min(Self::MAX_BYTES))
    }

    fn read_bounded(path: &Path, key: FileKey, max_bytes: u64) -> Result<Self, HotSetError> {
        let refused = |doing| move |source| HotSetError::Io { path: path.into(), doing, source };
        let not_one = || HotSetError::NotAHotSet { path: path.into() };
        // A link is not followed, and a pipe is not waited for.
        let file = open_no_link(path).map_err(refused("open"))?.ok_or_else(not_one)?;
        let metadata = file.metadata().map_err(refused("stat"))?;
        if !metadata.is_file() {
            return Err(not_one());
        }
        bounded(path, metadata.len(), max_bytes)?;
        let mut bytes = Vec::new();
        // It may have grown since; what is read stays bounded.
        file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(refused("read"))?;
        bounded(path, bytes.len() as u64, max_bytes)?;
        let read = Self::decode(&bytes).map_err(|flaw| flaw.of(path))?;
        if read.key != key {
            let (found, expected) = (read.key.0, key.0);
            return Err(HotSetError::Foreign { path: path.into(), found, expected });
        }
        Ok(read)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 2 * self.len() + CRC_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(self.page_size.bytes() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.key.0.to_le_bytes());
        bytes.extend_from_slice(&self.page_count.to_le_bytes());
        for pages in &self.by_chances {
            push_varint(&mut bytes, pages.len() as u64);
            let mut next = 0;
            for page in pages {
                push_varint(&mut bytes, page.0 - next);
                next = page.0 + 1;
            }
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(Flaw::NotAHotSet)?;
        let (header, mut rest) = content.split_at_checked(HEADER_BYTES).ok_or(Flaw::NotAHotSet)?;
        if !header.starts_with(MAGIC) {
            return Err(Flaw::NotAHotSet);
        }
        let version = le_u32(&header[8..]);
        if version != VERSION {
            return Err(Flaw::Version(version));
        }
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return Err(Flaw::Damaged("its checksum is another"));
        }
        let page_size = PageSize::new(le_u32(&header[12..]).into());
        let page_size = page_size.map_err(|_| Flaw::Damaged("no page has such a size"))?;
        let (key, page_count) = (FileKey(le_u64(&header[16..])), le_u64(&header[24..]));
        if page_count > 1 << PAGE_BITS {
            return Err(Flaw::Damaged("no file has so many pages"));
        }
        let mut by_chances: [Vec<PageNo>; HEATS] = Default::default();
        for pages in &mut by_chances {
            *pages = take_pages(&mut rest, page_count)?;
        }
        match rest {
            [] => Ok(Self { key, page_size, page_count, by_chances }),
            _ => Err(Flaw::Damaged("bytes are left over")),
        }
    }
}

/// What is wrong with the bytes of a hot set.
#[derive(Debug, PartialEq, Eq)]
enum Flaw {
    NotAHotSet,
    Version(u32),
    Damaged(&'static str),
}

impl Flaw {
    fn of(self, path: &Path) -> HotSetError {
        let path = path.into();
        match self {
            Self::NotAHotSet => HotSetError::NotAHotSet { path },
            Self::Version(found) => HotSetError::Version { path, found, expected: VERSION },
            Self::Damaged(reason) => HotSetError::Damaged { path, reason },
        }
    }
}

fn bounded(path: &Path, len_bytes: u64, max_bytes: u64) -> Result<(), HotSetError> {
    match len_bytes > max_bytes {
        true => Err(HotSetError::TooLong { path: path.into(), len_bytes, max_bytes }),
        false => Ok(()),
    }
}

/// Takes one list of pages, below `page_count` and ascending.
fn take_pages(bytes: &mut &[u8], page_count: u64) -> Result<Vec<PageNo>, Flaw> {
    let count = take_varint(bytes)?;
    if count > bytes.len() as u64 {
        return Err(Flaw::Damaged("there are fewer pages than it says"));
    }
    let mut pages = Vec::with_capacity(count as usize);
    let mut next = 0_u64;
    for _ in 0..count {
        let page = next.checked_add(take_varint(bytes)?).filter(|&page| page < page_count);
        let page = page.ok_or(Flaw::Damaged("a page is past the end of the file"))?;
        pages.push(PageNo(page));
        next = page + 1;
    }
    Ok(pages)
}

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Flaw> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Flaw::Damaged("a number has no end"))?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            break;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Flaw::Damaged("a number is too long"))
}

fn le_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn le_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    /// Any hot set: pages near each other and far apart, at both ends of the file.
    fn hot_set() -> impl Strategy<Value = HotSet> {
        let page_count = prop_oneof![1..100_u64, 1..1_u64 << 20, Just(1 << PAGE_BITS)];
        (any::<u64>(), page_count).prop_flat_map(|(key, page_count)| {
            let far = prop_oneof![0..page_count, Just(page_count - 1), Just(0)];
            let near = (0..page_count.min(300)).boxed();
            let list = || btree_set(prop_oneof![far.clone(), near.clone()], 0..80);
            [list(), list(), list(), list()].prop_map(move |lists| HotSet {
                key: FileKey(key),
                page_size: PageSize::KIB_4,
                page_count,
                by_chances: lists.map(|pages| pages.into_iter().map(PageNo).collect()),
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn what_is_written_is_read(hot_set in hot_set()) {
            prop_assert_eq!(HotSet::decode(&hot_set.encode()), Ok(hot_set));
        }

        #[test]
        fn a_changed_byte_is_noticed(hot_set in hot_set(), at: prop::sample::Index, flip in 1..=255_u8) {
            let mut bytes = hot_set.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(HotSet::decode(&bytes).is_err(), "byte {}", at);
        }

        #[test]
        fn a_cut_or_a_longer_one_is_noticed(hot_set in hot_set(), at: prop::sample::Index, more: Vec<u8>) {
            let bytes = hot_set.encode();
            prop_assert!(HotSet::decode(&bytes[..at.index(bytes.len())]).is_err());
            let longer = [&bytes[..], &more].concat();
            prop_assert_eq!(HotSet::decode(&longer).is_ok(), more.is_empty());
        }

        /// The checksum is right and what it covers makes no sense: nothing panics, and nothing is
        /// taken for a hot set that does not say the same when it is written.
        #[test]
        fn sense_is_checked_too(mut hot_set in hot_set(), body: Vec<u8>) {
            hot_set.by_chances = Default::default();
            let header = &hot_set.encode()[..HEADER_BYTES];
            let mut bytes = [header, &body].concat();
            bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
            if let Ok(read) = HotSet::decode(&bytes) {
                prop_assert!(read.pages().all(|(page, _)| page.0 < hot_set.page_count));
                prop_assert!(read.len() <= body.len());
            }
        }
    }

    #[test]
    fn pages_side_by_side_take_a_byte() {
        let mut by_chances: [Vec<PageNo>; HEATS] = Default::default();
        by_chances[0] = (1000..11_000).map(PageNo).collect();
        let (key, page_size, page_count) = (FileKey(1), PageSize::KIB_4, 1 << 30);
        let bytes = HotSet { key, page_size, page_count, by_chances }.encode();
        assert!(bytes.len() < 10_100, "{} bytes for 10,000 pages", bytes.len());
    }

    #[test]
    fn a_count_is_not_believed() {
        let mut bytes = Vec::new();
        push_varint(&mut bytes, u64::MAX);
        assert!(matches!(take_pages(&mut &bytes[..], 10), Err(Flaw::Damaged(_))));
        for (body, page_count) in [(&[2, 3, 5], 9), (&[1, 200, 1], 200), (&[2, 0, 9], 10)] {
            assert!(matches!(take_pages(&mut &body[..], page_count), Err(Flaw::Damaged(_))));
            assert!(take_pages(&mut &body[..], page_count + 1).is_ok(), "the last page there is");
        }
        assert!(matches!(take_varint(&mut &[0xFF; 20][..]), Err(Flaw::Damaged(_))));
        assert!(matches!(take_varint(&mut &[0x80][..]), Err(Flaw::Damaged(_))));
    }
}
