//! How many queries are answered in each second: dips that a mean hides.
//!
//! The queries are run again and again for as long as was asked. A thread of its own looks at the
//! count of answers every second and writes a line at once, with both ends of what it covers, so
//! that somebody who stops and continues the process knows which lines to leave out.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::failure::Failure;

/// What a line covers.
const SECOND: Duration = Duration::from_secs(1);

/// For how long, and where the lines go.
pub struct Series {
    pub lasts: Duration,
    pub path: PathBuf,
}

impl Series {
    /// Runs `pass` until the time is up, at least once, and returns what the last one did.
    ///
    /// # Errors
    /// Those of a pass, or when a line cannot be written.
    pub fn over<T>(
        &self,
        answered: &AtomicU64,
        mut pass: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let refused = |error| Failure::at(&self.path, "write", &error);
        let mut file = File::create(&self.path).map_err(refused)?;
        writeln!(file, "begin_unix_ms,end_unix_ms,queries").map_err(refused)?;
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let begin = (unix_ms(), answered.load(Ordering::Relaxed));
            let written = scope.spawn(|| write_seconds(file, begin, answered, &ended));
            let last = repeat(self.lasts, &mut pass);
            // Release: pairs with the load of who writes, so that all that was answered is counted.
            ended.store(true, Ordering::Release);
            written.thread().unpark();
            let written = written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.map_err(refused)?;
            last
        })
    }
}

fn repeat<T>(lasts: Duration, pass: &mut impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let started = Instant::now();
    loop {
        let last = pass()?;
        if started.elapsed() >= lasts {
            return Ok(last);
        }
    }
}

/// A line a second, and one for what is left at the end.
fn write_seconds(
    mut file: File,
    mut begin: (u128, u64),
    answered: &AtomicU64,
    ended: &AtomicBool,
) -> io::Result<()> {
    loop {
        // Woken for nothing it writes a shorter line, whose ends say so. Who has ended before this
        // thread began has woken it already.
        thread::park_timeout(SECOND);
        let is_last = ended.load(Ordering::Acquire);
        let end = (unix_ms(), answered.load(Ordering::Relaxed));
        writeln!(file, "{},{},{}", begin.0, end.0, end.1 - begin.1)?;
        if is_last {
            return Ok(());
        }
        begin = end;
    }
}

fn unix_ms() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("series.csv");
        let series = Series { lasts: Duration::from_millis(20), path: path.clone() };
        let answered = AtomicU64::new(5); // Of what warmed up: in no line.
        let mut passes = 0;
        let last = series.over(&answered, || {
            thread::sleep(Duration::from_millis(1));
            answered.fetch_add(3, Ordering::Relaxed);
            passes += 1;
            Ok(passes)
        });
        assert_eq!(last.unwrap(), passes);
        let text = std::fs::read_to_string(path).unwrap();
        let counts = text.lines().skip(1).map(|line| line.rsplit(',').next().unwrap());
        let sum: u64 = counts.map(|count| count.parse::<u64>().unwrap()).sum();
        assert_eq!(sum, 3 * passes);
    }

    #[test]
    fn a_failure_of_a_pass_ends_the_series() {
        let dir = tempfile::tempdir().unwrap();
        let series = Series { lasts: Duration::from_secs(60), path: dir.path().join("series.csv") };
        let failed = series.over(&AtomicU64::new(0), || Err::<(), _>(Failure::new("no disk")));
        assert!(failed.unwrap_err().to_string().contains("no disk"));
    }
}
