//! Reading all values of a field to find those that pass: in bounded stretches, each a batch of
//! pages.

use std::ops::{Bound, Range};

use super::key;
use super::open::{OpenColumn, ValueParts};
use super::ranges::KeyRanges;
use super::wave::Wave;
use super::{FieldType, Test};
use crate::{Patience, SearchError, Selection};

/// Points whose values are read at once: 64 pages of 4 KiB of numbers. A multiple of 8, so that a
/// stretch begins with a byte of bits.
const POINTS_AT_ONCE: usize = 1 << 15;
/// Texts of which is read at once where they are,
const TEXTS_AT_ONCE: usize = 1 << 12;
/// and bytes of them that are read at once, where one alone does not need more.
const TEXT_BYTES_AT_ONCE: usize = 4 << 20;

impl OpenColumn {
    /// Selects the points whose values have their keys in `ranges`; of a field that is not text.
    pub(crate) fn scan(
        &self,
        ranges: &KeyRanges,
        found: &mut Selection,
        patience: &Patience<'_>,
    ) -> Result<(), SearchError> {
        let (parts, points) = (self.opened()?, found.points());
        for stretch in stretches(points, POINTS_AT_ONCE) {
            let mut wave = Wave::default();
            let present = want_bits(&mut wave, parts, &stretch);
            let is_bool = self.field.field_type == FieldType::Bool;
            let records = match is_bool {
                true => stretch.start / 8..stretch.end.div_ceil(8),
                false => stretch.clone(),
            };
            let values = wave.want_records(&parts.points, records);
            wave.read(patience)?;
            let present = present.map(|present| wave.get(present));
            let (values, record_bytes) = (wave.get(values), parts.points.records.record_bytes);
            for place in stretch.clone() {
                let at = place - stretch.start;
                if present.is_some_and(|bits| !bit(bits, at)) {
                    continue;
                }
                let key = match self.field.field_type {
                    FieldType::Bool => u64::from(bit(values, at)),
                    field_type => {
                        let record = &values[at * record_bytes..][..record_bytes];
                        match field_type {
                            FieldType::Keyword => self.word(parts, record)? as u64,
                            _ => key::of_record(record, field_type)
                                .map_err(|reason| parts.points.damaged(reason))?,
                        }
                    }
                };
                if ranges.contains(key) {
                    found.insert(place as u32);
                }
            }
        }
        Ok(())
    }

    /// Selects the points without a value.
    pub(crate) fn scan_nulls(
        &self,
        found: &mut Selection,
        patience: &Patience<'_>,
    ) -> Result<(), SearchError> {
        if self.column.nulls == 0 {
            return Ok(());
        }
        let (parts, points) = (self.opened()?, found.points());
        for stretch in stretches(points, 8 * POINTS_AT_ONCE) {
            let mut wave = Wave::default();
            let Some(present) = want_bits(&mut wave, parts, &stretch) else { return Ok(()) };
            wave.read(patience)?;
            let bits = wave.get(present);
            let missing = stretch.clone().filter(|place| !bit(bits, place - stretch.start));
            missing.for_each(|place| {
                found.insert(place as u32);
            });
        }
        Ok(())
    }

    /// Selects the points whose texts pass.
    pub(crate) fn scan_texts(
        &self,
        test: &Test<'_>,
        found: &mut Selection,
        patience: &Patience<'_>,
    ) -> Result<(), SearchError> {
        let asked = TextTest::of(self, test)?;
        let (parts, points) = (self.opened()?, found.points());
        let Some(heap) = &parts.heap else { return Ok(()) };
        for stretch in stretches(points, TEXTS_AT_ONCE) {
            let mut wave = Wave::default();
            let present = want_bits(&mut wave, parts, &stretch);
            let extents = wave.want_records(&parts.points, stretch.clone());
            wave.read(patience)?;
            let present = present.map(|present| wave.get(present));
            let record_bytes = parts.points.records.record_bytes;
            let records = wave.get(extents).chunks_exact(record_bytes).enumerate();
            let (mut texts, mut wanted) = (Wave::default(), Vec::new());
            for (at, record) in records {
                if present.is_some_and(|bits| !bit(bits, at)) {
                    continue;
                }
                let Some(range) = asked.needed(self.text(parts, record)?) else { continue };
                wanted.push(((stretch.start + at) as u32, texts.want(heap, range)));
                if texts.len() >= TEXT_BYTES_AT_ONCE {
                    take_texts(&mut texts, &mut wanted, &asked, found, patience)?;
                }
            }
            take_texts(&mut texts, &mut wanted, &asked, found, patience)?;
        }
        Ok(())
    }
}

/// Reads texts and selects the points of those that pass.
fn take_texts(
    texts: &mut Wave<'_>,
    wanted: &mut Vec<(u32, usize)>,
    asked: &TextTest<'_>,
    found: &mut Selection,
    patience: &Patience<'_>,
) -> Result<(), SearchError> {
    texts.read(patience)?;
    for (place, text) in wanted.drain(..) {
        if asked.passes(texts.get(text)) {
            found.insert(place);
        }
    }
    *texts = Wave::default();
    Ok(())
}

/// A test of texts, which are compared byte by byte.
enum TextTest<'t> {
    /// In order.
    Equals(Vec<&'t [u8]>),
    Within(Bound<&'t [u8]>, Bound<&'t [u8]>),
    StartsWith(&'t [u8]),
    Never,
}

impl<'t> TextTest<'t> {
    fn of(column: &OpenColumn, test: &Test<'t>) -> Result<Self, SearchError> {
        let text = |value: &'t super::Value| column.text_in(value).map(str::as_bytes);
        let bound = |bound: Bound<&'t super::Value>| {
            Ok::<_, SearchError>(match bound {
                Bound::Included(value) => Bound::Included(text(value)?),
                Bound::Excluded(value) => Bound::Excluded(text(value)?),
                Bound::Unbounded => Bound::Unbounded,
            })
        };
        Ok(match *test {
            Test::Equals(values) => {
                let mut texts = values.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                texts.sort_unstable();
                Self::Equals(texts)
            }
            Test::Within(low, high) => Self::Within(bound(low)?, bound(high)?),
            Test::StartsWith(prefix) => Self::StartsWith(prefix.as_bytes()),
            Test::IsNull => Self::Never,
        })
    }

    /// Which bytes of a text decide; none where its length already does.
    fn needed(&self, text: Range<usize>) -> Option<Range<usize>> {
        match self {
            Self::Equals(texts) => {
                texts.iter().any(|other| other.len() == text.len()).then_some(text)
            }
            Self::Within(..) => Some(text),
            Self::StartsWith(prefix) => {
                (prefix.len() <= text.len()).then(|| text.start..text.start + prefix.len())
            }
            Self::Never => None,
        }
    }

    fn passes(&self, text: &[u8]) -> bool {
        match self {
            Self::Equals(texts) => texts.binary_search(&text).is_ok(),
            Self::Within(low, high) => {
                use std::ops::RangeBounds;
                (*low, *high).contains(&text)
            }
            Self::StartsWith(prefix) => text.starts_with(prefix),
            Self::Never => false,
        }
    }
}

/// The places of all points, so many at once.
fn stretches(points: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    (0..points).step_by(at_once).map(move |first| first..points.min(first + at_once))
}

/// Asks for the bits that say which points of a stretch have a value, where not all have.
fn want_bits<'a>(
    wave: &mut Wave<'a>,
    parts: &'a ValueParts,
    stretch: &Range<usize>,
) -> Option<usize> {
    let bits = parts.present.as_ref()?;
    Some(wave.want(bits, stretch.start / 8..stretch.end.div_ceil(8)))
}

fn bit(bits: &[u8], at: usize) -> bool {
    bits[at / 8] >> (at % 8) & 1 == 1
}
