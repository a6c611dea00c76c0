//! A disk whose answers the test chooses: late, out of order, short, failing, or never.
//!
//! It is a FUSE filesystem with one file, whose bytes are those of a file elsewhere. It lives in a
//! process of its own ([`disk_process`](crate::disk_process)): a pread in the kernel cannot be
//! killed before it is answered, so that a process which reads from itself would never end once it
//! is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use ringpool_storage::PageSize;
use serde::{Deserialize, Serialize};

use crate::mounts::Mount;

/// The page that the numbers in a [`Behaviour`] count.
pub const PAGE: PageSize = PageSize::KIB_4;
/// The only file on the disk.
pub const FILE_NAME: &str = "pages";
/// The name of the test that is the disk's process.
pub const PROCESS: &str = "disk_process::serves";
/// Where that process finds the file to serve, and where to mount it.
pub const SOURCE_VARIABLE: &str = "RINGPOOL_SLOW_DISK_SOURCE";
/// See [`SOURCE_VARIABLE`].
pub const AT_VARIABLE: &str = "RINGPOOL_SLOW_DISK_AT";
/// What its answers start with, among whatever else the test harness prints.
pub const ANSWER: &str = "slow disk: ";

/// How long the process may take to mount, to answer an order, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the disk answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Behaviour {
    /// The time that each read takes, in microseconds.
    pub latency_us: u64,
    /// Up to so many microseconds more, by chance.
    pub jitter_us: u64,
    /// Decides that chance.
    pub seed: u64,
    /// Pages whose reads fail with EIO.
    pub failing: BTreeSet<u64>,
    /// Pages of which an answer has never more than so many bytes.
    pub short: BTreeMap<u64, usize>,
    /// Pages whose reads are not answered as long as they are listed here.
    pub held: BTreeSet<u64>,
}

/// What the disk has seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Reads that it has been asked for and has not answered yet.
    pub in_flight: u64,
    /// The most of them at any moment since the last order.
    pub most_in_flight: u64,
    /// Reads answered.
    pub answered: u64,
}

/// A mounted disk, unmounted when dropped.
pub struct SlowDisk {
    mount: Option<Mount>,
    file: PathBuf,
    process: Child,
    /// Closed in order to end the process.
    orders: Option<ChildStdin>,
    answers: Receiver<Result<Seen, String>>,
}

impl SlowDisk {
    /// Mounts a disk with the bytes of the file at `source` at the folder `at`, which is made, or
    /// says what of this machine prevents it.
    pub fn over(source: &Path, at: &Path) -> Result<Self, String> {
        std::fs::create_dir(at).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", PROCESS, "--ignored", "--nocapture"])
            .envs([(SOURCE_VARIABLE, source), (AT_VARIABLE, at)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some((_, answer)) = line.split_once(ANSWER) {
                    let answer = serde_json::from_str(answer).unwrap_or(Err(answer.to_string()));
                    let _ = sender.send(answer);
                }
            }
        });
        let file = at.join(FILE_NAME);
        let mut disk = Self { mount: None, file, process, orders, answers };
        disk.answer()?;
        disk.mount = Some(Mount::of_another(at));
        Ok(disk)
    }

    /// The file on it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Changes how it answers, also the reads that it has not answered yet, and returns what it
    /// has seen until then.
    pub fn order(&mut self, behaviour: &Behaviour) -> Seen {
        self.tell(behaviour).unwrap()
    }

    fn tell(&mut self, behaviour: &Behaviour) -> Result<Seen, String> {
        let line = serde_json::to_string(behaviour).unwrap();
        let orders = self.orders.as_mut().ok_or("the disk's process was told to end")?;
        writeln!(orders, "{line}").map_err(|gone| gone.to_string())?;
        self.answer()
    }

    fn answer(&self) -> Result<Seen, String> {
        let nothing = |_| Err("the disk's process does not answer".to_string());
        self.answers.recv_timeout(PATIENCE).unwrap_or_else(nothing)
    }
}

impl Drop for SlowDisk {
    /// Answers what is held, unmounts, and waits for the process.
    fn drop(&mut self) {
        if let Some(mount) = self.mount.take() {
            // Should its process be gone, then nothing is held any more.
            let _ = self.tell(&Behaviour::default());
            drop(mount);
        }
        self.orders = None;
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().unwrap().is_none() {
            if Instant::now() >= deadline {
                self.process.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}
