//! The flags that more than one command takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ringpool::storage::PageSize;
use ringpool::{EngineChoice, Memory, Quantizer, Rescore, SearchParams, Verify};

/// What `--memory` is.
pub const MEMORY_HELP: &str = "Memory for pages: 256MiB, 2GiB, or a share of what goes through \
                               the backend [default: 25%, but at most half of what is left]";

/// What is asked, of which segment, and with how much memory.
#[derive(Args, Clone, Debug)]
pub struct QueryOptions {
    /// The segment: a folder that `build` made
    pub dir: PathBuf,

    /// File of query vectors: .fvecs .bvecs .ivecs .npy, each also with .gz
    #[arg(long, value_name = "FILE")]
    pub queries: PathBuf,

    /// Nearest neighbours to find for each query
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub k: u32,

    /// Candidates kept while the graph is walked
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub ef: u32,

    /// Originals rescored for each neighbour asked for, at least 1
    #[arg(long, default_value_t = 4.0, value_name = "X", value_parser = oversample)]
    pub oversample: f32,

    /// Whether originals are read at all after a walk by codes
    #[arg(long, value_enum, default_value = "on")]
    pub rescore: Switch,

    /// Codes to walk by, of those that the segment carries, or none for the originals
    /// [default: the first that it carries]
    #[arg(long, value_name = "CODES")]
    pub codes: Option<Quantizer>,

    #[arg(long, value_name = "BYTES|N%", help = MEMORY_HELP)]
    pub memory: Option<Memory>,

    /// When a mapping checks its pages: first-touch or never
    #[arg(long, default_value = "first-touch", value_name = "WHEN")]
    pub mmap_verify: Verify,

    /// What the pool reads with: auto, uring or blocking
    #[arg(long, default_value = "auto")]
    pub engine: EngineChoice,

    /// True neighbours (.ivecs), for the recall
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
}

impl QueryOptions {
    /// What each search is asked for.
    pub fn params(&self) -> SearchParams {
        let rescore = match self.rescore {
            Switch::On => Rescore::Times(self.oversample),
            Switch::Off => Rescore::Off,
        };
        SearchParams { k: self.k as usize, ef: self.ef as usize, rescore }
    }

    /// The arguments of a `ringpool search` with these options. Those at their default are left
    /// out, so that a person can read the line.
    pub fn search_arguments(&self) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec!["search".into(), self.dir.clone().into()];
        let mut flag = |name: &str, value: OsString| line.extend([name.into(), value]);
        flag("--queries", self.queries.clone().into());
        flag("--k", self.k.to_string().into());
        flag("--ef", self.ef.to_string().into());
        flag("--oversample", self.oversample.to_string().into());
        if self.rescore == Switch::Off {
            flag("--rescore", "off".into());
        }
        if let Some(codes) = self.codes {
            flag("--codes", codes.to_string().into());
        }
        if let Some(memory) = self.memory {
            flag("--memory", memory.to_string().into());
        }
        if self.mmap_verify != Verify::default() {
            flag("--mmap-verify", self.mmap_verify.to_string().into());
        }
        if self.engine != EngineChoice::default() {
            flag("--engine", self.engine.to_string().into());
        }
        if let Some(truth) = &self.truth {
            flag("--truth", truth.clone().into());
        }
        line
    }
}

/// Yes or no.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// Do
    On,
    /// Do not
    Off,
}

/// How much of the answer is in memory when the measured pass begins.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Temperature {
    /// Nothing is done before
    AsIs,
    /// The files are dropped from the page cache; a pool starts empty anyway
    Cold,
    /// All queries are run once before
    Warm,
}

impl Temperature {
    /// The word of the JSON key.
    pub fn word(self) -> &'static str {
        match self {
            Self::AsIs => "as-is",
            Self::Cold => "cold",
            Self::Warm => "warm",
        }
    }
}

/// A page size as people write it.
pub fn page_size(word: &str) -> Result<PageSize, String> {
    PageSize::new(byte_count(word)?).map_err(|error| error.to_string())
}

/// A number of bytes as people write it.
pub fn byte_count(word: &str) -> Result<u64, String> {
    match word.parse::<Memory>().map_err(|error| error.to_string())? {
        Memory::Bytes(bytes) => Ok(bytes),
        Memory::Percent(_) => Err("give it in bytes, as 4KiB".into()),
    }
}

fn oversample(word: &str) -> Result<f32, String> {
    match word.parse::<f32>() {
        Ok(factor) if factor.is_finite() && factor >= 1.0 => Ok(factor),
        _ => Err("use a decimal of at least 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversampling_is_a_finite_number_from_1_on() {
        for word in ["1", "1.5", "4.0", "100"] {
            assert!(oversample(word).is_ok(), "{word}");
        }
        for word in ["0.99", "0", "-4", "NaN", "inf", "", "four", "1,5"] {
            assert!(oversample(word).is_err(), "{word}");
        }
    }
}
