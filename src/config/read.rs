//! Reading a configuration: from TOML, and from variables.
//!
//! Every value is taken by its key and its text, wherever it comes from, so that the same is right
//! in a file, in the environment and on a command line, and what is wrong is told in the same words.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key, Named, PREFIX, named};
use super::{Config, ConfigError, HotSetAtClose, Oversample};
use crate::parts::{ByPart, Said};

/// No configuration is longer.
const MOST_BYTES: u64 = 1 << 20;
/// Variables that a cluster's scheduler sets for a service of this name: not ours.
const OTHERS: [&str; 2] = ["SERVICE_", "PORT"];

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or has a key or a value that there is not.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let failed = |source| ConfigError::Io { path: path.into(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MOST_BYTES {
            return Err(ConfigError::TooLong { path: path.into(), most_bytes: MOST_BYTES });
        }
        Self::parse(&text, &path.display().to_string())
    }

    /// Takes the text of a file that is called `name` in errors.
    ///
    /// # Errors
    /// As those of [`read`](Self::read).
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let source = Text { text, name };
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            at: source.at(error.span().unwrap_or_default()),
            reason: error.message().into(),
        })?;
        let mut config = Self::default();
        source.take(&mut config, &mut Vec::new(), table.get_ref())?;
        Ok(config)
    }

    /// Takes those of `variables` whose names begin with `RINGPOOL_`, as [`Key::variable`] calls
    /// them: `RINGPOOL_MEMORY_BUDGET=1GiB`, `RINGPOOL_PLACEMENT=graph=pool,vectors=mmap`. One that is
    /// empty sets nothing.
    ///
    /// # Errors
    /// When a variable or a value is one that there is not. Those that a cluster sets for a service
    /// called ringpool (`RINGPOOL_SERVICE_HOST`, `RINGPOOL_PORT`) are passed by.
    pub fn from_variables<K: AsRef<str>, V: AsRef<str>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (variable, value) in variables {
            let (variable, value) = (variable.as_ref(), value.as_ref());
            let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
            if value.is_empty() || OTHERS.iter().any(|others| rest.starts_with(others)) {
                continue;
            }
            let known = || KEYS.iter().filter_map(|key| Some((key, key.variable()?)));
            let Some((key, _)) = known().find(|(_, known)| known == variable) else {
                let likeness =
                    |(_, known): &(_, String)| strsim::damerau_levenshtein(variable, known);
                let nearest = known().min_by_key(likeness).map(|(_, known)| known);
                return Err(ConfigError::UnknownKey {
                    at: "the environment".into(),
                    key: variable.into(),
                    nearest: nearest.unwrap_or_default(),
                });
            };
            config.set(key, &[key.name], value).map_err(|reason| ConfigError::BadValue {
                at: variable.into(),
                key: key.name.into(),
                value: quoted(value),
                reason,
            })?;
        }
        Ok(config)
    }

    /// Sets `key`, by what `name` calls it, to what `text` says; why not where it cannot.
    pub(super) fn set(&mut self, key: &Key, name: &[&str], text: &str) -> Result<(), String> {
        let allowed = || format!("use {}", key.allowed);
        let collection = match name {
            ["collection", name, ..] => self.collection.entry((*name).into()).or_default(),
            _ => &mut Default::default(),
        };
        match key.name {
            "profile" => put(&mut self.profile, text).map_err(|_| allowed()),
            "hot_set" => put(&mut self.hot_set, text).map_err(|_| allowed()),
            "memory.budget" => put(&mut self.memory.budget, text).map_err(|_| allowed()),
            "memory.total" => match text.parse() {
                Ok(crate::Memory::Percent(_)) | Err(_) => Err(allowed()),
                Ok(bytes) => {
                    self.memory.total = Some(bytes);
                    Ok(())
                }
            },
            "memory.populate" => put(&mut self.memory.populate, text).map_err(|_| allowed()),
            "search.ef" => whole(&mut self.search.ef, text, 1, u32::MAX).ok_or_else(allowed),
            "search.oversample" => put(&mut self.search.oversample, text).map_err(|_| allowed()),
            "search.recall" => {
                self.search.recall = Some(recall(text).ok_or_else(allowed)?);
                Ok(())
            }
            "search.inflight" => {
                whole(&mut self.search.inflight, text, 1, 1024).ok_or_else(allowed)
            }
            "engine.reads" => put(&mut self.engine.reads, text).map_err(|_| allowed()),
            "engine.backend" => put(&mut self.engine.backend, text).map_err(|_| allowed()),
            "engine.mmap_advice" => put(&mut self.engine.mmap_advice, text).map_err(|_| allowed()),
            "engine.mmap_verify" => put(&mut self.engine.mmap_verify, text).map_err(|_| allowed()),
            "placement" => say(&mut self.placement, &name[1..], text),
            "warm_up" => say(&mut self.warm_up, &name[1..], text),
            "collection.NAME.profile" => put(&mut collection.profile, text).map_err(|_| allowed()),
            "collection.NAME.placement" => say(&mut collection.placement, &name[3..], text),
            "collection.NAME.warm_up" => say(&mut collection.warm_up, &name[3..], text),
            other => unreachable!("{other} is in the table of keys and not here"),
        }
    }
}

fn put<T: FromStr>(slot: &mut Option<T>, text: &str) -> Result<(), T::Err> {
    *slot = Some(text.parse()?);
    Ok(())
}

fn whole<T: FromStr + PartialOrd>(
    slot: &mut Option<T>,
    text: &str,
    least: T,
    most: T,
) -> Option<()> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number))?;
    *slot = Some(number);
    Some(())
}

fn recall(text: &str) -> Option<f32> {
    text.parse().ok().filter(|recall| *recall > 0.0 && *recall < 1.0)
}

/// Takes what is said of a component, or a list of all.
fn say<T: Said>(all: &mut ByPart<T>, name: &[&str], text: &str) -> Result<(), String> {
    let said = match name {
        [] => text.parse().map(|listed| *all = listed),
        name => all.say_text(&name.join("."), text),
    };
    said.map_err(|error| error.to_string())
}

/// The text of a file, and what it is called.
struct Text<'t> {
    text: &'t str,
    name: &'t str,
}

impl Text<'_> {
    /// Takes the table whose name has these `parts`.
    fn take(
        &self,
        config: &mut Config,
        parts: &mut Vec<String>,
        table: &DeTable<'_>,
    ) -> Result<(), ConfigError> {
        for (key, value) in table {
            parts.push(key.get_ref().to_string());
            let name: Vec<&str> = parts.iter().map(String::as_str).collect();
            let at = || self.at(key.span());
            let wrong = |reason| ConfigError::BadValue {
                at: at(),
                key: name.join("."),
                value: self.shown(value),
                reason,
            };
            match (named(&name), value.get_ref()) {
                (Named::Nothing(nearest), _) => {
                    let key = name.join(".");
                    return Err(ConfigError::UnknownKey { at: at(), key, nearest });
                }
                (Named::Section, DeValue::Table(table)) => self.take(config, parts, table)?,
                (Named::Section, _) => return Err(wrong("it is a section of keys".into())),
                (Named::Key(key), DeValue::Table(table)) if key.is_by_part() => {
                    self.take(config, parts, table)?;
                }
                (Named::Key(key), value) => match scalar(value) {
                    Some(text) => config.set(key, &name, &text).map_err(wrong)?,
                    None => return Err(wrong(format!("use {}", key.allowed))),
                },
            }
            parts.pop();
        }
        Ok(())
    }

    /// The file and the line.
    fn at(&self, span: Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        format!("{}:{}", self.name, before.matches('\n').count() + 1)
    }

    /// A value as it is written, as far as it fits a line.
    fn shown(&self, value: &Spanned<DeValue<'_>>) -> String {
        let written = self.text.get(value.span()).unwrap_or_default();
        match written.lines().next() {
            Some(line) if line.len() == written.len() => line.into(),
            Some(line) => format!("{line} ..."),
            None => "nothing".into(),
        }
    }
}

/// A text or a number as text.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_string()),
        DeValue::Float(number) => Some(number.as_str().to_string()),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

impl FromStr for HotSetAtClose {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = [Self::Forget, Self::Save].into_iter().find(|one| one.to_string() == word);
        known.ok_or_else(|| "use forget or save".into())
    }
}

impl FromStr for Oversample {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if word == "auto" {
            return Ok(Self::Auto);
        }
        match word.parse::<f32>() {
            Ok(times) if times.is_finite() && times >= 1.0 => Ok(Self::Times(times)),
            _ => Err("use a decimal of at least 1, or auto".into()),
        }
    }
}
