//! What the kernel has, and what it lets this process do, by its own account.

use std::fs;

use procfs::process::Process;
use ringpool::uring::kernel_features;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::table;

/// CAP_IPC_LOCK, whose holder may lock any amount of memory (include/uapi/linux/capability.h).
const CAP_IPC_LOCK: u32 = 14;

/// The limits that decide about rings and registered memory.
#[derive(Serialize, Clone, Debug)]
pub struct Limits {
    /// The sysctl kernel.io_uring_disabled; null where the kernel has none (before 6.6).
    pub io_uring_disabled: Option<u64>,
    /// What io_uring has here, as in io_uring_setup(2); null where no ring can be set up.
    pub io_uring_features: Option<Vec<&'static str>>,
    /// Memory that this process may lock; null for any amount.
    pub memlock_bytes: Option<u64>,
    /// What it may raise that limit to; null for any amount.
    pub memlock_max_bytes: Option<u64>,
    /// Whether the limit does not bind it.
    pub cap_ipc_lock: bool,
}

impl Limits {
    /// The limits as they stand.
    pub fn now() -> Self {
        let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        let memlock = getrlimit(Resource::Memlock);
        let status = Process::myself().and_then(|process| process.status()).ok();
        Self {
            io_uring_disabled: disabled.and_then(|text| text.trim().parse().ok()),
            io_uring_features: kernel_features().ok(),
            memlock_bytes: memlock.current,
            memlock_max_bytes: memlock.maximum,
            cap_ipc_lock: status.is_some_and(|status| status.capeff >> CAP_IPC_LOCK & 1 == 1),
        }
    }

    /// The limit of locked memory, for people.
    pub fn memlock(&self) -> String {
        let amount = |bytes: Option<u64>| bytes.map_or("unlimited".into(), table::bytes);
        let (soft, hard) = (amount(self.memlock_bytes), amount(self.memlock_max_bytes));
        let waived = if self.cap_ipc_lock { "; not binding, with CAP_IPC_LOCK" } else { "" };
        format!("{soft} (hard limit {hard}{waived})")
    }

    /// What io_uring has, for people.
    pub fn features(&self) -> String {
        match &self.io_uring_features {
            Some(features) => features.join(" ").to_lowercase(),
            None => "no ring can be set up".into(),
        }
    }

    /// What the sysctl means, for people.
    pub fn sysctl(&self) -> Option<String> {
        let meaning = match self.io_uring_disabled? {
            0 => "allowed to all",
            1 => "allowed to the group in kernel.io_uring_group, and with CAP_SYS_ADMIN",
            _ => "forbidden to all",
        };
        Some(format!("kernel.io_uring_disabled = {}: {meaning}", self.io_uring_disabled?))
    }
}
