//! Where each component of a segment is while it is open: loaded for good, or read by page through
//! one thing or another.

use std::fmt;
use std::str::FromStr;

use ringpool_index::ComponentKind;

use crate::Backend;

/// Where a component is while its index is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Loaded once and kept as arrays.
    Resident,
    /// Read by page through the buffer pool, which all components in it share.
    Pool,
    /// Read by page through a read-only mapping.
    Mmap,
    /// Read by page straight from the disk; nothing is kept.
    Direct,
    /// Read with the originals, whose pages carry it, in a segment that was built so. For graph
    /// and codes, both or none.
    Inlined,
}

/// Where the components are. What is not said of graph and codes is that they are resident; what
/// is not said of the originals is what the [`Backend`] says.
///
/// ```
/// # use ringpool::{Place, Placement};
/// let all_paged: Placement = "graph=pool,codes=pool".parse()?;
/// assert_eq!((all_paged.graph, all_paged.vectors), (Some(Place::Pool), None));
/// # Ok::<(), ringpool::PlacementError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Placement {
    /// The graph. What is above layer 0 is resident in any case.
    pub graph: Option<Place>,
    /// The codes that searches walk by. Others are not opened.
    pub codes: Option<Place>,
    /// The original vectors.
    pub vectors: Option<Place>,
}

/// A word that says nothing of where a component is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// No component and place.
    #[error("'{0}' places nothing: write it as graph=pool,codes=pool,vectors=pool")]
    NotAPair(String),
    /// Another component.
    #[error(
        "there is no component '{word}', is it {nearest}? They are {}",
        Part::WORDS.join(", ")
    )]
    NoSuchComponent {
        /// The word.
        word: String,
        /// The one that is most like it.
        nearest: &'static str,
    },
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
    Twice(&'static str),
    /// The originals in themselves.
    #[error("vectors are what graph and codes are inlined in: put them elsewhere")]
    VectorsInlined,
}

/// A component by its word.
#[derive(Clone, Copy)]
enum Part {
    Graph,
    Codes,
    Vectors,
}

impl Part {
    const WORDS: [&str; 3] = ["graph", "codes", "vectors"];
    const ALL: [Self; 3] = [Self::Graph, Self::Codes, Self::Vectors];
}

impl Place {
    const WORDS: [&str; 5] = ["resident", "pool", "mmap", "direct", "inlined"];
    const ALL: [Self; 5] = [Self::Resident, Self::Pool, Self::Mmap, Self::Direct, Self::Inlined];

    /// Whether it is read by page at search time.
    pub fn is_paged(self) -> bool {
        self != Self::Resident
    }
}

impl Placement {
    /// Where a component is, in an index through `backend`.
    pub fn of(&self, kind: ComponentKind, backend: Backend) -> Place {
        match kind {
            ComponentKind::Graph => self.graph.unwrap_or(Place::Resident),
            ComponentKind::Codes(_) => self.codes.unwrap_or(Place::Resident),
            ComponentKind::Vectors => self.vectors.unwrap_or(backend.into()),
            ComponentKind::Column(_) | ComponentKind::ColumnIndex(_) => backend.into(),
            ComponentKind::Ids | ComponentKind::OwnIds => Place::Resident,
        }
    }

    /// Whether nothing is read by page, in an index through `backend`.
    pub fn is_resident(&self, backend: Backend) -> bool {
        let places = [self.graph, self.codes, Some(self.vectors.unwrap_or(backend.into()))];
        !places.into_iter().flatten().any(Place::is_paged)
    }

    /// The same with what is read by page read through `backend`.
    #[must_use]
    pub fn through(self, backend: Backend) -> Self {
        let through = |place: Option<Place>| match place {
            Some(Place::Pool | Place::Mmap | Place::Direct) => Some(backend.into()),
            Some(Place::Inlined) if backend == Backend::Memory => Some(Place::Resident),
            other => other,
        };
        Self {
            graph: through(self.graph),
            codes: through(self.codes),
            vectors: through(self.vectors),
        }
    }

    fn part(&mut self, part: Part) -> &mut Option<Place> {
        match part {
            Part::Graph => &mut self.graph,
            Part::Codes => &mut self.codes,
            Part::Vectors => &mut self.vectors,
        }
    }
}

impl From<Backend> for Place {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Pool => Self::Pool,
            Backend::Mmap => Self::Mmap,
            Backend::Direct => Self::Direct,
            Backend::Memory => Self::Resident,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::WORDS[*self as usize])
    }
}

/// As it is parsed: `graph=pool,vectors=mmap`.
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Part::WORDS.iter().zip([self.graph, self.codes, self.vectors]);
        let said = all.filter_map(|(word, place)| Some(format!("{word}={}", place?)));
        f.pad(&said.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Placement {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let mut placement = Self::default();
        if text.is_empty() {
            return Ok(placement);
        }
        for pair in text.split(',').map(str::trim) {
            let (part, place) =
                pair.split_once('=').ok_or_else(|| PlacementError::NotAPair(pair.into()))?;
            let (part, place) = (part.trim(), place.trim());
            let at = known(part, &Part::WORDS).map_err(|nearest| {
                PlacementError::NoSuchComponent { word: part.into(), nearest }
            })?;
            let place = known(place, &Place::WORDS)
                .map_err(|nearest| PlacementError::NoSuchPlace { word: place.into(), nearest })?;
            let said = placement.part(Part::ALL[at]).replace(Place::ALL[place]);
            if said.is_some() {
                return Err(PlacementError::Twice(Part::WORDS[at]));
            }
        }
        match placement.vectors {
            Some(Place::Inlined) => Err(PlacementError::VectorsInlined),
            _ => Ok(placement),
        }
    }
}

/// Which of `words` it is, or the one that is most like it.
fn known(word: &str, words: &[&'static str]) -> Result<usize, &'static str> {
    let at = words.iter().position(|known| *known == word);
    let likeness = |known: &&&str| strsim::damerau_levenshtein(word, known);
    at.ok_or_else(|| words.iter().min_by_key(likeness).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use ringpool_index::Quantizer;

    use super::*;

    #[test]
    fn a_placement_is_what_it_is_written_as() {
        let all = Place::ALL.map(Some).into_iter().chain([None]).collect::<Vec<_>>();
        for &graph in &all {
            for &codes in &all {
                for &vectors in all.iter().filter(|&&place| place != Some(Place::Inlined)) {
                    let placement = Placement { graph, codes, vectors };
                    assert_eq!(placement.to_string().parse(), Ok(placement));
                }
            }
        }
        let spaced = " codes = mmap , graph=pool ".parse::<Placement>().unwrap();
        assert_eq!(spaced.to_string(), "graph=pool,codes=mmap");
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_nearest() {
        for (text, part) in [
            (" ", "graph=pool"),
            ("pool", "graph=pool"),
            ("graph=pool,", "graph=pool"),
            ("grpah=pool", "is it graph?"),
            ("code=pool", "is it codes?"),
            ("vector=pool", "is it vectors?"),
            ("Graph=pool", "is it graph?"),
            ("graph=poll", "is it pool?"),
            ("graph=nmap", "is it mmap?"),
            ("graph=residents", "is it resident?"),
            ("graph=inline", "is it inlined?"),
            ("graph=", "They are resident, pool"),
            ("graph=pool,codes=pool,graph=mmap", "graph is placed twice"),
            ("vectors=inlined", "put them elsewhere"),
        ] {
            let refused = text.parse::<Placement>().unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    #[test]
    fn what_is_not_said_is_resident_or_as_the_backend_says() {
        let placement = "graph=pool,codes=resident".parse::<Placement>().unwrap();
        let of = |backend| {
            [ComponentKind::Graph, ComponentKind::Codes(Quantizer::Sq8), ComponentKind::Vectors]
                .map(|kind| placement.of(kind, backend))
        };
        assert_eq!(of(Backend::Pool), [Place::Pool, Place::Resident, Place::Pool]);
        assert_eq!(of(Backend::Memory), [Place::Pool, Place::Resident, Place::Resident]);
        assert_eq!(placement.through(Backend::Mmap).to_string(), "graph=mmap,codes=resident");
    }
}
