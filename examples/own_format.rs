//! The pool under a file format of one's own: a log of measurements.
//!
//! Nothing here knows of vectors. What the pool asks of a format is that the file is a whole
//! number of pages, that nobody writes to it any more, and, if pages are to be checked, that
//! somebody kept their checksums when they were written.
//!
//! ```text
//!   stations.log                                       stations.crc
//!   ┌────────────┬───────────────────┬──────────┬──┐   ┌──────┬──────┬──────┬──┐
//!   │ index page │ 40 records, zeros │ 40 rec…  │  │   │ crc  │ crc  │ crc  │  │
//!   └────────────┴───────────────────┴──────────┴──┘   └──────┴──────┴──────┴──┘
//!     page 0       page 1              page 2            4 bytes a page, page 0 first
//! ```
//!
//! A record is 100 bytes: when (u64, milliseconds), where (u32, a station), and 88 bytes of text.
//! Records are in order of time, and none straddles two pages, so that one page is all that is
//! read for one. The index page holds a mark, the number of records, and for each page after it
//! the time of its first record.
//!
//! ```sh
//! cargo run --release --example own_format
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use ringpool::EngineChoice;
use ringpool::bufferpool::{Pool, PoolFile, PoolOptions, Reading};
use ringpool::storage::{self, Checksums, FileKey, PageNo, PageSize, PageSource};
use ringpool::uring::Engine;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PAGE: PageSize = PageSize::KIB_4;
const RECORD_BYTES: usize = 100;
const RECORDS_PER_PAGE: usize = PAGE.bytes() / RECORD_BYTES;
const MARK: [u8; 8] = *b"stations";
/// Mark and number of records, before the times in the index page.
const HEADER_BYTES: usize = 16;
/// As many pages as one index page has times for.
const MAX_RECORDS: usize = (PAGE.bytes() - HEADER_BYTES) / 8 * RECORDS_PER_PAGE;
/// Keys the checksums. A page of another file, put in the place of ours, has another key and is
/// refused. A format with many files would draw one for each and write it down.
const KEY: FileKey = FileKey(0x7374_6174_696f_6e73);

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("stations.log");
    let measured: Vec<Record> = (0..MAX_RECORDS as u64).map(Record::example).collect();
    write_log(&path, &measured)?;

    // A ring where the kernel allows one, else blocking reads: `Engine` finds out.
    let engine = Engine::start(EngineChoice::Auto)?;
    // The log has 511 pages. The budget holds about 120, page table and checksums included.
    let pool = Pool::new(&PoolOptions { memory_bytes: 512 << 10, ..PoolOptions::default() })?;
    let log = Log::open(&engine, &pool, &path)?;
    println!("{} records in {} pages", log.records, log.file.page_count());

    // Many at once, here and there five in a row. The pool reads the pages side by side, each
    // once, and hands it over as it arrives.
    let wanted: Vec<usize> = (0..1000).map(|i| (i / 5 * 7919 + i % 5) % log.records).collect();
    let mut found = vec![None; wanted.len()];
    log.fetch(&wanted, |i, bytes| found[i] = Record::read(bytes))?;
    for (&number, record) in wanted.iter().zip(&found) {
        assert_eq!(record.as_ref(), Some(&measured[number]));
    }

    // The same without waiting, beside whatever else the runtime does.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let later = runtime.block_on(log.fetch_later(&wanted[..50]))?;
    assert_eq!(later, found[..50]);

    // One by its time.
    let number = log.first_at_or_after(1_000_000)?;
    assert_eq!(measured[number].time_ms, 1_000_000);

    // A record that is kept. It lies in the pool, where the disk has put it: no copy is made, and
    // its page stays in memory for as long as `kept`, or a clone or slice of it, is there. It
    // outlives the log that it came from.
    let kept: Bytes = log.keep(number)?;
    drop(log);
    assert_eq!(Record::read(&kept).as_ref(), Some(&measured[number]));
    let text: Bytes = kept.slice(Record::TEXT);
    drop(kept);
    println!("kept: {}", String::from_utf8_lossy(&text).trim_end());

    let stats = pool.stats();
    println!(
        "{} hits, {} misses, {} reads, {} evictions; {} of {} frames in use, {} for tables",
        stats.hits,
        stats.misses,
        stats.reads,
        stats.evictions,
        stats.resident(),
        stats.frames,
        stats.retired
    );
    assert!(stats.evictions > 0, "the log is larger than the pool");

    // One bit of a record flips on the disk. The page is refused, not handed over.
    flip_a_bit(&path, PAGE.bytes() * 3 + 50)?;
    let log = Log::open(&engine, &pool, &path)?;
    let refused = log.keep(2 * RECORDS_PER_PAGE);
    assert!(matches!(refused, Err(storage::Error::Checksum { page: PageNo(3), .. })));
    println!("refused: {}", refused.err().map_or_else(String::new, |error| error.to_string()));
    Ok(())
}

/// A log that is open for reading, through a pool that it may share with other files.
struct Log {
    file: PoolFile,
    records: usize,
}

impl Log {
    fn open(engine: &Engine, pool: &Pool, path: &Path) -> Result<Self> {
        let sums = fs::read(path.with_extension("crc"))?;
        let sums = Checksums::from_le_bytes(KEY, &sums).ok_or("the checksums are cut")?;
        let opened = engine.open(path, PAGE)?;
        // From here on the pool reads the file, and checks each page when it comes in, before
        // anybody sees it. Another number of pages than of checksums is refused.
        let file = pool.attach(opened.device, Some(sums))?;

        // A guard: the page stays where it is until the guard is dropped, at the end.
        let index = file.pin(PageNo(0))?;
        let (mark, count) = (&index[..8], u64_at(&index, 8));
        // A number from a file is compared with the file before anything is done with it.
        let room = (file.page_count() - 1) * RECORDS_PER_PAGE as u64;
        if mark != MARK || count > room.min(MAX_RECORDS as u64) {
            return Err(format!("{}: is no log of stations", path.display()).into());
        }
        drop(index);
        Ok(Self { file, records: count as usize })
    }

    /// Calls `each(i, record)` for each of `numbers`, in the order in which pages are to be had.
    fn fetch(&self, numbers: &[usize], mut each: impl FnMut(usize, &[u8])) -> storage::Result<()> {
        // A batch may be larger than the pool. It may also list a page twice, as this one does.
        let pages: Vec<PageNo> = numbers.iter().map(|&number| place(number).0).collect();
        self.file.visit(&pages, &mut |i, page| each(i, &page[place(numbers[i]).1]))
    }

    /// `numbers` read by a task. Pages come in order of arrival, each pinned until it is dropped.
    async fn fetch_later(&self, numbers: &[usize]) -> storage::Result<Vec<Option<Record>>> {
        let pages: Vec<PageNo> = numbers.iter().map(|&number| place(number).0).collect();
        let mut arrivals = self.file.fetch_many(&pages, &Reading::default());
        let mut found = vec![None; numbers.len()];
        while let Some((i, page)) = arrivals.next().await {
            found[i] = Record::read(&page?[place(numbers[i]).1]);
        }
        Ok(found)
    }

    /// One record, for as long as the caller likes.
    fn keep(&self, number: usize) -> storage::Result<Bytes> {
        let (page, within) = place(number);
        Ok(self.file.pin(page)?.into_bytes().slice(within))
    }

    /// The number of the first record that is not before `time_ms`, or the number of records.
    fn first_at_or_after(&self, time_ms: u64) -> storage::Result<usize> {
        let index = self.file.pin(PageNo(0))?;
        let pages = self.records.div_ceil(RECORDS_PER_PAGE);
        let times = index[HEADER_BYTES..].as_chunks::<8>().0[..pages].iter();
        let begun_before = times.take_while(|time| u64::from_le_bytes(**time) < time_ms).count();
        if begun_before == 0 {
            return Ok(0);
        }
        // It is in the last page that begins before the time, or it begins the one after.
        let first = (begun_before - 1) * RECORDS_PER_PAGE;
        let end = self.records.min(first + RECORDS_PER_PAGE);
        let page = self.file.pin(place(first).0)?;
        let is_before = |number: &usize| u64_at(&page, place(*number).1.start) < time_ms;
        Ok(first + (first..end).take_while(is_before).count())
    }
}

/// Where a record is: its page, and its bytes within.
fn place(number: usize) -> (PageNo, Range<usize>) {
    let start = number % RECORDS_PER_PAGE * RECORD_BYTES;
    (PageNo(1 + (number / RECORDS_PER_PAGE) as u64), start..start + RECORD_BYTES)
}

/// Writes the log and, beside it, the checksums of its pages.
fn write_log(path: &Path, records: &[Record]) -> Result<()> {
    if records.len() > MAX_RECORDS {
        return Err(format!("{} records; a log holds {MAX_RECORDS}", records.len()).into());
    }
    let mut pages = vec![0; PAGE.bytes()];
    pages[..8].copy_from_slice(&MARK);
    pages[8..16].copy_from_slice(&(records.len() as u64).to_le_bytes());
    for (nth, of_page) in records.chunks(RECORDS_PER_PAGE).enumerate() {
        let place = HEADER_BYTES + 8 * nth;
        pages[place..place + 8].copy_from_slice(&of_page[0].time_ms.to_le_bytes());
        of_page.iter().for_each(|record| pages.extend(record.bytes()));
        pages.resize((nth + 2) * PAGE.bytes(), 0);
    }
    let sums = Checksums::of_pages(KEY, PAGE, &pages);
    for (path, bytes) in [(path, pages), (&path.with_extension("crc"), sums.to_le_bytes())] {
        let mut file = File::create(path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
    }
    Ok(())
}

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
struct Record {
    time_ms: u64,
    station: u32,
    text: String,
}

impl Record {
    const TEXT: Range<usize> = 12..RECORD_BYTES;

    /// One every 100 ms, from 17 stations in turn.
    fn example(number: u64) -> Self {
        let station = (number % 17) as u32;
        let text = format!("station {station:2}: {:4.1} degrees", number as f64 * 0.001);
        Self { time_ms: number * 100, station, text }
    }

    fn bytes(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [b' '; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.station.to_le_bytes());
        let len = self.text.len().min(Self::TEXT.len());
        bytes[Self::TEXT][..len].copy_from_slice(&self.text.as_bytes()[..len]);
        bytes
    }

    /// `None` when the bytes are no record.
    fn read(bytes: &[u8]) -> Option<Self> {
        let time_ms = u64::from_le_bytes(*bytes.first_chunk()?);
        let station = u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
        let text = std::str::from_utf8(bytes.get(Self::TEXT)?).ok()?.trim_end().to_string();
        Some(Self { time_ms, station, text })
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

fn flip_a_bit(path: &Path, at: usize) -> Result<()> {
    let mut bytes = fs::read(path)?;
    bytes[at] ^= 1;
    fs::write(path, bytes)?;
    Ok(())
}
