//! What a file's ending says about its format.

use std::path::Path;

use super::{Result, VectorFileError};

/// How the rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Fvecs,
    Bvecs,
    Ivecs,
    Npy,
}

/// A format, and whether gzip is around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    pub(super) format: Format,
    pub(super) gzip: bool,
}

impl Ending {
    pub(super) fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (name, gzip) = match name.strip_suffix(".gz") {
            Some(inner) => (inner, true),
            None => (&*name, false),
        };
        let format = match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("fvecs") => Format::Fvecs,
            Some("bvecs") => Format::Bvecs,
            Some("ivecs") => Format::Ivecs,
            Some("npy") => Format::Npy,
            _ => {
                return Err(VectorFileError::UnknownEnding { path: path.to_owned() });
            }
        };
        Ok(Self { format, gzip })
    }
}
