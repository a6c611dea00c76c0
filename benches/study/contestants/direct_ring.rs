//! The library's ring with direct reads, and no pool: what is asked for is read, as often as it is.

use std::sync::{Arc, Mutex, PoisonError};

use ringpool::EngineChoice;
use ringpool::storage::{
    Checksums, DeviceGather, Gather, PageDevice, PageNo, PageSize, PageSource, ReadBuffer, Result,
};
use ringpool::uring::Engine;
use ringpool_cli::failure::Failure;

use super::{Contestant, Subject};

/// Pages in flight for one batch: past the knee of most disks.
const DEPTH: u32 = 64;
/// Pages in flight for many batches of one thread.
const GATHER_DEPTH: u32 = 128;

pub struct DirectRing;

struct Direct {
    device: Arc<dyn PageDevice>,
    checksums: Option<Checksums>,
    /// Those that no visit is using.
    buffers: Mutex<Vec<ReadBuffer>>,
}

impl Contestant for DirectRing {
    fn name(&self) -> &'static str {
        "direct-ring"
    }

    fn manner(&self) -> &'static str {
        "the library's ring with O_DIRECT, 64 pages in flight a batch, and no pool"
    }

    fn open(&self, subject: &Subject) -> std::result::Result<Arc<dyn PageSource>, Failure> {
        let engine = Engine::start(EngineChoice::Uring).map_err(|error| Failure::of(&error))?;
        let opened = engine.open(&subject.path, subject.page_size);
        let device = opened.map_err(|error| Failure::of(&error))?.device;
        let checksums = subject.checksums.clone();
        Ok(Arc::new(Direct { device, checksums, buffers: Mutex::default() }))
    }

    fn caches(&self) -> bool {
        false
    }
}

impl PageSource for Direct {
    fn page_size(&self) -> PageSize {
        self.device.page_size()
    }

    fn page_count(&self) -> u64 {
        self.device.page_count()
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let buffers = || self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = buffers().pop();
        let mut buffer = spare.unwrap_or_else(|| {
            let buffer = ReadBuffer::new(DEPTH, self.page_size());
            buffer.register(&*self.device);
            buffer
        });
        let mut bad = None;
        let visited = buffer.visit(&*self.device, pages, |i, bytes| {
            let check = |sums: &Checksums| sums.verify(self.device.file(), pages[i], bytes);
            match self.checksums.as_ref().map_or(Ok(()), check) {
                Ok(()) if bad.is_none() => each(i, bytes),
                Ok(()) => {}
                Err(error) => bad = bad.take().or(Some(error)),
            }
        });
        buffers().push(buffer);
        visited?;
        bad.map_or(Ok(()), Err)
    }

    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        let gather = DeviceGather::new(&*self.device, self.checksums.as_ref(), GATHER_DEPTH);
        gather.register();
        Some(Box::new(gather))
    }
}
