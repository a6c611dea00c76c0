//! A memory cgroup for one child process: made, limited, and removed again on every way out.
//!
//! Version 1 lets a group be made below the one that this process is in. Version 2 does not let
//! a group have processes and limited children at once, so that the new group is made below the
//! nearest ancestor that allows it, beside this process's own.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use procfs::process::{MountInfo, Process};

/// What the groups' names start with; the process that made it and a number follow.
const NAME: &str = "ringpool-";

/// How often the removal is tried: a group counts as busy for a moment after its process ended.
const REMOVAL_TRIES: u32 = 100;

/// How long between two tries.
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Which of the kernel's two interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// A hierarchy of its own for each controller.
    V1,
    /// One hierarchy for all.
    V2,
}

impl Version {
    /// The word of the JSON key `memory_enforced_by`.
    pub fn word(self) -> &'static str {
        match self {
            Self::V1 => "cgroup-v1",
            Self::V2 => "cgroup-v2",
        }
    }
}

/// A place where memory groups can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    version: Version,
    mount: PathBuf,
    own: PathBuf,
}

/// A limited group, removed when dropped.
#[derive(Debug)]
pub struct Group {
    version: Version,
    dir: PathBuf,
}

impl Hierarchy {
    /// The hierarchy that accounts this process's memory, or why there is none.
    pub fn of_this_process() -> Result<Self, String> {
        let process = Process::myself().map_err(|error| error.to_string())?;
        let groups = process.cgroups().map_err(|error| error.to_string())?;
        let mounts = process.mountinfo().map_err(|error| error.to_string())?;
        let mounts: Vec<MountInfo> = mounts.into_iter().collect();
        let mut found = groups.into_iter().filter_map(|group| {
            Self::of(group.hierarchy, &group.controllers, &group.pathname, &mounts)
        });
        // On a hybrid machine the controller is bound to one of the two. In version 2 the root of
        // the tree says which controllers it has.
        found
            .find(|hierarchy| match hierarchy.version {
                Version::V1 => true,
                Version::V2 => has_word(&hierarchy.mount.join("cgroup.controllers"), "memory"),
            })
            .ok_or_else(|| "no memory cgroup hierarchy is mounted".to_owned())
    }

    /// Which interface it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The hierarchy of one line of `/proc/self/cgroup`, when it can be the memory's.
    fn of(
        hierarchy: u32,
        controllers: &[String],
        path: &str,
        mounts: &[MountInfo],
    ) -> Option<Self> {
        let version = match hierarchy {
            0 => Version::V2,
            _ if controllers.iter().any(|name| name == "memory") => Version::V1,
            _ => return None,
        };
        let mount = mounts.iter().find(|mount| match version {
            Version::V1 => mount.fs_type == "cgroup" && mount.super_options.contains_key("memory"),
            Version::V2 => mount.fs_type == "cgroup2",
        })?;
        // Seen from within a container the mount's root may be the container's own group.
        let below = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
        let own = mount.mount_point.join(below.strip_prefix("/").unwrap_or(below));
        Some(Self { version, mount: mount.mount_point.clone(), own })
    }

    /// Makes a group that may use `limit_bytes`. `number` tells the groups of one process apart.
    pub fn make_group(&self, number: u32, limit_bytes: u64) -> Result<Group, String> {
        let parent = self.parent_of_groups()?;
        sweep(&parent);
        let dir = parent.join(format!("{NAME}{}-{number}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| refusal(&dir, &error))?;
        // From here on the group is removed whatever happens.
        let group = Group { version: self.version, dir };
        group.limit(limit_bytes)?;
        Ok(group)
    }

    /// The deepest group under which one with a limit can be made.
    fn parent_of_groups(&self) -> Result<PathBuf, String> {
        if self.version == Version::V1 {
            return Ok(self.own.clone());
        }
        let mut reason = format!("{}: has no memory controller", self.own.display());
        let within = |dir: &&Path| dir.starts_with(&self.mount);
        for dir in self.own.ancestors().take_while(within) {
            let control = dir.join("cgroup.subtree_control");
            if has_word(&control, "memory") {
                return Ok(dir.to_owned());
            }
            if has_word(&dir.join("cgroup.controllers"), "memory") {
                match fs::write(&control, "+memory") {
                    Ok(()) => return Ok(dir.to_owned()),
                    Err(error) => reason = refusal(&control, &error),
                }
            }
        }
        Err(reason)
    }
}

impl Group {
    /// Which interface enforces the limit.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The file that a process writes `0` into to enter the group.
    pub fn entrance(&self) -> io::Result<File> {
        File::options().write(true).open(self.dir.join("cgroup.procs"))
    }

    /// How many processes of the group the kernel killed because the limit was not enough.
    pub fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    fn limit(&self, limit_bytes: u64) -> Result<(), String> {
        let write = |file: &str, value: u64| {
            let path = self.dir.join(file);
            fs::write(&path, value.to_string()).map_err(|error| refusal(&path, &error))
        };
        match self.version {
            Version::V1 => {
                write("memory.limit_in_bytes", limit_bytes)?;
                // Memory and swap together: what is swapped out makes no room. The file is
                // missing where the kernel does not count swap, and then swap stays unlimited.
                let _ = write("memory.memsw.limit_in_bytes", limit_bytes);
                let _ = write("memory.swappiness", 0);
            }
            Version::V2 => {
                write("memory.max", limit_bytes)?;
                let _ = write("memory.swap.max", 0);
            }
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..REMOVAL_TRIES {
            match fs::remove_dir(&self.dir) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    thread::sleep(REMOVAL_PAUSE);
                }
                _ => return,
            }
        }
        let _ = writeln!(
            io::stderr(),
            "warning: {}: still busy; remove it with rmdir",
            self.dir.display()
        );
    }
}

/// Removes what killed processes left behind. A group that is in use refuses.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split_once('-'));
        if maker.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn has_word(path: &Path, word: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().any(|found| found == word)
}

fn refusal(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ringpool::storage::conformance::skipped;

    use super::*;

    fn mount(fs_type: &str, root: &str, mount_point: &str, option: &str) -> MountInfo {
        MountInfo {
            mnt_id: 1,
            pid: 1,
            majmin: "0:1".into(),
            root: root.into(),
            mount_point: mount_point.into(),
            mount_options: HashMap::new(),
            opt_fields: Vec::new(),
            fs_type: fs_type.into(),
            mount_source: None,
            super_options: HashMap::from([(option.into(), None)]),
        }
    }

    #[test]
    fn each_version_is_found_where_it_is_mounted() {
        let mounts = [
            mount("tmpfs", "/", "/sys/fs/cgroup", "memory"),
            mount("cgroup", "/", "/cg/cpu", "cpu"),
            mount("cgroup", "/pod", "/cg/memory", "memory"),
            mount("cgroup2", "/", "/cg/unified", "rw"),
        ];
        let own = |hierarchy, controller: &str, path| {
            let found = Hierarchy::of(hierarchy, &[controller.to_owned()], path, &mounts);
            found.map(|found| (found.version, found.own))
        };
        assert_eq!(own(4, "memory", "/pod/a"), Some((Version::V1, "/cg/memory/a".into())));
        // A path outside of what is mounted: the mount is all there is to see.
        assert_eq!(own(4, "memory", "/elsewhere"), Some((Version::V1, "/cg/memory".into())));
        assert_eq!(own(0, "", "/x.slice/y"), Some((Version::V2, "/cg/unified/x.slice/y".into())));
        assert_eq!(own(2, "cpu", "/"), None);
        assert_eq!(own(9, "name=systemd", "/"), None);
    }

    /// A tree of files that looks like version 2.
    fn version_2(dir: &Path, controllers: &[(&str, &str, &str)]) -> Hierarchy {
        for (group, available, enabled) in controllers {
            let group = dir.join(group);
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join("cgroup.controllers"), available).unwrap();
            fs::write(group.join("cgroup.subtree_control"), enabled).unwrap();
        }
        let (own, ..) = controllers[controllers.len() - 1];
        Hierarchy { version: Version::V2, mount: dir.into(), own: dir.join(own) }
    }

    #[test]
    fn version_2_makes_groups_under_the_nearest_ancestor_that_passes_memory_on() {
        let dir = tempfile::tempdir().unwrap();
        let tree =
            [("", "cpu memory", "cpu memory"), ("a", "cpu memory", "memory"), ("a/b", "cpu", "")];
        let hierarchy = version_2(dir.path(), &tree);
        assert_eq!(hierarchy.parent_of_groups(), Ok(dir.path().join("a")));
    }

    #[test]
    fn version_2_without_the_controller_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let hierarchy = version_2(dir.path(), &[("", "cpu", ""), ("a", "cpu", "")]);
        let reason = hierarchy.parent_of_groups().unwrap_err();
        assert!(reason.contains("no memory controller"), "{reason}");
    }

    #[test]
    fn leftovers_of_the_dead_are_swept_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let own = format!("{NAME}{}-0", std::process::id());
        // No process has this number: the kernel's largest is 2^22.
        let dead = format!("{NAME}99999999-0");
        for name in [own.as_str(), &dead, "ringpool-x", "other"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        sweep(dir.path());
        assert!(!dir.path().join(dead).exists());
        for name in [own.as_str(), "ringpool-x", "other"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_group_goes_when_it_is_dropped() {
        let made = Hierarchy::of_this_process()
            .and_then(|hierarchy| hierarchy.make_group(u32::MAX, 64 << 20));
        let group = match made {
            Ok(group) => group,
            Err(reason) => return skipped(format!("no memory cgroup: {reason}")),
        };
        let dir = group.dir.clone();
        assert!(dir.join("cgroup.procs").exists());
        assert_eq!(group.oom_kills(), 0);
        drop(group);
        assert!(!dir.exists());
    }
}
