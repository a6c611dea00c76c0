//! What the kernel counts for this process: bytes read from disk, faults, processor time, memory.

use std::fs;

use procfs::process::Process;
use rustix::time::{ClockId, clock_gettime};

/// The counters that grow while a process runs.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// Bytes that reads of this process made the disk deliver, whichever way it read.
    /// `None` where the kernel does not count them.
    pub read_bytes: Option<u64>,
    /// Faults that had to wait for the disk.
    pub major_faults: u64,
    /// Faults that had not.
    pub minor_faults: u64,
    /// Processor time of all threads, user and system.
    pub cpu_seconds: f64,
}

impl Counters {
    /// The counters as they stand.
    pub fn now() -> Self {
        let process = Process::myself();
        let io = process.as_ref().ok().and_then(|process| process.io().ok());
        let stat = process.as_ref().ok().and_then(|process| process.stat().ok());
        Self {
            read_bytes: io.map(|io| io.read_bytes),
            major_faults: stat.as_ref().map_or(0, |stat| stat.majflt),
            minor_faults: stat.map_or(0, |stat| stat.minflt),
            cpu_seconds: cpu_seconds(),
        }
    }

    /// How much they grew since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let read_bytes = self.read_bytes.zip(earlier.read_bytes);
        Self {
            read_bytes: read_bytes.map(|(now, then)| now.saturating_sub(then)),
            major_faults: self.major_faults.saturating_sub(earlier.major_faults),
            minor_faults: self.minor_faults.saturating_sub(earlier.minor_faults),
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
        }
    }
}

/// Processor time of all threads so far, user and system.
pub fn cpu_seconds() -> f64 {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9
}

/// How often a processor had to make another one forget where pages are, since the machine was
/// started and whoever was the cause. `None` where the kernel does not count it.
pub fn tlb_shootdowns() -> Option<u64> {
    tlb_line(&fs::read_to_string("/proc/interrupts").ok()?)
}

/// The sum over the processors; the words behind them say what it is.
fn tlb_line(interrupts: &str) -> Option<u64> {
    let line = interrupts.lines().find_map(|line| line.trim_start().strip_prefix("TLB:"))?;
    let counts = line.split_ascii_whitespace().map_while(|word| word.parse::<u64>().ok());
    Some(counts.sum())
}

/// The most that was ever resident, mapped files included.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = Process::myself().and_then(|process| process.status());
    status.ok()?.vmhwm.map(|kib| kib * 1024)
}

/// Memory of this process that the kernel cannot drop.
#[derive(Clone, Copy, Debug)]
pub struct Undroppable {
    /// What was allocated and touched.
    pub anonymous_bytes: u64,
    /// The tables that say where all of it, and mapped files, are.
    pub page_table_bytes: u64,
}

impl Undroppable {
    /// As it stands. `None` where the kernel does not say.
    pub fn now() -> Option<Self> {
        let status = Process::myself().and_then(|process| process.status()).ok()?;
        Some(Self {
            anonymous_bytes: status.rssanon? * 1024,
            page_table_bytes: status.vmpte? * 1024,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn touched_memory_is_seen() {
        const BYTES: u64 = 32 << 20;
        let before = Undroppable::now().unwrap().anonymous_bytes;
        let touched = black_box(vec![1_u8; BYTES as usize]);
        let grown = Undroppable::now().unwrap().anonymous_bytes.saturating_sub(before);
        assert!(grown >= BYTES * 9 / 10, "{grown}");
        assert!(peak_rss_bytes().unwrap() >= BYTES);
        drop(touched);
    }

    #[test]
    fn faults_are_counted() {
        const PAGES: u64 = 512;
        let before = Counters::now();
        let touched = black_box(vec![1_u8; PAGES as usize * 4096]);
        let spent = Counters::now().since(&before);
        // Huge pages take fewer.
        assert!(spent.minor_faults > 0 && spent.minor_faults < 100 * PAGES, "{spent:?}");
        drop(touched);
    }

    #[test]
    fn shootdowns_are_summed_over_the_processors() {
        let text = "  0:  1  2  IO-APIC\n TLB:  64647  67075   TLB shootdowns\n";
        assert_eq!(tlb_line(text), Some(131_722));
        assert_eq!(tlb_line("IPI0:  1  2  Rescheduling"), None);
    }

    #[test]
    fn processor_time_passes() {
        let before = Counters::now();
        let mut x = 1_u64;
        while Counters::now().since(&before).cpu_seconds < 0.02 {
            x = black_box(x.wrapping_mul(3));
        }
        let spent = Counters::now().since(&before);
        assert!(spent.cpu_seconds >= 0.02 && spent.cpu_seconds < 10.0);
    }
}
