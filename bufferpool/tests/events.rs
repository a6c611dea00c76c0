//! What a subscriber of `tracing` is told, and what it is not.

#![cfg(all(feature = "tracing", not(loom)))]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpool_bufferpool::{Pool, PoolOptions};
use ringpool_storage::{
    Fault, FaultyDevice, MemoryDevice, MemorySource, PageNo, PageSize, PageSource,
};
use tracing_subscriber::filter::LevelFilter;

/// What was told, as text.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Told {
    /// What is told while `does` runs, in this thread.
    fn by(does: impl FnOnce()) -> String {
        let told = Self::default();
        let writer = told.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, does);
        String::from_utf8(std::mem::take(&mut *told.0.lock().unwrap())).unwrap()
    }
}

#[test]
fn reads_failures_and_silence_are_told_and_hits_are_not() {
    let pool = Pool::new(&PoolOptions {
        memory_bytes: 1 << 20,
        device_patience: Duration::from_millis(50),
        ..PoolOptions::default()
    });
    let sevens = MemorySource::new("sevens", PageSize::KIB_4, vec![7; 100 * 4096]).unwrap();
    let device = FaultyDevice::new(Arc::new(MemoryDevice::new(sevens)), |_, page| match page.0 {
        50 => Some(Fault::Errno(5)),
        51 => Some(Fault::Hold),
        _ => None,
    });
    let device = Arc::new(device);
    let file = pool.unwrap().attach(device.clone(), None).unwrap();
    let pages: Vec<PageNo> = (0..20).map(PageNo).collect();
    let visit = || file.visit(&pages, &mut |_, _| {}).unwrap();
    let told = Told::by(visit);
    assert!(told.contains("DEBUG") && told.contains("misses=20"), "{told}");
    assert_eq!(Told::by(visit), "", "all of them are hits");
    assert_eq!(Told::by(|| drop(file.pin(PageNo(3)).unwrap())), "");
    let told = Told::by(|| assert!(file.pin(PageNo(50)).is_err()));
    assert!(told.contains("WARN") && told.contains("page=50") && told.contains("sevens"), "{told}");
    let told = Told::by(|| assert!(file.pin(PageNo(51)).is_err()));
    assert!(told.contains("WARN") && told.contains("does not answer"), "{told}");
    device.release();
}
