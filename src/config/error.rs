//! What is wrong with a configuration, where it is, and what was meant.

use std::io;
use std::path::PathBuf;

/// Why a configuration is not taken. Nothing of it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's own answer.
        source: io::Error,
    },
    /// The file is longer than any configuration.
    #[error(
        "{path}: more than {most_bytes} bytes are no configuration: name another file",
        path = .path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most that are read.
        most_bytes: u64,
    },
    /// It is no TOML.
    #[error("{at}: {reason}")]
    Syntax {
        /// The file and the line.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such key.
    #[error("{at}: there is no key '{key}', is it {nearest}?")]
    UnknownKey {
        /// The file and the line, or the variable.
        at: String,
        /// The key.
        key: String,
        /// The one that is most like it.
        nearest: String,
    },
    /// The key cannot have this value.
    #[error("{at}: {key} cannot be {value}: {reason}")]
    BadValue {
        /// The file and the line, or the variable.
        at: String,
        /// The key.
        key: String,
        /// The value as it is written.
        value: String,
        /// What it may be.
        reason: String,
    },
}
