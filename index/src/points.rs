//! The points of a segment without what finds them: their ids, and which are deleted.

use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use ringpool_storage::PageSource;

use crate::aligned::Aligned;
use crate::component::load_words;
use crate::deletes::Deletes;
use crate::ids::{Ids, check_ids, check_ranks};
use crate::{ComponentFile, ComponentKind, DeleteError, DeleteReport, Manifest, SegmentError};

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
    let points = Points::open(dir, open)?;
    points.deletes.delete(&points.ids, ids, &|_| Ok(()))
}

/// What is known of a segment's points.
pub(crate) struct Points {
    pub(crate) manifest: Manifest,
    pub(crate) files: Vec<ComponentFile>,
    pub(crate) ids: Ids,
    pub(crate) deletes: Deletes,
}

impl Points {
    pub(crate) fn open(dir: &Path, open: &mut OpenSource<'_>) -> Result<Self, SegmentError> {
        let (manifest, seal) = Manifest::read_sealed(dir)?;
        let files = manifest.component_files(dir)?;
        let deletes = Deletes::open(dir, seal, manifest.points)?;
        let file_of = |kind| files.iter().find(|file| file.kind == kind);
        let ranks = words_of(&manifest, file_of(ComponentKind::Ids), open, check_ranks)?;
        let own = words_of(&manifest, file_of(ComponentKind::OwnIds), open, check_ids)?;
        let ids = Ids::new(manifest.points, manifest.ids, ranks, own);
        Ok(Self { manifest, files, ids, deletes })
    }
}

/// Loads a component of plain numbers, where there is one.
fn words_of<T: Pod>(
    manifest: &Manifest,
    file: Option<&ComponentFile>,
    open: &mut OpenSource<'_>,
    check: fn(&[T]) -> Result<(), String>,
) -> Result<Option<Aligned<T>>, SegmentError> {
    let Some(file) = file else { return Ok(None) };
    let words = load_words(&*open(file)?, &manifest.sections(file.kind)[0])?;
    let damaged = |reason| SegmentError::Component { path: file.path.clone(), reason };
    check(&words).map_err(damaged)?;
    Ok(Some(words))
}
