//! Facts about the machine that belong beside every figure.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use procfs::process::Process;
use procfs::{CpuInfo, Current, Meminfo};
use serde::Serialize;

/// What the figures were taken on. `None` where the system does not say.
#[derive(Serialize, Debug, Clone)]
pub struct Machine {
    /// Its release.
    pub kernel: Option<String>,
    /// As the processor calls itself.
    pub cpu_model: Option<String>,
    /// That this process may use.
    pub cpus: usize,
    /// All that there is.
    pub memory_bytes: Option<u64>,
    /// The file system that is read from.
    pub filesystem: Option<String>,
    /// How far the kernel reads ahead of a plain mapping on that device.
    pub read_ahead_kb: Option<u64>,
}

impl Machine {
    /// The facts, where what is read is at `path`: a file or a folder.
    pub fn with_files_at(path: &Path) -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let cpu = CpuInfo::current().ok();
        let memory = Meminfo::current().ok();
        Self {
            kernel: release.map(|release| release.trim().to_owned()),
            cpu_model: cpu.and_then(|cpu| cpu.model_name(0).map(str::to_owned)),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory.map(|memory| memory.mem_total),
            filesystem: filesystem(path),
            read_ahead_kb: read_ahead_kb(path),
        }
    }

    /// One line a fact, for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let memory = self.memory_bytes.map(crate::table::bytes);
        let read_ahead = self.read_ahead_kb.map(|kb| format!("{kb} KiB"));
        let facts = [
            ("kernel", self.kernel.clone()),
            ("processor", self.cpu_model.clone()),
            ("processors", Some(self.cpus.to_string())),
            ("memory", memory),
            ("file system", self.filesystem.clone()),
            ("read ahead", read_ahead),
        ];
        let known = facts.into_iter();
        known.filter_map(|(name, fact)| Some((name, fact?))).collect()
    }
}

/// The type of the file system that `path` is on: that of the mount nearest above it.
fn filesystem(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = Process::myself().ok()?.mountinfo().ok()?;
    let above = mounts.into_iter().filter(|mount| path.starts_with(&mount.mount_point));
    // The last of equals: a later mount hides an earlier one on the same place.
    let nearest = above.max_by_key(|mount| mount.mount_point.components().count())?;
    Some(nearest.fs_type)
}

fn read_ahead_kb(path: &Path) -> Option<u64> {
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let device = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
    // A partition has no queue of its own, its disk above it has.
    let queues = [device.join("queue"), device.join("../queue")];
    let texts = queues.iter().map(|queue| fs::read_to_string(queue.join("read_ahead_kb")));
    texts.flatten().find_map(|text| text.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_obvious_facts_are_known() {
        let machine = Machine::with_files_at(Path::new("/proc"));
        assert!(machine.kernel.is_some() && machine.cpus > 0);
        assert_eq!(machine.filesystem.as_deref(), Some("proc"));
        assert!(machine.memory_bytes.unwrap() > 1 << 20);
        assert!(machine.lines().len() >= 4);
    }
}
