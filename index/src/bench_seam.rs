//! The kernels, one instruction set at a time, for benches. No part of the library's interface:
//! it may change or go at any time.

use crate::Element;
use crate::distance;
use crate::isa::Isa;
use crate::kernels::{DotCodes, DotI8, DotNibbles, MAX_QUERY_UNIT, SquaredDifferences};

/// The kernels as compiled for one instruction set that this processor has.
#[derive(Clone, Copy)]
pub struct Kernels(Isa);

/// The largest magnitude of a value that [`Kernels::dot_codes`] takes.
pub const MAX_UNIT: i16 = MAX_QUERY_UNIT;

impl Kernels {
    /// All that there are here, the plain ones first, the best ones last.
    pub fn all() -> Vec<Self> {
        Isa::all().into_iter().map(Self).collect()
    }

    /// What the instruction set is called.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The squared Euclidean distance of a query and a row's bytes.
    pub fn l2(self, query: &[f32], row: &[u8], element: Element) -> f32 {
        distance::l2(self.0, query, row, element)
    }

    /// The inner product of a query and a row's bytes.
    pub fn dot(self, query: &[f32], row: &[u8], element: Element) -> f32 {
        distance::dot(self.0, query, row, element)
    }

    /// 1 / |row|.
    pub fn inverse_norm(self, row: &[u8], element: Element) -> f32 {
        distance::inverse_norm(self.0, row, element)
    }

    /// The inner product of a query of 14 bits and bytes.
    pub fn dot_codes(self, query: &[i16], code: &[u8]) -> i64 {
        self.0.run(DotCodes(query, code))
    }

    /// The inner product of a query of 14 bits and half bytes.
    pub fn dot_nibbles(self, query: &[i16], code: &[u8]) -> i64 {
        self.0.run(DotNibbles(query, code))
    }

    /// The inner product of signed and unsigned bytes.
    pub fn dot_i8(self, query: &[i8], code: &[u8]) -> i64 {
        self.0.run(DotI8(query, code))
    }

    /// Σ (a - b)² of bytes.
    pub fn squared_differences(self, a: &[u8], b: &[u8]) -> i64 {
        self.0.run(SquaredDifferences(a, b))
    }
}
