//! Every backend answers the same, and none answers wrongly.
//!
//! The conformance lists on a real disk, through everything that the facade can put together; then
//! one segment of the shipped vectors, searched through each backend, engine, budget and number of
//! threads: the same ids and, bit by bit, the same distances.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use ringpool::bufferpool::{Ended, HotSetError, Pool, PoolError, PoolOptions, Restoring, Share};
use ringpool::config::HotSetAtClose;
use ringpool::storage::conformance::{self, Specimen};
use ringpool::storage::{
    Answer, Error as PageError, Fault, FaultyDevice, PageNo, PageSize, PageSource,
};
use ringpool::uring::Engine;
use ringpool::{
    Advice, Backend, BuildOptions, EngineChoice, Error, Hit, Index, Memory, MmapOptions,
    NoProgress, OpenOptions, Order, Placement, Quantizer, SearchError, SearchParams, Vectors,
    build, vectors,
};

/// A folder on the disk that the build is on, since temporary ones may be memory.
fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn pool(frames: u64) -> Pool {
    let memory_bytes = frames * Pool::frame_bytes(PageSize::KIB_4);
    Pool::new(&PoolOptions { memory_bytes, ..PoolOptions::default() }).unwrap()
}

/// The engines that this machine allows.
fn engines() -> Vec<EngineChoice> {
    let ring = Engine::start(EngineChoice::Uring);
    if let Err(why) = &ring {
        conformance::skipped(format!("the ring: {why}"));
    }
    let ring = ring.is_ok().then_some(EngineChoice::Uring);
    ring.into_iter().chain([EngineChoice::Blocking]).collect()
}

#[test]
fn the_pool_over_each_engine_is_a_source() {
    for choice in engines() {
        let engine = Engine::start(choice).unwrap();
        let dir = dir();
        for frames in [66, 1000] {
            let open = |specimen: &Specimen| -> Box<dyn PageSource> {
                let opened = engine.open(&specimen.path, specimen.page_size).unwrap();
                let file = pool(frames).attach(opened.device, Some(specimen.checksums.clone()));
                Box::new(file.unwrap())
            };
            conformance::sources(dir.path(), &open);
            conformance::gathers(dir.path(), &open);
        }
    }
}

#[test]
fn a_pool_over_a_faulty_device_over_a_ring_is_a_source() {
    let engine = Engine::start(EngineChoice::Auto).unwrap();
    let dir = dir();
    let open = |specimen: &Specimen| -> Box<dyn PageSource> {
        let opened = engine.open(&specimen.path, specimen.page_size).unwrap();
        let script = |ordinal: u64, _: PageNo| Answer {
            late_by_reads: (ordinal * 7 % 5) as u32,
            fault: (ordinal % 11 == 3).then_some(Fault::QueueFull),
        };
        let device = Arc::new(FaultyDevice::answering(opened.device, script));
        Box::new(pool(70).attach(device, Some(specimen.checksums.clone())).unwrap())
    };
    conformance::sources(dir.path(), &open);
    conformance::gathers(dir.path(), &open);
}

/// Two files of one engine, gathered by one thread that waits for both at one of them.
#[test]
fn a_wait_for_one_file_lands_the_pages_of_the_others_of_its_engine() {
    for choice in engines() {
        let engine = Engine::start(choice).unwrap();
        let dir = dir();
        let pool = pool(200);
        let files = ["graph", "originals"].map(|name| {
            let specimen = Specimen::write(dir.path(), name, PageSize::KIB_4, 300);
            let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
            pool.attach(device, Some(specimen.checksums)).unwrap()
        });
        let mut gathers = files.each_ref().map(|file| file.gather().unwrap());
        for round in 0..30 {
            for (nth, gather) in (0..).zip(&mut gathers) {
                let pages: Vec<PageNo> =
                    (0..10).map(|i| PageNo((round * 37 + i * 11 + nth) % 300)).collect();
                gather.ask(round as u32, &pages, &mut |_, _| {}).unwrap();
            }
            let [first, second] = &mut gathers;
            while second.outstanding() > 0 {
                let arrived = || first.has_arrivals() || second.has_arrivals();
                first.wait(&arrived, None).unwrap();
                for gather in [&mut *first, &mut *second] {
                    gather.collect(&mut |_, _, bytes| assert!(bytes.is_ok()));
                }
            }
        }
        drop(gathers);
        assert_eq!(pool.audit().unwrap().pins, 0);
    }
}

/// A thread asks for pages and then does something else. Whoever else wants them starts and lands
/// their reads.
#[test]
fn a_busy_thread_keeps_nobody_from_the_pages_that_it_has_asked_for() {
    for choice in engines() {
        let engine = Engine::start(choice).unwrap();
        let dir = dir();
        let specimen = Specimen::write(dir.path(), "pages", PageSize::KIB_4, 300);
        let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
        let file = pool(400).attach(device, Some(specimen.checksums)).unwrap();
        let mut gather = file.gather().unwrap();
        let asked: Vec<PageNo> = (0..60).map(|i| PageNo(i * 7 % 300)).collect();
        for pages in asked.chunks(3) {
            assert_eq!(gather.ask(1, pages, &mut |_, _| {}).unwrap(), 3);
        }
        let (visited, awaited) = asked.split_at(30);
        thread::scope(|scope| {
            scope.spawn(|| file.visit(visited, &mut |_, _| {}).unwrap());
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for &page in awaited {
                    drop(runtime.block_on(file.fetch(page)).unwrap());
                }
            });
        });
        assert_eq!(file.pool().stats().reads, 60, "{choice}: one read serves all");
    }
}

/// The shipped vectors, or the first `rows` of them, as f32.
fn shipped(file: &str, rows: usize) -> Vectors {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist-12k");
    let all = vectors::read(&folder.join(file)).unwrap();
    let rows = rows.min(all.len());
    let mut row = vec![0.0; all.dim()];
    let mut flat = Vec::with_capacity(rows * all.dim());
    for no in 0..rows {
        all.row_f32(no, &mut row);
        flat.extend_from_slice(&row);
    }
    Vectors::from_f32(all.dim(), flat).unwrap()
}

fn segment(dir: &Path, options: &BuildOptions) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let segment = dir.join("segment");
    build(&shipped("base.bvecs.gz", 3000), &segment, options, &NoProgress).unwrap();
    segment
}

fn answers(index: &Index, queries: &Vectors, threads: usize) -> Vec<Vec<Hit>> {
    let answer = |no: usize| {
        let mut query = vec![0.0; queries.dim()];
        queries.row_f32(no, &mut query);
        index.search(&query, &SearchParams::default()).unwrap()
    };
    let share = queries.len().div_ceil(threads);
    thread::scope(|scope| {
        let parts: Vec<_> = (0..queries.len())
            .step_by(share)
            .map(|first| {
                let rows = first..queries.len().min(first + share);
                scope.spawn(move || rows.map(answer).collect::<Vec<_>>())
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

fn bits(answers: &[Vec<Hit>]) -> Vec<(u64, u32)> {
    answers.iter().flatten().map(|hit| (hit.id, hit.distance.to_bits())).collect()
}

#[test]
fn ids_and_distances_are_the_same_through_everything() {
    let dir = dir();
    let queries = shipped("query.bvecs.gz", 40);
    for quantizer in [Quantizer::Sq8, Quantizer::None] {
        let options = BuildOptions { quantizers: vec![quantizer], ..BuildOptions::default() };
        let segment = segment(&dir.path().join(quantizer.to_string()), &options);
        let open = |options: &OpenOptions| Index::open(&segment, options).unwrap();
        let memory = OpenOptions { backend: Backend::Memory, ..OpenOptions::default() };
        let expected = bits(&answers(&open(&memory), &queries, 1));
        assert_eq!(expected.len(), 40 * 10);
        for advice in [Advice::Random, Advice::Normal, Advice::WillNeed] {
            let mmap = MmapOptions { advice, ..MmapOptions::default() };
            let options = OpenOptions { backend: Backend::Mmap, mmap, ..OpenOptions::default() };
            assert_eq!(bits(&answers(&open(&options), &queries, 2)), expected, "mmap {advice}");
        }
        for engine in engines() {
            for share in ["400KiB", "10%", "100%"] {
                for threads in [1, 2, 8] {
                    let memory = Some(share.parse::<Memory>().unwrap());
                    let options = OpenOptions { engine, memory, ..OpenOptions::default() };
                    let index = open(&options);
                    for turn in ["cold", "warm"] {
                        let found = bits(&answers(&index, &queries, threads));
                        assert!(found == expected, "{engine}, {share}, {threads} threads, {turn}");
                    }
                    let stats = index.stats();
                    assert_eq!(stats.engine.as_deref(), Some(&*engine.to_string()));
                    assert!(stats.reads.unwrap() > 0 && stats.hits.unwrap() > 0);
                }
            }
        }
    }
}

#[test]
fn an_index_starts_warm_with_what_was_hot() {
    let dir = dir();
    let queries = shipped("query.bvecs.gz", 40);
    let (segment, hot) = (segment(dir.path(), &BuildOptions::default()), dir.path());
    let memory = Some(Memory::Percent(120.0));
    let place: Placement = "graph=pool,codes=pool,vectors=pool".parse().unwrap();
    for engine in engines() {
        let options =
            OpenOptions { engine, memory, place: place.clone(), ..OpenOptions::default() };
        let cold = Index::open(&segment, &options).unwrap();
        let opened = cold.stats().misses;
        let expected = bits(&answers(&cold, &queries, 2));
        assert!(cold.stats().misses > opened, "it began cold");
        assert_eq!(cold.save_hot_sets(hot).unwrap(), 3);
        drop(cold);

        let warm = Index::open(&segment, &options).unwrap();
        let restored = warm.restore_hot_sets(hot).unwrap().into_iter().map(Restoring::wait);
        let restored: Vec<_> = restored.collect();
        assert!(restored.iter().all(|one| matches!(one.ended, Ended::Complete)), "{restored:?}");
        let (reads, misses) = (warm.stats().reads, warm.stats().misses);
        assert!(bits(&answers(&warm, &queries, 2)) == expected);
        assert_eq!((warm.stats().reads, warm.stats().misses), (reads, misses), "nothing more");
    }
    let memory = OpenOptions { backend: Backend::Memory, ..OpenOptions::default() };
    let index = Index::open(&segment, &memory).unwrap();
    assert!(index.save_hot_sets(hot).unwrap() == 0);
    assert!(index.restore_hot_sets(hot).unwrap().is_empty());
    let other = dir.path().join("other");
    let seed = BuildOptions { seed: 7, ..BuildOptions::default() };
    let index = Index::open(self::segment(&other, &seed), &OpenOptions::default()).unwrap();
    let foreign = index.restore_hot_sets(hot).map(drop);
    assert!(matches!(foreign, Err(Error::HotSet(HotSetError::Foreign { .. }))), "{foreign:?}");
}

#[test]
fn components_are_warm_before_the_first_search_where_that_is_asked_for() {
    let dir = dir();
    let queries = shipped("query.bvecs.gz", 40);
    let segment = segment(dir.path(), &BuildOptions::default());
    let options = |memory: f64, warm_up: &str| OpenOptions {
        memory: Some(Memory::Percent(memory)),
        place: "graph=pool,codes=pool,vectors=pool".parse().unwrap(),
        warm_up: warm_up.parse().unwrap(),
        hot_set: HotSetAtClose::Save,
        ..OpenOptions::default()
    };
    let expected = bits(&answers(&Index::open(&segment, &options(50.0, "")).unwrap(), &queries, 1));
    let misses = |index: &Index| {
        let before = index.stats().misses.unwrap();
        assert!(bits(&answers(index, &queries, 1)) == expected);
        index.stats().misses.unwrap() - before
    };
    // Nothing was saved: from the first page on, as much as there is room for.
    let whole = Index::open(&segment, &options(120.0, "all=before-serving")).unwrap();
    assert_eq!(misses(&whole), 0);
    let part = Index::open(&segment, &options(120.0, "graph=before-serving,codes=none")).unwrap();
    assert!(misses(&part) > 0);
    // It gives the graph back what it knew, in a pool that holds no more.
    let small = Index::open(&segment, &options(30.0, "")).unwrap();
    let cold = misses(&small);
    small.close().unwrap();
    assert!(segment.join("graph.hot").exists() && segment.join("vectors.hot").exists());
    let small = Index::open(&segment, &options(30.0, "all=before-serving")).unwrap();
    let warm = misses(&small);
    assert!(warm < cold / 2, "{warm} of {cold}");
    // In the background, and for what moves; a damaged hot set is as good as none.
    fs::write(segment.join("graph.hot"), b"nonsense").unwrap();
    let moving = Index::open(&segment, &options(120.0, "all=background")).unwrap();
    assert!(bits(&answers(&moving, &queries, 2)) == expected);
    for words in ["all=mmap", "all=pool", "all=resident"] {
        moving.place(&words.parse().unwrap()).unwrap();
        assert!(bits(&answers(&moving, &queries, 2)) == expected, "{words}");
    }
    let mapped =
        OpenOptions { place: "all=mmap".parse().unwrap(), ..options(50.0, "all=before-serving") };
    assert!(bits(&answers(&Index::open(&segment, &mapped).unwrap(), &queries, 2)) == expected);
}

#[test]
fn one_pool_serves_many_segments() {
    let dir = dir();
    let queries = shipped("query.bvecs.gz", 100);
    let seeds = [1, 2, 3];
    let folders = seeds.map(|seed| {
        let options = BuildOptions { seed, ..BuildOptions::default() };
        segment(&dir.path().join(seed.to_string()), &options)
    });
    let options = OpenOptions::default();
    let alone = folders
        .each_ref()
        .map(|folder| bits(&answers(&Index::open(folder, &options).unwrap(), &queries, 1)));
    let pool = pool(200);
    let indexes = folders.each_ref().map(|folder| Index::open_in(&pool, folder, &options).unwrap());
    // The first is promised half of the frames, the last gets a tenth at most.
    let bytes = |frames| frames * Pool::frame_bytes(PageSize::KIB_4);
    let promised = Share::default().floor_bytes(bytes(100));
    indexes[0].originals().unwrap().set_share(promised).unwrap();
    let limited = Share::default().ceiling_bytes(bytes(20));
    indexes[2].originals().unwrap().set_share(limited).unwrap();
    thread::scope(|scope| {
        for (index, alone) in indexes.iter().zip(&alone) {
            scope.spawn(|| assert!(bits(&answers(index, &queries, 2)) == *alone));
        }
    });
    let held = indexes.each_ref().map(|index| index.originals().unwrap().stats().resident);
    assert!(held[0] >= 100 && held[2] <= 20, "{held:?}");
    assert_eq!(indexes[0].memory_budget_bytes(), pool.stats().memory_bytes);

    let coarse = BuildOptions {
        page_size: ringpool::storage::PageSize::new(16 << 10).unwrap(),
        ..BuildOptions::default()
    };
    let refused = Index::open_in(&pool, segment(&dir.path().join("coarse"), &coarse), &options);
    assert!(matches!(refused.map(drop), Err(Error::Pool(PoolError::Mismatch { .. }))));
}

#[test]
fn a_flipped_byte_is_found_by_verify_and_refused_by_the_search_that_meets_it() {
    let dir = dir();
    let given = BuildOptions { order: Order::Given, ..BuildOptions::default() };
    let segment = segment(dir.path(), &given);
    let queries = shipped("query.bvecs.gz", 1);
    let sound = Index::open(&segment, &OpenOptions::default()).unwrap();
    let nearest = answers(&sound, &queries, 1)[0][0].id;
    drop(sound);
    // f32 of 784 dimensions: a vector a page, in order of their ids.
    flip(&segment.join("vectors.pages"), nearest * 4096 + 100);
    let mut bad = Vec::new();
    let verified = ringpool::verify(
        &segment,
        EngineChoice::Auto,
        &mut |_, _| std::ops::ControlFlow::Continue(()),
        &mut |component, page, _| bad.push((component.to_string(), page.0)),
    );
    verified.unwrap();
    assert_eq!(bad, [("vectors".to_string(), nearest)]);
    for backend in [Backend::Pool, Backend::Mmap] {
        let index = Index::open(&segment, &OpenOptions { backend, ..OpenOptions::default() });
        let (index, mut query) = (index.unwrap(), vec![0.0; 784]);
        queries.row_f32(0, &mut query);
        for _ in 0..2 {
            let refused = index.search(&query, &SearchParams::default());
            let named = match &refused {
                Err(Error::Search(SearchError::Pages(PageError::Checksum { page, .. }))) => {
                    page.0 == nearest
                }
                _ => false,
            };
            assert!(named, "{backend}: {refused:?}");
        }
    }
    let loaded = OpenOptions { backend: Backend::Memory, ..OpenOptions::default() };
    assert!(matches!(Index::open(&segment, &loaded), Err(Error::Segment(_))));
}

fn flip(file: &Path, byte: u64) {
    let mut bytes = fs::read(file).unwrap();
    bytes[byte as usize] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn recall_on_the_shipped_vectors_is_what_the_readme_says() {
    let dir = dir();
    let out = dir.path().join("segment");
    let base = shipped("base.bvecs.gz", usize::MAX);
    build(&base, &out, &BuildOptions::default(), &NoProgress).unwrap();
    let memory = Some(Memory::Percent(10.0));
    let index = Index::open(&out, &OpenOptions { memory, ..OpenOptions::default() }).unwrap();
    let queries = shipped("query.bvecs.gz", usize::MAX);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist-12k");
    let truth = vectors::read_ids(&folder.join("truth.ivecs.gz")).unwrap();
    let found: usize = answers(&index, &queries, 2)
        .iter()
        .enumerate()
        .map(|(no, hits)| {
            let nearest = &truth.row(no)[..10];
            hits.iter().filter(|hit| nearest.contains(&hit.id)).count()
        })
        .sum();
    let recall = found as f64 / (10 * queries.len()) as f64;
    assert!(recall >= 0.99, "recall@10 is {recall}");
    let pool = index.pool().unwrap().stats();
    assert!(pool.evictions > 0, "the budget was small enough to need the clock");
    assert!(pool.resident() <= pool.frames - pool.retired);
}
