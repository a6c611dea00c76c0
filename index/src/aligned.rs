//! Arrays that walks jump about in.
//!
//! They begin on a cache line, so that a record of whole lines never touches one more, and lie on
//! huge pages where the system has them: a jump to an ordinary page costs a look into the page
//! table besides the trip to memory.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};

use crate::platform::wish_for_huge_pages;

/// What a processor fetches at once.
pub(crate) const LINE_BYTES: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; LINE_BYTES]);

/// A number of values of a plain type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    values: std::marker::PhantomData<T>,
}

impl<T: Pod> Aligned<T> {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        const { assert!(LINE_BYTES.is_multiple_of(size_of::<T>())) };
        let count = (len * size_of::<T>()).div_ceil(LINE_BYTES);
        let mut lines = untouched(count);
        lines.resize(count, Line::zeroed());
        Self { lines, len, values: std::marker::PhantomData }
    }

    /// The memory that they take.
    pub(crate) fn resident_bytes(&self) -> u64 {
        size_of_val(&*self.lines) as u64
    }
}

/// Room for so many lines. A zeroed allocation of them would be written to before huge pages were
/// wished for, and then has none.
fn untouched(count: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.reserve_exact(count);
    wish_for_huge_pages(lines.spare_capacity_mut());
    lines
}

/// How many lines are moved between two times that memory is given back: 1 MiB.
const MOVED_LINES: usize = (1 << 20) / LINE_BYTES;

impl From<Vec<u8>> for Aligned<u8> {
    /// Moves the bytes over from their end, so that they never take their memory twice: an index
    /// that just fits must also open.
    fn from(mut bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        let count = len.div_ceil(LINE_BYTES);
        let mut lines = untouched(count);
        let room = &mut lines.spare_capacity_mut()[..count];
        for (stretch, room) in room.chunks_mut(MOVED_LINES).enumerate().rev() {
            let start = stretch * MOVED_LINES * LINE_BYTES;
            for (line, from) in room.iter_mut().zip(bytes[start..].chunks(LINE_BYTES)) {
                let mut values = [0; LINE_BYTES];
                values[..from.len()].copy_from_slice(from);
                line.write(Line(values));
            }
            bytes.truncate(start);
            bytes.shrink_to_fit();
        }
        // SAFETY: the room's `count` lines are those that the bytes fill, the last one with
        // zeros behind them, and the loop wrote each of them.
        unsafe { lines.set_len(count) };
        Self { lines, len, values: std::marker::PhantomData }
    }
}

impl<T: Pod> std::ops::Deref for Aligned<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: Pod> std::ops::DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_moved_over_stay_what_they_were() {
        const MOVED_BYTES: usize = MOVED_LINES * LINE_BYTES;
        for len in [0, 1, MOVED_BYTES - 1, MOVED_BYTES, MOVED_BYTES + 1, 3 * MOVED_BYTES + 5] {
            let bytes: Vec<u8> = (0..len).map(|i| ((i * 31) >> 8) as u8).collect();
            assert_eq!(*Aligned::from(bytes.clone()), *bytes, "{len}");
        }
    }

    #[test]
    fn arrays_begin_on_a_line_and_keep_their_values() {
        for len in [0, 1, 16, 17, 3 << 20] {
            let mut words = Aligned::<u32>::zeroed(len);
            assert_eq!(words.len(), len);
            assert!(words.iter().all(|&word| word == 0));
            assert!(words.as_ptr().addr().is_multiple_of(LINE_BYTES));
            for (i, word) in words.iter_mut().enumerate() {
                *word = i as u32;
            }
            assert!(words.clone().iter().copied().eq(0..len as u32));
            assert!(words.resident_bytes() >= 4 * len as u64);
        }
    }
}
