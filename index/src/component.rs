//! The files of a segment: opened with suspicion, checked before they are believed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use ringpool_storage::{Checksums, FileKey, PageNo, PageSize, PageSource, open_no_link};
use serde::{Deserialize, Serialize};

use crate::aligned::Aligned;
use crate::layout::Records;
use crate::{Component, Quantizer, SegmentError};

/// What a component is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// The original vectors.
    Vectors,
    /// One set of codes.
    Codes(Quantizer),
    /// The graph.
    Graph,
    /// The rank of the id of the point at each place, where that is not the place.
    Ids,
    /// The ids in ascending order, where they were given.
    #[serde(rename = "own-ids")]
    OwnIds,
    /// The values of a field, by its number among the manifest's columns.
    Column(u16),
    /// The index of a field, by the same number.
    #[serde(rename = "column-index")]
    ColumnIndex(u16),
}

impl ComponentKind {
    /// The component's name, and that of its files before the dot.
    pub fn name(self) -> String {
        match self {
            Self::Vectors => "vectors".into(),
            Self::Codes(quantizer) => quantizer.component_name(),
            Self::Graph => "graph".into(),
            Self::Ids => "ids".into(),
            Self::OwnIds => "own-ids".into(),
            Self::Column(number) => format!("column-{number}"),
            Self::ColumnIndex(number) => format!("column-{number}-index"),
        }
    }
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vectors => f.pad("component of the vectors"),
            Self::Codes(quantizer) => f.pad(&format!("component of the {quantizer} codes")),
            Self::Graph => f.pad("component of the graph"),
            Self::Ids => f.pad("component of the ids"),
            Self::OwnIds => f.pad("component of the ids that were given"),
            Self::Column(number) => f.pad(&format!("component of column {number}")),
            Self::ColumnIndex(number) => {
                f.pad(&format!("component of the index of column {number}"))
            }
        }
    }
}

/// One component's file of pages, with all that is needed to open it as a source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComponentFile {
    /// What the component is for.
    pub kind: ComponentKind,
    /// The component's name: its files are called `NAME.pages` and `NAME.crc`.
    pub name: String,
    /// Where the pages are.
    pub path: PathBuf,
    /// The size of a page.
    pub page_size: PageSize,
    /// How many pages there are.
    pub pages: u64,
    /// The checksum of each page.
    pub checksums: Checksums,
}

impl ComponentFile {
    /// Loads the checksums of a component and checks both of its files against the manifest.
    pub(crate) fn check(
        dir: &Path,
        component: &Component,
        page_size: PageSize,
    ) -> Result<Self, SegmentError> {
        let path = dir.join(component.pages_file());
        let expected_bytes = component.pages * page_size.bytes() as u64;
        open_regular(&path).and_then(|file| expect_length(&file, &path, expected_bytes))?;
        Ok(Self {
            kind: component.kind,
            name: component.name.clone(),
            checksums: read_checksums(dir, component)?,
            path,
            page_size,
            pages: component.pages,
        })
    }
}

fn read_checksums(dir: &Path, component: &Component) -> Result<Checksums, SegmentError> {
    let path = dir.join(component.checksums_file());
    let file = open_regular(&path)?;
    let expected_bytes = component.pages * 4;
    expect_length(&file, &path, expected_bytes)?;
    // Once as they are read, and once as numbers.
    expect_room(&path, 2 * expected_bytes)?;
    let bytes = read_at_most(file, &path, expected_bytes)?;
    let (expected, found) = (component.checksums_crc32c, crc32c::crc32c(&bytes));
    if expected != found {
        return Err(SegmentError::Checksums { path, expected, found });
    }
    Checksums::from_le_bytes(FileKey(component.key), &bytes).ok_or(SegmentError::Length {
        path,
        expected_bytes,
        found_bytes: bytes.len() as u64,
    })
}

/// Opens a file for reading that is neither link nor pipe nor device nor folder.
pub(crate) fn open_regular(path: &Path) -> Result<File, SegmentError> {
    let file = match open_no_link(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(SegmentError::NotRegular { path: path.into() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(SegmentError::Missing { path: path.into() });
        }
        Err(e) => return Err(io_error(path, "open", e)),
    };
    let metadata = file.metadata().map_err(|e| io_error(path, "stat", e))?;
    if !metadata.is_file() {
        return Err(SegmentError::NotRegular { path: path.into() });
    }
    Ok(file)
}

fn expect_length(file: &File, path: &Path, expected_bytes: u64) -> Result<(), SegmentError> {
    let metadata = file.metadata().map_err(|e| io_error(path, "stat", e))?;
    let found_bytes = metadata.len();
    if found_bytes == expected_bytes {
        return Ok(());
    }
    Err(SegmentError::Length { path: path.into(), expected_bytes, found_bytes })
}

/// Passes where the system has so much memory to give: an allocation that fails ends the process.
/// Files with holes are as long as anybody likes, and take nothing on the disk.
pub(crate) fn expect_room(path: &Path, bytes: u64) -> Result<(), SegmentError> {
    let reserved = usize::try_from(bytes).map(|bytes| Vec::<u8>::new().try_reserve_exact(bytes));
    match reserved {
        Ok(Ok(())) => Ok(()),
        _ => Err(SegmentError::Memory { path: path.into(), bytes }),
    }
}

/// Reads a file, but never more than was promised, however it grows meanwhile.
pub(crate) fn read_at_most(file: File, path: &Path, bytes: u64) -> Result<Vec<u8>, SegmentError> {
    let mut read = Vec::new();
    file.take(bytes).read_to_end(&mut read).map_err(|e| io_error(path, "read", e))?;
    Ok(read)
}

pub(crate) fn io_error(path: &Path, doing: &'static str, source: io::Error) -> SegmentError {
    SegmentError::Io { path: path.into(), doing, source }
}

/// How many pages are asked for at once when a component is loaded.
const LOAD_BATCH: u64 = 256;

/// Copies records out of their pages, put end to end.
pub(crate) fn load_records(
    source: &dyn PageSource,
    records: &Records,
) -> Result<Vec<u8>, ringpool_storage::Error> {
    let mut bytes = vec![0; records.bytes() as usize];
    load_into(source, records, &mut bytes)?;
    Ok(bytes)
}

/// The same for records of plain numbers.
pub(crate) fn load_words<T: Pod>(
    source: &dyn PageSource,
    records: &Records,
) -> Result<Aligned<T>, ringpool_storage::Error> {
    let mut words = Aligned::zeroed(records.bytes() as usize / size_of::<T>());
    load_into(source, records, bytemuck::cast_slice_mut(&mut words))?;
    Ok(words)
}

/// Copies the rows that records begin with out of their pages, each to a multiple of `stride_bytes`.
pub(crate) fn load_rows(
    source: &dyn PageSource,
    records: &Records,
    row_bytes: usize,
    bytes: &mut [u8],
    stride_bytes: usize,
) -> Result<(), ringpool_storage::Error> {
    let record_bytes = records.record_bytes;
    if stride_bytes == record_bytes && row_bytes == record_bytes {
        return load_into(source, records, bytes);
    }
    visit_stretches(source, records, &mut |stretch, page| {
        let mut taken = 0;
        // A stretch begins and ends anywhere in a record that is longer than a page.
        while taken < stretch.len() {
            let at = stretch.start + taken;
            let (record, from) = (at / record_bytes, at % record_bytes);
            let len = (record_bytes - from).min(stretch.len() - taken);
            if from < row_bytes {
                let len = len.min(row_bytes - from);
                let to = &mut bytes[record * stride_bytes + from..][..len];
                to.copy_from_slice(&page[taken..taken + len]);
            }
            taken += len;
        }
    })
}

fn load_into(
    source: &dyn PageSource,
    records: &Records,
    bytes: &mut [u8],
) -> Result<(), ringpool_storage::Error> {
    visit_stretches(source, records, &mut |stretch, page| bytes[stretch].copy_from_slice(page))
}

/// Hands over, page by page, which bytes of the records put end to end it has, and these.
fn visit_stretches(
    source: &dyn PageSource,
    records: &Records,
    each: &mut dyn FnMut(Range<usize>, &[u8]),
) -> Result<(), ringpool_storage::Error> {
    let mut batch = Vec::new();
    for first in (0..records.pages()).step_by(LOAD_BATCH as usize) {
        let pages = first..records.pages().min(first + LOAD_BATCH);
        batch.clear();
        batch.extend(pages.map(|page| PageNo(records.first_page + page)));
        source.visit(&batch, &mut |i, page| {
            let stretch = records.stretch(first + i as u64);
            let len = stretch.len();
            each(stretch, &page[..len]);
        })?;
    }
    Ok(())
}
