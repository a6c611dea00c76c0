//! What is said of components by their words, one by one or several at once.
//!
//! `columns.price` is one column, `columns` all of them, `all` everything. What is said of one
//! holds before what is said of its kind, and that before what is said of all.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ringpool_index::Quantizer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::PlacementError;
use crate::place::nearest;

/// A component of a segment, or several, as people call them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// All components; `all`.
    All,
    /// The graph; `graph`.
    Graph,
    /// The codes that searches walk by, whichever (`codes`), or where they are these
    /// (`codes.rabitq:4`).
    Codes(Option<Quantizer>),
    /// The original vectors; `vectors`.
    Vectors,
    /// The columns of scalar fields, all (`columns`) or one (`columns.price`).
    Columns(Option<String>),
    /// The indexes of scalar fields, all (`indexes`) or one (`indexes.price`).
    Indexes(Option<String>),
}

impl Part {
    const WORDS: [&str; 6] = ["all", "graph", "codes", "vectors", "columns", "indexes"];

    /// What it is one of.
    pub(crate) fn wider(&self) -> Option<Self> {
        match self {
            Self::All => None,
            Self::Codes(Some(_)) => Some(Self::Codes(None)),
            Self::Columns(Some(_)) => Some(Self::Columns(None)),
            Self::Indexes(Some(_)) => Some(Self::Indexes(None)),
            _ => Some(Self::All),
        }
    }

    /// Itself, then what it is one of, then what that is one of.
    fn widening(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), Self::wider)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::Graph => f.pad("graph"),
            Self::Codes(None) => f.pad("codes"),
            Self::Codes(Some(codes)) => f.pad(&format!("codes.{codes}")),
            Self::Vectors => f.pad("vectors"),
            Self::Columns(None) => f.pad("columns"),
            Self::Columns(Some(name)) => f.pad(&format!("columns.{name}")),
            Self::Indexes(None) => f.pad("indexes"),
            Self::Indexes(Some(name)) => f.pad(&format!("indexes.{name}")),
        }
    }
}

impl FromStr for Part {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let (word, name) = match text.split_once('.') {
            Some((word, name)) => (word, Some(name)),
            None => (text, None),
        };
        let other = || PlacementError::NoSuchComponent {
            word: text.into(),
            nearest: match name {
                Some(name) => {
                    format!("{}.{name}", nearest(word, ["codes", "columns", "indexes"]))
                }
                None => nearest(word, Self::WORDS).into(),
            },
        };
        match (word, name) {
            (_, Some("")) => Err(other()),
            ("all", None) => Ok(Self::All),
            ("graph", None) => Ok(Self::Graph),
            ("vectors", None) => Ok(Self::Vectors),
            ("codes", None) => Ok(Self::Codes(None)),
            ("codes", Some(name)) => match name.parse() {
                Ok(Quantizer::None) | Err(_) => Err(PlacementError::NoSuchCodes(name.into())),
                Ok(codes) => Ok(Self::Codes(Some(codes))),
            },
            ("columns", name) => Ok(Self::Columns(name.map(Into::into))),
            ("indexes", name) => Ok(Self::Indexes(name.map(Into::into))),
            _ => Err(other()),
        }
    }
}

/// What can be said of a component.
pub trait Said: Clone + PartialEq + fmt::Display + FromStr<Err = PlacementError> {
    /// How it is written.
    const EXAMPLE: &str;

    /// Whether it can be said of `part`.
    ///
    /// # Errors
    /// Why not.
    fn suits(&self, part: &Part) -> Result<(), PlacementError>;
}

/// Something said of some components.
///
/// As text a list: `graph=resident,columns.price=mmap`. In TOML that text or a table, whose names
/// with a dot may be quoted (`"columns.price" = "mmap"`) or not.
#[derive(Clone, Debug, PartialEq)]
pub struct ByPart<T> {
    said: BTreeMap<Part, T>,
}

impl<T> Default for ByPart<T> {
    fn default() -> Self {
        Self { said: BTreeMap::new() }
    }
}

impl<T: Said> ByPart<T> {
    /// What holds for `part`: what is said of it, or of what it is one of.
    pub fn of(&self, part: &Part) -> Option<&T> {
        part.widening().find_map(|part| self.said.get(&part))
    }

    /// What is said of `part` itself.
    pub fn get(&self, part: &Part) -> Option<&T> {
        self.said.get(part)
    }

    /// With this said of `part`, in place of what was.
    #[must_use]
    pub fn with(mut self, part: Part, said: T) -> Self {
        self.said.insert(part, said);
        self
    }

    /// All that is said.
    pub fn iter(&self) -> impl Iterator<Item = (&Part, &T)> {
        self.said.iter()
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// This, and what `below` says where this says nothing. What is said here of a kind holds for
    /// all of it, whatever `below` says of one of them.
    #[must_use]
    pub fn over(mut self, below: &Self) -> Self {
        let left = below.said.iter().filter(|(part, _)| self.of(part).is_none());
        let left: Vec<(Part, T)> = left.map(|(part, said)| (part.clone(), said.clone())).collect();
        self.said.extend(left);
        self
    }

    /// The same with everything changed by `change`.
    #[must_use]
    pub fn map(self, change: impl Fn(T) -> T) -> Self {
        let said = self.said.into_iter().map(|(part, said)| (part, change(said)));
        Self { said: said.collect() }
    }

    /// Says what `text` does of the component that is called `part`.
    pub(crate) fn say_text(&mut self, part: &str, text: &str) -> Result<(), PlacementError> {
        self.say(part.parse()?, text.parse()?)
    }

    fn say(&mut self, part: Part, said: T) -> Result<(), PlacementError> {
        said.suits(&part)?;
        match self.said.contains_key(&part) {
            true => Err(PlacementError::PlacedTwice(part.to_string())),
            false => {
                self.said.insert(part, said);
                Ok(())
            }
        }
    }
}

/// As it is parsed: `graph=pool,vectors=mmap`.
impl<T: Said> fmt::Display for ByPart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.said.iter().map(|(part, said)| format!("{part}={said}"));
        f.pad(&said.collect::<Vec<_>>().join(","))
    }
}

impl<T: Said> FromStr for ByPart<T> {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let mut all = Self::default();
        if text.is_empty() {
            return Ok(all);
        }
        for pair in text.split(',').map(str::trim) {
            let not_a_pair = || PlacementError::NotAPair { word: pair.into(), example: T::EXAMPLE };
            let (part, said) = pair.split_once('=').ok_or_else(not_a_pair)?;
            all.say(part.trim().parse()?, said.trim().parse()?)?;
        }
        Ok(all)
    }
}

impl<T: Said> Serialize for ByPart<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(self.said.iter().map(|(part, said)| (part.to_string(), said.to_string())))
    }
}

impl<'de, T: Said> Deserialize<'de> for ByPart<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut all = Self::default();
        Names { prefix: String::new(), all: &mut all }.deserialize(deserializer)?;
        Ok(all)
    }
}

/// What stands beside a name, whose parts so far are `prefix`: names that go on from it, or what is
/// said of it. At first a table of names, or all as one text.
struct Names<'a, T> {
    prefix: String,
    all: &'a mut ByPart<T>,
}

impl<'de, T: Said> DeserializeSeed<'de> for Names<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Said> Visitor<'de> for Names<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "components and what is said of them, as {}", T::EXAMPLE)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let Self { prefix, all } = self;
        let mut said = || {
            if prefix.is_empty() {
                let mut listed = text.parse::<ByPart<T>>()?.said.into_iter();
                return listed.try_for_each(|(part, said)| all.say(part, said));
            }
            all.say(prefix.parse()?, text.parse()?)
        };
        said().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let prefix = match &*self.prefix {
                "" => key,
                prefix => format!("{prefix}.{key}"),
            };
            map.next_value_seed(Names { prefix, all: &mut *self.all })?;
        }
        Ok(())
    }
}
