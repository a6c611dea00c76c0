//! What a stretch of work took: time, and processor time of all threads of this process.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Time and processor time.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    pub elapsed: Duration,
    /// User and system time together.
    pub cpu: Duration,
}

impl Spent {
    /// What `work` took.
    pub fn on(work: impl FnOnce()) -> Self {
        let (begun, before) = (Instant::now(), cpu());
        work();
        Self { cpu: cpu() - before, elapsed: begun.elapsed() }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.elapsed += other.elapsed;
        self.cpu += other.cpu;
    }
}

fn cpu() -> Duration {
    let clock = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(clock.tv_sec as u64, clock.tv_nsec as u32)
}
