//! What can go wrong, each with what was found, what was expected and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::release::Foreign;
use crate::{ColumnsError, Element, FieldType, FilterError, MAX_DIM, MAX_ID, MAX_POINTS, Release};

/// A word that names none of the choices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no {what}: use {choices}")]
pub struct ParseError {
    text: String,
    what: &'static str,
    choices: &'static str,
}

impl ParseError {
    pub(crate) fn new(text: &str, what: &'static str, choices: &'static str) -> Self {
        let text = text.into();
        Self { text, what, choices }
    }
}

/// Why values are no vectors.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VectorsError {
    /// No vector has so many dimensions.
    #[error("vectors of {dim} dimensions are not possible: use 1 to {MAX_DIM}")]
    Dim {
        /// The dimension asked for.
        dim: usize,
    },
    /// The last row is not whole.
    #[error("{values} values are no whole number of vectors of {dim} dimensions: the input is cut")]
    Ragged {
        /// How many values there are.
        values: usize,
        /// How many a row has.
        dim: usize,
    },
    /// More rows than ids.
    #[error("{rows} vectors are too many for one segment: split them, at most {MAX_POINTS} each")]
    TooMany {
        /// How many rows there are.
        rows: usize,
    },
    /// A value is too large for the type that it should be narrowed to.
    #[error(
        "vector {row} has {value} in dimension {dimension}, which {element} does not hold: keep \
         f32, or use bf16, which has its range"
    )]
    TooLarge {
        /// The vector.
        row: usize,
        /// Which of its values.
        dimension: usize,
        /// The value.
        value: f32,
        /// The type asked for.
        element: Element,
    },
}

/// Why no segment was built. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An option is out of its range.
    #[error("{name} {value} is out of range: use {least} to {most}")]
    Option {
        /// The option's name.
        name: &'static str,
        /// What it was set to.
        value: usize,
        /// Its smallest value.
        least: usize,
        /// Its largest value.
        most: usize,
    },
    /// Codes that one segment cannot carry.
    #[error("{0}")]
    Quantizers(String),
    /// There is nothing to index.
    #[error("there are no vectors to build from: give at least one")]
    Empty,
    /// A value has no distance to anything.
    #[error(
        "vector {row} has {value} in dimension {dimension}: remove it or replace the value by a number"
    )]
    NotFinite {
        /// The vector, counted from 0.
        row: usize,
        /// The dimension, counted from 0.
        dimension: usize,
        /// The value: an infinity or not a number.
        value: f32,
    },
    /// Not an id for each vector.
    #[error("there are {ids} ids for {rows} vectors: give one for each, in their order")]
    IdCount {
        /// How many ids were given.
        ids: usize,
        /// How many vectors.
        rows: usize,
    },
    /// Two vectors have one id.
    #[error("vectors {first_row} and {second_row} have the same id {id}: give each its own")]
    DuplicateId {
        /// The id.
        id: u64,
        /// The first vector that has it, counted from 0.
        first_row: usize,
        /// The next.
        second_row: usize,
    },
    /// An id that says in files of ids that there is none.
    #[error("vector {row} has the id {id}: the largest possible is {MAX_ID}")]
    IdTooLarge {
        /// The vector, counted from 0.
        row: usize,
        /// The id.
        id: u64,
    },
    /// The ids of the last vectors would be too large.
    #[error(
        "{rows} vectors with ids from {first_id} on would pass the largest id, {MAX_ID}: begin lower"
    )]
    FirstId {
        /// The id of the first vector.
        first_id: u64,
        /// How many vectors there are.
        rows: usize,
    },
    /// The fields of the points cannot be.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// A segment is never overwritten.
    #[error("{out} exists already: choose another name or remove it first", out = .out.display())]
    Exists {
        /// Where the segment should have gone.
        out: PathBuf,
    },
    /// The path cannot name a new folder.
    #[error("{out} cannot name a new segment: end the path with the folder's name", out = .out.display())]
    Name {
        /// Where the segment should have gone.
        out: PathBuf,
    },
    /// The disk is full.
    #[error("{path}: the disk is full: {wanted_bytes} bytes were to be written here; free some space or build elsewhere", path = .path.display())]
    DiskFull {
        /// The file being written.
        path: PathBuf,
        /// The whole length that it was to have.
        wanted_bytes: u64,
    },
    /// The system refused something else.
    #[error("{path}: {doing}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's own answer.
        source: io::Error,
    },
    /// No threads could be started.
    #[error("cannot start {threads} threads: {reason}; ask for fewer")]
    Threads {
        /// How many were asked for; 0 means one a core.
        threads: usize,
        /// The system's own answer.
        reason: String,
    },
    /// The listener said so.
    #[error("the build was cancelled; nothing was written")]
    Cancelled,
}

/// Why a directory could not be opened as a segment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// There is no manifest here.
    #[error("{dir} is no segment: it has no MANIFEST; give the folder that `build` made", dir = .dir.display())]
    NotASegment {
        /// The folder.
        dir: PathBuf,
    },
    /// The manifest is not what was written, or not one at all.
    #[error("{path}: {reason}; restore the segment from a copy or build it again", path = .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// Written by a later release.
    #[error("{path} is of format {found}, which ringpool {since} and later read; this is ringpool {own}, which reads format {known}: use a newer one", path = .path.display(), own = Release::OWN)]
    NewerVersion {
        /// The manifest, or the file of deleted points.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format known here.
        known: u64,
        /// The first release that reads it.
        since: Release,
    },
    /// The segment cannot be read without something that is not known here.
    #[error("{path}: the segment needs \"{feature}\", which ringpool {since} and later know; this is ringpool {own}: use a newer one", path = .path.display(), own = Release::OWN)]
    UnknownFeature {
        /// The manifest.
        path: PathBuf,
        /// The feature.
        feature: String,
        /// The first release that knows it.
        since: Release,
    },
    /// A file that the manifest lists is not there.
    #[error("{path} is missing though the manifest lists it: restore it from a copy or build the segment again", path = .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A link, a pipe, a device or a folder where a file should be.
    #[error("{path} is no regular file: put the segment's own file there", path = .path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// A file is not as long as it was.
    #[error("{path} has {found_bytes} bytes where the manifest says {expected_bytes}: it was cut or changed; restore it from a copy", path = .path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length by the manifest.
        expected_bytes: u64,
        /// Its length on disk.
        found_bytes: u64,
    },
    /// The checksums beside the pages are not those that were written.
    #[error("{path} does not match its checksum (expected {expected:08x}, found {found:08x}): it was changed; restore it from a copy", path = .path.display())]
    Checksums {
        /// The file of checksums.
        path: PathBuf,
        /// Its checksum by the manifest.
        expected: u32,
        /// Its checksum on disk.
        found: u32,
    },
    /// A component's pages hold something that no build writes.
    #[error("{path}: {reason}; the file is damaged, restore it from a copy", path = .path.display())]
    Component {
        /// The file of pages.
        path: PathBuf,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// The file of deleted points is not what was written for this segment.
    #[error("{path}: {reason}; restore it from a copy: without it the points that were deleted would be found again", path = .path.display())]
    Tombstones {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// What is kept of a file is more than the system gives.
    #[error("{path}: {bytes} bytes of memory cannot be had for it: read it by page, or open it where there is more", path = .path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// What was asked for, in bytes.
        bytes: u64,
    },
    /// A component was put where it cannot be searched from.
    #[error("{path}: {reason}", path = .path.display())]
    Placement {
        /// The file of pages.
        path: PathBuf,
        /// What is not possible, and what is.
        reason: &'static str,
    },
    /// The system refused an open or a read.
    #[error("{path}: {doing}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's own answer.
        source: io::Error,
    },
    /// A component's source could not be opened or read.
    #[error(transparent)]
    Pages(#[from] ringpool_storage::Error),
}

impl SegmentError {
    /// What a first line that is not read here means for a manifest.
    pub(crate) fn foreign(path: &Path, known: u64, foreign: Foreign) -> Self {
        let path = path.into();
        match foreign {
            Foreign::Newer { format: found, since } => {
                Self::NewerVersion { path, found, known, since }
            }
            Foreign::Wrong(reason) => Self::Manifest { path, reason },
        }
    }
}

/// Why points were not deleted: all that were to be are as they were, but for
/// [`DeleteError::Io`] while the folder was synced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// The segment, or the file of what was deleted before, is not what was written.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Nobody may write to the segment's folder.
    #[error("{dir} cannot be written to: {source}; deleted points are kept in a file there: make the folder writable, or delete from a copy", dir = .dir.display())]
    ReadOnly {
        /// The segment's folder.
        dir: PathBuf,
        /// The system's own answer.
        source: io::Error,
    },
    /// Another writer did not end.
    #[error("{dir} is locked: another process has been deleting from it for {waited:?}; try again when it is done", dir = .dir.display())]
    Busy {
        /// The segment's folder.
        dir: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The caller has cancelled while another writer was waited for.
    #[error("{dir}: cancelled, and nothing is deleted", dir = .dir.display())]
    Cancelled {
        /// The segment's folder.
        dir: PathBuf,
    },
    /// The folder has another segment than the one that was opened.
    #[error("{dir} has another segment than when it was opened: open it again", dir = .dir.display())]
    Replaced {
        /// The segment's folder.
        dir: PathBuf,
    },
    /// The disk is full.
    #[error("{path}: the disk is full: {wanted_bytes} bytes were to be written here; free some space", path = .path.display())]
    DiskFull {
        /// The file being written.
        path: PathBuf,
        /// The whole length that it was to have.
        wanted_bytes: u64,
    },
    /// The system refused something else. Where that was to sync the folder, the points are deleted
    /// as long as the machine runs: delete them again to know that they stay so.
    #[error("{path}: {doing}: {source}; delete again", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's own answer.
        source: io::Error,
    },
}

/// Why segments were not made one. Nothing is left behind, and the sources are as they were, but
/// for [`CompactError::Remove`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// A source, or one of its files, is not what was written.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The new segment could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The fields of a source could not be read.
    #[error(transparent)]
    Fields(SearchError),
    /// A source could not be locked to be removed.
    #[error(transparent)]
    Lock(#[from] DeleteError),
    /// A segment whose vectors are of another kind than those of the first.
    #[error("{dir} {reason}: compact segments that are alike", dir = .dir.display())]
    Unlike {
        /// The segment.
        dir: PathBuf,
        /// What it has, and what the first has.
        reason: String,
    },
    /// Two live points have one id.
    #[error("{} and {} both have a point with the id {id}: delete it from one of them", .dirs[0].display(), .dirs[1].display())]
    DuplicateId {
        /// The id.
        id: u64,
        /// The segments that have it.
        dirs: [PathBuf; 2],
    },
    /// There is nothing to make a segment of.
    #[error("there is no live point in these segments: remove them instead")]
    Nothing,
    /// One segment does not hold them.
    #[error(
        "{points} live points are too many for one segment: compact fewer, at most {MAX_POINTS}"
    )]
    TooMany {
        /// How many they are.
        points: usize,
    },
    /// The new segment has points that are deleted from its sources.
    #[error("{dir}: points were deleted while it was compacted, so no source was removed: delete them from the new segment, too, or compact again", dir = .dir.display())]
    DeletedMeanwhile {
        /// The source.
        dir: PathBuf,
    },
    /// The new segment is there, and a source could not be removed.
    #[error("{path}: cannot be removed: {source}; the new segment has its points", path = .path.display())]
    Remove {
        /// The file or folder.
        path: PathBuf,
        /// The system's own answer.
        source: io::Error,
    },
}

/// Why a query has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The query is of another dimension than the vectors.
    #[error(
        "the query has {found} dimensions and the vectors {expected}: use queries made like the vectors"
    )]
    Dimension {
        /// The vectors' dimension.
        expected: usize,
        /// The query's.
        found: usize,
    },
    /// The query has a value that has no distance to anything.
    #[error("the query has {value} in dimension {dimension}: replace it by a number")]
    NotFinite {
        /// The dimension, counted from 0.
        dimension: usize,
        /// The value: an infinity or not a number.
        value: f32,
    },
    /// Nothing is asked for.
    #[error("k is 0: ask for at least 1 hit")]
    ZeroK,
    /// No candidates are allowed.
    #[error("ef is 0: allow at least 1 candidate")]
    ZeroEf,
    /// A segment whose vectors are of another kind than those of the first.
    #[error(
        "segment {segment} has another metric, element or dimension than the first: search it on its own"
    )]
    Unlike {
        /// Which one, counted from 0.
        segment: usize,
    },
    /// Nothing to search in.
    #[error("there are no segments: name at least one")]
    NoSegments,
    /// A selection of another segment.
    #[error(
        "the selection for segment {segment} is of {found} points and the segment has {expected}: select among the points of that segment"
    )]
    Selection {
        /// Which segment, counted from 0.
        segment: usize,
        /// How many points it has.
        expected: usize,
        /// How many the selection is of.
        found: usize,
    },
    /// Not a selection for each segment.
    #[error("there are {found} selections for {expected} segments: give one for each, in order")]
    Selections {
        /// How many segments are searched.
        expected: usize,
        /// How many selections were given.
        found: usize,
    },
    /// Fewer candidates than hits, or no number.
    #[error("oversample {0} is not possible: use a number of at least 1")]
    Oversample(f32),
    /// A filter that does not go with the fields of a segment.
    #[error(transparent)]
    Filter(Box<FilterError>),
    /// Whoever asked has lost interest.
    #[error("the search was cancelled")]
    Cancelled,
    /// No share of the hits.
    #[error("recall {0} is not possible: use a number above 0 and below 1")]
    Recall(f32),
    /// The search took longer than it was given.
    #[error(
        "the deadline has passed before the search was done: give it more time or a smaller ef"
    )]
    DeadlinePassed,
    /// One query of several has no answer.
    #[error("query {query}: {source}")]
    Query {
        /// The query, counted from 0.
        query: usize,
        /// Why.
        source: Box<Self>,
    },
    /// No threads could be started.
    #[error("cannot start {threads} threads: {reason}; ask for fewer")]
    Threads {
        /// How many were asked for; 0 means one a core.
        threads: usize,
        /// The system's own answer.
        reason: String,
    },
    /// A field that the segment does not have.
    #[error("there is no field {field} in a segment of {fields}: fields count from 0")]
    NoSuchField {
        /// Which one.
        field: usize,
        /// How many it has.
        fields: usize,
    },
    /// A point that the segment does not have.
    #[error("there is no place {place} in a segment of {points} points: places count from 0")]
    NoSuchPlace {
        /// Which one.
        place: u32,
        /// How many points it has.
        points: usize,
    },
    /// A field whose column was left out.
    #[error("field {name:?} was left out when the segment was opened: give its column a place")]
    FieldNotOpened {
        /// The field.
        name: String,
    },
    /// A field is compared with what is of another type.
    #[error(
        "field {name:?} is {field_type} and cannot be compared with {found}: compare it with its own type"
    )]
    FieldType {
        /// The field.
        name: String,
        /// The field's type.
        field_type: FieldType,
        /// What it was to be compared with.
        found: FieldType,
    },
    /// A page could not be had.
    #[error(transparent)]
    Pages(ringpool_storage::Error),
    /// A page holds something that no build writes.
    #[error("{path}: {reason}; the file is damaged, restore it from a copy", path = .path.display())]
    Component {
        /// The file of pages.
        path: PathBuf,
        /// What is wrong, and what was expected.
        reason: String,
    },
}

impl From<ringpool_storage::Error> for SearchError {
    fn from(error: ringpool_storage::Error) -> Self {
        match error {
            // One word for it, wherever in the search it has happened.
            ringpool_storage::Error::DeadlinePassed { .. } => Self::DeadlinePassed,
            error => Self::Pages(error),
        }
    }
}
