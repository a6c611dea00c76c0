//! How a command ends when it cannot do what it was asked: one line, and the exit code.

use std::error::Error;
use std::fmt;
use std::path::Path;

/// Why a command ended without doing its work.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The arguments cannot be meant: exit code 2.
    Usage(String),
    /// The same, of a text in which one place is wrong.
    Pointed {
        /// The line.
        line: String,
        /// Two more that point at the place, for a terminal.
        carets: String,
    },
    /// Everything else: exit code 1.
    Failed(String),
}

impl Failure {
    /// A failure that says what, where and what to do.
    pub fn new(line: impl Into<String>) -> Self {
        Self::Failed(line.into())
    }

    /// A system call on `path` that was refused, while `doing`.
    pub fn at(path: &Path, doing: &str, source: &dyn Error) -> Self {
        let path = path.display();
        Self::Failed(format!("{path}: cannot {doing}: {}", chain(source)))
    }

    /// An error of the library's, with its sources.
    pub fn of(error: &dyn Error) -> Self {
        Self::Failed(chain(error))
    }

    /// What the process says to its caller.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::Pointed { .. } => 2,
        }
    }

    /// What goes below the line on a terminal.
    pub fn carets(&self) -> Option<&str> {
        match self {
            Self::Pointed { carets, .. } => Some(carets),
            Self::Usage(_) | Self::Failed(_) => None,
        }
    }
}

/// One line, whatever went into it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(line) | Self::Pointed { line, .. } | Self::Failed(line)) = self;
        let words: Vec<&str> = line.split(['\n', '\r']).map(str::trim).collect();
        f.write_str(&words.join(" "))
    }
}

/// An error and its sources, joined by colons. A message that quotes its source already is not
/// followed by it again.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !line.contains(&said) {
            line.push_str(": ");
            line.push_str(&said);
        }
        source = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error, bool);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")?;
            if self.1 {
                write!(f, ": {}", self.0)?;
            }
            Ok(())
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn sources_are_named_once_and_on_one_line() {
        for quoted in [true, false] {
            let error = Outer(io::Error::other("inner\nline"), quoted);
            assert_eq!(Failure::of(&error).to_string(), "outer: inner line");
        }
    }
}
