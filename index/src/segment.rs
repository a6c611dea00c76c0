//! An open segment: graph and codes in memory, originals behind a source.

use std::path::Path;
use std::sync::Arc;

use ringpool_storage::PageSource;

use crate::component::{ComponentKind, load_records, load_words};
use crate::graph::{Graph, Layer};
use crate::layout::Records;
use crate::originals::Originals;
use crate::search::{Hit, Scratch, SearchParams, Searched};
use crate::sq8::{Codebook, Codes};
use crate::{ComponentFile, Manifest, SearchError, SegmentError};

/// An open segment. Any number of threads may search it, each with a [`Scratch`] of its own.
pub struct Segment {
    manifest: Manifest,
    graph: Graph,
    codes: Option<Codes>,
    originals: Originals,
}

impl Segment {
    /// Opens the segment in `dir`. `open_component` gives the source that each component is read
    /// through: graph and codes are read once, in batches, and their sources let go; the source of
    /// the vectors is kept and read at search time.
    ///
    /// # Errors
    /// When the manifest or a file is not as it was written, when a source cannot be opened or
    /// read, or when what it returns cannot be a graph or codes.
    pub fn open(
        dir: &Path,
        open_component: &mut dyn FnMut(
            &ComponentFile,
        ) -> ringpool_storage::Result<Arc<dyn PageSource>>,
    ) -> Result<Self, SegmentError> {
        let manifest = Manifest::read(dir)?;
        let (mut originals, mut codes, mut graph) = (None, None, None);
        for file in manifest.component_files(dir)? {
            let source = open_component(&file)?;
            expect_pages(&file, &*source)?;
            let sections = manifest.sections(file.kind);
            match file.kind {
                ComponentKind::Vectors => {
                    let records = sections[0];
                    originals = Some(Originals { source, records });
                }
                ComponentKind::Codes => {
                    codes = Some(load_codes(&manifest, &file, &*source, &sections)?);
                }
                ComponentKind::Graph => {
                    graph = Some(load_graph(&manifest, &file, &*source, &sections)?);
                }
            }
        }
        let (Some(originals), Some(graph)) = (originals, graph) else {
            return Err(SegmentError::NotASegment { dir: dir.into() });
        };
        Ok(Self { manifest, graph, codes, originals })
    }

    /// What the segment is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The memory that graph and codes take, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let codes = self.codes.as_ref().map_or(0, Codes::resident_bytes);
        self.graph.resident_bytes() + codes
    }

    /// The `k` points nearest to `query` that the walk finds, nearest first, ties by lower id.
    ///
    /// # Errors
    /// When the query or a parameter is no use, or a page of the originals could not be had.
    pub fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        scratch: &mut Scratch,
    ) -> Result<Vec<Hit>, SearchError> {
        let searched = Searched {
            manifest: &self.manifest,
            graph: &self.graph,
            codes: self.codes.as_ref(),
            originals: &self.originals,
        };
        searched.search(query, params, scratch)
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

fn damaged(file: &ComponentFile, reason: String) -> SegmentError {
    let path = file.path.clone();
    SegmentError::Component { path, reason }
}

fn expect_pages(file: &ComponentFile, source: &dyn PageSource) -> Result<(), SegmentError> {
    let expected = (file.pages, file.page_size);
    let found = (source.page_count(), source.page_size());
    if found == expected {
        return Ok(());
    }
    let ((expected, expected_size), (found, found_size)) = (expected, found);
    Err(damaged(
        file,
        format!(
            "its source has {found} pages of {found_size}, expected {expected} of {expected_size}"
        ),
    ))
}

fn load_codes(
    manifest: &Manifest,
    file: &ComponentFile,
    source: &dyn PageSource,
    sections: &[Records],
) -> Result<Codes, SegmentError> {
    let mut scales = load_words(source, &sections[0])?.into_iter().map(f32::from_bits);
    let step = scales.next().unwrap_or(f32::NAN);
    let offsets: Vec<f32> = scales.collect();
    if !(step.is_finite() && step > 0.0) {
        return Err(damaged(file, format!("the step is {step}, expected a positive number")));
    }
    if let Some(dimension) = offsets.iter().position(|offset| !offset.is_finite()) {
        let reason = format!("the offset of dimension {dimension} is no number");
        return Err(damaged(file, reason));
    }
    let book = Codebook { step, offsets, lossless: false };
    let codes = load_records(source, &sections[1])?;
    Ok(Codes::new(manifest.metric, book, codes))
}

fn load_graph(
    manifest: &Manifest,
    file: &ComponentFile,
    source: &dyn PageSource,
    sections: &[Records],
) -> Result<Graph, SegmentError> {
    let mut layers = vec![Layer {
        points: Vec::new(),
        records: load_words(source, &sections[0])?,
        max_neighbours: 2 * manifest.m,
    }];
    for section in &sections[1..] {
        let words = load_words(source, section)?;
        let records = words.chunks(manifest.m + 2);
        layers.push(Layer {
            points: records.clone().map(|record| record[0]).collect(),
            records: records.flat_map(|record| &record[1..]).copied().collect(),
            max_neighbours: manifest.m,
        });
    }
    let graph = Graph { entry_point: manifest.entry_point, layers };
    graph.check().map_err(|reason| damaged(file, reason))?;
    Ok(graph)
}
