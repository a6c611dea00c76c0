//! Vectors in memory: what a segment is built from, and queries.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::platform::wish_for_huge_pages;
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
    /// The upper halves of 32-bit floats.
    Bf16(Vec<bf16>),
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
            VectorValues::Bf16(values) => values.len(),
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

    /// Rows of bfloat16, the upper halves of 32-bit floats. Errors as [`Vectors::new`].
    pub fn from_bf16(dim: usize, values: Vec<bf16>) -> Result<Self, VectorsError> {
        Self::new(dim, VectorValues::Bf16(values))
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
            VectorValues::Bf16(_) => Element::Bf16,
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
            VectorValues::Bf16(values) => bytemuck::cast_slice(values),
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
            VectorValues::Bf16(values) => values[range].convert_to_f32_slice(out),
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
        if self.element() == Element::F32 {
            return self;
        }
        let mut values = vec![0.0; self.len * self.dim];
        wish_for_huge_pages(&values);
        for (row, out) in values.chunks_exact_mut(self.dim).enumerate() {
            self.row_f32(row, out);
        }
        Self { dim: self.dim, len: self.len, values: VectorValues::F32(values) }
    }

    /// The same vectors as f16, each value rounded to the nearest, of two as near to the even
    /// one: 11 bits are kept, fewer of what is smaller than 2^-14. Bytes lose nothing.
    ///
    /// # Errors
    /// When a value is beyond ±65,504, the largest of this type, and not infinite already.
    pub fn to_f16(self) -> Result<Self, VectorsError> {
        if self.element() == Element::F16 {
            return Ok(self);
        }
        let narrow = |row: &[f32], out: &mut [f16]| out.convert_from_f32_slice(row);
        let values = self.narrowed(Element::F16, f16::ZERO, narrow, f16::is_infinite)?;
        Ok(Self { values: VectorValues::F16(values), ..self })
    }

    /// The same vectors as bfloat16, each value rounded to the nearest, of two as near to the
    /// even one: 8 bits are kept. Bytes lose nothing.
    ///
    /// # Errors
    /// When a value would be rounded to infinity: within 0.2 % of the largest f32.
    pub fn to_bf16(self) -> Result<Self, VectorsError> {
        if self.element() == Element::Bf16 {
            return Ok(self);
        }
        let narrow = |row: &[f32], out: &mut [bf16]| out.convert_from_f32_slice(row);
        let values = self.narrowed(Element::Bf16, bf16::ZERO, narrow, bf16::is_infinite)?;
        Ok(Self { values: VectorValues::Bf16(values), ..self })
    }

    fn narrowed<T: Copy>(
        &self,
        element: Element,
        zero: T,
        narrow: impl Fn(&[f32], &mut [T]),
        is_infinite: impl Fn(T) -> bool,
    ) -> Result<Vec<T>, VectorsError> {
        let mut values = vec![zero; self.len * self.dim];
        let mut wide = vec![0.0; self.dim];
        for (row, out) in values.chunks_exact_mut(self.dim).enumerate() {
            self.row_f32(row, &mut wide);
            narrow(&wide, out);
            let mut pairs = wide.iter().zip(out.iter());
            let too_large = pairs.position(|(wide, &out)| is_infinite(out) && wide.is_finite());
            if let Some(dimension) = too_large {
                let value = wide[dimension];
                return Err(VectorsError::TooLarge { row, dimension, value, element });
            }
        }
        Ok(values)
    }
}

fn widen<T: Copy + Into<f32>>(values: &[T], out: &mut [f32]) {
    assert_eq!(values.len(), out.len(), "a row and where it goes");
    for (out, &value) in out.iter_mut().zip(values) {
        *out = value.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_rounds_to_the_nearest_and_to_even() {
        let half_way = [1.0 + 2.0_f32.powi(-11), 1.0 + 3.0 * 2.0_f32.powi(-11)];
        let given = vec![half_way[0], half_way[1], half_way[0].next_up(), -half_way[1]];
        let narrowed = Vectors::from_f32(4, given).unwrap().to_f16().unwrap();
        assert_eq!(narrowed.element(), Element::F16);
        let step = 2.0_f32.powi(-10);
        let expected = vec![1.0, 1.0 + 2.0 * step, 1.0 + step, -1.0 - 2.0 * step];
        assert_eq!(narrowed.to_f32(), Vectors::from_f32(4, expected).unwrap());

        let step = 2.0_f32.powi(-7);
        let given = vec![1.0 + step / 2.0, 1.0 + 1.5 * step, 1.0 + step * 0.51, f32::from_bits(1)];
        let narrowed = Vectors::from_f32(4, given).unwrap().to_bf16().unwrap();
        let expected = vec![1.0, 1.0 + 2.0 * step, 1.0 + step, 0.0];
        assert_eq!(narrowed.to_f32(), Vectors::from_f32(4, expected).unwrap());
    }

    #[test]
    fn bytes_are_narrowed_without_loss() {
        let bytes = Vectors::from_u8(16, (0..=255).collect()).unwrap();
        let signed = Vectors::from_i8(16, (-128..=127).collect()).unwrap();
        for given in [bytes, signed] {
            let wide = given.clone().to_f32();
            assert_eq!(given.clone().to_f16().unwrap().to_f32(), wide);
            assert_eq!(given.to_bf16().unwrap().to_f32(), wide);
        }
    }

    #[test]
    fn what_is_too_large_is_named() {
        let refused =
            |row, value| VectorsError::TooLarge { row, dimension: 1, value, element: Element::F16 };
        let given = Vectors::from_f32(2, vec![65_504.0, 65_519.0, 0.0, -65_520.0]).unwrap();
        assert_eq!(given.to_f16(), Err(refused(1, -65_520.0)));
        assert!(Vectors::from_f32(1, vec![f32::MAX]).unwrap().to_bf16().is_err());
        // What was infinite before is left to the build.
        assert!(Vectors::from_f32(1, vec![f32::INFINITY]).unwrap().to_bf16().is_ok());
    }
}
