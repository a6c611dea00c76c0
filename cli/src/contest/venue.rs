//! Where the runs of one memory take place: each in a cgroup of its own, all with one limit.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::cgroup::{Group, Hierarchy};
use crate::child::{Place, Program};
use crate::console::Console;
use crate::failure::Failure;
use crate::json::{LoadReport, RunReport};
use crate::outcome::SameMemory;
use crate::page_cache;

use super::plan::Planned;
use super::{Contestant, HEADROOM_BYTES, HEADROOM_THREAD_BYTES};

/// A limit, or the reason why there is none.
pub struct Venue {
    hierarchy: Result<Hierarchy, String>,
    limit_bytes: u64,
    headroom_bytes: u64,
    load: LoadReport,
}

impl Venue {
    /// For what a rehearsal took, with the most threads that will be.
    pub fn new(load: LoadReport, threads: u16) -> Self {
        let headroom_bytes = HEADROOM_BYTES + HEADROOM_THREAD_BYTES * u64::from(threads);
        let undroppable_bytes = load.anonymous_bytes + load.page_table_bytes;
        let limit_bytes = undroppable_bytes + load.budget_bytes + headroom_bytes;
        let hierarchy = Hierarchy::of_this_process();
        // One group is made and removed, to know before the first run.
        let hierarchy = hierarchy.and_then(|hierarchy| {
            hierarchy.make_group(0, limit_bytes)?;
            Ok(hierarchy)
        });
        Self { hierarchy, limit_bytes, headroom_bytes, load }
    }

    /// The files that are read by page.
    pub fn paged_files(&self) -> &[PathBuf] {
        &self.load.paged_files
    }

    /// The budget for pages.
    pub fn budget_bytes(&self) -> u64 {
        self.load.budget_bytes
    }

    /// The same place with so much more memory.
    pub fn with_more(&self, bytes: u64) -> Self {
        let (hierarchy, load) = (self.hierarchy.clone(), self.load.clone());
        Self {
            hierarchy,
            limit_bytes: self.limit_bytes + bytes,
            headroom_bytes: self.headroom_bytes + bytes,
            load,
        }
    }

    /// Runs `arguments` as the `number`-th of all runs, with none of its pages in the page cache.
    pub fn run(
        &self,
        number: u32,
        planned: &Planned,
        arguments: &[OsString],
        program: &Program,
        console: &Console,
    ) -> Result<RunReport, Failure> {
        // Pages that somebody else brought into the cache are charged to somebody else: a warm
        // run over those would not be limited at all.
        page_cache::evict(&self.load.paged_files)?;
        let label = planned.label();
        let group = self.group_for(planned.contestant, number);
        let group = group.map_err(|reason| {
            Failure::new(format!("{label}: cannot make a memory cgroup any more: {reason}"))
        })?;
        let place = Place { label: &label, group: group.as_ref(), limit_bytes: self.limit_bytes };
        let mut run: RunReport = program.run(arguments, &place, &console.interrupt)?;
        if let Some(group) = &group {
            run.memory_enforced_by = group.version().word().into();
        }
        Ok(run)
    }

    fn group_for(&self, contestant: Contestant, number: u32) -> Result<Option<Group>, String> {
        match (&self.hierarchy, contestant) {
            (_, Contestant::Memory) | (Err(_), _) => Ok(None),
            (Ok(hierarchy), _) => hierarchy.make_group(number, self.limit_bytes).map(Some),
        }
    }

    /// How the memory was made the same.
    pub fn described(&self) -> SameMemory {
        let limited = self.hierarchy.is_ok();
        let version = self.hierarchy.as_ref().map(Hierarchy::version);
        let load = &self.load;
        SameMemory {
            limit_bytes: limited.then_some(self.limit_bytes),
            anonymous_bytes: load.anonymous_bytes,
            page_table_bytes: load.page_table_bytes,
            budget_bytes: load.budget_bytes,
            headroom_bytes: self.headroom_bytes,
            paged_bytes: load.paged_bytes,
            memory_enforced_by: version.map_or("none", |version| version.word()).into(),
            unlimited_reason: self.hierarchy.as_ref().err().cloned(),
        }
    }
}
