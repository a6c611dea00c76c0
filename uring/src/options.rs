//! What is asked of an engine when it is started.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How an engine reads. The default is right for almost everybody.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Which engine. [`EngineChoice::Auto`] unless told.
    pub choice: EngineChoice,
    /// Reads in flight at most, over all files and threads: 1 to
    /// [`MAX_IN_FLIGHT`](Self::MAX_IN_FLIGHT), 256 unless told. Each ring has room for so many.
    pub max_in_flight: u32,
    /// Whether the engine finds the disk's knee below that ceiling by itself (it does unless
    /// told), or always lets so many go at once.
    pub adapts: bool,
    /// Whether files and memory are registered with the ring where the kernel allows it. They are
    /// unless told.
    pub registers: bool,
    /// How long a closing engine waits for reads in flight before it leaves its rings and their
    /// memory to the kernel, for good. 30 s unless told.
    pub drain: Duration,
}

impl EngineOptions {
    /// The highest ceiling that may be asked for. What is higher is cut.
    pub const MAX_IN_FLIGHT: u32 = 4096;
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            choice: EngineChoice::Auto,
            max_in_flight: 256,
            adapts: true,
            registers: true,
            drain: Duration::from_secs(30),
        }
    }
}

impl From<EngineChoice> for EngineOptions {
    fn from(choice: EngineChoice) -> Self {
        Self { choice, ..Self::default() }
    }
}

/// Which engine is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The ring where it works, else blocking reads.
    #[default]
    Auto,
    /// The ring, or an error.
    Uring,
    /// Blocking reads.
    Blocking,
}

/// A word that names no engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineChoiceError(String);

impl fmt::Display for EngineChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no engine '{}': use auto, uring or blocking", self.0)
    }
}

impl std::error::Error for EngineChoiceError {}

impl FromStr for EngineChoice {
    type Err = EngineChoiceError;

    fn from_str(word: &str) -> std::result::Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "blocking" => Ok(Self::Blocking),
            other => Err(EngineChoiceError(other.to_string())),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Blocking => "blocking",
        })
    }
}
