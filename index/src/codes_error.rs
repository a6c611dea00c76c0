//! How far codes are from the truth: estimated distances beside exact ones, over a sample.
//!
//! Some of the sampled originals are taken as queries, and each is compared with all the others of
//! the sample, by its code and by itself. What matters to a search is how often an estimate swaps
//! two points, so errors are told relative to how far distances differ from each other.

use crate::codes::{Measured, Scheme, normalise, with_scheme};
use crate::distance::RowQuery;
use crate::originals::Originals;
use crate::paged::Paged;
use crate::row_pages::RowPages;
use crate::{ComponentKind, Manifest, Metric, SearchError, Segment, VectorValues, Vectors};

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
        let Some(Measured { codes, .. }) = self.codes() else { return Ok(None) };
        let manifest = self.manifest();
        let sample = sample.clamp(1, manifest.points) as u64;
        let point = |i: u64| (i * manifest.points as u64 / sample) as u32;
        let points: Vec<u32> = (0..sample).map(point).collect();
        let (paged, resident) = match self.originals() {
            Originals::Paged(paged) => (Some(paged), None),
            Originals::Resident(rows) => (None, Some(rows)),
        };
        let rows = records_of(&points, manifest.row_bytes(), paged, &|point, out| {
            resident.into_iter().for_each(|rows| out.copy_from_slice(rows.row(point)));
        })?;
        let rows = vectors_of(manifest, rows);
        let code_bytes = manifest.record_bytes_of(ComponentKind::Codes(codes.quantizer()));
        let made = records_of(&points, code_bytes, self.paged_codes(), &|point, out| {
            with_scheme!(codes, codes => out.copy_from_slice(codes.row(point)));
        })?;
        Ok(with_scheme!(codes, codes => compare(manifest, codes, &made, &rows)))
    }
}

fn compare<S: Scheme>(
    manifest: &Manifest,
    codes: &S,
    made: &[u8],
    rows: &Vectors,
) -> Option<CodesError> {
    let (mut exact_query, mut code_query) = (RowQuery::default(), S::Query::default());
    let mut values = vec![0.0; manifest.dim];
    let (mut exact, mut errors) = (Moments::default(), Moments::default());
    let code_bytes = made.len() / rows.len();
    let apart = rows.len().div_ceil(QUERIES);
    for query in (0..rows.len()).step_by(apart) {
        rows.row_f32(query, &mut values);
        exact_query.set(manifest.metric, manifest.element, &values);
        if manifest.metric == Metric::Cosine {
            normalise(&mut values);
        }
        codes.set_query(&values, &mut code_query);
        for other in (0..rows.len()).filter(|&other| other != query) {
            let distance = f64::from(exact_query.distance(rows.row_bytes(other)));
            let estimate =
                f64::from(codes.measure(&code_query, &made[other * code_bytes..][..code_bytes]));
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

/// The records of these points, put end to end: from memory, or read all in one batch.
fn records_of(
    points: &[u32],
    record_bytes: usize,
    paged: Option<&Paged>,
    resident: &dyn Fn(u32, &mut [u8]),
) -> Result<Vec<u8>, ringpool_storage::Error> {
    let mut all = vec![0; points.len() * record_bytes];
    let Some(Paged { source, records, .. }) = paged else {
        points
            .iter()
            .zip(all.chunks_exact_mut(record_bytes))
            .for_each(|(&p, out)| resident(p, out));
        return Ok(all);
    };
    for (points, all) in points
        .chunks(RowPages::most(records))
        .zip(all.chunks_mut(RowPages::most(records).saturating_mul(record_bytes)))
    {
        let mut wanted = RowPages::default();
        wanted.plan(records, points.iter().copied());
        let RowPages { pages, shares } = &mut wanted;
        let each = &mut |i: usize, record: &[u8]| {
            all[i * record_bytes..][..record_bytes].copy_from_slice(&record[..record_bytes]);
        };
        source.visit(pages, &mut |place, page| shares.take(records, points, place, page, each))?;
        shares.finish(records, each);
    }
    Ok(all)
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
