//! A place for a component: loaded for good, or read by page through one thing or another; and
//! what it gets of the pool where it is in that.

use std::fmt;
use std::str::FromStr;

use ringpool_bufferpool::Priority;
use serde::{Deserialize, Serialize};

use crate::{Backend, Memory, PlacementError};

/// Where a component is while its index is open.
///
/// As text `resident`, `pool`, `mmap`, `direct` or `inlined`; what it gets of the pool follows after
/// colons, as `pool:floor=10%:ceiling=64MiB:priority=high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Place {
    /// Loaded once and kept as arrays.
    Resident,
    /// Read by page through the buffer pool, which all components in it share.
    Pool(Portion),
    /// Read by page through a read-only mapping.
    Mmap,
    /// Read by page straight from the disk; nothing is kept.
    Direct,
    /// Read with the originals, whose pages carry it, in a segment that was built so. For graph
    /// and codes alone.
    Inlined,
}

/// What a component is sure of in the pool, and what it may take of it. Shares are of the pool's
/// budget.
///
/// Where nothing is said of any component in the pool, the graph is sure of half of it and the codes
/// of half of the rest, or of as much as they are long, as long as there is anything else in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Portion {
    /// Others never push its pages below this much.
    pub floor: Option<Memory>,
    /// Its pages never take more than this.
    pub ceiling: Option<Memory>,
    /// A weight, 1 to [`Portion::MAX_SHARE`]: half of what floors leave is made sure to components
    /// with a share, in proportion to it, and to each at most as much as it is long.
    pub share: Option<u32>,
    /// What a use of a page of it counts for when the clock comes by.
    pub priority: Priority,
}

/// What a [`Portion`] says, by name.
const KEYS: [&str; 4] = ["floor", "ceiling", "share", "priority"];

impl Portion {
    /// The largest share.
    pub const MAX_SHARE: u32 = 1000;

    /// Sets what `key` names to what is written.
    fn set(&mut self, key: &str, value: &str) -> Result<(), PlacementError> {
        let wrong = |allowed: String| PlacementError::BadPortion {
            key: key.into(),
            value: value.into(),
            allowed,
        };
        let amount = |value: &str| {
            let amount = value.parse::<Memory>();
            amount.map_err(|_| wrong("bytes as 64MiB, or a share of the pool as 10%".into()))
        };
        let is_new = match key {
            "floor" => self.floor.replace(amount(value)?).is_none(),
            "ceiling" => self.ceiling.replace(amount(value)?).is_none(),
            "share" => {
                let share =
                    value.parse().ok().filter(|share| (1..=Self::MAX_SHARE).contains(share));
                let allowed = || wrong(format!("a whole number from 1 to {}", Self::MAX_SHARE));
                self.share.replace(share.ok_or_else(allowed)?).is_none()
            }
            "priority" => {
                self.priority = value.parse().map_err(|_| wrong(Priority::WORDS.join(", ")))?;
                true
            }
            other => {
                let nearest = nearest(other, KEYS);
                return Err(PlacementError::NoSuchPortion { word: other.into(), nearest });
            }
        };
        if is_new { Ok(()) } else { Err(PlacementError::Twice(key.into())) }
    }

    /// Whether what it says can be, whatever the pool.
    fn check(self) -> Result<Self, PlacementError> {
        let is_below = match (self.floor, self.ceiling) {
            (Some(Memory::Bytes(floor)), Some(Memory::Bytes(ceiling))) => ceiling < floor,
            (Some(Memory::Percent(floor)), Some(Memory::Percent(ceiling))) => ceiling < floor,
            _ => false,
        };
        match (self.floor, self.ceiling) {
            (Some(floor), Some(ceiling)) if is_below => {
                Err(PlacementError::CeilingBelowFloor { ceiling, floor })
            }
            _ => Ok(self),
        }
    }

    /// What it says, as pairs.
    fn said(&self) -> impl Iterator<Item = (&'static str, String)> {
        let priority = (self.priority != Priority::default()).then(|| self.priority.to_string());
        let values = [
            self.floor.map(|floor| floor.to_string()),
            self.ceiling.map(|ceiling| ceiling.to_string()),
            self.share.map(|share| share.to_string()),
            priority,
        ];
        KEYS.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?)))
    }
}

impl Place {
    /// In the pool, with nothing said of what it gets there.
    pub const POOL: Self =
        Self::Pool(Portion { floor: None, ceiling: None, share: None, priority: Priority::Normal });

    pub(crate) const WORDS: [&str; 5] = ["resident", "pool", "mmap", "direct", "inlined"];
    const ALL: [Self; 5] = [Self::Resident, Self::POOL, Self::Mmap, Self::Direct, Self::Inlined];

    /// Whether it is read by page at search time.
    pub fn is_paged(self) -> bool {
        self != Self::Resident
    }

    /// Whether it is in the pool.
    pub fn is_pool(self) -> bool {
        matches!(self, Self::Pool(_))
    }

    /// The word without what follows it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resident => Self::WORDS[0],
            Self::Pool(_) => Self::WORDS[1],
            Self::Mmap => Self::WORDS[2],
            Self::Direct => Self::WORDS[3],
            Self::Inlined => Self::WORDS[4],
        }
    }

    fn from_word(word: &str) -> Result<Self, PlacementError> {
        let at = Self::WORDS.iter().position(|known| *known == word);
        at.map(|at| Self::ALL[at]).ok_or_else(|| PlacementError::NoSuchPlace {
            word: word.into(),
            nearest: nearest(word, Self::WORDS),
        })
    }

    /// With what `pairs` say of the pool.
    fn with<'p>(
        mut self,
        pairs: impl Iterator<Item = (&'p str, &'p str)>,
    ) -> Result<Self, PlacementError> {
        for (key, value) in pairs {
            let Self::Pool(portion) = &mut self else {
                return Err(PlacementError::NotInThePool { place: self.word(), key: key.into() });
            };
            portion.set(key.trim(), value.trim())?;
        }
        match self {
            Self::Pool(portion) => portion.check().map(Self::Pool),
            other => Ok(other),
        }
    }
}

/// Which of `words` is most like it.
pub(crate) fn nearest<const N: usize>(word: &str, words: [&'static str; N]) -> &'static str {
    let likeness = |known: &&str| strsim::damerau_levenshtein(word, known);
    words.into_iter().min_by_key(likeness).unwrap_or_default()
}

impl From<Backend> for Place {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Pool => Self::POOL,
            Backend::Mmap => Self::Mmap,
            Backend::Direct => Self::Direct,
            Backend::Memory => Self::Resident,
        }
    }
}

/// As it is parsed.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(portion) => {
                let said = portion.said().map(|(key, value)| format!(":{key}={value}"));
                f.pad(&format!("pool{}", said.collect::<String>()))
            }
            other => f.pad(other.word()),
        }
    }
}

impl FromStr for Place {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let mut words = text.split(':').map(str::trim);
        let place = Self::from_word(words.next().unwrap_or_default())?;
        let pairs = words.map(|word| {
            let pair = word.split_once('=');
            pair.ok_or_else(|| PlacementError::NotAPortion(word.into()))
        });
        place.with(pairs.collect::<Result<Vec<_>, _>>()?.into_iter())
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl TryFrom<String> for Place {
    type Error = PlacementError;

    fn try_from(text: String) -> Result<Self, PlacementError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_what_it_is_written_as() {
        for text in [
            "resident",
            "pool",
            "mmap",
            "direct",
            "inlined",
            "pool:floor=10%",
            "pool:floor=64MiB:ceiling=1GiB:share=2:priority=high",
            "pool:priority=low",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        let spaced = " pool : floor = 10% : share = 3 ".parse::<Place>().unwrap();
        assert_eq!(spaced.to_string(), "pool:floor=10%:share=3");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, part) in [
            ("poll", "is it pool?"),
            ("", "They are resident, pool"),
            ("pool:flor=10%", "is it floor?"),
            ("pool:floor", "write it as"),
            ("pool:floor=lots", "floor 'lots'"),
            ("pool:share=0", "from 1 to 1000"),
            ("pool:share=1.5", "from 1 to 1000"),
            ("pool:priority=urgent", "low, normal, high"),
            ("pool:floor=10%:floor=20%", "floor is said twice"),
            ("pool:floor=20%:ceiling=10%", "ceiling 10% is below its floor 20%"),
            ("pool:floor=2MiB:ceiling=1MiB", "below its floor"),
            ("mmap:floor=10%", "is not in the pool"),
            ("resident:priority=high", "is not in the pool"),
        ] {
            let refused = text.parse::<Place>().unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
