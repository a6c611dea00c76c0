//! Several sources of configuration, and what is in force of them.

use std::fmt;

use super::keys::{KEYS, Key};
use super::{Config, ConfigError, Oversample};
use crate::{MmapOptions, OpenOptions, Placement, Rescore, WarmUp};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The command line, or the program.
    Flags,
    /// Variables of the environment.
    Environment,
    /// A file, by its name.
    File(String),
}

/// Sources of configuration, the strongest first.
///
/// Of each key the strongest source that sets it is in force. Places and warm-ups are put together
/// component by component: the stronger source first; within a source what is set for a collection
/// before what is set for all; and what is said of a component before its kind, and that before a
/// profile.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    sources: Vec<(Source, Config)>,
}

/// A key that is in force, and where its value comes from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InForce {
    /// The key.
    pub key: &'static Key,
    /// Its name: with that of a collection where it is for one.
    pub name: String,
    /// Its value as it is written; empty where nothing is set by default.
    pub value: String,
    /// Where it comes from. `None` for what holds where nothing is set.
    pub source: Option<Source>,
}

impl Settings {
    /// These, and `config` where they set nothing.
    #[must_use]
    pub fn then(mut self, source: Source, config: Config) -> Self {
        self.sources.push((source, config));
        self
    }

    /// Flags before `variables`, those of the environment as a rule, before the file at `path`, if
    /// there is one. The caller reads the environment: this library does not look at it.
    ///
    /// # Errors
    /// As those of [`Config::read`] and [`Config::from_variables`].
    pub fn of_command(
        flags: Config,
        variables: impl IntoIterator<Item = (String, String)>,
        path: Option<&std::path::Path>,
    ) -> Result<Self, ConfigError> {
        let environment = Config::from_variables(variables)?;
        let settings =
            Self::default().then(Source::Flags, flags).then(Source::Environment, environment);
        Ok(match path {
            Some(path) => {
                settings.then(Source::File(path.display().to_string()), Config::read(path)?)
            }
            None => settings,
        })
    }

    /// The value of the strongest source that has one.
    pub fn first<T>(&self, value: impl Fn(&Config) -> Option<T>) -> Option<T> {
        self.sources.iter().find_map(|(_, config)| value(config))
    }

    /// Where components of `collection` are, as far as that is set.
    pub fn placement(&self, collection: Option<&str>) -> Placement {
        let of = |config: &Config| {
            let own = collection.and_then(|name| config.collection.get(name));
            let all = config.placement.clone().over(&profile(config.profile));
            own.map_or_else(
                || all.clone(),
                |own| own.placement.clone().over(&profile(own.profile)).over(&all),
            )
        };
        let sources = self.sources.iter().map(|(_, config)| of(config));
        sources.fold(Placement::default(), |stronger, weaker| stronger.over(&weaker))
    }

    /// What of `collection` is read before it is asked for.
    pub fn warm_up(&self, collection: Option<&str>) -> WarmUp {
        let of = |config: &Config| {
            let own = collection.and_then(|name| config.collection.get(name));
            let own = own.map(|own| own.warm_up.clone()).unwrap_or_default();
            own.over(&config.warm_up)
        };
        let sources = self.sources.iter().map(|(_, config)| of(config));
        sources.fold(WarmUp::default(), |stronger, weaker| stronger.over(&weaker))
    }

    /// How an index of `collection` is opened.
    pub fn open_options(&self, collection: Option<&str>) -> OpenOptions {
        let engine = |config: &Config| config.engine.reads;
        OpenOptions {
            backend: self.first(|config| config.engine.backend).unwrap_or_default(),
            place: self.placement(collection),
            warm_up: self.warm_up(collection),
            hot_set: self.first(|config| config.hot_set).unwrap_or_default(),
            codes: None,
            memory: self.first(|config| config.memory.budget),
            total_bytes: self.first(|config| config.memory.total).map(|total| total.resolve(0)),
            populate: self.first(|config| config.memory.populate),
            engine: self.first(engine).unwrap_or_default(),
            mmap: MmapOptions {
                advice: self.first(|config| config.engine.mmap_advice).unwrap_or_default(),
                verify: self.first(|config| config.engine.mmap_verify).unwrap_or_default(),
            },
        }
    }

    /// How many candidates a walk keeps.
    pub fn ef(&self) -> u32 {
        self.first(|config| config.search.ef).unwrap_or(100)
    }

    /// What is read of the originals after a walk by codes.
    pub fn rescore(&self) -> Rescore {
        match self.first(|config| config.search.oversample).unwrap_or(Oversample::Times(4.0)) {
            Oversample::Times(times) => Rescore::Times(times),
            Oversample::Auto => {
                let recall = self.first(|config| config.search.recall).unwrap_or(0.95);
                Rescore::Auto { recall }
            }
        }
    }

    /// Everything that is in force, in the order of the documentation.
    pub fn in_force(&self) -> Vec<InForce> {
        let one = |key: &'static Key| {
            let set: Vec<InForce> = self.set_of(key).collect();
            if !set.is_empty() || key.name.contains("NAME") {
                return set;
            }
            let (name, value) = (key.name.into(), key.default.into());
            vec![InForce { key, name, value, source: None }]
        };
        KEYS.iter().flat_map(one).collect()
    }

    /// What of `key` is set: one value; of components and of collections also what weaker sources
    /// set and stronger do not.
    fn set_of(&self, key: &'static Key) -> impl Iterator<Item = InForce> {
        let mut all: Vec<InForce> = Vec::new();
        for (source, config) in &self.sources {
            for (name, value) in config.values_of(key) {
                let is_hidden = all.iter().any(|set| set.name == name);
                if !is_hidden {
                    all.push(InForce { key, name, value, source: Some(source.clone()) });
                }
            }
        }
        all.into_iter()
    }
}

fn profile(profile: Option<crate::Profile>) -> Placement {
    profile.map(crate::Profile::placement).unwrap_or_default()
}

impl Config {
    /// What it sets of `key`, by name.
    fn values_of(&self, key: &Key) -> Vec<(String, String)> {
        fn text<T: fmt::Display>(value: Option<T>) -> Option<String> {
            value.map(|value| value.to_string())
        }
        let own = |one: &dyn Fn(&super::CollectionConfig) -> Vec<(String, String)>, end: &str| {
            let all = self.collection.iter().flat_map(|(name, collection)| {
                let named = one(collection).into_iter();
                named.map(move |(part, value)| (format!("collection.{name}.{end}{part}"), value))
            });
            all.collect::<Vec<_>>()
        };
        let value = match key.name {
            "profile" => text(self.profile),
            "hot_set" => text(self.hot_set),
            "memory.budget" => text(self.memory.budget),
            "memory.total" => text(self.memory.total),
            "memory.populate" => text(self.memory.populate),
            "search.ef" => text(self.search.ef),
            "search.oversample" => text(self.search.oversample),
            "search.recall" => text(self.search.recall),
            "search.inflight" => text(self.search.inflight),
            "engine.reads" => text(self.engine.reads),
            "engine.backend" => text(self.engine.backend),
            "engine.mmap_advice" => text(self.engine.mmap_advice),
            "engine.mmap_verify" => text(self.engine.mmap_verify),
            "placement" => return listed("placement.", &self.placement),
            "warm_up" => return listed("warm_up.", &self.warm_up),
            "collection.NAME.profile" => {
                let profile = |one: &super::CollectionConfig| {
                    text(one.profile).into_iter().map(|value| (String::new(), value)).collect()
                };
                return own(&profile, "profile");
            }
            "collection.NAME.placement" => {
                return own(&|one| listed("", &one.placement), "placement.");
            }
            _ => return own(&|one| listed("", &one.warm_up), "warm_up."),
        };
        value.into_iter().map(|value| (key.name.to_string(), value)).collect()
    }
}

fn listed<T: crate::Said>(prefix: &str, all: &crate::ByPart<T>) -> Vec<(String, String)> {
    all.iter().map(|(part, said)| (format!("{prefix}{part}"), said.to_string())).collect()
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flags => f.pad("flags"),
            Self::Environment => f.pad("environment"),
            Self::File(name) => f.pad(name),
        }
    }
}
