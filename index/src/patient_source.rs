//! A source that is asked no further when patience is at its end: what components are loaded through.

use std::path::Path;
use std::time::Instant;

use ringpool_storage::{Awaited, Error, PageNo, PageSize, PageSource, Result};

use crate::{Patience, SearchError};

/// The pages of `path`, as long as there is patience.
pub(crate) struct PatientSource<'a> {
    pub(crate) source: &'a dyn PageSource,
    pub(crate) path: &'a Path,
    pub(crate) patience: Patience<'a>,
}

impl PageSource for PatientSource<'_> {
    fn page_size(&self) -> PageSize {
        self.source.page_size()
    }

    fn page_count(&self) -> u64 {
        self.source.page_count()
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.visit_until(pages, None, each)
    }

    fn visit_until(
        &self,
        pages: &[PageNo],
        deadline: Option<Instant>,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let file = || self.path.to_string_lossy().into();
        self.patience.check().map_err(|ended| match (ended, pages.first()) {
            (SearchError::DeadlinePassed, Some(&page)) => {
                Error::DeadlinePassed { file: file(), page, awaited: Awaited::Turn }
            }
            _ => Error::Cancelled { file: file() },
        })?;
        let deadline = deadline.into_iter().chain(self.patience.deadline()).min();
        self.source.visit_until(pages, deadline, each)
    }
}
