//! Whose pages go first when files share a pool: what the clock makes of a file's priority.

use std::fmt;
use std::str::FromStr;

use crate::ghost::Ghost;
use crate::hint::Hint;
use crate::pool::File;
use crate::word::Start;

/// How much the pages of a file are worth beside those of others. It moves no page that is in
/// memory, and breaks no floor or ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// A page is on probation whenever it comes into a full pool, however soon it comes again, and
    /// past that the first pass of the hand takes all of its chances; `low`.
    Low,
    /// As the [`Policy`](crate::Policy) says; `normal`.
    #[default]
    Normal,
    /// A page comes in past probation, and as if it had been used all the time; `high`.
    High,
}

impl Priority {
    /// All of them, by their words.
    pub const WORDS: [&str; 3] = ["low", "normal", "high"];
    const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The same after it was kept as a number; any other number is none of them.
    pub(crate) fn from_number(number: usize) -> Self {
        Self::ALL.get(number).copied().unwrap_or_default()
    }
}

impl File {
    /// What an absent page begins with that is read now.
    pub(crate) fn start(&self, ghost: Ghost, hint: Hint) -> Start {
        let priority = self.table.holdings.priority();
        let hint = match (priority, hint) {
            (Priority::High, Hint::Random) => Hint::Hot,
            (_, hint) => hint,
        };
        let start = self.start_of(ghost, hint);
        match (priority, hint, start) {
            (Priority::Low, Hint::Random, Start::MainWithChance) => Start::Main,
            (Priority::Low, Hint::Random, Start::Main)
                if self.pool.clock.is_full() && self.table.holdings.ceiling().is_none() =>
            {
                Start::Probation
            }
            _ => start,
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::WORDS[*self as usize])
    }
}

/// A word that names no priority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no priority: use low, normal or high")]
pub struct UnknownPriority(String);

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(word: &str) -> Result<Self, UnknownPriority> {
        let at = Self::WORDS.iter().position(|known| *known == word);
        at.map(|at| Self::ALL[at]).ok_or_else(|| UnknownPriority(word.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for priority in Priority::ALL {
            assert_eq!(priority.to_string().parse(), Ok(priority));
            assert_eq!(Priority::from_number(priority as usize), priority);
        }
        assert!("urgent".parse::<Priority>().is_err());
        assert_eq!(Priority::from_number(9), Priority::Normal);
    }
}
