//! Build an index, open it, search it: through the pool, then through mmap, which differ by one
//! word.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```

use std::path::Path;

use ringpool::{Backend, BuildOptions, Index, NoProgress, OpenOptions, SearchParams, vectors};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist-12k");
    let base = vectors::read(&shipped.join("base.bvecs.gz"))?.to_f32();
    let queries = vectors::read(&shipped.join("query.bvecs.gz"))?;
    let truth = vectors::read_ids(&shipped.join("truth.ivecs.gz"))?;

    let temporary = tempfile::tempdir()?;
    let dir = temporary.path().join("index");
    ringpool::build(&base, &dir, &BuildOptions::default(), &NoProgress)?;

    for backend in [Backend::Pool, Backend::Mmap] {
        let memory = Some("10%".parse()?);
        let index = Index::open(&dir, &OpenOptions { backend, memory, ..OpenOptions::default() })?;
        let params = SearchParams { k: 10, ..SearchParams::default() };
        let (mut query, mut found) = (vec![0.0; base.dim()], 0);
        for row in 0..queries.len() {
            queries.row_f32(row, &mut query);
            let nearest = &truth.row(row)[..params.k];
            let hits = index.search(&query, &params)?;
            found += hits.iter().filter(|hit| nearest.contains(&hit.id)).count();
        }
        let recall = found as f64 / (queries.len() * params.k) as f64;
        println!("{backend}: recall@10 {recall:.4}, {:?}", index.stats());
    }
    Ok(())
}
