//! Asks the processor for bytes before they are needed.
//!
//! The rows that a walk compares lie anywhere in memory, so that each would cost a trip to it; a
//! prefetch lets the trips of several rows overlap. The loop that looks ahead is written out where it is
//! used: behind a function that takes closures, walks by codes of a byte took a tenth longer.

#![allow(unsafe_code)]

use crate::aligned::LINE_BYTES;

/// How many rows ahead of the one being compared are asked for.
pub(crate) const PREFETCH_AHEAD: usize = 4;
/// The first bytes of a row that are asked for: after them the processor goes on by itself.
const AHEAD_BYTES: usize = 256;

/// Hints that the front of `row` will be read soon.
#[inline(always)]
pub(crate) fn prefetch<T: bytemuck::Pod>(row: &[T]) {
    let row: &[u8] = bytemuck::cast_slice(row);
    #[cfg(target_arch = "x86_64")]
    for line in row[..row.len().min(AHEAD_BYTES)].chunks(LINE_BYTES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it reads nothing, and the address is that of a borrowed
        // slice anyway. Every x86-64 processor has the instruction.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (row, AHEAD_BYTES, LINE_BYTES);
}

/// How many bytes are asked for ahead of the row that is compared, where rows are asked for whole:
/// with a quarter or twice of it a search of Fashion-MNIST takes a twentieth longer.
const MANY_BYTES: usize = 16 << 10;

/// How many rows ahead that makes.
#[inline(always)]
pub(crate) fn rows_ahead(row_bytes: usize) -> usize {
    (MANY_BYTES / row_bytes).max(1)
}

/// Hints that all of `bytes` will be read soon, of which there are too many for L1. On the way to
/// L2 a processor has several times as many lines at once as on the way to L1: whole rows of
/// Fashion-MNIST arrive in half the time.
#[inline(always)]
pub(crate) fn prefetch_many(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(LINE_BYTES) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, LINE_BYTES);
}
