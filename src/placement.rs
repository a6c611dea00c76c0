//! Where the components of a segment are while it is open: what is said of that, and what holds
//! where nothing is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parts::{ByPart, Part, Said};
use crate::place::Place;
use crate::{Backend, Memory};

/// Where components are. What holds where nothing is said, [`Plan`](crate::Plan) tells.
///
/// ```
/// # use ringpool::{Part, Place, Placement};
/// let placement: Placement = "graph=pool:priority=high,columns=pool,columns.price=mmap".parse()?;
/// assert_eq!(placement.of(&Part::Columns(Some("price".into()))), Some(&Place::Mmap));
/// assert_eq!(placement.of(&Part::Vectors), None);
/// # Ok::<(), ringpool::PlacementError>(())
/// ```
pub type Placement = ByPart<Place>;

impl Said for Place {
    const EXAMPLE: &str = "graph=pool,codes=pool,vectors=pool";

    fn suits(&self, part: &Part) -> Result<(), PlacementError> {
        match (self, part) {
            (Self::Inlined, Part::Graph | Part::Codes(_)) => Ok(()),
            (Self::Inlined, part) => Err(PlacementError::NotInlined(part.to_string())),
            _ => Ok(()),
        }
    }
}

impl Placement {
    /// The same with what is read by page read through `backend`.
    #[must_use]
    pub fn through(self, backend: Backend) -> Self {
        self.map(|place| match place {
            Place::Pool(_) if backend == Backend::Pool => place,
            Place::Pool(_) | Place::Mmap | Place::Direct => backend.into(),
            Place::Inlined if backend == Backend::Memory => Place::Resident,
            other => other,
        })
    }
}

/// A named set of placements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Profile {
    /// What walks and filters need is resident, and nothing but originals and the values of fields
    /// comes from the disk: `graph=resident,codes=resident,indexes=resident,vectors=pool,columns=pool`.
    Performance,
    /// Everything is in the pool, which keeps the graph before codes and indexes, and these before
    /// originals: `all=pool,graph=pool:priority=high,vectors=pool:priority=low`.
    Capacity,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Performance, Self::Capacity];

    /// What it places where. Nothing is left open.
    pub fn placement(self) -> Placement {
        use ringpool_bufferpool::Priority::{High, Low};
        let pool = |priority| Place::Pool(crate::Portion { priority, ..Default::default() });
        match self {
            Self::Performance => Placement::default()
                .with(Part::All, Place::POOL)
                .with(Part::Graph, Place::Resident)
                .with(Part::Codes(None), Place::Resident)
                .with(Part::Indexes(None), Place::Resident),
            Self::Capacity => Placement::default()
                .with(Part::All, Place::POOL)
                .with(Part::Graph, pool(High))
                .with(Part::Vectors, pool(Low)),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Performance => "performance",
            Self::Capacity => "capacity",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Profile {
    type Err = PlacementError;

    fn from_str(word: &str) -> Result<Self, PlacementError> {
        let known = Self::ALL.into_iter().find(|profile| profile.word() == word);
        let words = Self::ALL.map(Self::word);
        known.ok_or_else(|| PlacementError::NoSuchProfile {
            word: word.into(),
            nearest: crate::place::nearest(word, words),
        })
    }
}

/// A word that says nothing of where a component is, or what cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// No component and what is said of it.
    #[error("'{word}' places nothing: write it as {example}")]
    NotAPair {
        /// The word.
        word: String,
        /// How it is written.
        example: &'static str,
    },
    /// Another component.
    #[error(
        "there is no component '{word}', is it {nearest}? They are graph, codes, vectors, columns, \
         indexes and all, and one of several by its name: codes.NAME, columns.NAME, indexes.NAME"
    )]
    NoSuchComponent {
        /// The word.
        word: String,
        /// The one that is most like it.
        nearest: String,
    },
    /// Codes that there are not.
    #[error("there are no codes '{0}': use sq8, sq4, pq:BYTES, or rabitq:1, rabitq:2 or rabitq:4")]
    NoSuchCodes(String),
    /// Another place.
    #[error("there is no place '{word}', is it {nearest}? They are {}", Place::WORDS.join(", "))]
    NoSuchPlace {
        /// The word.
        word: String,
        /// The one that is most like it.
        nearest: &'static str,
    },
    /// A component in two places.
    #[error("{0} is placed twice: say it once")]
    PlacedTwice(String),
    /// Something of the pool that is said twice.
    #[error("{0} is said twice: say it once")]
    Twice(String),
    /// No name and value.
    #[error("'{0}' says nothing of the pool: write it as pool:floor=10%:ceiling=64MiB")]
    NotAPortion(String),
    /// Another name.
    #[error(
        "a component in the pool has no '{word}', is it {nearest}? They are floor, ceiling, share \
         and priority"
    )]
    NoSuchPortion {
        /// The word.
        word: String,
        /// The one that is most like it.
        nearest: &'static str,
    },
    /// A value that it cannot have.
    #[error("{key} '{value}' of the pool is not possible: use {allowed}")]
    BadPortion {
        /// Its name.
        key: String,
        /// What is written.
        value: String,
        /// What may be.
        allowed: String,
    },
    /// A ceiling that is below the floor.
    #[error("a ceiling {ceiling} is below its floor {floor}: raise the one or lower the other")]
    CeilingBelowFloor {
        /// The most.
        ceiling: Memory,
        /// The least.
        floor: Memory,
    },
    /// Something of the pool for what is elsewhere.
    #[error("what is {place} is not in the pool and has no {key}: leave it out, or use pool")]
    NotInThePool {
        /// The place.
        place: &'static str,
        /// What is said.
        key: String,
    },
    /// Something inlined that cannot be.
    #[error(
        "{0} cannot be inlined: graph and codes alone can, in the vectors, put the others elsewhere"
    )]
    NotInlined(String),
    /// Another time to warm up.
    #[error(
        "there is no warm-up '{word}', is it {nearest}? They are none, background and \
         before-serving"
    )]
    NoSuchWarmUp {
        /// The word.
        word: String,
        /// The one that is most like it.
        nearest: &'static str,
    },
    /// Another profile.
    #[error("there is no profile '{word}', is it {nearest}? They are performance and capacity")]
    NoSuchProfile {
        /// The word.
        word: String,
        /// The one that is most like it.
        nearest: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use ringpool_index::Quantizer;

    use super::*;

    fn parsed(text: &str) -> Placement {
        text.parse().unwrap()
    }

    #[test]
    fn a_placement_is_what_it_is_written_as() {
        for text in [
            "",
            "graph=resident",
            "graph=inlined,codes=inlined,vectors=pool",
            "all=pool,graph=pool:priority=high,codes.rabitq:4=mmap,columns.a.b=direct",
            "graph=pool:floor=10%:share=2,columns=pool,columns.price=mmap,indexes.price=resident",
        ] {
            assert_eq!(parsed(text).to_string(), text);
            let json = serde_json::to_string(&parsed(text)).unwrap();
            assert_eq!(serde_json::from_str::<Placement>(&json).unwrap(), parsed(text));
        }
        let spaced = parsed(" codes = mmap , graph=pool ");
        assert_eq!(spaced.to_string(), "graph=pool,codes=mmap");
        let nested = r#"{"columns": {"a": {"b": "mmap"}, "price": "pool"}, "graph": "direct"}"#;
        let nested: Placement = serde_json::from_str(nested).unwrap();
        assert_eq!(nested.to_string(), "graph=direct,columns.a.b=mmap,columns.price=pool");
        assert_eq!(
            serde_json::from_str::<Placement>(r#""graph=mmap""#).unwrap(),
            parsed("graph=mmap")
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_near() {
        for (text, part) in [
            (" ", "graph=pool"),
            ("pool", "graph=pool"),
            ("graph=pool,", "graph=pool"),
            ("grpah=pool", "is it graph?"),
            ("code=pool", "is it codes?"),
            ("vector=pool", "is it vectors?"),
            ("Graph=pool", "is it graph?"),
            ("column.price=pool", "is it columns.price?"),
            ("columns.=pool", "no component 'columns.'"),
            ("codes.sq9=pool", "no codes 'sq9'"),
            ("codes.none=pool", "no codes 'none'"),
            ("graph=poll", "is it pool?"),
            ("graph=nmap", "is it mmap?"),
            ("graph=residents", "is it resident?"),
            ("graph=inline", "is it inlined?"),
            ("graph=", "They are resident, pool"),
            ("graph=pool,codes=pool,graph=mmap", "graph is placed twice"),
            ("vectors=inlined", "put the others elsewhere"),
            ("all=inlined", "put the others elsewhere"),
        ] {
            let refused = text.parse::<Placement>().unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
        assert!("capasity".parse::<Profile>().unwrap_err().to_string().contains("is it capacity?"));
    }

    #[test]
    fn what_is_said_of_one_holds_before_what_is_said_of_all() {
        let place = parsed("all=mmap,codes=pool,codes.sq4=direct,columns.price=resident");
        let column = |name: &str| Part::Columns(Some(name.into()));
        for (part, expected) in [
            (Part::Graph, Place::Mmap),
            (Part::Codes(Some(Quantizer::Sq8)), Place::POOL),
            (Part::Codes(Some(Quantizer::Sq4)), Place::Direct),
            (column("price"), Place::Resident),
            (column("name"), Place::Mmap),
        ] {
            assert_eq!(place.of(&part), Some(&expected), "{part}");
        }
        assert_eq!(place.through(Backend::Memory).to_string().matches("resident").count(), 4);
    }

    #[test]
    fn a_kind_above_holds_before_one_of_them_below() {
        let below = parsed("graph=mmap,columns=pool,columns.price=resident");
        for (above, both) in [
            ("", "graph=mmap,columns=pool,columns.price=resident"),
            ("columns.price=mmap", "graph=mmap,columns=pool,columns.price=mmap"),
            ("columns=mmap", "graph=mmap,columns=mmap"),
            ("all=direct", "all=direct"),
            ("all=direct,graph=pool", "all=direct,graph=pool"),
        ] {
            assert_eq!(parsed(above).over(&below).to_string(), both, "{above}");
        }
    }

    #[test]
    fn a_profile_places_everything() {
        for profile in Profile::ALL {
            let place = profile.placement();
            assert!(place.of(&Part::All).is_some(), "{profile}");
            assert_eq!(parsed(&place.to_string()), place);
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
    }
}
