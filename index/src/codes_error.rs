//! How far codes are from the truth: estimated distances beside exact ones, over a sample.
//!
//! Some of the sampled originals are taken as queries, and each is compared with all the others of
//! the sample, by its code and by itself. What matters to a search is how often an estimate swaps
//! two points, so errors are told relative to how far distances differ from each other.

use ringpool_storage::PageNo;

use crate::codes::{Scheme, normalise, with_scheme};
use crate::distance::RowQuery;
use crate::originals::Originals;
use crate::{Manifest, Metric, SearchError, Segment, VectorValues, Vectors};

/// Originals of the sample that serve as queries as well.
const QUERIES: usize = 32;

/// How far distances by codes are from exact ones.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CodesError {
    /// How many distances were compared.
    pub pairs: usize,
    /// The mean squared error of an estimated distance, divided by the variance of the exact ones:
    /// 0 for codes that lose nothing, 1 for those that tell nothing.
    pub squared: f64,
    /// The mean error, divided by the standard deviation of the exact distances: what an estimate
    /// is too large by on average.
    pub bias: f64,
}

impl Segment {
    /// Compares distances by the open codes with exact ones, over `sample` points spread evenly
    /// over the segment, whose originals are read. `None` where no codes are open, or where there
    /// are no two points at different distances.
    ///
    /// # Errors
    /// When a page of the originals could not be had.
    pub fn codes_error(&self, sample: usize) -> Result<Option<CodesError>, SearchError> {
        let Some(codes) = self.codes() else { return Ok(None) };
        let (manifest, originals) = (self.manifest(), self.originals());
        let sample = sample.clamp(1, manifest.points) as u64;
        let point = |i: u64| (i * manifest.points as u64 / sample) as u32;
        let points: Vec<u32> = (0..sample).map(point).collect();
        let rows = vectors_of(manifest, rows_of(originals, &points)?);
        Ok(with_scheme!(codes, codes => compare(manifest, codes, &points, &rows)))
    }
}

fn compare<S: Scheme>(
    manifest: &Manifest,
    codes: &S,
    points: &[u32],
    rows: &Vectors,
) -> Option<CodesError> {
    let (mut exact_query, mut code_query) = (RowQuery::default(), S::Query::default());
    let mut values = vec![0.0; manifest.dim];
    let (mut exact, mut errors) = (Moments::default(), Moments::default());
    let apart = points.len().div_ceil(QUERIES);
    for query in (0..points.len()).step_by(apart) {
        rows.row_f32(query, &mut values);
        exact_query.set(manifest.metric, manifest.element, &values);
        if manifest.metric == Metric::Cosine {
            normalise(&mut values);
        }
        codes.set_query(&values, &mut code_query);
        for other in (0..points.len()).filter(|&other| other != query) {
            let distance = f64::from(exact_query.distance(rows.row_bytes(other)));
            let estimate = f64::from(codes.distance(&code_query, points[other]));
            exact.add(distance);
            errors.add(estimate - distance);
        }
    }
    let variance = exact.squares() - exact.mean().powi(2);
    (variance > 0.0).then(|| CodesError {
        pairs: exact.count,
        squared: errors.squares() / variance,
        bias: errors.mean() / variance.sqrt(),
    })
}

#[derive(Default)]
struct Moments {
    count: usize,
    sum: f64,
    sum_of_squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.sum_of_squares += value * value;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    fn squares(&self) -> f64 {
        self.sum_of_squares / self.count.max(1) as f64
    }
}

/// The originals of these points, put end to end. Pages are asked for in one batch.
fn rows_of(originals: &Originals, points: &[u32]) -> Result<Vec<u8>, ringpool_storage::Error> {
    let paged = match originals {
        Originals::Resident(rows) => {
            return Ok(points.iter().flat_map(|&point| rows.row(point)).copied().collect());
        }
        Originals::Paged(paged) => paged,
    };
    let records = &paged.records;
    let (row_bytes, page_bytes) = (records.record_bytes, records.page_size.bytes());
    let parts = |point: u32| (0..records.span()).map(move |part| (point, part));
    let wanted: Vec<(u32, u64)> = points.iter().flat_map(|&point| parts(point)).collect();
    let page = |&(point, part): &(u32, u64)| PageNo(records.place(point).0.0 + part);
    let pages: Vec<PageNo> = wanted.iter().map(page).collect();
    let mut rows = vec![0; points.len() * row_bytes];
    paged.source.visit(&pages, &mut |i, page| {
        let (point, part) = wanted[i];
        let row = &mut rows[i / records.span() as usize * row_bytes..][..row_bytes];
        let (start, offset) = (part as usize * page_bytes, records.place(point).1);
        let end = row_bytes.min(start + page_bytes - offset);
        row[start..end].copy_from_slice(&page[offset..offset + end - start]);
    })?;
    Ok(rows)
}

fn vectors_of(manifest: &Manifest, bytes: Vec<u8>) -> Vectors {
    use crate::Element;
    let values = match manifest.element {
        Element::F32 => VectorValues::F32(bytemuck::pod_collect_to_vec(&bytes)),
        Element::F16 => VectorValues::F16(bytemuck::pod_collect_to_vec(&bytes)),
        Element::Bf16 => VectorValues::Bf16(bytemuck::pod_collect_to_vec(&bytes)),
        Element::U8 => VectorValues::U8(bytes),
        Element::I8 => VectorValues::I8(bytemuck::pod_collect_to_vec(&bytes)),
    };
    // The manifest was checked: its dimension is one that vectors have, and rows are whole.
    Vectors::new(manifest.dim, values).expect("rows of a checked manifest")
}
