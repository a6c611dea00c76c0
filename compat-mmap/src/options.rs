//! What the kernel is told about a mapping, and what is checked of its pages.

use std::fmt;
use std::str::FromStr;

/// How a file is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MmapOptions {
    /// What the kernel is told about the reads to come.
    pub advice: Advice,
    /// When a page is checked against its checksum.
    pub verify: Verify,
}

/// What the kernel is told about the reads to come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Advice {
    /// `MADV_RANDOM`: a fault reads its own page and nothing around it. The pages of a batch are
    /// read one after the other, as the visitor comes to them.
    Random,
    /// `MADV_NORMAL`: a fault reads ahead by as much as the device is set to, often megabytes.
    /// Good for scans, ruinous for random reads of a file larger than memory.
    Normal,
    /// `MADV_RANDOM`, and one `MADV_WILLNEED` for each run of pages in a batch, adjacent but for gaps
    /// of 4 KiB, before the first of them is touched, so that the disk reads them side by side. The
    /// best that a mapping can do when cold; warm, it costs a system call a run that the pages did not
    /// need.
    #[default]
    WillNeed,
}

/// When a page is checked against its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Verify {
    /// When it is touched for the first time since the file was opened. A page that the kernel
    /// drops and reads again later is not checked again, because nobody is told that it was: this
    /// is weaker than a pool, which sees each read.
    #[default]
    FirstTouch,
    /// Never: whatever the file holds is handed over.
    Never,
}

/// A word that names no [`Advice`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no advice for a mapping: use random, normal or willneed")]
pub struct UnknownAdvice(pub String);

/// A word that names no [`Verify`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not say when to verify: use first-touch or never")]
pub struct UnknownVerify(pub String);

impl Advice {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::WillNeed, Self::Random, Self::Normal];

    const fn word(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Normal => "normal",
            Self::WillNeed => "willneed",
        }
    }
}

impl Verify {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::FirstTouch, Self::Never];

    const fn word(self) -> &'static str {
        match self {
            Self::FirstTouch => "first-touch",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Advice {
    type Err = UnknownAdvice;

    fn from_str(word: &str) -> Result<Self, UnknownAdvice> {
        let named = Self::ALL.into_iter().find(|advice| advice.word() == word);
        named.ok_or_else(|| UnknownAdvice(word.to_owned()))
    }
}

impl FromStr for Verify {
    type Err = UnknownVerify;

    fn from_str(word: &str) -> Result<Self, UnknownVerify> {
        let named = Self::ALL.into_iter().find(|verify| verify.word() == word);
        named.ok_or_else(|| UnknownVerify(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_others_refused() {
        for (word, advice) in
            [("random", Advice::Random), ("normal", Advice::Normal), ("willneed", Advice::WillNeed)]
        {
            assert_eq!(word.parse(), Ok(advice));
            assert_eq!(advice.to_string(), word);
        }
        for (word, verify) in [("first-touch", Verify::FirstTouch), ("never", Verify::Never)] {
            assert_eq!(word.parse(), Ok(verify));
            assert_eq!(verify.to_string(), word);
        }
        for wrong in ["", "Random", "willneed ", "always"] {
            assert_eq!(wrong.parse::<Advice>(), Err(UnknownAdvice(wrong.into())));
            assert_eq!(wrong.parse::<Verify>(), Err(UnknownVerify(wrong.into())));
        }
    }

    #[test]
    fn the_default_is_the_best_that_mmap_can_do_checked() {
        let options = MmapOptions::default();
        assert_eq!(options.advice, Advice::WillNeed);
        assert_eq!(options.verify, Verify::FirstTouch);
    }
}
