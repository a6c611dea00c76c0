//! The experiments, one file each. Each knows how to plan its runs, and how to do one of them.

pub mod cidr;
pub mod failing;
pub mod milvus;
pub mod qdrant_article;
pub mod qdrant_pr9852;
pub mod slow_disk;

use std::io::{Write, stdout};

use ringpool::Memory;
use ringpool_cli::failure::Failure;
use ringpool_cli::table;

use crate::run::Measured;
use crate::search;

/// Their words, and what they are.
pub const NAMES: [(&str, &str); 6] = [
    (qdrant_pr9852::NAME, "4,096 random vectors, warm and cold, as in Qdrant's PR 9852"),
    (cidr::NAME, "random and sequential reads while memory fills, as in CIDR'22"),
    (qdrant_article::NAME, "rescoring from a network disk, as in Qdrant's article on io_uring"),
    (milvus::NAME, "throughput kept when data outgrows memory, as on Milvus' mmap page"),
    (slow_disk::NAME, "searches where every read takes a millisecond"),
    (failing::NAME, "searches where reads fail: a typed error or the right ids"),
];

/// The list for people.
pub fn listed() -> String {
    let rows = NAMES.map(|(name, what)| (name, what.to_owned()));
    let how = "cargo bench --bench study -- EXPERIMENT [--help]";
    format!("Experiments, each run by {how}:\n{}", table::pairs(&rows))
}

/// Does one run in this process, and prints what was measured as JSON.
pub fn run(experiment: &str, task: &str) -> Result<(), Failure> {
    let measured: Measured = match experiment {
        qdrant_pr9852::NAME => qdrant_pr9852::run(&parsed(task)?),
        cidr::NAME => cidr::run(&parsed(task)?),
        qdrant_article::NAME | milvus::NAME | slow_disk::NAME => search::run(&parsed(task)?),
        failing::NAME => return failing::run(&parsed(task)?),
        _ => Err(Failure::Usage(format!("there is no experiment {experiment:?}"))),
    }?;
    let object = serde_json::to_string(&measured).map_err(|error| Failure::of(&error))?;
    let printed = writeln!(stdout(), "{object}");
    printed.map_err(|error| Failure::new(format!("stdout: cannot write: {error}")))
}

fn parsed<T: serde::de::DeserializeOwned>(task: &str) -> Result<T, Failure> {
    let parsed = serde_json::from_str(task);
    parsed.map_err(|error| Failure::Usage(format!("no task of a study: {error}")))
}

/// A size in bytes, which is no share of anything.
pub fn size_of(size: Memory, flag: &str) -> Result<u64, Failure> {
    match size {
        Memory::Bytes(bytes) => Ok(bytes),
        Memory::Percent(_) => {
            Err(Failure::Usage(format!("{flag}: a share of nothing: write 1GiB")))
        }
    }
}
