//! One query alone on a cold disk, beside what it is made of: the same search in memory, and the
//! disk's time for as many reads at once.
//!
//! The three take turns, query by query, so that a disk that drifts drifts under all of them. With
//! originals paged a search walks in memory and then reads its shortlist in one batch; what it
//! takes beyond the walk should be little more than what the disk takes for that batch.
//!
//! ```sh
//! cargo bench --bench cold_latency -- SEGMENT QUERIES [CODES] [EF]
//! ```

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use ringpool::storage::{PageNo, ReadBuffer};
use ringpool::uring::Engine;
use ringpool::{
    Backend, EngineChoice, Index, OpenOptions, Rescore, Scratch, SearchParams, vectors,
};

/// Originals that a query reads: ten hits, oversampled four times.
const READS: usize = 40;
const ROUNDS: usize = 3;
const QUERIES_PER_ROUND: usize = 600;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo hands over a flag of its own.
    let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [segment, queries, options @ ..] = &*given else {
        println!("usage: cargo bench --bench cold_latency -- SEGMENT QUERIES [CODES] [EF]");
        return Ok(());
    };
    let codes = options.first().map(|codes| codes.parse()).transpose()?;
    let ef = options.get(1).map_or(Ok(80), |ef| ef.parse())?;
    let queries = vectors::read(Path::new(queries))?;
    // The smallest pool that there is: nothing is found in it.
    let cold = OpenOptions { memory: Some("2%".parse()?), codes, ..OpenOptions::default() };
    let warm = OpenOptions { backend: Backend::Memory, ..cold.clone() };
    let (cold, warm) = (Index::open(segment, &cold)?, Index::open(segment, &warm)?);
    let page_size = cold.segment().manifest().page_size;
    let engine = Engine::start(EngineChoice::Auto)?;
    let opened = engine.open(&Path::new(segment).join("vectors.pages"), page_size)?;
    let mut buffer = ReadBuffer::new(READS as u32, page_size);
    let params = SearchParams { k: 10, ef, rescore: Rescore::Times(READS as f32 / 10.0) };
    let (mut scratch, mut warm_scratch) = (Scratch::default(), Scratch::default());
    let (mut values, mut draws) = (vec![0.0; queries.dim()], 88_172_645_463_325_252_u64);
    println!(
        "round  cold p50 us  in memory p50 us  {READS} reads at once p50 us  (cold - memory) / reads"
    );
    for round in 0..ROUNDS {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for query in 0..QUERIES_PER_ROUND {
            queries.row_f32((round * QUERIES_PER_ROUND + query) % queries.len(), &mut values);
            let begun = Instant::now();
            cold.segment().search(&values, &params, &mut scratch)?;
            times[0].push(begun.elapsed());
            let begun = Instant::now();
            warm.segment().search(&values, &params, &mut warm_scratch)?;
            times[1].push(begun.elapsed());
            let mut draw = |_| {
                draws ^= draws << 13;
                draws ^= draws >> 7;
                draws ^= draws << 17;
                PageNo(draws % opened.device.page_count())
            };
            let pages: Vec<PageNo> = (0..READS).map(&mut draw).collect();
            let begun = Instant::now();
            buffer.visit(&*opened.device, &pages, |_, _| {})?;
            times[2].push(begun.elapsed());
        }
        let [cold, warm, reads] = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e6
        });
        let ratio = (cold - warm) / reads;
        println!("{round:5}  {cold:11.0}  {warm:16.0}  {reads:23.0}  {ratio:23.2}");
    }
    Ok(())
}
