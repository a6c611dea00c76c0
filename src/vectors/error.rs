//! What can be wrong with a file of vectors.

use std::io;
use std::path::PathBuf;

use ringpool_index::{Element, MAX_DIM, MAX_ID, VectorsError};

/// Why a file of vectors or ids could not be read or written.
///
/// Rows count from 0; offsets are bytes from the start, after decompression.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorFileError {
    /// The system refused to open, read or write the file.
    #[error("{path}: {doing}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's own answer.
        source: io::Error,
    },

    /// A folder, a FIFO or a device in a file's place.
    #[error("{path}: is no regular file; name a file of vectors")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },

    /// The ending names no format.
    #[error(
        "{path}: unknown ending; known are .fvecs, .bvecs, .ivecs and .npy, each also with .gz \
         behind it"
    )]
    UnknownEnding {
        /// The file.
        path: PathBuf,
    },

    /// Rows of ids are kept in other files.
    #[error("{path}: rows of ids are kept in .ivecs or .npy files, each also with .gz; name one")]
    NotIds {
        /// The file.
        path: PathBuf,
    },

    /// Elements that the format of a file to be written cannot hold.
    #[error(
        "{path}: {element} elements cannot be written there; .fvecs holds f32, .bvecs u8, and .npy \
         f32, f16, u8 and i8"
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The elements.
        element: Element,
    },

    /// Rows that are not those that the file was begun for.
    #[error("{path}: {found} rows, where {expected} were announced; write those that were")]
    OtherRows {
        /// The file.
        path: PathBuf,
        /// Rows, dimension and element type that were announced.
        expected: String,
        /// Those that came.
        found: String,
    },

    /// There is not one row.
    #[error("{path}: holds no rows; at least one is expected")]
    Empty {
        /// The file.
        path: PathBuf,
    },

    /// The ending says gzip, the content does not.
    #[error("{path}: does not start as gzip does; drop the .gz from its name or compress it")]
    NotGzip {
        /// The file.
        path: PathBuf,
    },

    /// The compressed stream is damaged or cut.
    #[error(
        "{path}: the gzip stream is damaged or cut after {offset} decompressed bytes ({source}); \
         fetch the file again"
    )]
    CorruptGzip {
        /// The file.
        path: PathBuf,
        /// How many bytes could be decompressed.
        offset: u64,
        /// What the decompressor said.
        source: io::Error,
    },

    /// A row that claims an impossible length.
    #[error(
        "{path}: row {row} at byte {offset} claims {found} dimensions where 1 to {MAX_DIM} are \
         possible: the file is damaged or of another format than its ending says"
    )]
    Dimension {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// Where the claim stands.
        offset: u64,
        /// The claim.
        found: i128,
    },

    /// A row that is longer or shorter than the first.
    #[error(
        "{path}: row {row} at byte {offset} has {found} dimensions where the rows before it have \
         {expected}: all rows must be of one length"
    )]
    UnequalRows {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// Where the row starts.
        offset: u64,
        /// The length of the rows before it.
        expected: usize,
        /// Its own length.
        found: usize,
    },

    /// The file ends within a row or within its header.
    #[error(
        "{path}: ends within {part} at byte {offset}: {expected_bytes} bytes are expected there, \
         {found_bytes} are left; the file was cut, fetch it again"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What is incomplete: a row with its number, or a header.
        part: String,
        /// Where the incomplete part starts.
        offset: u64,
        /// How many bytes it should have.
        expected_bytes: u64,
        /// How many bytes it has.
        found_bytes: u64,
    },

    /// A `.npy` file that goes on behind its array.
    #[error(
        "{path}: the array ends at byte {offset} and the file goes on; save one array alone with \
         numpy.save"
    )]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Where the array ends.
        offset: u64,
    },

    /// A `.npy` header that cannot be read or asks for what is not supported.
    #[error("{path}: {reason}")]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// An integer in an `.ivecs` file of vectors that f32 cannot hold.
    #[error(
        "{path}: row {row} holds {value}, which f32 cannot hold exactly; integers up to 2^24 are \
         possible"
    )]
    NotExact {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The integer.
        value: i32,
    },

    /// A number in a file of ids that can be none.
    #[error(
        "{path}: row {row} holds {id}, which is no id; ids are at least 0, and -1 fills up a row"
    )]
    NotAnId {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The number.
        id: i64,
    },

    /// An id that the format of a file to be written cannot hold.
    #[error(
        "{path}: row {row} has the id {id}, and .ivecs holds them up to {largest}; name a .npy file",
        largest = i32::MAX
    )]
    IdTooLarge {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The id.
        id: u64,
    },

    /// The ids of points, one for each, are kept in other files.
    #[error(
        "{path}: the ids of points are kept in .npy files of one dimension or in .txt files, one a \
         line, each also with .gz; name one, or save them with numpy.save"
    )]
    NotPointIds {
        /// The file.
        path: PathBuf,
    },

    /// A line in a text of ids that is none.
    #[error("{path}: line {line} is no id; write one whole number from 0 to {MAX_ID} a line")]
    IdLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },

    /// There is not enough memory for the rows.
    #[error("{path}: {bytes} bytes of memory for its rows could not be had; use a smaller file")]
    OutOfMemory {
        /// The file.
        path: PathBuf,
        /// How much was asked for.
        bytes: u64,
    },

    /// The rows were read, and make no matrix.
    #[error("{path}: {source}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: VectorsError,
    },
}
