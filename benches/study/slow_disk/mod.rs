//! A disk as slow as one likes: a folder as a FUSE filesystem whose reads take a chosen time, and
//! of whose pages a chosen share cannot be read. So the behaviour of network disks is measured on
//! any laptop.
//!
//! Reads are answered side by side, however many there are: what a disk behind a network does until
//! its limit of operations is reached. Only reads are slow; names and lengths are answered at once
//! and kept by the kernel. O_DIRECT passes by the page cache, all else goes through it, readahead
//! included, as on NFS. The files are held in memory by the process that serves them, so that the
//! disk below takes no part.
//!
//! That process is one of its own: a read in the kernel cannot be killed before it is answered, so
//! that a process which waits for itself would never end.

mod disk;
mod filesystem;
mod mounts;
mod probe;
mod queue;
mod serve;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use clap::{Args, Subcommand};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use serde::{Deserialize, Serialize};

pub use disk::{Disks, SlowDisk};
pub use mounts::leave_the_mounts;
pub use probe::{Speeds, speeds};

/// What can be done with a slow disk by hand.
#[derive(Subcommand)]
pub enum ByHand {
    Serve(serve::ServeArgs),
    Probe(probe::ProbeArgs),
}

impl ByHand {
    /// Runs the command.
    pub fn execute(&self, console: &Console) -> Result<(), Failure> {
        match self {
            Self::Serve(args) => serve::execute(args, console),
            Self::Probe(args) => probe::execute(args, console),
        }
    }
}

/// How the disk answers.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
pub struct Behaviour {
    #[command(flatten)]
    pub pace: Pace,

    #[command(flatten)]
    pub faults: Faults,
}

/// How long it takes.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pace {
    /// What each read of the slow disk takes, in microseconds
    #[arg(long, default_value_t = 1000, value_name = "US")]
    pub latency_us: u64,

    /// Up to so many microseconds more or less, by chance
    #[arg(long, default_value_t = 0, value_name = "US")]
    pub jitter_us: u64,

    /// Decides the jitter, and which pages cannot be read
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
}

/// What it refuses.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
pub struct Faults {
    /// This share of the pages of 4 KiB cannot be read: EIO, each time
    #[arg(long, default_value_t = 0.0, value_name = "P", value_parser = percent)]
    pub fail_percent: f64,

    /// Only pages of this file are among them [default: of all]
    #[arg(long, value_name = "NAME")]
    pub fail_file: Option<String>,
}

/// What the disk was asked for, by the name of the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Of each file.
    pub files: BTreeMap<String, Asked>,
    /// The most reads that were at the disk at once.
    pub most_in_flight: u64,
}

/// Reads of one file.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Asked {
    /// How many, also those that failed.
    pub reads: u64,
    /// What they asked for.
    pub bytes: u64,
    /// Those that were answered with EIO.
    pub failed: u64,
}

impl Seen {
    /// What the slow disk that is mounted at `at` was asked for until now.
    pub fn at(at: &Path) -> Result<Self, Failure> {
        let path = at.join(filesystem::SEEN);
        let text = fs::read_to_string(&path);
        let text = text.map_err(|error| Failure::at(&path, "ask the slow disk", &error))?;
        serde_json::from_str(&text).map_err(|error| Failure::at(&path, "read the JSON", &error))
    }

    /// Reads and bytes of the file `name`.
    pub fn of(&self, name: &str) -> Asked {
        self.files.get(name).copied().unwrap_or_default()
    }
}

impl Behaviour {
    /// As slow as `pace` says, and none fails.
    pub fn sound(pace: &Pace) -> Self {
        Self { pace: pace.clone(), faults: Faults::default() }
    }

    /// The same as words of the command line.
    fn words(&self) -> Vec<String> {
        let Self { pace, faults } = self;
        let mut words = vec![
            format!("--latency-us={}", pace.latency_us),
            format!("--jitter-us={}", pace.jitter_us),
            format!("--seed={}", pace.seed),
            format!("--fail-percent={}", faults.fail_percent),
        ];
        words.extend(faults.fail_file.iter().map(|name| format!("--fail-file={name}")));
        words
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.jitter_us {
            0 => write!(f, "{} us a read", self.latency_us),
            jitter_us => write!(f, "{} us a read, {jitter_us} more or less", self.latency_us),
        }
    }
}

fn percent(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("use a share from 0 to 100".into()),
    }
}
