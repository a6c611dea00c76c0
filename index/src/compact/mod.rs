//! Several segments rewritten as one, without their deleted points.
//!
//! The points of the new segment are in ascending order of their ids, whatever segments they come
//! from and wherever they lay there: compacting is building from the live vectors in that order,
//! and gives the same bytes. The sources are merged by their ids first, which tells each live point
//! its row; then their originals are read page by page, each page once and in order, straight into
//! these rows. So the vectors are in memory once, as for any build. Fields follow in the same way.

mod columns;
mod removal;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use ringpool_storage::{PageNo, PageSource};

use crate::build::build_gated;
use crate::layout::Records;
use crate::points::{OpenSource, Points};
use crate::progress::Phase;
use crate::step::Gate;
use crate::{
    Attached, BuildError, BuildOptions, BuildReport, Columns, CompactError, ComponentFile,
    ComponentKind, Element, Field, GivenIds, MAX_POINTS, Manifest, Patience, Progress, Selection,
    VectorValues, Vectors,
};

/// Pages that are read at once.
const BATCH: u64 = 256;
/// Stands for a point that has no row.
const DEAD: u32 = u32::MAX;

/// What a compaction made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Points of all sources.
    pub points_before: u64,
    /// Of these deleted, and left out.
    pub deleted: u64,
    /// What building the segment of the others has made.
    pub build: BuildReport,
}

/// Segments that can be made one: what it will have is known, and nothing is written yet.
pub struct Compaction {
    sources: Vec<Source>,
    /// The ids of the live points, in ascending order.
    ids: Vec<u64>,
    fields: Vec<Field>,
}

struct Source {
    dir: PathBuf,
    points: Points,
    dead: Selection,
    /// For each rank the row of its point in the new segment.
    rows: Vec<u32>,
}

/// Rewrites the live points of the segments in `dirs` as one segment in `out`, as it is done by
/// [`Compaction`]. By default as the first was built: [`BuildOptions::of`].
///
/// # Errors
/// As those of `Compaction`.
pub fn compact(
    dirs: &[&Path],
    open: &mut OpenSource<'_>,
    out: &Path,
    options: Option<&BuildOptions>,
    progress: &dyn Progress,
) -> Result<CompactReport, CompactError> {
    let compaction = Compaction::new(dirs, open)?;
    let own = BuildOptions::of(compaction.first());
    compaction.build(open, out, options.unwrap_or(&own), progress)
}

impl Compaction {
    /// Looks at the segments in `dirs`; of their components those of the ids are read, through
    /// what `open` makes of them.
    ///
    /// # Errors
    /// When one cannot be opened, is unlike the first or has an id that another has, and when no
    /// live point is in any, or too many for one segment.
    pub fn new(dirs: &[&Path], open: &mut OpenSource<'_>) -> Result<Self, CompactError> {
        Self::new_within(dirs, open, Patience::default())
    }

    /// [`new`](Self::new) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `new`; [`SegmentError::Pages`](crate::SegmentError::Pages) of a deadline that has
    /// passed, or of the caller who has cancelled.
    pub fn new_within(
        dirs: &[&Path],
        open: &mut OpenSource<'_>,
        patience: Patience<'_>,
    ) -> Result<Self, CompactError> {
        let source = |dir: &&Path| -> Result<Source, CompactError> {
            let points = Points::open(dir, open, patience)?;
            let none = || Selection::none(points.manifest.points);
            let dead = points.deletes.dead().map_or_else(none, |dead| (*dead).clone());
            Ok(Source { dir: (*dir).into(), points, dead, rows: Vec::new() })
        };
        let mut sources = dirs.iter().map(source).collect::<Result<Vec<_>, _>>()?;
        expect_alike(&sources)?;
        let fields = columns::fields_of(&sources)?;
        let live: usize = sources.iter().map(Source::live).sum();
        if live == 0 {
            return Err(CompactError::Nothing);
        }
        if live > MAX_POINTS {
            return Err(CompactError::TooMany { points: live });
        }
        let ids = merge(&mut sources, live)?;
        Ok(Self { sources, ids, fields })
    }

    /// The manifest of the first segment.
    pub fn first(&self) -> &Manifest {
        &self.sources[0].points.manifest
    }

    /// How many points the new segment has.
    pub fn points(&self) -> usize {
        self.ids.len()
    }

    /// The most memory that the process needs to make it with these options, in bytes.
    pub fn memory_bytes(&self, options: &BuildOptions) -> u64 {
        let Manifest { dim, element, .. } = *self.first();
        let attached = Attached::from(GivenIds::Each(&self.ids));
        let rows: usize = self.sources.iter().map(|source| source.rows.len()).sum();
        let ids: u64 = self.sources.iter().map(|source| source.points.ids.resident_bytes()).sum();
        let build = options.memory(dim, self.points(), element).peak_bytes();
        let fields = columns::memory_bytes(&self.sources);
        build + attached.memory_bytes() + 4 * rows as u64 + ids + fields
    }

    /// Reads the live points and builds the segment in `out`, whole or not at all, as
    /// [`build`](crate::build()) does. The sources stay as they are.
    ///
    /// # Errors
    /// When a page could not be had, and as those of `build`.
    pub fn build(
        &self,
        open: &mut OpenSource<'_>,
        out: &Path,
        options: &BuildOptions,
        progress: &dyn Progress,
    ) -> Result<CompactReport, CompactError> {
        self.build_gated(open, out, options, progress, crate::step::OPEN)
    }

    pub(crate) fn build_gated(
        &self,
        open: &mut OpenSource<'_>,
        out: &Path,
        options: &BuildOptions,
        progress: &dyn Progress,
        gate: &Gate<'_>,
    ) -> Result<CompactReport, CompactError> {
        let (vectors, columns) = self.read(open, progress)?;
        let attached = Attached { ids: GivenIds::Each(&self.ids), columns: columns.as_ref() };
        let build = build_gated(&vectors, &attached, out, options, progress, gate)?;
        let count = |of: fn(&Source) -> usize| self.sources.iter().map(of).sum::<usize>() as u64;
        let points_before = count(|source| source.points.manifest.points);
        Ok(CompactReport { points_before, deleted: count(|source| source.dead.len()), build })
    }

    /// The live vectors in the order of their ids, and their fields where they have any.
    fn read(
        &self,
        open: &mut OpenSource<'_>,
        progress: &dyn Progress,
    ) -> Result<(Vectors, Option<Columns>), CompactError> {
        let Manifest { dim, element, .. } = *self.first();
        let mut values = zeros(element, self.points() * dim);
        let pages = |source: &Source| source.originals().pages + columns::pages(source);
        let total = self.sources.iter().map(pages).sum();
        let mut done = 0;
        for source in &self.sources {
            let pages = source.read(open, bytes_of(&mut values), &mut |pages| {
                unless_cancelled(progress, done + pages, total)
            })?;
            done += pages;
        }
        let heard = &mut |pages| unless_cancelled(progress, done + pages, total);
        let has_fields = !self.fields.is_empty();
        let read = || columns::read(&self.sources, &self.fields, open, heard);
        let columns = has_fields.then(read).transpose()?;
        let vectors = Vectors::new(dim, values);
        let vectors = vectors.map_err(|_| CompactError::TooMany { points: self.points() })?;
        Ok((vectors, columns))
    }

    /// Removes the sources, once their points are safe elsewhere: each's manifest first, so that
    /// whatever interrupts it, no half of a segment is left. A folder that has other files as well
    /// stays, with these.
    ///
    /// # Errors
    /// When points of a source were deleted since it was looked at, which the new segment does
    /// not know: then all stay. When the system refuses.
    pub fn remove_sources(self) -> Result<(), CompactError> {
        self.remove_sources_gated(crate::step::OPEN)
    }

    pub(crate) fn remove_sources_gated(self, gate: &Gate<'_>) -> Result<(), CompactError> {
        let of = |source| {
            let Source { dir, points, dead, .. }: &Source = source;
            (&**dir, points, dead)
        };
        removal::remove(self.sources.iter().map(of), gate)
    }
}

impl Source {
    fn live(&self) -> usize {
        self.points.manifest.points - self.dead.len()
    }

    /// The row of a live point in the new segment.
    fn row(&self, place: u32) -> usize {
        self.rows[self.points.ids.rank(place) as usize] as usize
    }

    fn originals(&self) -> &ComponentFile {
        // The manifest's list begins with them.
        &self.points.files[0]
    }

    /// Copies the live vectors to their rows in `out`, and returns how many pages were read;
    /// `heard` is told on the way.
    fn read(
        &self,
        open: &mut OpenSource<'_>,
        out: &mut [u8],
        heard: &mut dyn FnMut(u64) -> Result<(), CompactError>,
    ) -> Result<u64, CompactError> {
        let file = self.originals();
        debug_assert_eq!(file.kind, ComponentKind::Vectors);
        let source = open(file).map_err(crate::SegmentError::from)?;
        let records = self.points.manifest.sections(ComponentKind::Vectors)[0];
        let row_bytes = self.points.manifest.row_bytes();
        let row_of = |record: usize| {
            let place = record as u32;
            (!self.dead.contains(place)).then(|| self.row(place))
        };
        for first in (0..records.pages()).step_by(BATCH as usize) {
            heard(first)?;
            let pages = first..records.pages().min(first + BATCH);
            visit(&*source, &records, pages, &mut |stretch, page| {
                let mut taken = 0;
                // A stretch begins and ends anywhere in a record that is longer than a page.
                while taken < stretch.len() {
                    let at = stretch.start + taken;
                    let (record, from) = (at / records.record_bytes, at % records.record_bytes);
                    let len = (records.record_bytes - from).min(stretch.len() - taken);
                    if let Some(row) = row_of(record).filter(|_| from < row_bytes) {
                        let len = len.min(row_bytes - from);
                        let to = &mut out[row * row_bytes + from..][..len];
                        to.copy_from_slice(&page[taken..taken + len]);
                    }
                    taken += len;
                }
            })
            .map_err(crate::SegmentError::from)?;
        }
        Ok(records.pages())
    }
}

/// Hands over the pages of some records, in any order: which of their bytes put end to end each
/// has, and the page.
fn visit(
    source: &dyn PageSource,
    records: &Records,
    pages: Range<u64>,
    each: &mut dyn FnMut(Range<usize>, &[u8]),
) -> ringpool_storage::Result<()> {
    let numbers: Vec<PageNo> =
        pages.clone().map(|page| PageNo(records.first_page + page)).collect();
    source.visit(&numbers, &mut |i, page| each(records.stretch(pages.start + i as u64), page))
}

/// Tells the live points of all sources their rows, and returns their ids in ascending order.
fn merge(sources: &mut [Source], live: usize) -> Result<Vec<u64>, CompactError> {
    // Which ranks are live, as the dead are known by their places.
    for source in &mut *sources {
        source.rows = vec![0; source.points.manifest.points];
        for place in source.dead.iter() {
            source.rows[source.points.ids.rank(place) as usize] = DEAD;
        }
    }
    let next_live = |source: &Source, rank: usize| {
        let ahead = source.rows.get(rank..)?.iter().position(|&row| row != DEAD)?;
        Some((source.points.ids.of_rank((rank + ahead) as u32), rank + ahead))
    };
    let mut heads = BinaryHeap::new();
    for (number, source) in sources.iter().enumerate() {
        heads.extend(next_live(source, 0).map(|(id, rank)| Reverse((id, number, rank))));
    }
    let mut ids: Vec<u64> = Vec::with_capacity(live);
    let mut last = 0;
    while let Some(Reverse((id, number, rank))) = heads.pop() {
        if ids.last() == Some(&id) {
            let dirs = [last, number].map(|number| sources[number].dir.clone());
            return Err(CompactError::DuplicateId { id, dirs });
        }
        sources[number].rows[rank] = ids.len() as u32;
        ids.push(id);
        last = number;
        let next = next_live(&sources[number], rank + 1);
        heads.extend(next.map(|(id, rank)| Reverse((id, number, rank))));
    }
    Ok(ids)
}

/// Passes where all have vectors of one kind.
fn expect_alike(sources: &[Source]) -> Result<(), CompactError> {
    let Some(first) = sources.first() else { return Err(CompactError::Nothing) };
    let differs = |source: &Source| {
        let (own, others) = (&source.points.manifest, &first.points.manifest);
        if own.metric != others.metric {
            return Some(format!("has the metric {}, and the first {}", own.metric, others.metric));
        }
        if own.element != others.element {
            return Some(format!("has {} values, and the first {}", own.element, others.element));
        }
        let (dim, expected) = (own.dim, others.dim);
        (dim != expected).then(|| format!("has {dim} dimensions, and the first {expected}"))
    };
    for source in sources {
        if let Some(reason) = differs(source) {
            return Err(CompactError::Unlike { dir: source.dir.clone(), reason });
        }
    }
    Ok(())
}

fn unless_cancelled(progress: &dyn Progress, done: u64, total: u64) -> Result<(), CompactError> {
    match progress.report(Phase::Read, done, total) {
        std::ops::ControlFlow::Continue(()) => Ok(()),
        std::ops::ControlFlow::Break(()) => Err(BuildError::Cancelled.into()),
    }
}

fn zeros(element: Element, count: usize) -> VectorValues {
    match element {
        Element::F32 => VectorValues::F32(vec![0.0; count]),
        Element::F16 => VectorValues::F16(vec![f16::ZERO; count]),
        Element::Bf16 => VectorValues::Bf16(vec![bf16::ZERO; count]),
        Element::U8 => VectorValues::U8(vec![0; count]),
        Element::I8 => VectorValues::I8(vec![0; count]),
    }
}

fn bytes_of(values: &mut VectorValues) -> &mut [u8] {
    match values {
        VectorValues::F32(values) => bytemuck::cast_slice_mut(values),
        VectorValues::F16(values) => bytemuck::cast_slice_mut(values),
        VectorValues::Bf16(values) => bytemuck::cast_slice_mut(values),
        VectorValues::U8(values) => values,
        VectorValues::I8(values) => bytemuck::cast_slice_mut(values),
    }
}
