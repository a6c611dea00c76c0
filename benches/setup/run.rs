//! Whether a run measures, or only shows that the bench works.

use std::path::Path;
use std::time::Duration;

use criterion::Criterion;

/// True under `cargo bench`. Under `cargo test --benches` each bench runs once, and what it runs
/// on should then be small.
pub fn is_measured() -> bool {
    let mut measured = false;
    for argument in std::env::args() {
        match argument.as_str() {
            "--bench" => measured = true,
            "--test" => return false,
            _ => {}
        }
    }
    measured
}

/// Short runs of few samples: there are many benches. The command line overrides each figure.
#[allow(dead_code, reason = "not every bench is criterion's")]
pub fn criterion(sample_size: usize, measurement_time: Duration) -> Criterion {
    Criterion::default()
        .sample_size(sample_size)
        .warm_up_time(Duration::from_millis(400))
        .measurement_time(measurement_time)
        .nresamples(10_000)
}

/// Where files of benches stay from run to run: on the disk that the target folder is on.
#[allow(dead_code, reason = "not every bench has files")]
pub fn files() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
