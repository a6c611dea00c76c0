//! How much memory this process may still take, before a limit above it says no.
//!
//! The least of what each of its memory cgroups (v1 and v2, from its own one upwards) and the
//! machine have left. Cached file pages count as left: the kernel gives them back.

use std::fs;
use std::path::{Path, PathBuf};

/// What this process may still take: the least that its memory cgroups and the machine have left.
/// `None` where the system does not say.
pub(super) fn left_bytes() -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|meminfo| {
        let line = meminfo.lines().find(|l| l.starts_with("MemAvailable:"))?;
        let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        kib.checked_mul(1024)
    });
    let groups = Groups::find(
        &read(Path::new("/proc/self/cgroup")).unwrap_or_default(),
        &read(Path::new("/proc/self/mountinfo")).unwrap_or_default(),
    );
    let groups = groups.iter().filter_map(|g| g.left_bytes(&read));
    groups.chain(machine).min()
}

/// The memory cgroup that this process is in, and those above it.
#[derive(Debug, PartialEq, Eq)]
struct Groups {
    version: Version,
    /// Where the hierarchy is mounted: nothing above it can be seen.
    mount: PathBuf,
    /// The process's own group, in or below `mount`.
    own: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Groups {
    /// The memory hierarchies among the process's groups (`/proc/self/cgroup`) that are mounted
    /// (`/proc/self/mountinfo`). A hybrid machine has both versions, of which one has the files.
    fn find(groups: &str, mounts: &str) -> Vec<Self> {
        let of = |line: &str| {
            // hierarchy:controllers:path, where version 2 names no controllers.
            let mut fields = line.splitn(3, ':');
            let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let version = match controllers {
                "" if id == "0" => Version::V2,
                _ if controllers.split(',').any(|c| c == "memory") => Version::V1,
                _ => return None,
            };
            let (root, mount) = mounts.lines().find_map(|line| mounted(line, version))?;
            // Seen from within a container the mount's root may be the container's own group.
            let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
            let own = mount.join(below.strip_prefix("/").unwrap_or(below));
            Some(Self { version, mount, own })
        };
        groups.lines().filter_map(of).collect()
    }

    /// The least that is left in any of the groups, from the process's own one upwards.
    fn left_bytes(&self, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
        let within = |dir: &&Path| dir.starts_with(&self.mount);
        let each = self.own.ancestors().take_while(within);
        each.filter_map(|dir| self.left_in(dir, read)).min()
    }

    /// The limit less the use of one group, or `None` when it has no limit.
    fn left_in(&self, dir: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
        let (limit, usage, cached) = match self.version {
            Version::V1 => (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                ["total_inactive_file", "total_active_file"],
            ),
            Version::V2 => ("memory.max", "memory.current", ["inactive_file", "active_file"]),
        };
        let number = |name: &str| read(&dir.join(name))?.trim().parse::<u64>().ok();
        // Version 2 says `max` for no limit, which is no number.
        let (limit, usage) = (number(limit)?, number(usage)?);
        // A group that has read files looks full although the kernel would give those pages back.
        let stat = read(&dir.join("memory.stat")).unwrap_or_default();
        let value = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            cached.contains(&name).then(|| value.parse::<u64>().ok())?
        };
        let cached: u64 = stat.lines().filter_map(value).sum();
        Some(limit.saturating_sub(usage.saturating_sub(cached)))
    }
}

/// The root and the mount point of a line of mountinfo, when it is a hierarchy of this version
/// (in version 1: the one of the memory controller).
fn mounted(line: &str, version: Version) -> Option<(PathBuf, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let (kind, options) = (kind.next()?, kind.nth(1)?);
    let wanted = match version {
        Version::V1 => kind == "cgroup" && options.split(',').any(|o| o == "memory"),
        Version::V2 => kind == "cgroup2",
    };
    let mut place = place.split(' ').skip(3);
    let (root, mount) = (place.next()?, place.next()?);
    wanted.then(|| (root.into(), mount.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const HYBRID_MOUNTS: &str = "\
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 1 0:39 / /data rw - ext4 /dev/vda rw,memory";

    #[test]
    fn both_versions_are_found_on_a_hybrid_machine() {
        let groups = Groups::find("8:pids:/\n4:memory:/a/b\n0::/c", HYBRID_MOUNTS);
        let group = |version, mount: &str, own: &str| Groups {
            version,
            mount: mount.into(),
            own: own.into(),
        };
        assert_eq!(
            groups,
            [
                group(Version::V1, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/a/b"),
                group(Version::V2, "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/c"),
            ]
        );
    }

    #[test]
    fn a_containers_own_group_is_the_mounts_root() {
        let mounts =
            "35 31 0:32 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,cpu,memory\n";
        let groups = Groups::find("4:cpu,memory:/docker/x", mounts);
        assert_eq!(groups[0].own, Path::new("/sys/fs/cgroup/memory"));
    }

    #[test]
    fn nonsense_is_no_group() {
        for text in ["", "::", "4:memory", "no colons", "x - cgroup2", " - "] {
            assert_eq!(Groups::find(text, HYBRID_MOUNTS), [], "{text:?}");
            assert_eq!(Groups::find("4:memory:/", text), [], "{text:?}");
        }
    }

    #[test]
    fn the_tightest_group_above_counts_and_cached_files_do_not() {
        let files: HashMap<&str, &str> = [
            ("/cg/a/b/memory.max", "max\n"),
            ("/cg/a/b/memory.current", "5\n"),
            ("/cg/a/memory.max", "1000\n"),
            ("/cg/a/memory.current", "900\n"),
            ("/cg/a/memory.stat", "anon 600\ninactive_file 200\nactive_file 50\n"),
            ("/cg/memory.max", "5000\n"),
            ("/cg/memory.current", "10\n"),
            ("/memory.max", "1\n"),
        ]
        .into();
        let read = |path: &Path| files.get(path.to_str()?).map(ToString::to_string);
        let groups = Groups { version: Version::V2, mount: "/cg".into(), own: "/cg/a/b".into() };
        assert_eq!(groups.left_bytes(&read), Some(1000 - (900 - 250)));
    }
}
