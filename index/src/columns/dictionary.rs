//! The words of a keyword field, in the order of their bytes: found by halving.

use std::ops::Range;

use super::MAX_KEYWORD_BYTES;
use super::open::ValueParts;
use super::wave::Wave;
use crate::{Patience, SearchError};

/// The words of a field. Their bytes are compared, whatever they are; in a segment whose words are
/// out of order some are not found.
pub(crate) struct Dictionary<'a> {
    parts: &'a ValueParts,
    words: usize,
    patience: &'a Patience<'a>,
}

impl<'a> Dictionary<'a> {
    /// That of a column of keywords.
    pub(crate) fn of(parts: &'a ValueParts, words: usize, patience: &'a Patience<'a>) -> Self {
        Self { parts, words, patience }
    }

    /// The number of a word, if it is there.
    pub(crate) fn find(&self, word: &str) -> Result<Option<usize>, SearchError> {
        let at = self.first_from(word)?;
        Ok((at < self.words && self.word(at)? == word.as_bytes()).then_some(at))
    }

    /// The number of the first word that is this one, or comes behind it.
    pub(crate) fn first_from(&self, word: &str) -> Result<usize, SearchError> {
        self.first_not(&|other| other < word.as_bytes())
    }

    /// The number of the first word that comes behind this one.
    pub(crate) fn first_past(&self, word: &str) -> Result<usize, SearchError> {
        self.first_not(&|other| other <= word.as_bytes())
    }

    /// The numbers of the words that begin so.
    pub(crate) fn beginning_with(&self, prefix: &str) -> Result<Range<usize>, SearchError> {
        let prefix = prefix.as_bytes();
        let past = self.first_not(&|other| other < prefix || other.starts_with(prefix))?;
        Ok(self.first_not(&|other| other < prefix)?..past)
    }

    /// The number of the first word of which it does not hold.
    fn first_not(&self, holds: &dyn Fn(&[u8]) -> bool) -> Result<usize, SearchError> {
        let (mut low, mut high) = (0, self.words);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(&self.word(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn word(&self, number: usize) -> Result<Vec<u8>, SearchError> {
        let (Some(words), Some(heap)) = (&self.parts.words, &self.parts.heap) else {
            return Ok(Vec::new());
        };
        let mut wave = Wave::default();
        let record = wave.want_records(words, number..number + 1);
        wave.read(self.patience)?;
        let range = words.extent(wave.get(record), heap, MAX_KEYWORD_BYTES as u64)?;
        let mut wave = Wave::default();
        let bytes = wave.want(heap, range);
        wave.read(self.patience)?;
        Ok(wave.get(bytes).to_vec())
    }
}
