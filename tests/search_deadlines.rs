//! A search with a deadline does not wait for a disk that does not answer: through the pool, by
//! codes and by originals, and the scratch fits further searches.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ringpool::bufferpool::{Pool, PoolOptions};
use ringpool::storage::{Fault, FaultyDevice, MemoryDevice, MemorySource, PageSource};
use ringpool::{
    BuildOptions, ComponentFile, ComponentKind, Hit, NoProgress, Patience, Placed, Quantizer,
    Scratch, SearchError, SearchParams, Segment, Vectors, build,
};

fn in_memory(file: &ComponentFile) -> MemorySource {
    let bytes = fs::read(&file.path).unwrap();
    MemorySource::new(file.path.display().to_string(), file.page_size, bytes).unwrap()
}

/// The segment with its originals behind a pool whose disk holds every read from the first on.
fn open_stuck(dir: &std::path::Path, codes: Quantizer) -> (Segment, Arc<FaultyDevice>) {
    let mut stuck = None;
    let segment = Segment::open(dir, &mut |file| {
        Ok(match file.kind {
            ComponentKind::Codes(quantizer) if quantizer != codes => Placed::Left,
            ComponentKind::Column(_) | ComponentKind::ColumnIndex(_) => Placed::Left,
            ComponentKind::Codes(_)
            | ComponentKind::Graph
            | ComponentKind::Ids
            | ComponentKind::OwnIds => Placed::Resident(Arc::new(in_memory(file))),
            ComponentKind::Vectors => {
                let disk = Arc::new(MemoryDevice::new(in_memory(file)));
                let device = Arc::new(FaultyDevice::new(disk, |_, _| Some(Fault::Hold)));
                stuck = Some(device.clone());
                let options = PoolOptions { memory_bytes: 4 << 20, ..PoolOptions::default() };
                let pool = Pool::new(&options).unwrap();
                let file = pool.attach(device, Some(file.checksums.clone())).unwrap();
                Placed::Paged(Arc::new(file) as Arc<dyn PageSource>)
            }
        })
    });
    (segment.unwrap(), stuck.unwrap())
}

#[test]
fn a_search_leaves_a_disk_that_does_not_answer() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = folder.path().join("segment");
    let spiral = |i: usize| [(i as f32).cos(), (i as f32).sin(), i as f32 / 100.0];
    let points = Vectors::from_f32(3, (0..3000).flat_map(spiral).collect()).unwrap();
    build(&points, &dir, &BuildOptions::default(), &NoProgress).unwrap();
    let params = SearchParams { k: 3, ..SearchParams::default() };
    for codes in [Quantizer::Sq8, Quantizer::None] {
        let (segment, device) = open_stuck(&dir, codes);
        let (mut scratch, mut hits) = (Scratch::default(), Vec::<Hit>::new());
        for _ in 0..3 {
            let soon = Patience::default().within(Duration::from_millis(5));
            let late = segment.search_within(&spiral(77), &params, soon, &mut scratch, &mut hits);
            assert!(matches!(late, Err(SearchError::DeadlinePassed)), "{late:?}");
        }
        let queries = Vectors::from_f32(3, spiral(77).to_vec()).unwrap();
        let soon = Patience::default().within(Duration::from_millis(5));
        let late = segment.search_batch(&queries, &params, soon, 1).unwrap_err();
        assert!(matches!(late, SearchError::Query { query: 0, .. }), "{late}");
        // The disk comes back: what was held lands, and the same scratch finds what is there.
        device.heal();
        device.release();
        let found = segment.search(&spiral(77), &params, &mut scratch).unwrap();
        assert_eq!((found[0].id, found[0].distance), (77, 0.0));
    }
}
