//! Vectors in memory: what a segment is built from, and queries.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::aligned::wish_for_huge_pages;
use crate::{Element, VectorsError};

/// The most dimensions a vector may have.
pub const MAX_DIM: usize = 65_536;
/// The most vectors: their numbers fit the i32 of an `.ivecs` file.
pub const MAX_POINTS: usize = i32::MAX as usize;

/// The values of a matrix, row after row, in the type that they were given in.
#[derive(Clone, Debug, PartialEq)]
pub enum VectorValues {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats.
    F16(Vec<f16>),
    /// Unsigned bytes.
    U8(Vec<u8>),
    /// Signed bytes.
    I8(Vec<i8>),
}

/// A row-major matrix: one vector a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    dim: usize,
    len: usize,
    values: VectorValues,
}

impl Vectors {
    /// Rows of `dim` values each.
    ///
    /// # Errors
    /// When `dim` is 0 or more than [`MAX_DIM`], when the values are no whole number of rows, or
    /// when there are more than [`MAX_POINTS`] rows.
    pub fn new(dim: usize, values: VectorValues) -> Result<Self, VectorsError> {
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(VectorsError::Dim { dim });
        }
        let count = match &values {
            VectorValues::F32(values) => values.len(),
            VectorValues::F16(values) => values.len(),
            VectorValues::U8(values) => values.len(),
            VectorValues::I8(values) => values.len(),
        };
        if !count.is_multiple_of(dim) {
            return Err(VectorsError::Ragged { values: count, dim });
        }
        let len = count / dim;
        if len > MAX_POINTS {
            return Err(VectorsError::TooMany { rows: len });
        }
        Ok(Self { dim, len, values })
    }

    /// Rows of 32-bit floats. Errors as [`Vectors::new`].
    pub fn from_f32(dim: usize, values: Vec<f32>) -> Result<Self, VectorsError> {
        Self::new(dim, VectorValues::F32(values))
    }

    /// Rows of 16-bit floats. Errors as [`Vectors::new`].
    pub fn from_f16(dim: usize, values: Vec<f16>) -> Result<Self, VectorsError> {
        Self::new(dim, VectorValues::F16(values))
    }

    /// Rows of unsigned bytes. Errors as [`Vectors::new`].
    pub fn from_u8(dim: usize, values: Vec<u8>) -> Result<Self, VectorsError> {
        Self::new(dim, VectorValues::U8(values))
    }

    /// Rows of signed bytes. Errors as [`Vectors::new`].
    pub fn from_i8(dim: usize, values: Vec<i8>) -> Result<Self, VectorsError> {
        Self::new(dim, VectorValues::I8(values))
    }

    /// The type of a value.
    pub fn element(&self) -> Element {
        match &self.values {
            VectorValues::F32(_) => Element::F32,
            VectorValues::F16(_) => Element::F16,
            VectorValues::U8(_) => Element::U8,
            VectorValues::I8(_) => Element::I8,
        }
    }

    /// How many values a row has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All rows as they lie in pages: little-endian, without gaps.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.values {
            VectorValues::F32(values) => bytemuck::cast_slice(values),
            VectorValues::F16(values) => bytemuck::cast_slice(values),
            VectorValues::U8(values) => values,
            VectorValues::I8(values) => bytemuck::cast_slice(values),
        }
    }

    /// The bytes of one row as they lie in pages: little-endian.
    ///
    /// # Panics
    /// When there is no such row.
    #[inline]
    pub fn row_bytes(&self, row: usize) -> &[u8] {
        let bytes = self.dim * self.element().bytes();
        &self.bytes()[row * bytes..][..bytes]
    }

    /// One row, widened to f32, which loses nothing.
    ///
    /// # Panics
    /// When there is no such row or `out` is not as long as a row.
    pub fn row_f32(&self, row: usize, out: &mut [f32]) {
        let range = row * self.dim..(row + 1) * self.dim;
        match &self.values {
            VectorValues::F32(values) => out.copy_from_slice(&values[range]),
            VectorValues::F16(values) => values[range].convert_to_f32_slice(out),
            VectorValues::U8(values) => widen(&values[range], out),
            VectorValues::I8(values) => widen(&values[range], out),
        }
    }

    /// The row itself where rows are of f32.
    #[inline]
    pub(crate) fn row_borrowed(&self, row: usize) -> Option<&[f32]> {
        match &self.values {
            VectorValues::F32(values) => Some(&values[row * self.dim..][..self.dim]),
            _ => None,
        }
    }

    /// The same vectors as f32, which loses nothing.
    pub fn to_f32(self) -> Self {
        if self.element() == Element::F32 { self } else { self.widened() }
    }

    /// A copy as f32.
    pub(crate) fn widened(&self) -> Self {
        let mut values = vec![0.0; self.len * self.dim];
        wish_for_huge_pages(&values);
        for (row, out) in values.chunks_exact_mut(self.dim).enumerate() {
            self.row_f32(row, out);
        }
        Self { dim: self.dim, len: self.len, values: VectorValues::F32(values) }
    }
}

fn widen<T: Copy + Into<f32>>(values: &[T], out: &mut [f32]) {
    assert_eq!(values.len(), out.len(), "a row and where it goes");
    for (out, &value) in out.iter_mut().zip(values) {
        *out = value.into();
    }
}
