//! A test of a field as ranges of keys.

use std::ops::{Bound, RangeInclusive};

use super::dictionary::Dictionary;
use super::key::{of_f64, of_i64};
use super::open::OpenColumn;
use super::{FieldType, Test, Value};
use crate::{Patience, SearchError};

/// Ranges of keys in ascending order, none of which touches another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyRanges(Vec<RangeInclusive<u64>>);

impl KeyRanges {
    /// Whether a key is in one of them.
    #[inline]
    pub(crate) fn contains(&self, key: u64) -> bool {
        let at = self.0.partition_point(|range| *range.end() < key);
        self.0.get(at).is_some_and(|range| range.contains(&key))
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.0.iter().cloned()
    }

    fn of_keys(mut keys: Vec<u64>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        for key in keys {
            match ranges.last_mut() {
                Some(last) if *last.end() + 1 == key => *last = *last.start()..=key,
                _ => ranges.push(key..=key),
            }
        }
        Self(ranges)
    }

    /// From one key to another, if there is any between.
    fn between(low: Bound<u64>, high: Bound<u64>) -> Self {
        let low = match low {
            Bound::Included(low) => Some(low),
            Bound::Excluded(low) => low.checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let high = match high {
            Bound::Included(high) => Some(high),
            Bound::Excluded(high) => high.checked_sub(1),
            Bound::Unbounded => Some(u64::MAX),
        };
        let range = low.zip(high).filter(|(low, high)| low <= high);
        Self(range.map(|(low, high)| low..=high).into_iter().collect())
    }
}

impl OpenColumn {
    /// The keys of the values that pass a test, of a field that is not text.
    pub(crate) fn key_ranges(
        &self,
        test: &Test<'_>,
        patience: &Patience<'_>,
    ) -> Result<KeyRanges, SearchError> {
        if self.field.field_type == FieldType::Keyword {
            return self.word_ranges(test, patience);
        }
        match *test {
            Test::Equals(values) => {
                let keys = values.iter().map(|value| self.key(value));
                Ok(KeyRanges::of_keys(keys.collect::<Result<_, _>>()?))
            }
            Test::Within(low, high) => Ok(KeyRanges::between(self.bound(low)?, self.bound(high)?)),
            Test::StartsWith(_) => Err(self.unlike(FieldType::Keyword)),
            Test::IsNull => Ok(KeyRanges::default()),
        }
    }

    /// Those of keywords: the numbers of words, which the dictionary has in their order.
    fn word_ranges(
        &self,
        test: &Test<'_>,
        patience: &Patience<'_>,
    ) -> Result<KeyRanges, SearchError> {
        let dictionary = Dictionary::of(self.opened()?, self.column.words(), patience);
        let first = |at: usize| Bound::Included(at as u64);
        let past = |at: usize| Bound::Excluded(at as u64);
        match *test {
            Test::Equals(values) => {
                let mut keys = Vec::new();
                for value in values {
                    keys.extend(dictionary.find(self.text_in(value)?)?.map(|at| at as u64));
                }
                Ok(KeyRanges::of_keys(keys))
            }
            Test::Within(low, high) => {
                let low = match low {
                    Bound::Included(low) => dictionary.first_from(self.text_in(low)?)?,
                    Bound::Excluded(low) => dictionary.first_past(self.text_in(low)?)?,
                    Bound::Unbounded => 0,
                };
                let high = match high {
                    Bound::Included(high) => dictionary.first_past(self.text_in(high)?)?,
                    Bound::Excluded(high) => dictionary.first_from(self.text_in(high)?)?,
                    Bound::Unbounded => self.column.words(),
                };
                Ok(KeyRanges::between(first(low), past(high)))
            }
            Test::StartsWith(prefix) => {
                let words = dictionary.beginning_with(prefix)?;
                Ok(KeyRanges::between(first(words.start), past(words.end)))
            }
            Test::IsNull => Ok(KeyRanges::default()),
        }
    }

    fn bound(&self, bound: Bound<&Value>) -> Result<Bound<u64>, SearchError> {
        Ok(match bound {
            Bound::Included(value) => Bound::Included(self.key(value)?),
            Bound::Excluded(value) => Bound::Excluded(self.key(value)?),
            Bound::Unbounded => Bound::Unbounded,
        })
    }

    fn key(&self, value: &Value) -> Result<u64, SearchError> {
        match (self.field.field_type, value) {
            (FieldType::I64, Value::I64(value)) => Ok(of_i64(*value)),
            (FieldType::Timestamp, Value::Timestamp(us)) => Ok(of_i64(*us)),
            (FieldType::F64, Value::F64(value)) if !value.is_nan() => Ok(of_f64(*value)),
            (FieldType::Bool, Value::Bool(value)) => Ok(u64::from(*value)),
            (_, other) => Err(self.unlike(other.field_type().unwrap_or(FieldType::Text))),
        }
    }

    /// The text of a value that this field, of keywords or texts, is compared with.
    pub(crate) fn text_in<'v>(&self, value: &'v Value) -> Result<&'v str, SearchError> {
        let unlike = || self.unlike(value.field_type().unwrap_or(FieldType::I64));
        value.as_str().ok_or_else(unlike)
    }

    fn unlike(&self, found: FieldType) -> SearchError {
        let (name, field_type) = (self.field.name.clone(), self.field.field_type);
        SearchError::FieldType { name, field_type, found }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_have_the_keys_that_they_were_made_of(
            keys in proptest::collection::vec(0_u64..40, 0..20),
            low in 0_u64..40,
            high in 0_u64..40,
        ) {
            let ranges = KeyRanges::of_keys(keys.clone());
            for key in 0..41 {
                prop_assert_eq!(ranges.contains(key), keys.contains(&key));
                let within = |low, high| KeyRanges::between(low, high).contains(key);
                prop_assert_eq!(
                    within(Bound::Included(low), Bound::Excluded(high)),
                    (low..high).contains(&key)
                );
                prop_assert_eq!(
                    within(Bound::Excluded(low), Bound::Included(high)),
                    low < key && key <= high
                );
            }
        }
    }

    #[test]
    fn bounds_past_the_last_key() {
        let none = KeyRanges::default();
        assert_eq!(KeyRanges::between(Bound::Excluded(u64::MAX), Bound::Unbounded), none);
        assert_eq!(KeyRanges::between(Bound::Unbounded, Bound::Excluded(0)), none);
        let all = KeyRanges::between(Bound::Unbounded, Bound::Unbounded);
        assert!(all.contains(0) && all.contains(u64::MAX));
    }
}
