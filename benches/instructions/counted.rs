//! User instructions of the hit path, the submit path and the distance kernels, by callgrind.
//!
//! A count is of 1,024 pages, or of one sum over 768 values, without what its setup takes. The kernel's
//! side of a read is not in it, and what threads do while they wait differs from count to count: the rows
//! of the engines are guides, the others repeat to the instruction. Valgrind has no AVX-512, so that the
//! widest kernels here are AVX2.
//!
//! ```sh
//! benches/instructions/run
//! ```

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use ringpool::bench_seam::Kernels;
use ringpool::storage::PageSource;
use ringpool::{Element, EngineChoice};
use ringpool_instructions::{BATCH, Resident, Submitted, small};

// Hits.

#[library_benchmark]
#[bench::pages_1024(Resident::new())]
fn reader_get(mut held: Resident) -> Resident {
    let mut sum = 0_u64;
    let stay = held.reader.enter();
    for &page in &held.pages {
        sum += u64::from(stay.get(&held.file, page).expect("a resident page")[0]);
    }
    drop(stay);
    black_box(sum);
    held
}

#[library_benchmark]
#[bench::pages_1024(Resident::new())]
fn reader_get_16_at_a_time(mut held: Resident) -> Resident {
    let mut sum = 0_u64;
    let stay = held.reader.enter();
    for batch in held.pages.chunks(BATCH) {
        let mut found = [None; BATCH];
        stay.get_many(&held.file, batch, &mut found);
        sum += found.iter().map(|page| u64::from(page.expect("a resident page")[0])).sum::<u64>();
    }
    drop(stay);
    black_box(sum);
    held
}

#[library_benchmark]
#[bench::pages_1024(Resident::new())]
fn pin_and_unpin(held: Resident) -> Resident {
    let mut sum = 0_u64;
    for &page in &held.pages {
        sum += u64::from(held.file.try_pin(page).expect("a resident page")[0]);
    }
    black_box(sum);
    held
}

#[library_benchmark]
#[bench::pages_1024(Resident::new())]
fn visit_16_at_a_time(held: Resident) -> Resident {
    let mut sum = 0_u64;
    for batch in held.pages.chunks(BATCH) {
        held.file.visit(batch, &mut |_, page| sum += u64::from(page[0])).expect("resident pages");
    }
    black_box(sum);
    held
}

library_benchmark_group!(
    name = hits;
    benchmarks = reader_get, reader_get_16_at_a_time, pin_and_unpin, visit_16_at_a_time
);

// Submits.

#[library_benchmark]
#[bench::memory(Submitted::through_memory())]
#[bench::blocking_a_guide(Submitted::through(EngineChoice::Blocking))]
#[bench::ring_a_guide(Submitted::through(EngineChoice::Auto))]
fn read_16_at_a_time(mut submitted: Submitted) -> Submitted {
    black_box(submitted.read_all());
    submitted
}

library_benchmark_group!(name = submits; benchmarks = read_16_at_a_time);

// Kernels.

/// Kernels by their place among those of this processor, with a query and a row.
struct Sum {
    kernels: Kernels,
    query: Vec<f32>,
    row: Vec<u8>,
}

const DIM: usize = 768;

fn sum(widest: bool, element_bytes: usize) -> Sum {
    let all = Kernels::all();
    // The plain ones come first and the best last: AVX2, as far as valgrind goes.
    let kernels = if widest { all.last() } else { all.first() };
    let row = match element_bytes {
        4 => (0..DIM).flat_map(|i| f32::from(small(i)).to_le_bytes()).collect(),
        _ => (0..DIM).map(small).collect(),
    };
    let query = (0..DIM).map(|i| f32::from(small(3 * i))).collect();
    Sum { kernels: *kernels.expect("plain ones at least"), query, row }
}

#[library_benchmark]
#[bench::plain(sum(false, 4))]
#[bench::avx2(sum(true, 4))]
fn l2_f32_768(sum: Sum) -> Sum {
    black_box(sum.kernels.l2(&sum.query, &sum.row, Element::F32));
    sum
}

#[library_benchmark]
#[bench::plain(sum(false, 4))]
#[bench::avx2(sum(true, 4))]
fn dot_f32_768(sum: Sum) -> Sum {
    black_box(sum.kernels.dot(&sum.query, &sum.row, Element::F32));
    sum
}

#[library_benchmark]
#[bench::plain(sum(false, 1))]
#[bench::avx2(sum(true, 1))]
fn l2_u8_768(sum: Sum) -> Sum {
    black_box(sum.kernels.l2(&sum.query, &sum.row, Element::U8));
    sum
}

library_benchmark_group!(name = kernels; benchmarks = l2_f32_768, dot_f32_768, l2_u8_768);

main!(library_benchmark_groups = hits, submits, kernels);
