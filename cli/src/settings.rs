//! Flags before the environment before a file: what of a command's line may be set elsewhere, too.

use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use ringpool::config::{Config, HotSetAtClose, Oversample, Settings};
use ringpool::{Memory, OpenOptions, Placement, Plan, Profile, Warm, WarmUp};

use crate::failure::Failure;
use crate::options::QueryOptions;
use crate::search::SearchArgs;

/// Where else than in flags something may be set, and what flags there are for it alone.
#[derive(Args, Clone, Debug, Default)]
pub struct Elsewhere {
    /// Configuration to begin with (.toml): flags and RINGPOOL_ variables come before it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Places for everything by one name: performance (what walks and filters need resident) or
    /// capacity (everything in the pool). What --place says comes before it
    #[arg(long, value_name = "NAME")]
    pub profile: Option<Profile>,

    /// What is read before it is asked for, as graph=before-serving,vectors=background
    /// [default: nothing]
    #[arg(long, value_name = "PARTS", default_value_t, hide_default_value = true)]
    pub warm_up: WarmUp,

    /// Whether which pages the pool holds is saved at the end, for the next warm-up: forget or save
    /// [default: forget]
    #[arg(long, value_name = "WHAT")]
    pub hot_set: Option<HotSetAtClose>,

    /// What resident components and the pool may use together, as 2GiB: what does not fit is
    /// refused [default: what is left, for what is resident alone]
    #[arg(long, value_name = "BYTES", value_parser = in_bytes)]
    pub memory_total: Option<Memory>,

    /// When the pool's frames get their memory: none (as they are used), background or
    /// before-serving [default: background]
    #[arg(long, value_name = "WHEN")]
    pub populate: Option<Warm>,
}

impl Elsewhere {
    /// What these flags set.
    fn flags(&self) -> Config {
        let mut flags = Config::default();
        (flags.profile, flags.hot_set) = (self.profile, self.hot_set);
        flags.warm_up = self.warm_up.clone();
        (flags.memory.total, flags.memory.populate) = (self.memory_total, self.populate);
        flags
    }

    /// All that is set, with `flags` beside these.
    pub fn settings(&self, flags: impl FnOnce(&mut Config)) -> Result<Settings, Failure> {
        let mut all = self.flags();
        flags(&mut all);
        // What is no UTF-8 is no value of ours; names are compared first.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        let settings = Settings::of_command(all, variables, self.config.as_deref());
        settings.map_err(|error| Failure::Usage(error.to_string()))
    }
}

impl QueryOptions {
    /// Takes what is set elsewhere where no flag says it, and returns all that is set. `given` are
    /// the flags of the command.
    pub fn settle(&mut self, given: &ArgMatches) -> Result<Settings, Failure> {
        expect_known(&self.dirs, &self.place)?;
        let settings = self.elsewhere.settings(|flags| {
            flags.placement = self.place.clone();
            flags.memory.budget = self.memory;
            flags.search.ef = is_given(given, "ef").then_some(self.ef);
            flags.search.oversample = is_given(given, "oversample").then_some(self.oversample);
            flags.search.recall = self.recall;
            flags.search.inflight = self.inflight;
            flags.engine.reads = is_given(given, "engine").then_some(self.engine);
            flags.engine.mmap_verify = is_given(given, "mmap_verify").then_some(self.mmap_verify);
        })?;
        let options = settings.open_options(self.collection());
        (self.place, self.memory) = (options.place, options.memory);
        (self.engine, self.mmap_verify) = (options.engine, options.mmap.verify);
        (self.elsewhere.warm_up, self.elsewhere.hot_set) = (options.warm_up, Some(options.hot_set));
        self.elsewhere.memory_total = options.total_bytes.map(Memory::Bytes);
        self.elsewhere.populate = options.populate;
        self.ef = settings.ef();
        self.inflight = settings.first(|config| config.search.inflight);
        self.oversample =
            settings.first(|config| config.search.oversample).unwrap_or(self.oversample);
        // A recall that is set elsewhere waits for an oversampling that reads for it.
        if self.oversample == Oversample::Auto {
            self.recall = settings.first(|config| config.search.recall);
        }
        Ok(settings)
    }

    /// What the collection is called: as its folder, or that of its first segment.
    fn collection(&self) -> Option<&str> {
        self.dirs.first().and_then(|dir| collection_of(dir))
    }
}

impl SearchArgs {
    /// As that of the query, and what is the command's own.
    pub fn settle(&mut self, given: &ArgMatches) -> Result<(), Failure> {
        let settings = self.query.settle(given)?;
        if !is_given(given, "backend") {
            self.backend = settings.first(|config| config.engine.backend).unwrap_or(self.backend);
        }
        if !is_given(given, "mmap_advice") {
            let advice = settings.first(|config| config.engine.mmap_advice);
            self.mmap_advice = advice.unwrap_or(self.mmap_advice);
        }
        Ok(())
    }
}

/// Whether the segments in `dirs` have all that a flag places by name. What a file places may be of
/// other collections.
pub fn expect_known(dirs: &[PathBuf], place: &Placement) -> Result<(), Failure> {
    // What is wrong with a segment is told when it is opened.
    let Ok(plan) = Plan::new(dirs, &OpenOptions::default()) else { return Ok(()) };
    let Some((missing, nearest)) = plan.missing(place) else { return Ok(()) };
    let nearest = nearest.map(|nearest| format!(", is it {nearest}?"));
    Err(Failure::Usage(format!("--place: there is no {missing}{}", nearest.unwrap_or_default())))
}

/// What a collection in `dir` is called.
pub fn collection_of(dir: &Path) -> Option<&str> {
    dir.file_name()?.to_str()
}

fn is_given(given: &ArgMatches, flag: &str) -> bool {
    given.value_source(flag) == Some(ValueSource::CommandLine)
}

fn in_bytes(word: &str) -> Result<Memory, String> {
    crate::options::byte_count(word).map(Memory::Bytes)
}
