//! The points of a segment without what finds them: their ids, and which are deleted.

use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use ringpool_storage::PageSource;

use crate::aligned::Aligned;
use crate::component::load_words;
use crate::deletes::Deletes;
use crate::ids::{Ids, check_ids, check_ranks};
use crate::patient_source::PatientSource;
use crate::{
    ComponentFile, ComponentKind, DeleteError, DeleteReport, Manifest, Patience, SegmentError,
};

/// Opens the source of a component's pages.
pub type OpenSource<'a> =
    dyn FnMut(&ComponentFile) -> ringpool_storage::Result<Arc<dyn PageSource>> + 'a;

/// Deletes the points with these ids from the segment in `dir`, without opening it for searches:
/// of its components only those of the ids are read, through what `open` makes of them.
///
/// # Errors
/// As those of [`Segment::delete`](crate::Segment::delete), and of opening.
pub fn delete(
    dir: &Path,
    open: &mut OpenSource<'_>,
    ids: &[u64],
) -> Result<DeleteReport, DeleteError> {
    delete_within(dir, open, ids, Patience::default())
}

/// [`delete`] as long as `patience` lasts.
///
/// # Errors
/// As those of `delete` and of [`Segment::delete_within`](crate::Segment::delete_within).
pub fn delete_within(
    dir: &Path,
    open: &mut OpenSource<'_>,
    ids: &[u64],
    patience: Patience<'_>,
) -> Result<DeleteReport, DeleteError> {
    let points = Points::open(dir, open, patience)?;
    points.deletes.delete(&points.ids, ids, patience, crate::step::OPEN)
}

/// What is known of a segment's points.
pub(crate) struct Points {
    pub(crate) manifest: Manifest,
    pub(crate) files: Vec<ComponentFile>,
    pub(crate) ids: Ids,
    pub(crate) deletes: Deletes,
}

impl Points {
    pub(crate) fn open(
        dir: &Path,
        open: &mut OpenSource<'_>,
        patience: Patience<'_>,
    ) -> Result<Self, SegmentError> {
        let (manifest, seal) = Manifest::read_sealed(dir)?;
        let files = manifest.component_files(dir)?;
        let deletes = Deletes::open(dir, seal, manifest.points)?;
        let file_of = |kind| files.iter().find(|file| file.kind == kind);
        let (ranks, own) = (file_of(ComponentKind::Ids), file_of(ComponentKind::OwnIds));
        let ranks = words_of(&manifest, ranks, open, patience, check_ranks)?;
        let own = words_of(&manifest, own, open, patience, check_ids)?;
        let ids = Ids::new(manifest.points, manifest.ids, ranks, own);
        Ok(Self { manifest, files, ids, deletes })
    }
}

/// Loads a component of plain numbers, where there is one.
fn words_of<T: Pod>(
    manifest: &Manifest,
    file: Option<&ComponentFile>,
    open: &mut OpenSource<'_>,
    patience: Patience<'_>,
    check: fn(&[T]) -> Result<(), String>,
) -> Result<Option<Aligned<T>>, SegmentError> {
    let Some(file) = file else { return Ok(None) };
    let source = open(file)?;
    let source = PatientSource { source: &*source, path: &file.path, patience };
    let words = load_words(&source, &manifest.sections(file.kind)[0])?;
    let damaged = |reason| SegmentError::Component { path: file.path.clone(), reason };
    check(&words).map_err(damaged)?;
    Ok(Some(words))
}
