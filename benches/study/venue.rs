//! Where runs take place: each in a process and a memory cgroup of its own, with its files evicted
//! before; or without a limit, which is then said first.

use std::ffi::OsString;
use std::path::PathBuf;

use ringpool_cli::cgroup::{Hierarchy, Version};
use ringpool_cli::child::{Place, Program};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::page_cache;
use serde::Serialize;

use crate::run::Measured;

/// What a run needs besides pages, and what the kernel charges to its group: a contestant with a cache
/// of its own gets so much less than the limit, and the kernel's cache has what is left of it.
pub const RESERVE_BYTES: u64 = 32 << 20;

/// The limit, and by whom it is kept.
#[derive(Serialize, Clone, Debug)]
pub struct Limit {
    pub limit_bytes: u64,
    /// `cgroup-v1`, `cgroup-v2` or `none`.
    pub memory_enforced_by: String,
    pub unlimited_reason: Option<String>,
}

pub struct Venue<'a> {
    program: Program,
    hierarchy: Result<Hierarchy, String>,
    limit_bytes: u64,
    /// Numbers the groups of this process.
    groups: u32,
    console: &'a Console,
}

impl<'a> Venue<'a> {
    pub fn new(limit_bytes: u64, console: &'a Console) -> Result<Self, Failure> {
        // One group is made and removed, to know before the first run.
        let hierarchy = Hierarchy::of_this_process().and_then(|hierarchy| {
            hierarchy.make_group(0, limit_bytes)?;
            Ok(hierarchy)
        });
        if let Err(reason) = &hierarchy {
            console.note(&format!(
                "NOT the same memory: no memory cgroup can be made ({reason}): mappings run \
                 unlimited, pools do not. Run as root for a fair study."
            ));
        }
        Ok(Self { program: Program::this()?, hierarchy, limit_bytes, groups: 0, console })
    }

    pub fn limit(&self) -> Limit {
        let version = self.hierarchy.as_ref().map(Hierarchy::version);
        Limit {
            limit_bytes: self.limit_bytes,
            memory_enforced_by: version.map_or("none", Version::word).into(),
            unlimited_reason: self.hierarchy.as_ref().err().cloned(),
        }
    }

    /// The limit of runs from now on.
    pub fn limit_to(&mut self, limit_bytes: u64) {
        self.limit_bytes = limit_bytes;
    }

    /// Evicts `files`, and runs one task of an experiment.
    pub fn run(
        &mut self,
        label: &str,
        experiment: &str,
        task: &str,
        files: &[PathBuf],
    ) -> Result<Measured, Failure> {
        // What somebody else brought into the cache is charged to somebody else.
        page_cache::evict(files)?;
        self.groups += 1;
        let group = self.hierarchy.as_ref().ok();
        let group = group.map(|hierarchy| hierarchy.make_group(self.groups, self.limit_bytes));
        let group = group.transpose().map_err(|reason| {
            Failure::new(format!("{label}: cannot make a memory cgroup any more: {reason}"))
        })?;
        let place = Place { label, group: group.as_ref(), limit_bytes: self.limit_bytes };
        let arguments = ["run", experiment, task].map(OsString::from);
        self.program.run(&arguments, &place, &self.console.interrupt)
    }
}
