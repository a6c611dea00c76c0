//! A folder of segments: all that are in it are searched as one, and they come and go meanwhile.
//!
//! A segment appears in its folder whole or not at all, so that the folder itself says what there
//! is: whatever has a manifest is a segment, and nothing else needs to be written down. Those that
//! are open share one engine, one budget and one pool. A search sees the segments that were open
//! when its [`Snapshot`](crate::Snapshot) was taken, from beginning to end.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::indexes::Snapshot;
use crate::{DeleteReport, Error, Index, Indexes, OpenOptions, Patience};

/// The most segments in one folder: each takes files that are open, and a walk of each query.
const MAX_SEGMENTS: usize = 4096;

/// What [`Indexes::refresh`] has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Segments that have appeared, and are open now.
    pub added: Vec<PathBuf>,
    /// Segments that have gone, and were dropped.
    pub dropped: Vec<PathBuf>,
}

/// The segments in the folder `dir`, by name. What begins with a dot, as a build does that has not
/// ended, is none; nor is a folder without a manifest, nor a file, nor a link, which could lead
/// anywhere: open those by [`Indexes::open`].
///
/// # Errors
/// When the folder cannot be read, or has more segments than can be open at once.
pub fn segments_in(dir: impl AsRef<Path>) -> Result<Vec<PathBuf>, Error> {
    let dir = dir.as_ref();
    let failed = |source| Error::Folder { dir: dir.into(), source: Arc::new(source) };
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let (path, is_folder) = (entry.path(), entry.file_type().map_err(failed)?.is_dir());
        // Whatever is called so: a segment whose manifest is a link is refused and not overlooked.
        let is_segment = || fs::symlink_metadata(path.join("MANIFEST")).is_ok();
        if is_hidden || !is_folder || !is_segment() {
            continue;
        }
        segments.push(path);
        if segments.len() > MAX_SEGMENTS {
            return Err(Error::TooManySegments { dir: dir.into(), most: MAX_SEGMENTS });
        }
    }
    segments.sort();
    Ok(segments)
}

impl Indexes {
    /// Opens all [segments in](segments_in) the folder `dir`, as [`open`](Self::open) does. Hits
    /// have the ids of their segments, whatever these are: build them with ids of their own, or
    /// each from another first id on.
    ///
    /// # Errors
    /// As those of `open`, where one of them cannot be opened; and when there is none.
    pub fn open_folder(dir: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, Error> {
        Self::open_folder_within(dir, options, Patience::default())
    }

    /// [`open_folder`](Self::open_folder) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `open_folder` and of [`Index::open_within`].
    pub fn open_folder_within(
        dir: impl AsRef<Path>,
        options: &OpenOptions,
        patience: Patience<'_>,
    ) -> Result<Self, Error> {
        let dirs = segments_in(dir)?;
        let dirs: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
        Self::open_all(&dirs, options, true, patience)
    }

    /// Opens a further segment, into the pool and within the budget of the others, and where
    /// [`OpenOptions`] place it. Snapshots that are taken from now on have it.
    ///
    /// # Errors
    /// As those of [`exchange`](Self::exchange).
    pub fn add(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        self.exchange::<&Path>(&[], &[dir.as_ref()])
    }

    /// Drops a segment: snapshots that are taken from now on do not have it. Searches that see it
    /// go on, and the last of them gives back what it took of the pool. Its files stay.
    ///
    /// # Errors
    /// As those of [`exchange`](Self::exchange).
    pub fn drop_segment(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        self.exchange::<&Path>(&[dir.as_ref()], &[])
    }

    /// Drops some segments and opens others in the same moment: no snapshot has some of both. So one
    /// that was [compacted](crate::Compaction) from others takes their place, and every point is
    /// found once.
    ///
    /// # Errors
    /// [`Error::NotOpen`] and [`Error::OpenAlready`] when one is not, or is, open; as those of
    /// [`open`](Self::open) for those that come. Nothing has changed then.
    pub fn exchange<P: AsRef<Path>>(&self, old: &[P], new: &[P]) -> Result<(), Error> {
        self.exchange_within(old, new, Patience::default())
    }

    /// [`exchange`](Self::exchange) as long as `patience` lasts: [`add`](Self::add) and
    /// [`drop_segment`](Self::drop_segment) are exchanges of nothing for one, and of one for nothing.
    ///
    /// # Errors
    /// As those of `exchange`; of a deadline that has passed, or of the caller who has cancelled.
    /// Nothing has changed then.
    pub fn exchange_within<P: AsRef<Path>>(
        &self,
        old: &[P],
        new: &[P],
        patience: Patience<'_>,
    ) -> Result<(), Error> {
        let _change = self.together.change(&patience)?;
        let members = self.all();
        let (mut stay, mut left) = (members.to_vec(), Vec::new());
        for dir in old.iter().map(AsRef::as_ref) {
            let at = stay.iter().position(|index| index.segment().dir() == dir);
            let gone = stay.remove(at.ok_or_else(|| Error::NotOpen { dir: dir.into() })?);
            left.extend(gone.now().pooled().cloned());
        }
        let mut claims = Vec::new();
        for dir in new.iter().map(AsRef::as_ref) {
            if stay.iter().any(|index| index.segment().dir() == dir) {
                return Err(Error::OpenAlready { dir: dir.into() });
            }
            let opened = Index::open_beside(dir, &self.together, patience);
            let index = opened.inspect_err(|_| self.together.share_out_again())?;
            claims.extend(index.now().claims());
            stay.push(Arc::new(index));
        }
        if !stay.is_empty() {
            Snapshot::of(&stay, self.tell_own_ids).searches(1)?; // Whether they are alike.
        }
        self.together.share_out(&left, claims)?;
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = stay.into();
        Ok(())
    }

    /// Looks into the folder `dir` again: opens segments that have appeared in it, and drops those
    /// that have gone from it, in the same moment.
    ///
    /// # Errors
    /// As those of [`exchange`](Self::exchange). Nothing has changed then.
    pub fn refresh(&self, dir: impl AsRef<Path>) -> Result<Refreshed, Error> {
        self.refresh_within(dir, Patience::default())
    }

    /// [`refresh`](Self::refresh) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of [`exchange_within`](Self::exchange_within). Nothing has changed then.
    pub fn refresh_within(
        &self,
        dir: impl AsRef<Path>,
        patience: Patience<'_>,
    ) -> Result<Refreshed, Error> {
        let dir = dir.as_ref();
        let found = segments_in(dir)?;
        let open: Vec<PathBuf> =
            self.all().iter().map(|index| index.segment().dir().to_path_buf()).collect();
        let has_gone = |one: &&PathBuf| one.parent() == Some(dir) && !found.contains(one);
        let dropped: Vec<PathBuf> = open.iter().filter(has_gone).cloned().collect();
        let added: Vec<PathBuf> = found.into_iter().filter(|one| !open.contains(one)).collect();
        self.exchange_within(&dropped, &added, patience)?;
        Ok(Refreshed { added, dropped })
    }

    /// Deletes the points with these ids from whichever segments have them, for good, as
    /// [`Segment::delete`](crate::Segment::delete) does in one.
    ///
    /// # Errors
    /// As those of `Segment::delete`. Those of the segments before it are deleted then.
    pub fn delete(&self, ids: &[u64]) -> Result<DeleteReport, Error> {
        self.delete_within(ids, Patience::default())
    }

    /// [`delete`](Self::delete) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of [`Segment::delete_within`](crate::Segment::delete_within). Those of the segments
    /// before it are deleted then.
    pub fn delete_within(
        &self,
        ids: &[u64],
        patience: Patience<'_>,
    ) -> Result<DeleteReport, Error> {
        let snapshot = self.snapshot();
        let (mut report, mut known) = (DeleteReport::default(), 0);
        for (number, segment) in (0..).zip(snapshot.segments()) {
            let own: Vec<u64> = ids.iter().filter_map(|&id| snapshot.own_id(number, id)).collect();
            if !own.is_empty() {
                let of_one = segment.delete_within(&own, patience)?;
                report.deleted += of_one.deleted;
                report.already += of_one.already;
                known += of_one.deleted + of_one.already;
            }
            report.live += segment.live_points() as u64;
        }
        let different: BTreeSet<u64> = ids.iter().copied().collect();
        report.missing = (different.len() as u64).saturating_sub(known);
        Ok(report)
    }
}
