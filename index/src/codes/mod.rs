//! Codes: a few bytes that stand for a vector while the graph is walked.
//!
//! Each way of making codes is a [`Scheme`], one file each. A segment carries any number of sets of
//! codes, each a component of its own; an open segment has one of them in memory, the [`Codes`]
//! that its searches walk by. What a code tells is an estimate: the best candidates by codes are
//! measured again from their originals.

mod centroids;
mod clipping;
mod deviation;
pub(crate) mod pq;
pub(crate) mod rabitq;
mod rows;
pub(crate) mod sq4;
pub(crate) mod sq8;
mod units;

use std::borrow::Cow;
use std::ops::ControlFlow;

pub(crate) use deviation::{Measured, norm};
pub(crate) use rows::{Rows, encode_all, normalise};

use crate::{Metric, Quantizer};

/// One way of making codes.
pub(crate) trait Scheme: Sized + Send + Sync {
    /// A query, ready to be compared with codes; made anew by `set_query`, kept for its memory.
    type Query: Default;

    /// Trains on `rows` and encodes them on all cores into codes of [`record_bytes`]. `step` hears
    /// how many rows are done and ends the work when it breaks.
    fn train(rows: &Rows<'_>, code_bytes: usize, step: &Step<'_>) -> ControlFlow<(), Self>;

    /// What goes into the component: its sections' records put end to end, of the lengths that
    /// [`sections`] tells.
    fn to_sections(&self) -> Vec<Cow<'_, [u8]>>;

    /// Takes sections of the right lengths that anybody may have written; says what is wrong with
    /// them where they cannot be codes. The last one may be empty: the codes are then elsewhere,
    /// and each is to be [checked](Self::check) before it is [measured](Self::measure).
    fn from_sections(shape: Shape, sections: Vec<Vec<u8>>) -> Result<Self, String>;

    /// This scheme's part of a query against any.
    fn query(all: &mut CodeQuery) -> &mut Self::Query;

    /// Takes another query, of the right dimension and finite.
    fn set_query(&self, values: &[f32], query: &mut Self::Query);

    /// The bytes that `distance` will read of this point's code, to be asked for in advance.
    fn row(&self, point: u32) -> &[u8];

    /// The distance of a query to a point as far as its code tells: a number or infinity.
    fn distance(&self, query: &Self::Query, point: u32) -> f32;

    /// The distance of a query to the point with this code, wherever that lies: the same number.
    fn measure(&self, query: &Self::Query, code: &[u8]) -> f32;

    /// What is wrong with a code that anybody may have written, if it cannot be one.
    fn check(&self, _code: &[u8]) -> Result<(), String> {
        Ok(())
    }

    /// The standard deviation of what `distance` said of the point with this code, where a scheme
    /// knows it of each point: a number that is not negative.
    fn error(&self, _query: &Self::Query, _code: &[u8], _distance: f32) -> Option<f32> {
        None
    }

    /// The memory that the codes take.
    fn resident_bytes(&self) -> u64;
}

/// Hears how far a long work is, and may end it.
pub(crate) type Step<'a> = dyn Fn(u64) -> ControlFlow<()> + Sync + 'a;

/// What codes are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) metric: Metric,
    pub(crate) code_bytes: usize,
}

/// The codes of all points, of any scheme.
pub(crate) enum Codes {
    Sq8(sq8::Codes),
    Sq4(sq4::Codes),
    RaBitQ1(rabitq::Codes<1>),
    RaBitQ2(rabitq::Codes<2>),
    RaBitQ4(rabitq::Codes<4>),
    Pq(pq::Codes),
}

/// Does the same with the codes of whichever scheme.
macro_rules! with_scheme {
    ($codes:expr, $one:ident => $do:expr) => {
        match $codes {
            $crate::codes::Codes::Sq8($one) => $do,
            $crate::codes::Codes::Sq4($one) => $do,
            $crate::codes::Codes::Pq($one) => $do,
            $crate::codes::Codes::RaBitQ1($one) => $do,
            $crate::codes::Codes::RaBitQ2($one) => $do,
            $crate::codes::Codes::RaBitQ4($one) => $do,
        }
    };
}
pub(crate) use with_scheme;

/// A query against codes of any scheme. Each scheme's part is kept from one search to the next.
#[derive(Default)]
pub(crate) struct CodeQuery {
    pub(crate) sq8: sq8::CodeQuery,
    pub(crate) sq4: sq4::CodeQuery,
    pub(crate) rabitq: rabitq::CodeQuery,
    pub(crate) pq: pq::CodeQuery,
}

impl Codes {
    /// `None` where there is nothing to train.
    pub(crate) fn train(
        quantizer: Quantizer,
        rows: &Rows<'_>,
        step: &Step<'_>,
    ) -> ControlFlow<(), Option<Self>> {
        let bytes = record_bytes(quantizer, rows.dim());
        ControlFlow::Continue(Some(match quantizer {
            Quantizer::None => return ControlFlow::Continue(None),
            Quantizer::Sq8 => Self::Sq8(Scheme::train(rows, bytes, step)?),
            Quantizer::Sq4 => Self::Sq4(Scheme::train(rows, bytes, step)?),
            Quantizer::Pq { .. } => Self::Pq(Scheme::train(rows, bytes, step)?),
            Quantizer::RaBitQ { bits: 1 } => Self::RaBitQ1(Scheme::train(rows, bytes, step)?),
            Quantizer::RaBitQ { bits: 2 } => Self::RaBitQ2(Scheme::train(rows, bytes, step)?),
            Quantizer::RaBitQ { .. } => Self::RaBitQ4(Scheme::train(rows, bytes, step)?),
        }))
    }

    pub(crate) fn from_sections(
        quantizer: Quantizer,
        shape: Shape,
        sections: Vec<Vec<u8>>,
    ) -> Result<Self, String> {
        Ok(match quantizer {
            Quantizer::None => return Err("there are no codes of this name".into()),
            Quantizer::Sq8 => Self::Sq8(Scheme::from_sections(shape, sections)?),
            Quantizer::Sq4 => Self::Sq4(Scheme::from_sections(shape, sections)?),
            Quantizer::Pq { .. } => Self::Pq(Scheme::from_sections(shape, sections)?),
            Quantizer::RaBitQ { bits: 1 } => Self::RaBitQ1(Scheme::from_sections(shape, sections)?),
            Quantizer::RaBitQ { bits: 2 } => Self::RaBitQ2(Scheme::from_sections(shape, sections)?),
            Quantizer::RaBitQ { .. } => Self::RaBitQ4(Scheme::from_sections(shape, sections)?),
        })
    }

    pub(crate) fn to_sections(&self) -> Vec<Cow<'_, [u8]>> {
        with_scheme!(self, codes => codes.to_sections())
    }

    /// What the codes are called.
    pub(crate) fn quantizer(&self) -> Quantizer {
        match self {
            Self::Sq8(_) => Quantizer::Sq8,
            Self::Sq4(_) => Quantizer::Sq4,
            Self::RaBitQ1(_) => Quantizer::RaBitQ { bits: 1 },
            Self::RaBitQ2(_) => Quantizer::RaBitQ { bits: 2 },
            Self::RaBitQ4(_) => Quantizer::RaBitQ { bits: 4 },
            Self::Pq(codes) => Quantizer::Pq { bytes: codes.code_bytes as u32 },
        }
    }

    /// Whether the codes tell exactly what the vectors do; known to the build alone.
    pub(crate) fn lossless(&self) -> bool {
        matches!(self, Self::Sq8(codes) if codes.book.lossless)
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        with_scheme!(self, codes => codes.resident_bytes())
    }
}

/// The sections of a component of codes: the length of a record and how many there are. The first
/// has the deviation, the last the codes, one a point; the one before the last the codes of the
/// `upper` points above layer 0 once more.
pub(crate) fn sections(
    quantizer: Quantizer,
    dim: usize,
    points: usize,
    upper: usize,
) -> Vec<(usize, usize)> {
    let parameters = match quantizer {
        Quantizer::None => return Vec::new(),
        Quantizer::Sq8 => sq8::parameters(dim),
        Quantizer::Sq4 => sq4::parameters(dim),
        Quantizer::Pq { .. } => pq::parameters(dim),
        Quantizer::RaBitQ { .. } => rabitq::parameters(dim, points),
    };
    let bytes = record_bytes(quantizer, dim);
    let codes = [(bytes, upper), (bytes, points)];
    std::iter::once((deviation::BYTES, 1)).chain(parameters).chain(codes).collect()
}

/// The bytes of one point's code.
pub(crate) fn record_bytes(quantizer: Quantizer, dim: usize) -> usize {
    match quantizer {
        Quantizer::None => 0,
        Quantizer::Sq8 => dim,
        Quantizer::Sq4 => sq4::record_bytes(dim),
        Quantizer::Pq { bytes } => bytes as usize,
        Quantizer::RaBitQ { bits } => rabitq::record_bytes(bits.into(), dim),
    }
}

/// Names the first of all `codes` that cannot be one.
fn check_all<S: Scheme>(scheme: &S, codes: &[u8], code_bytes: usize) -> Result<(), String> {
    let wrong = |(point, code)| {
        let wrong = scheme.check(code).err()?;
        Some(format!("the code of point {point}: {wrong}"))
    };
    codes.chunks_exact(code_bytes).enumerate().find_map(wrong).map_or(Ok(()), Err)
}

/// Bytes of a section as floats.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
