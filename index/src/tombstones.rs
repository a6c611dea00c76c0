//! The file of a segment's deleted points.
//!
//! The components of a segment never change. Which of its points are deleted stands beside them, in
//! a file of its own that is replaced whole, `TOMBSTONES`:
//!
//! ```text
//! ringpool-tombstones 2 since=0.1.0 crc32c=89abcdef segment=01234567
//! a roaring bitmap of their places, in its portable form
//! ```
//!
//! `segment` is the checksum of the manifest beside it: tombstones of another segment are refused,
//! and so is a file that was cut or changed. A segment whose tombstones cannot be read does not
//! open, since its deleted points would be found again.
//!
//! Whoever writes it holds a lock on the folder: what was deleted meanwhile is read, and the new
//! file takes the place of the old one, under that lock. The lock is `flock`'s on the folder itself
//! and not on a file in it: nothing is left behind that would have to be removed, and the kernel
//! gives it up with its holder, however that ends.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use roaring::RoaringBitmap;

use crate::component::{open_regular, read_at_most};
use crate::platform;
use crate::release::{Foreign, Heading, MAX_LINE_BYTES};
use crate::step::{Gate, step};
use crate::{DeleteError, Patience, Release, SearchError, SegmentError, Selection};

/// The file's name.
pub(crate) const TOMBSTONES: &str = "TOMBSTONES";
/// What it is called until it is whole.
const UNFINISHED: &str = ".TOMBSTONES.writing";
/// What the file begins with.
const HEADING: Heading = Heading {
    word: "ringpool-tombstones",
    format: 2,
    since: Release { major: 0, minor: 1, patch: 0 },
};
/// A roaring bitmap has a container for so many places, of at most so many bytes, its share of the
/// bitmap's header included.
const CONTAINER_PLACES: u64 = 1 << 16;
const MAX_CONTAINER_BYTES: u64 = (8 << 10) + 64;
/// How long another writer is waited for, and how long between two looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_GLANCE: Duration = Duration::from_millis(5);

/// The deleted points of the segment in `dir`, whose manifest has the checksum `seal`.
///
/// # Errors
/// When the file is there and is not what was written for this segment.
pub(crate) fn read(
    dir: &Path,
    seal: u32,
    points: usize,
) -> Result<Option<Selection>, SegmentError> {
    let path = dir.join(TOMBSTONES);
    let file = match open_regular(&path) {
        Err(SegmentError::Missing { .. }) => return Ok(None),
        file => file?,
    };
    let containers = (points as u64).div_ceil(CONTAINER_PLACES);
    let most = MAX_LINE_BYTES as u64 + (containers + 1) * MAX_CONTAINER_BYTES;
    // One byte more than is possible tells a longer file.
    let bytes = read_at_most(file, &path, most + 1)?;
    if bytes.len() as u64 > most {
        let reason = format!("it is longer than {most} bytes, which {points} points cannot need");
        return Err(SegmentError::Tombstones { path, reason });
    }
    parse(&path, &bytes, seal, points).map(Some)
}

fn parse(path: &Path, bytes: &[u8], seal: u32, points: usize) -> Result<Selection, SegmentError> {
    let wrong = |reason: String| SegmentError::Tombstones { path: path.into(), reason };
    let (line, bitmap) = Heading::split(bytes);
    HEADING.check(line).map_err(|foreign| match foreign {
        // What is not a manifest's fault is told as this file's.
        Foreign::Wrong(reason) => wrong(reason),
        newer => SegmentError::foreign(path, HEADING.format, newer),
    })?;
    let text = str::from_utf8(line).unwrap_or_default();
    let own = text.trim_end().rsplit_once(" segment=");
    let own = own.and_then(|(_, own)| u32::from_str_radix(own, 16).ok()).unwrap_or_default();
    if line != first_line(own, bitmap).as_bytes() {
        return Err(wrong("it does not match its checksum: it was cut or changed".into()));
    }
    if own != seal {
        return Err(wrong(format!(
            "it is of a segment whose manifest has the checksum {own:08x}, and here that is \
             {seal:08x}"
        )));
    }
    let mut rest = bitmap;
    let places = RoaringBitmap::deserialize_from(&mut rest)
        .map_err(|error| wrong(format!("it has no bitmap: {error}")))?;
    if !rest.is_empty() {
        return Err(wrong(format!("it goes on for {} bytes behind the bitmap", rest.len())));
    }
    if let Some(last) = places.max().filter(|&last| last as usize >= points) {
        return Err(wrong(format!("it names place {last} of {points}")));
    }
    let mut dead = Selection::none(points);
    places.into_iter().for_each(|place| {
        dead.insert(place);
    });
    Ok(dead)
}

/// The checksum is of all that follows it: the segment's own, and the bitmap.
fn first_line(seal: u32, bitmap: &[u8]) -> String {
    let rest = format!(" segment={seal:08x}\n");
    let crc = crc32c::crc32c_append(crc32c::crc32c(rest.as_bytes()), bitmap);
    format!("{HEADING} crc32c={crc:08x}{rest}")
}

fn to_bytes(dead: &Selection, seal: u32) -> io::Result<Vec<u8>> {
    let mut places = RoaringBitmap::new();
    places.extend(dead.iter());
    let mut bitmap = Vec::with_capacity(places.serialized_size());
    places.serialize_into(&mut bitmap)?;
    let mut bytes = first_line(seal, &bitmap).into_bytes();
    bytes.append(&mut bitmap);
    Ok(bytes)
}

/// The right to write the tombstones in a folder, for as long as it is kept.
pub(crate) struct Locked<'a> {
    folder: File,
    dir: &'a Path,
    gate: &'a Gate<'a>,
}

impl<'a> Locked<'a> {
    /// Waits until nobody else has it, for [`LOCK_PATIENCE`] at most and not beyond `patience`.
    pub(crate) fn new(
        dir: &'a Path,
        patience: Patience<'_>,
        gate: &'a Gate<'a>,
    ) -> Result<Self, DeleteError> {
        let opened = step(gate, "open the folder", || platform::open_to_lock(dir));
        let folder = opened.map_err(|e| failed(dir, dir, "open the folder", 0, e))?;
        let begun = Instant::now();
        loop {
            let locked = step(gate, "lock the folder", || try_lock(&folder));
            match locked {
                Ok(()) => return Ok(Self { folder, dir, gate }),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let waited = begun.elapsed();
                    match patience.check() {
                        Err(SearchError::Cancelled) => {
                            return Err(DeleteError::Cancelled { dir: dir.into() });
                        }
                        Ok(()) if waited < LOCK_PATIENCE => {}
                        _ => return Err(DeleteError::Busy { dir: dir.into(), waited }),
                    }
                    std::thread::sleep(LOCK_GLANCE);
                }
                Err(e) => return Err(failed(dir, dir, "lock the folder", 0, e)),
            }
        }
    }

    /// Replaces the tombstones. Whoever is killed meanwhile, or refused, leaves those that were
    /// there or the new ones, and at most a file that readers ignore.
    pub(crate) fn replace(&self, dead: &Selection, seal: u32) -> Result<(), DeleteError> {
        let path = self.dir.join(UNFINISHED);
        let encoded = to_bytes(dead, seal);
        let bytes = encoded.map_err(|e| failed(self.dir, &path, "encode", 0, e))?;
        let put = self.write(&path, &bytes).and_then(|()| self.put(&path));
        if put.is_err() {
            // Best effort: the next writer begins it anew.
            let _ = fs::remove_file(&path);
        }
        put?;
        self.sync()
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DeleteError> {
        let wanted_bytes = bytes.len() as u64;
        let refused = |doing| move |e| failed(self.dir, path, doing, wanted_bytes, e);
        // What was left by a writer that was killed goes first, and is not written to: by its name
        // it could be a link, a pipe, or another file's second name.
        let created = step(self.gate, "create", || match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => File::create_new(path),
        });
        let mut file = created.map_err(refused("create"))?;
        let written = step(self.gate, "write", || file.write_all(bytes));
        written.map_err(refused("write"))?;
        let synced = step(self.gate, "sync", || file.sync_all());
        synced.map_err(refused("sync"))
    }

    fn put(&self, path: &Path) -> Result<(), DeleteError> {
        let place = self.dir.join(TOMBSTONES);
        let renamed = step(self.gate, "rename", || fs::rename(path, &place));
        renamed.map_err(|e| failed(self.dir, &place, "rename into place", 0, e))
    }

    /// Makes what was renamed outlive a crash, also what another writer could not.
    pub(crate) fn sync(&self) -> Result<(), DeleteError> {
        let synced = step(self.gate, "sync the folder", || self.folder.sync_all());
        synced.map_err(|e| failed(self.dir, self.dir, "sync the folder", 0, e))
    }
}

fn try_lock(folder: &File) -> io::Result<()> {
    folder.try_lock().map_err(|refused| match refused {
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        TryLockError::Error(error) => error,
    })
}

fn failed(
    dir: &Path,
    path: &Path,
    doing: &'static str,
    wanted_bytes: u64,
    source: io::Error,
) -> DeleteError {
    let path = PathBuf::from(path);
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            DeleteError::DiskFull { path, wanted_bytes }
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            DeleteError::ReadOnly { dir: dir.into(), source }
        }
        _ => DeleteError::Io { path, doing, source },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEAL: u32 = 0x0123_4567;

    fn parsed(bytes: &[u8], points: usize) -> Result<Selection, String> {
        parse(Path::new("T"), bytes, SEAL, points).map_err(|error| error.to_string())
    }

    fn of(points: usize, places: impl IntoIterator<Item = u32>) -> Selection {
        let mut dead = Selection::none(points);
        places.into_iter().for_each(|place| {
            dead.insert(place);
        });
        dead
    }

    /// The bytes are a contract: what was written by one version is read by the next.
    #[test]
    fn the_file_is_what_the_documentation_says() {
        let bytes = to_bytes(&of(100_000, [3, 70_000]), SEAL).unwrap();
        let (line, bitmap) = bytes.split_at(bytes.iter().position(|&b| b == b'\n').unwrap() + 1);
        let crc = crc32c::crc32c(&[b" segment=01234567\n", bitmap].concat());
        let expected =
            format!("ringpool-tombstones 2 since=0.1.0 crc32c={crc:08x} segment=01234567\n");
        assert_eq!(str::from_utf8(line).unwrap(), expected);
        // Cookie without runs, two containers; key and cardinality - 1 of each; where each is;
        // their values, 70,000 as 4,464 of the second.
        let words = [12346, 0, 2, 0, 0, 0, 1, 0, 24, 0, 26, 0, 3, 4464];
        let portable: Vec<u8> = words.into_iter().flat_map(u16::to_le_bytes).collect();
        assert_eq!(bitmap, portable);
    }

    #[test]
    fn what_is_not_this_segments_is_refused() {
        let sound = to_bytes(&of(1000, [7, 999]), SEAL).unwrap();
        assert_eq!(parsed(&sound, 1000).unwrap(), of(1000, [7, 999]));
        assert!(parsed(&sound, 999).unwrap_err().contains("place 999 of 999"));
        let foreign = to_bytes(&of(1000, [7]), SEAL + 1).unwrap();
        let error = parsed(&foreign, 1000).unwrap_err();
        assert!(error.contains("01234568") && error.contains("01234567"), "{error}");
        for cut in 0..sound.len() {
            assert!(parsed(&sound[..cut], 1000).is_err(), "cut at {cut}");
        }
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut changed = sound.clone();
                changed[at] ^= 1 << bit;
                assert!(parsed(&changed, 1000).is_err(), "bit {bit} of byte {at}");
            }
        }
        let sealed = |bitmap: &[u8]| [first_line(SEAL, bitmap).as_bytes(), bitmap].concat();
        let bitmap = &sound[sound.iter().position(|&b| b == b'\n').unwrap() + 1..];
        let longer = [bitmap, b"x"].concat();
        assert!(parsed(&sealed(&longer), 1000).unwrap_err().contains("goes on for 1 bytes"));
        assert!(parsed(&sealed(b""), 1000).unwrap_err().contains("no bitmap"));
        let newer = b"ringpool-tombstones 3 since=7.1.0 something else\n";
        let error = parsed(newer, 1000).unwrap_err();
        assert!(error.contains("which ringpool 7.1.0 and later read"), "{error}");
        let older = parsed(b"ringpool-tombstones 1 crc32c=00000000\n", 1000).unwrap_err();
        assert!(older.contains("of format 1, from before the first release"), "{older}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            points in 1_usize..200_000,
            places in proptest::collection::vec(any::<prop::sample::Index>(), 0..300),
            run in 0_usize..100_000,
        ) {
            let mut dead = of(points, places.iter().map(|place| place.index(points) as u32));
            (0..run.min(points) as u32).for_each(|place| {
                dead.insert(place);
            });
            let bytes = to_bytes(&dead, SEAL).unwrap();
            prop_assert_eq!(parsed(&bytes, points).unwrap(), dead);
        }

        /// Under checksums that are right: refused, or places that exist.
        #[test]
        fn any_bitmap_is_read_or_refused(
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            places in proptest::collection::btree_set(0_u32..200_000, 0..50),
            noise in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut bitmap = Vec::new();
            RoaringBitmap::from_iter(places).serialize_into(&mut bitmap).unwrap();
            for (at, value) in damage {
                let at = at.index(bitmap.len());
                bitmap[at] = value;
            }
            for bitmap in [&bitmap, &noise] {
                let bytes = [first_line(SEAL, bitmap).as_bytes(), bitmap].concat();
                if let Ok(dead) = parsed(&bytes, 150_000) {
                    prop_assert!(dead.iter().all(|place| place < 150_000));
                }
            }
        }
    }
}
