//! How much memory a run is allowed: what it cannot do without, which a rehearsal without a limit
//! tells, plus what is meant for pages. Otherwise mappings would have what processes do not need.

use std::ffi::OsString;

use ringpool_cli::child::{Place, Program};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;

use super::Task;
use crate::run::Measured;

/// What the kernel charges to a group besides: what it charges ahead of use on each processor, the
/// ring, open files. As `ringpool compare` has it.
const HEADROOM_BYTES: u64 = 3 << 19;

/// For each thread: its stack in the kernel, and what each read in flight takes there.
const HEADROOM_THREAD_BYTES: u64 = 160 << 10;

/// The limit for runs like `task`, of which `pages_bytes` are for pages: the same for all of
/// `contestants`, by the one that needs most besides. Frames of a pool are pages.
pub fn limit_bytes(
    experiment: &str,
    contestants: &[String],
    task: &Task,
    pages_bytes: u64,
    console: &Console,
) -> Result<u64, Failure> {
    let (program, mut undroppable_bytes) = (Program::this()?, 0);
    for contestant in contestants {
        let task = Task { contestant: contestant.clone(), ..task.clone() };
        let arguments = ["run", experiment, &task.words()?].map(OsString::from);
        let label = format!("rehearsal of {contestant}");
        let place = Place { label: &label, group: None, limit_bytes: 0 };
        let measured: Measured = program.run(&arguments, &place, &console.interrupt)?;
        let figure = |key: &str| measured.figures.get(key).map_or(0, |figure| *figure as u64);
        let frames_bytes = if contestant.starts_with("pool-") { task.memory_bytes } else { 0 };
        let bytes = figure("anonymous_bytes").saturating_sub(frames_bytes);
        undroppable_bytes = undroppable_bytes.max(bytes + figure("page_table_bytes"));
    }
    let headroom_bytes = HEADROOM_BYTES + HEADROOM_THREAD_BYTES * task.threads as u64;
    Ok(undroppable_bytes + pages_bytes + headroom_bytes)
}
