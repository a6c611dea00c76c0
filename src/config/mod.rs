//! Configuration: what can be set in `ringpool.toml`, in the environment, and from a program.
//!
//! One [`Config`] is one source: a file, the environment, the flags of a command. [`Settings`] are
//! several, the strongest first, and say what is in force and where it came from. The library reads
//! no file and no variable by itself.

mod error;
mod keys;
mod read;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use ringpool_compat_mmap::{Advice, Verify};
use ringpool_uring::EngineChoice;
use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use keys::Key;
pub use settings::{InForce, Settings, Source};

use crate::{Backend, Memory, Placement, Profile, Warm, WarmUp};

/// What one source sets. Nothing that is `None` or empty is set.
///
/// ```
/// use ringpool::config::Config;
///
/// let config = Config::parse(
///     r#"
///     profile = "capacity"
///
///     [memory]
///     budget = "512MiB"
///
///     [placement]
///     graph = "resident"
///
///     [collection.products.placement]
///     "columns.price" = "mmap"
///     "#,
///     "ringpool.toml",
/// )?;
/// assert_eq!(config.memory.budget, Some("512MiB".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Named places for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// What becomes of the hot set at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot_set: Option<HotSetAtClose>,
    /// How much memory is used.
    pub memory: MemoryConfig,
    /// What is asked of searches that say nothing else.
    pub search: SearchConfig,
    /// How files are read.
    pub engine: EngineConfig,
    /// Where components are.
    pub placement: Placement,
    /// What is read before it is asked for.
    pub warm_up: WarmUp,
    /// What is set for one collection alone, by its name.
    pub collection: BTreeMap<String, CollectionConfig>,
}

/// How much memory is used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// What the pool may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Memory>,
    /// What everything may use together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Memory>,
    /// When the pool's frames get their memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub populate: Option<Warm>,
}

/// What is asked of searches that say nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SearchConfig {
    /// Candidates that a walk keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ef: Option<u32>,
    /// Originals that are rescored for each neighbour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oversample: Option<Oversample>,
    /// The recall that `oversample = "auto"` reads for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<f32>,
    /// Queries in flight on each thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inflight: Option<u16>,
}

/// How files are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EngineConfig {
    /// What the pool reads with.
    #[serde(skip_serializing_if = "Option::is_none", with = "word")]
    pub reads: Option<EngineChoice>,
    /// Through what is read that nothing is said of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// What the kernel is told about a mapping.
    #[serde(skip_serializing_if = "Option::is_none", with = "word")]
    pub mmap_advice: Option<Advice>,
    /// When a mapping checks its pages.
    #[serde(skip_serializing_if = "Option::is_none", with = "word")]
    pub mmap_verify: Option<Verify>,
}

/// What is set for one collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CollectionConfig {
    /// Named places for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Where components are.
    pub placement: Placement,
    /// What is read before it is asked for.
    pub warm_up: WarmUp,
}

/// What becomes of the pages that are in the pool when an index is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HotSetAtClose {
    /// Nothing.
    #[default]
    Forget,
    /// Which they are is saved beside the segment, and the next warm-up begins with them.
    Save,
}

/// How many originals are rescored for each neighbour that is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Oversample {
    /// So many: finite, at least 1.
    Times(f32),
    /// As many as a recall needs.
    Auto,
}

impl fmt::Display for HotSetAtClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forget => "forget",
            Self::Save => "save",
        })
    }
}

impl fmt::Display for Oversample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => times.fmt(f),
            Self::Auto => f.pad("auto"),
        }
    }
}

/// Values that are written as a word.
mod word {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let word = Option::<String>::deserialize(deserializer)?;
        word.map(|word| word.parse().map_err(de::Error::custom)).transpose()
    }
}

/// The number, or the word.
impl Serialize for Oversample {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Times(times) => serializer.serialize_f32(*times),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for Oversample {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Times(f32),
            Word(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Times(times) => times.to_string(),
            Written::Word(word) => word,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}
