//! The flags that more than one command takes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ringpool::config::Oversample;
use ringpool::storage::PageSize;
use ringpool::{
    Advice, Backend, EngineChoice, Indexes, Memory, MmapOptions, OpenOptions, Placement, Quantizer,
    Rescore, SearchParams, Searches, Verify,
};

use crate::failure::Failure;
use crate::settings::Elsewhere;

/// What `--memory` is.
pub const MEMORY_HELP: &str = "Memory for pages: 256MiB, 2GiB, or a share of the components that \
                               it is for [default: 25%, but at most half of what is left]";

/// What `--place` is.
pub const PLACE_HELP: &str = "Where the components are, as graph=resident,vectors=pool,\
                              columns.price=mmap: resident (loaded for good), or read by page \
                              through pool, mmap or direct (nothing is kept), or, for graph and \
                              codes, inlined in the originals. Components are graph, codes, \
                              vectors, columns, indexes and all, and one of several by its name, \
                              as codes.sq8. All in the pool share one, and may be given a part of \
                              it, as pool:floor=10%:ceiling=64MiB:share=2:priority=high [default: \
                              graph and codes resident while they fit half of what is left, the \
                              rest through the backend]";

/// What `--backend` is.
pub const BACKEND_HELP: &str = "What originals are read through: pool, mmap, direct (past the \
                                page cache, and nothing is kept) or memory (everything loaded \
                                into plain arrays)";

/// What `--inflight` is.
pub const INFLIGHT_HELP: &str = "Queries in flight on each thread: while the pages of one are on \
                                 their way, it works on another [default: 8, or 1 where \
                                 everything is in memory]";

/// The most that `--inflight` takes.
pub const MAX_INFLIGHT: i64 = 1024;

/// What is asked, of which segment, and with how much memory.
#[derive(Args, Clone, Debug)]
pub struct QueryOptions {
    /// The segment: a folder that `build` made; or a folder of segments, or several segments, of
    /// which a query searches all. The ids of the second follow those of the first where they are
    /// given one by one and all have rows as ids
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,

    /// File of query vectors: .fvecs .bvecs .ivecs .npy, each also with .gz
    #[arg(long, value_name = "FILE")]
    pub queries: PathBuf,

    /// Nearest neighbours to find for each query
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub k: u32,

    /// Candidates kept while the graph is walked
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub ef: u32,

    /// Originals rescored for each neighbour asked for, at least 1; or auto, for as many as the
    /// recall needs
    #[arg(long, default_value_t = Oversample::Times(4.0), value_name = "X|auto")]
    pub oversample: Oversample,

    /// The recall that --oversample auto reads for, of what the walk finds, above 0 and below 1
    /// [default: 0.95]
    #[arg(long, value_name = "R", value_parser = share)]
    pub recall: Option<f32>,

    /// Whether originals are read at all after a walk by codes
    #[arg(long, value_enum, default_value = "on")]
    pub rescore: Switch,

    /// Codes to walk by, of those that the segment carries, or none for the originals
    /// [default: the first that it carries]
    #[arg(long, value_name = "CODES")]
    pub codes: Option<Quantizer>,

    #[arg(long, value_name = "BYTES|N%", help = MEMORY_HELP)]
    pub memory: Option<Memory>,

    #[arg(long, value_name = "PLACES", default_value_t, hide_default_value = true, help = PLACE_HELP)]
    pub place: Placement,

    #[arg(long, value_name = "N", help = INFLIGHT_HELP, value_parser = clap::value_parser!(u16).range(1..=MAX_INFLIGHT))]
    pub inflight: Option<u16>,

    /// When a mapping checks its pages: first-touch or never
    #[arg(long, default_value = "first-touch", value_name = "WHEN")]
    pub mmap_verify: Verify,

    /// What the pool reads with: auto, uring or blocking
    #[arg(long, default_value = "auto")]
    pub engine: EngineChoice,

    /// True neighbours (.ivecs), for the recall
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,

    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

/// What `--oversample auto` reads for without `--recall`.
const RECALL: f32 = 0.95;

impl QueryOptions {
    /// Whether the flags go together.
    pub fn check(&self) -> Result<(), Failure> {
        match (self.recall, self.oversample, self.rescore) {
            (None, ..) | (_, Oversample::Auto, Switch::On) => Ok(()),
            _ => Err(Failure::Usage("--recall goes with --oversample auto alone".into())),
        }
    }

    /// What each search is asked for.
    pub fn params(&self) -> SearchParams {
        let rescore = match (self.rescore, self.oversample) {
            (Switch::Off, _) => Rescore::Off,
            (Switch::On, Oversample::Times(times)) => Rescore::Times(times),
            (Switch::On, Oversample::Auto) => {
                Rescore::Auto { recall: self.recall.unwrap_or(RECALL) }
            }
        };
        SearchParams { k: self.k as usize, ef: self.ef as usize, rescore }
    }

    /// Queries in flight on each thread, in `indexes`.
    pub fn in_flight(&self, indexes: &Indexes) -> u16 {
        // In memory there is nothing to wait for.
        let default = if indexes.is_read_by_page() { Searches::IN_FLIGHT as u16 } else { 1 };
        self.inflight.unwrap_or(default)
    }

    /// How segments are opened, through `backend`.
    pub fn open_options(&self, backend: Backend, mmap_advice: Advice) -> OpenOptions {
        OpenOptions {
            backend,
            place: self.place.clone(),
            warm_up: self.elsewhere.warm_up.clone(),
            hot_set: self.elsewhere.hot_set.unwrap_or_default(),
            codes: self.codes,
            memory: self.memory,
            populate: self.elsewhere.populate,
            total_bytes: self.elsewhere.memory_total.map(|total| total.resolve(0)),
            engine: self.engine,
            mmap: MmapOptions { advice: mmap_advice, verify: self.mmap_verify },
        }
    }

    /// The segment, where there is to be one alone.
    pub fn dir(&self) -> Result<&Path, Failure> {
        match &self.dirs[..] {
            [dir] => Ok(dir),
            dirs => Err(Failure::Usage(format!("one segment is taken here, not {}", dirs.len()))),
        }
    }

    /// The arguments of a `ringpool search` with these options. Those at their default are left
    /// out, so that a person can read the line.
    pub fn search_arguments(&self) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec!["search".into()];
        line.extend(self.dirs.iter().map(OsString::from));
        let mut flag = |name: &str, value: OsString| line.extend([name.into(), value]);
        flag("--queries", self.queries.clone().into());
        flag("--k", self.k.to_string().into());
        flag("--ef", self.ef.to_string().into());
        flag("--oversample", self.oversample.to_string().into());
        if let Some(recall) = self.recall {
            flag("--recall", recall.to_string().into());
        }
        if self.rescore == Switch::Off {
            flag("--rescore", "off".into());
        }
        if let Some(codes) = self.codes {
            flag("--codes", codes.to_string().into());
        }
        if let Some(memory) = self.memory {
            flag("--memory", memory.to_string().into());
        }
        if !self.place.is_empty() {
            flag("--place", self.place.to_string().into());
        }
        if let Some(inflight) = self.inflight {
            flag("--inflight", inflight.to_string().into());
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

fn share(word: &str) -> Result<f32, String> {
    match word.parse::<f32>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("use a decimal above 0 and below 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversampling_is_a_finite_number_from_1_on() {
        for word in ["1", "1.5", "4.0", "100"] {
            assert!(word.parse::<Oversample>().is_ok(), "{word}");
        }
        for word in ["0.99", "0", "-4", "NaN", "inf", "", "four", "1,5"] {
            assert!(word.parse::<Oversample>().is_err(), "{word}");
        }
        assert_eq!("auto".parse(), Ok(Oversample::Auto));
        assert_eq!(Oversample::Times(4.0).to_string(), "4");
    }

    #[test]
    fn recall_is_a_share_and_goes_with_auto() {
        for (word, fine) in [("0.5", true), ("0", false), ("1", false), ("NaN", false)] {
            assert_eq!(share(word).is_ok(), fine, "{word}");
        }
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            query: QueryOptions,
        }
        for (flags, fine) in [
            ("", true),
            ("--oversample auto", true),
            ("--oversample auto --recall 0.9", true),
            ("--recall 0.9", false),
            ("--oversample 3 --recall 0.9", false),
            ("--oversample auto --recall 0.9 --rescore off", false),
        ] {
            let line = format!("search segment --queries q.fvecs {flags}");
            let line = <Line as clap::Parser>::parse_from(line.split_whitespace());
            assert_eq!(line.query.check().is_ok(), fine, "{flags}");
        }
    }
}
