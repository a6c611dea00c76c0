//! The kernels under every distance: ours for each instruction set that this processor has, a
//! loop that adds one value after the other, and those of simsimd, a published crate.
//!
//! All get the same values. A query meets sixteen rows in turn, which lie end to end and at a
//! cache line's start, as originals do in a page; they are in the processor's caches, so that it
//! is arithmetic that is measured. `plain` is what LLVM makes of our own code for the target's
//! baseline (SSE2 on x86-64), `sequential` what it may not reorder. simsimd compares rows with
//! queries of their own type, fuses multiplications with additions, and promises no order of
//! additions; it finds the best instruction set by itself.
//!
//! ```sh
//! cargo bench --bench kernels -- /768
//! ```

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use criterion::{criterion_group, criterion_main};
use half::{bf16, f16};
use ringpool::Element;
use ringpool::bench_seam::{Kernels, MAX_UNIT};
use simsimd::SpatialSimilarity;

const DIMS: [usize; 6] = [96, 128, 384, 768, 784, 1536];
/// Rows that a query meets in turn.
const ROWS: usize = 16;
/// What a row begins at, where its length allows.
const LINE_BYTES: usize = 64;

/// Values end to end, from the start of a cache line on.
struct Aligned<T> {
    values: Vec<T>,
    start: usize,
}

impl<T: Copy> Aligned<T> {
    fn new(count: usize, value: impl Fn(usize) -> T) -> Self {
        let padding = LINE_BYTES / size_of::<T>();
        let mut values = Vec::<T>::with_capacity(count + padding);
        let start = values.as_ptr().align_offset(LINE_BYTES).min(padding);
        values.extend((0..start + count).map(|i: usize| value(i.saturating_sub(start))));
        Self { values, start }
    }

    fn row(&self, row: usize, dim: usize) -> &[T] {
        &self.values[self.start + row * dim..][..dim]
    }
}

/// Whole numbers from 0 to 120, which every element type holds.
fn small(i: usize) -> u8 {
    (i * 7919 % 121) as u8
}

/// Times `sum` over the rows in turn.
fn time<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    dim: usize,
    mut sum: impl FnMut(usize) -> T,
) {
    let mut row = 0;
    group.bench_function(BenchmarkId::new(name, dim), |bencher| {
        bencher.iter(|| {
            row = (row + 1) % ROWS;
            black_box(sum(row))
        });
    });
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(50));
    group.measurement_time(Duration::from_millis(200));
    group.sample_size(20);
    group
}

/// A value of a row.
trait Value: Copy {
    const ELEMENT: Element;
    fn narrow(byte: u8) -> Self;
    fn widen(self) -> f32;
    /// The byte at `at` of the value as it lies in a row.
    fn byte(self, at: usize) -> u8;
}

macro_rules! value {
    ($($type:ty: $element:ident, $narrow:expr, $widen:expr;)*) => {$(
        impl Value for $type {
            const ELEMENT: Element = Element::$element;

            fn narrow(byte: u8) -> Self {
                $narrow(byte)
            }

            fn widen(self) -> f32 {
                $widen(self)
            }

            fn byte(self, at: usize) -> u8 {
                self.to_le_bytes()[at]
            }
        }
    )*};
}
value! {
    f32: F32, f32::from, f32::from;
    f16: F16, f16::from, f16::to_f32;
    bf16: Bf16, bf16::from, bf16::to_f32;
    u8: U8, u8::from, f32::from;
    i8: I8, |byte| byte as i8, f32::from;
}

/// The same rows as values and as bytes.
struct Rows<T> {
    values: Aligned<T>,
    bytes: Aligned<u8>,
    dim: usize,
}

impl<T: Value> Rows<T> {
    fn new(dim: usize) -> Self {
        let bytes = T::ELEMENT.bytes();
        Self {
            values: Aligned::new(dim * ROWS, |i| T::narrow(small(i))),
            bytes: Aligned::new(dim * ROWS * bytes, |i| {
                T::narrow(small(i / bytes)).byte(i % bytes)
            }),
            dim,
        }
    }

    fn bytes(&self, row: usize) -> &[u8] {
        self.bytes.row(row, self.dim * T::ELEMENT.bytes())
    }

    fn values(&self, row: usize) -> &[T] {
        self.values.row(row, self.dim)
    }
}

#[derive(Clone, Copy)]
enum Sum {
    L2,
    Dot,
}

impl Sum {
    fn of(self, q: f32, r: f32) -> f32 {
        match self {
            Self::L2 => (q - r) * (q - r),
            Self::Dot => q * r,
        }
    }

    fn ours(self, kernels: Kernels, query: &[f32], row: &[u8], element: Element) -> f32 {
        match self {
            Self::L2 => kernels.l2(query, row, element),
            Self::Dot => kernels.dot(query, row, element),
        }
    }

    fn published<T: SpatialSimilarity>(self, query: &[T], row: &[T]) -> Option<f64> {
        match self {
            Self::L2 => T::l2sq(query, row),
            Self::Dot => T::dot(query, row),
        }
    }
}

/// simsimd, with a query of the rows' own type.
fn published<T: SpatialSimilarity + Copy>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    dim: usize,
    sum: Sum,
    narrow: impl Fn(u8) -> T,
) {
    let query = Aligned::new(dim, |i| narrow(small(3 * i)));
    let rows = Aligned::new(dim * ROWS, |i| narrow(small(i)));
    time(group, "simsimd", dim, |row| sum.published(query.row(0, dim), rows.row(row, dim)));
}

/// Ours and the sequential loop, against rows of one type.
fn sums<T: Value>(group: &mut BenchmarkGroup<'_, WallTime>, dim: usize, sum: Sum) {
    let query = Aligned::new(dim, |i| f32::from(small(3 * i)));
    let (query, rows) = (query.row(0, dim), Rows::<T>::new(dim));
    group.throughput(Throughput::Elements(dim as u64));
    for kernels in Kernels::all() {
        time(group, kernels.name(), dim, |row| {
            sum.ours(kernels, query, rows.bytes(row), T::ELEMENT)
        });
    }
    time(group, "sequential", dim, |row| {
        let pairs = query.iter().zip(rows.values(row));
        pairs.map(|(&q, r)| sum.of(q, r.widen())).sum::<f32>()
    });
}

fn floats(criterion: &mut Criterion) {
    for (sum, name) in [(Sum::L2, "l2"), (Sum::Dot, "dot")] {
        for dim in DIMS {
            let f32s = &mut group(criterion, &format!("{name}-f32"));
            sums::<f32>(f32s, dim, sum);
            published(f32s, dim, sum, f32::from);
        }
        for dim in DIMS {
            let f16s = &mut group(criterion, &format!("{name}-f16"));
            sums::<f16>(f16s, dim, sum);
            published(f16s, dim, sum, |v| simsimd::f16::from_f32(v.into()));
        }
        for dim in DIMS {
            let bf16s = &mut group(criterion, &format!("{name}-bf16"));
            sums::<bf16>(bf16s, dim, sum);
            published(bf16s, dim, sum, |v| simsimd::bf16::from_f32(v.into()));
        }
        for dim in DIMS {
            // simsimd has none for unsigned bytes.
            sums::<u8>(&mut group(criterion, &format!("{name}-u8")), dim, sum);
        }
        for dim in DIMS {
            let i8s = &mut group(criterion, &format!("{name}-i8"));
            sums::<i8>(i8s, dim, sum);
            published(i8s, dim, sum, |v| v as i8);
        }
    }
}

fn norms_of<T: Value>(criterion: &mut Criterion) {
    for dim in DIMS {
        let rows = Rows::<T>::new(dim);
        let mut group = group(criterion, &format!("norm-{}", T::ELEMENT));
        group.throughput(Throughput::Elements(dim as u64));
        for kernels in Kernels::all() {
            time(&mut group, kernels.name(), dim, |row| {
                kernels.inverse_norm(rows.bytes(row), T::ELEMENT)
            });
        }
        time(&mut group, "sequential", dim, |row| {
            rows.values(row).iter().map(|r| r.widen() * r.widen()).sum::<f32>()
        });
    }
}

fn norms(criterion: &mut Criterion) {
    norms_of::<f32>(criterion);
    norms_of::<f16>(criterion);
    norms_of::<bf16>(criterion);
    norms_of::<u8>(criterion);
    norms_of::<i8>(criterion);
}

fn codes(criterion: &mut Criterion) {
    for dim in DIMS {
        let units = Aligned::new(dim, |i| i16::from(small(3 * i)) * 64 - MAX_UNIT / 2);
        let signed = Aligned::new(dim, |i| small(3 * i) as i8 - 60);
        let bytes = Aligned::new(dim, |i| small(3 * i));
        let (units, signed, bytes) = (units.row(0, dim), signed.row(0, dim), bytes.row(0, dim));
        let codes = Aligned::new(dim * ROWS, |i| small(i) + 100);
        let row = |i: usize| codes.row(i, dim);
        let half = |i: usize| codes.row(i, dim / 2);

        let mut each =
            |name: &str, ours: &dyn Fn(Kernels, usize) -> i64, naive: &dyn Fn(usize) -> i64| {
                let mut group = group(criterion, name);
                group.throughput(Throughput::Elements(dim as u64));
                for kernels in Kernels::all() {
                    time(&mut group, kernels.name(), dim, |i| ours(kernels, i));
                }
                time(&mut group, "sequential", dim, naive);
            };
        each("codes-dot-codes", &|kernels, i| kernels.dot_codes(units, row(i)), &|i| {
            one_by_one(units.iter().zip(row(i)).map(|(&q, &c)| i64::from(q) * i64::from(c)))
        });
        each("codes-dot-nibbles", &|kernels, i| kernels.dot_nibbles(units, half(i)), &|i| {
            let (low, high) = units.split_at(dim / 2);
            one_by_one(low.iter().zip(high).zip(half(i)).map(|((&low, &high), &c)| {
                i64::from(low) * i64::from(c & 15) + i64::from(high) * i64::from(c >> 4)
            }))
        });
        each("codes-dot-i8", &|kernels, i| kernels.dot_i8(signed, row(i)), &|i| {
            one_by_one(signed.iter().zip(row(i)).map(|(&q, &c)| i64::from(q) * i64::from(c)))
        });
        each(
            "codes-squared-differences",
            &|kernels, i| kernels.squared_differences(bytes, row(i)),
            &|i| {
                one_by_one(bytes.iter().zip(row(i)).map(|(&a, &b)| i64::from(a.abs_diff(b)).pow(2)))
            },
        );
    }
}

/// A sum that LLVM leaves as it is: where additions saturate, their order matters.
fn one_by_one(terms: impl Iterator<Item = i64>) -> i64 {
    terms.fold(0, i64::saturating_add)
}

criterion_group!(benches, floats, norms, codes);
criterion_main!(benches);
