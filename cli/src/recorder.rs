//! Writing down which pages a search asks for: what `replay` is given later.
//!
//! A recorder stands before what the originals are read through, whatever that is, and notes the
//! page numbers of each batch before it passes the batch on. With several threads, batches are
//! noted in the order in which they were asked for, each whole.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ringpool::storage::{Arrivals, Gather, PageNo, PageSize, PageSource, Result};

use crate::failure::Failure;
use crate::trace::{self, MAX_REQUESTS};

/// The page numbers asked for so far. Clones are the same recording.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Recording>>);

#[derive(Default)]
struct Recording {
    requests: Vec<u32>,
    /// Why the recording is not whole.
    gap: Option<&'static str>,
}

impl Recorder {
    /// `source`, with each of its batches noted.
    pub fn before(&self, source: Arc<dyn PageSource>) -> Arc<dyn PageSource> {
        Arc::new(Recorded { source, recorder: self.clone() })
    }

    /// Forgets what was noted: the recording begins here.
    pub fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Recording::default();
    }

    /// Writes what was noted to `path`, as little-endian u32; gzipped if it ends in `.gz`.
    ///
    /// # Errors
    /// When there is more than a trace may have, or the file cannot be written.
    pub fn write(&self, path: &Path) -> std::result::Result<(), Failure> {
        let recording = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match recording.gap {
            None => trace::write(path, &recording.requests),
            Some(gap) => Err(Failure::new(format!("{}: not written: {gap}", path.display()))),
        }
    }

    fn note(&self, pages: &[PageNo]) {
        let mut recording = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if (recording.requests.len() + pages.len()) as u64 > MAX_REQUESTS {
            recording.gap = Some("the search asks for more pages than a trace may name");
            return;
        }
        for page in pages {
            match u32::try_from(page.0) {
                Ok(number) => recording.requests.push(number),
                Err(_) => recording.gap = Some("a page number is too large for 32 bits"),
            }
        }
    }
}

/// A source that is noted.
struct Recorded {
    source: Arc<dyn PageSource>,
    recorder: Recorder,
}

impl PageSource for Recorded {
    fn page_size(&self) -> PageSize {
        self.source.page_size()
    }

    fn page_count(&self) -> u64 {
        self.source.page_count()
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.recorder.note(pages);
        self.source.visit(pages, each)
    }

    fn visit_until(
        &self,
        pages: &[PageNo],
        deadline: Option<Instant>,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        self.recorder.note(pages);
        self.source.visit_until(pages, deadline, each)
    }

    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        let gather = self.source.gather()?;
        Some(Box::new(RecordedGather { gather, recorder: &self.recorder }))
    }
}

/// A gather whose batches are noted as they are asked for.
struct RecordedGather<'s> {
    gather: Box<dyn Gather + 's>,
    recorder: &'s Recorder,
}

impl Gather for RecordedGather<'_> {
    fn ask(
        &mut self,
        batch: u32,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<usize> {
        self.recorder.note(pages);
        self.gather.ask(batch, pages, each)
    }

    fn collect(&mut self, each: &mut Arrivals<'_>) {
        self.gather.collect(each);
    }

    fn has_arrivals(&self) -> bool {
        self.gather.has_arrivals()
    }

    fn outstanding(&self) -> usize {
        self.gather.outstanding()
    }

    fn wait(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> Result<()> {
        self.gather.wait(until, deadline)
    }

    fn leave(&mut self, batch: u32) {
        self.gather.leave(batch);
    }
}

#[cfg(test)]
mod tests {
    use ringpool::storage::MemorySource;

    use super::*;

    #[test]
    fn a_trace_is_whole_or_refused() {
        let memory = MemorySource::new("pages", PageSize::KIB_4, vec![0; 3 * 4096]).unwrap();
        let (recorder, dir) = (Recorder::default(), tempfile::tempdir().unwrap());
        let source = recorder.before(Arc::new(memory));
        let visit = |page: u64| source.visit(&[PageNo(page), PageNo(2)], &mut |_, _| {});
        visit(0).unwrap();
        recorder.begin();
        visit(1).unwrap();
        let path = dir.path().join("t.u32");
        recorder.write(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [1, 0, 0, 0, 2, 0, 0, 0]);
        visit(1 << 32).unwrap_err();
        let refused = recorder.write(&dir.path().join("u.u32")).unwrap_err().to_string();
        assert!(refused.contains("32 bits"), "{refused}");
        assert!(!dir.path().join("u.u32").exists());
    }
}
