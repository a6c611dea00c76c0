//! What a file's ending says about its format.

use std::path::Path;

use super::{ColumnFileError, Result};

/// How the rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Ndjson { gzip: bool },
    Parquet,
    ArrowFile,
    ArrowStream,
}

impl Format {
    pub(super) fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (name, gzip) = match name.strip_suffix(".gz") {
            Some(inner) => (inner, true),
            None => (&*name, false),
        };
        match (name.rsplit_once('.').map(|(_, ending)| ending), gzip) {
            (Some("ndjson" | "jsonl"), gzip) => Ok(Self::Ndjson { gzip }),
            (Some("parquet"), false) => Ok(Self::Parquet),
            (Some("arrow" | "feather"), false) => Ok(Self::ArrowFile),
            (Some("arrows"), false) => Ok(Self::ArrowStream),
            _ => Err(ColumnFileError::UnknownEnding { path: path.into() }),
        }
    }
}
