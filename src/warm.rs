//! Warming up: pages that are read before anybody asks for them, and what was hot before a restart.
//!
//! Each component that is in the pool has a hot set of its own, `NAME.hot` beside `NAME.pages`: which
//! of its pages were in memory, and how much each was used. Where none is saved, or what is there is
//! another segment's or damaged, a warm-up reads the pages from the first one on: it is a hint and
//! nothing more. It takes free frames and evicts nothing, graph and codes first.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringpool_bufferpool::{HotSet, HotSetError, PoolError, PoolFile, Restoring};
use ringpool_index::{ComponentKind, Patience};
use ringpool_storage::{FileKey, PageSource};
use serde::{Deserialize, Serialize};

use crate::opening::Held;
use crate::parts::{ByPart, Part, Said};
use crate::place::nearest;
use crate::shares::Sure;
use crate::{Error, Index, PlacementError};

/// How often who waits for a warm-up looks whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(5);

/// Whether the pages of a component are read before they are asked for: when its segment is opened,
/// and when it moves. Of what is resident all are, and of what is read straight from the disk none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warm {
    /// No; `none`.
    #[default]
    None,
    /// While searches begin already; `background`.
    Background,
    /// Before any search begins; `before-serving`.
    BeforeServing,
}

/// Which components are warmed up. Where nothing is said, none is.
pub type WarmUp = ByPart<Warm>;

impl Warm {
    const ALL: [Self; 3] = [Self::None, Self::Background, Self::BeforeServing];
    const WORDS: [&str; 3] = ["none", "background", "before-serving"];
}

impl Said for Warm {
    const EXAMPLE: &str = "graph=before-serving,vectors=background";

    fn suits(&self, _part: &Part) -> Result<(), PlacementError> {
        Ok(())
    }
}

impl fmt::Display for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::WORDS[*self as usize])
    }
}

impl FromStr for Warm {
    type Err = PlacementError;

    fn from_str(word: &str) -> Result<Self, PlacementError> {
        let at = Self::WORDS.iter().position(|known| *known == word);
        at.map(|at| Self::ALL[at]).ok_or_else(|| PlacementError::NoSuchWarmUp {
            word: word.into(),
            nearest: nearest(word, Self::WORDS),
        })
    }
}

/// A component in a pool, and what tells it from those of other segments.
pub(crate) struct Pooled {
    pub(crate) kind: ComponentKind,
    pub(crate) file: Arc<PoolFile>,
    pub(crate) key: FileKey,
    /// What it was made sure of last.
    sure: Mutex<Sure>,
}

impl Pooled {
    pub(crate) fn new(kind: ComponentKind, file: Arc<PoolFile>, key: FileKey) -> Self {
        Self { kind, file, key, sure: Mutex::default() }
    }

    /// What it was made sure of.
    pub(crate) fn sure(&self) -> Sure {
        *self.sure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it sure of this. Where that was so before nothing is touched, nor what its owner has
    /// set meanwhile.
    pub(crate) fn set(&self, sure: Sure) -> Result<(), PoolError> {
        let mut before = self.sure.lock().unwrap_or_else(PoisonError::into_inner);
        if *before != sure {
            self.file.set_share(sure.into())?;
            *before = sure;
        }
        Ok(())
    }

    /// What was saved in `dir`, or else its first pages.
    fn hot_set_in(&self, dir: &Path) -> HotSet {
        let saved = self.saved_in(dir);
        saved.unwrap_or_else(|_| self.file.first_pages(self.key))
    }

    fn saved_in(&self, dir: &Path) -> Result<HotSet, HotSetError> {
        HotSet::read_for(dir.join(self.file_name()), self.key, self.file.page_count())
    }

    /// Saves in `dir` what of it is in the pool.
    pub(crate) fn save_hot_set(&self, dir: &Path) -> Result<(), HotSetError> {
        self.file.hot_set(self.key).write(dir.join(self.file_name()))
    }

    fn file_name(&self) -> String {
        format!("{}.hot", self.kind.name())
    }
}

/// Warms up those of `held` that `warm_up` says, of a segment in `dir`. What is read in the
/// background stops when what it is held for goes.
pub(crate) fn warm(
    held: &mut [Held],
    warm_up: &WarmUp,
    dir: &Path,
    patience: &Patience<'_>,
) -> Result<(), Error> {
    let order = |held: &Held| match held.part {
        Some(Part::Graph) => 0,
        Some(Part::Codes(_)) => 1,
        Some(Part::Indexes(_)) => 2,
        Some(Part::Columns(_)) => 3,
        _ => 4,
    };
    let mut in_order: Vec<&mut Held> = held.iter_mut().collect();
    in_order.sort_by_key(|held| order(held));
    for held in in_order {
        let warm = held.part.as_ref().and_then(|part| warm_up.of(part)).copied();
        let warm = warm.unwrap_or_default();
        if warm == Warm::None {
            continue;
        }
        patience.check()?;
        let waits = warm == Warm::BeforeServing;
        if let Some(mapped) = &held.mapped {
            mapped.read_ahead(waits)?;
        }
        if let Some(pooled) = &held.pooled {
            let restoring = pooled.file.restore(pooled.hot_set_in(dir))?;
            match waits {
                true => wait(restoring, patience)?,
                false => held.warming = Some(Arc::new(restoring)),
            }
        }
    }
    Ok(())
}

/// Waits for the end of a warm-up. What could not be read is read when asked for.
fn wait(mut restoring: Restoring, patience: &Patience<'_>) -> Result<(), Error> {
    loop {
        let glance = Instant::now() + GLANCE;
        let until = patience.deadline().map_or(glance, |deadline| deadline.min(glance));
        match restoring.wait_until(until) {
            Ok(_) => return Ok(()),
            Err(goes_on) => restoring = goes_on,
        }
        if let Err(ended) = patience.check() {
            restoring.leave();
            return Err(ended.into());
        }
    }
}

impl Index {
    /// Saves to `dir` which pages of each component are in the pool, and how much each is used: a
    /// byte or two a page, `NAME.hot`, each whole or not at all. Returns how many components that
    /// are.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save_hot_sets(&self, dir: impl AsRef<Path>) -> Result<usize, Error> {
        let open = self.now();
        open.pooled().try_for_each(|pooled| pooled.save_hot_set(dir.as_ref()))?;
        Ok(open.pooled().count())
    }

    /// Reads the pages that were saved in `dir`, in the background and most used first. Search
    /// meanwhile; dropped, it stops.
    ///
    /// # Errors
    /// When a file cannot be read, is damaged, or belongs to another segment. The index is as
    /// good as before.
    pub fn restore_hot_sets(&self, dir: impl AsRef<Path>) -> Result<Vec<Restoring>, Error> {
        let open = self.now();
        let restoring =
            open.pooled().map(|pooled| Ok(pooled.file.restore(pooled.saved_in(dir.as_ref())?)?));
        restoring.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_others_told() {
        let text = "graph=before-serving,codes=background,vectors=none";
        assert_eq!(text.parse::<WarmUp>().unwrap().to_string(), text);
        let wrong = "graph=backgroud".parse::<WarmUp>().unwrap_err().to_string();
        assert!(wrong.contains("is it background?"), "{wrong}");
    }
}
