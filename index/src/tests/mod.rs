//! Tests of whole segments, from vectors to hits.

mod among;
mod codes_error;
mod columns;
mod compact;
mod crash;
mod deletes;
mod ending;
mod exact;
mod filters;
mod hostile;
mod ids;
mod late;
mod mutated;
mod orders;
mod recall;
mod round_trip;
mod searches;
mod writing;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use ringpool_storage::{Error, MemorySource, PageSource};

use crate::graph::mix;
use crate::{
    BuildOptions, ComponentFile, ComponentKind, Element, Hit, NoProgress, Placed, Quantizer,
    Scratch, SearchParams, Segment, SegmentError, Vectors, build,
};

/// Every way to walk, that of product codes with so many bytes.
const fn quantizers(pq_bytes: u32) -> [Quantizer; 7] {
    [
        Quantizer::None,
        Quantizer::Sq8,
        Quantizer::Sq4,
        Quantizer::Pq { bytes: pq_bytes },
        Quantizer::RaBitQ { bits: 1 },
        Quantizer::RaBitQ { bits: 2 },
        Quantizer::RaBitQ { bits: 4 },
    ]
}

/// Numbers from 0 to 1 that look random and are always the same for a seed.
fn uniform(seed: u64) -> impl Iterator<Item = f32> {
    (0_u64..).map(move |i| (mix(seed << 32 ^ i) >> 40) as f32 / (1 << 24) as f32)
}

/// Points around as many centres as asked for, one cluster after the other when `sorted`.
fn clustered(rows: usize, dim: usize, clusters: usize, sorted: bool, seed: u64) -> Vec<f32> {
    let centres: Vec<f32> = uniform(seed).take(clusters * dim).collect();
    let mut noise = uniform(seed + 1);
    let mut values = Vec::with_capacity(rows * dim);
    for row in 0..rows {
        let cluster = match sorted {
            true => row * clusters / rows,
            false => mix(row as u64) as usize % clusters,
        };
        for centre in &centres[cluster * dim..][..dim] {
            // The sum of three is near enough to a bell.
            let bell: f32 = noise.by_ref().take(3).sum::<f32>() - 1.5;
            values.push(100.0 * (centre + 0.2 * bell));
        }
    }
    values
}

/// The values as vectors of any element type.
fn as_element(dim: usize, values: &[f32], element: Element) -> Vectors {
    let vectors = match element {
        Element::F32 => Vectors::from_f32(dim, values.to_vec()),
        Element::F16 => Vectors::from_f16(dim, values.iter().map(|&v| f16::from_f32(v)).collect()),
        Element::Bf16 => {
            Vectors::from_bf16(dim, values.iter().map(|&v| bf16::from_f32(v)).collect())
        }
        Element::U8 => Vectors::from_u8(dim, values.iter().map(|&v| v as u8).collect()),
        Element::I8 => Vectors::from_i8(dim, values.iter().map(|&v| (v - 50.0) as i8).collect()),
    };
    vectors.unwrap()
}

fn row(vectors: &Vectors, row: usize) -> Vec<f32> {
    let mut values = vec![0.0; vectors.dim()];
    vectors.row_f32(row, &mut values);
    values
}

fn in_memory(file: &ComponentFile) -> ringpool_storage::Result<Arc<dyn PageSource>> {
    let name: Arc<str> = file.path.to_string_lossy().into();
    let bytes = fs::read(&file.path).map_err(|e| Error::io(&name, "read", e))?;
    let source = MemorySource::new(name, file.page_size, bytes)?;
    Ok(Arc::new(source.verified(&file.checksums)?))
}

/// Originals are paged; the first codes and the graph are resident.
fn placed(file: &ComponentFile, source: Arc<dyn PageSource>) -> ringpool_storage::Result<Placed> {
    Ok(match file.kind {
        ComponentKind::Vectors | ComponentKind::Column(_) | ComponentKind::ColumnIndex(_) => {
            Placed::Paged(source)
        }
        ComponentKind::Codes(_)
        | ComponentKind::Graph
        | ComponentKind::Ids
        | ComponentKind::OwnIds => Placed::Resident(source),
    })
}

fn open(dir: &Path) -> Result<Segment, SegmentError> {
    Segment::open(dir, &mut |file| placed(file, in_memory(file)?))
}

/// The same, with the originals in memory, too.
fn open_resident(dir: &Path) -> Result<Segment, SegmentError> {
    Segment::open(dir, &mut |file| Ok(Placed::Resident(in_memory(file)?)))
}

/// Builds and opens in a folder that is gone afterwards.
fn segment(vectors: &Vectors, options: &BuildOptions) -> Segment {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    build(vectors, &out, options, &NoProgress).unwrap();
    open(&out).unwrap()
}

fn search_all(segment: &Segment, queries: &Vectors, params: &SearchParams) -> Vec<Vec<Hit>> {
    let mut scratch = Scratch::default();
    let each = (0..queries.len()).map(|i| row(queries, i));
    each.map(|query| segment.search(&query, params, &mut scratch).unwrap()).collect()
}

/// The share of true hits among those found. Distances decide, so that ties do no harm.
fn recall(found: &[Vec<Hit>], truth: &[Vec<Hit>]) -> f64 {
    let pairs = found.iter().zip(truth);
    let shares = pairs.map(|(found, truth)| {
        let farthest = truth.last().map_or(f32::NAN, |hit| hit.distance);
        let right = found.iter().filter(|hit| hit.distance <= farthest).count();
        right.min(truth.len()) as f64 / truth.len() as f64
    });
    shares.sum::<f64>() / truth.len() as f64
}

/// Breaks the build at the n-th report of one phase.
struct Cancel {
    phase: crate::Phase,
    after: std::sync::atomic::AtomicU64,
}

impl crate::Progress for Cancel {
    fn report(&self, phase: crate::Phase, done: u64, total: u64) -> ControlFlow<()> {
        assert!(done <= total, "{phase}: {done} of {total}");
        let left = std::sync::atomic::Ordering::Relaxed;
        if phase != self.phase || self.after.fetch_sub(1, left) > 0 {
            return ControlFlow::Continue(());
        }
        self.after.store(0, left);
        ControlFlow::Break(())
    }
}
