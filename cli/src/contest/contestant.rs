//! Who takes part: a backend, and for a mapping what the kernel is told about it.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use ringpool::{Advice, Backend};

use crate::options::Temperature;

/// One backend as it takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contestant {
    Pool,
    /// The pool once more, in the last place of its round: what it differs by from itself is the
    /// machine's noise.
    PoolAgain,
    Mmap(Mapping),
    Direct,
    Memory,
}

/// How a mapping takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mapping {
    Advised(Advice),
    /// All of it is read before the clock starts, as with `MAP_POPULATE`, and `MADV_RANDOM` from
    /// then on, so that what did not fit comes back without reading ahead.
    Populated,
}

/// What a mapping that is populated is called.
const POPULATE: &str = "populate";

impl Contestant {
    /// The contestants for these backends; a mapping takes part once for each way to map.
    pub fn all(backends: &[Backend], mappings: &[Mapping]) -> Vec<Self> {
        let of = |backend: &Backend| match backend {
            Backend::Pool => vec![Self::Pool],
            Backend::Mmap => mappings.iter().copied().map(Self::Mmap).collect(),
            Backend::Direct => vec![Self::Direct],
            Backend::Memory => vec![Self::Memory],
        };
        let mut all: Vec<Self> = Vec::new();
        for contestant in backends.iter().flat_map(of) {
            if !all.contains(&contestant) {
                all.push(contestant);
            }
        }
        all
    }

    /// What it reads through.
    pub fn backend(self) -> Backend {
        match self {
            Self::Pool | Self::PoolAgain => Backend::Pool,
            Self::Mmap(_) => Backend::Mmap,
            Self::Direct => Backend::Direct,
            Self::Memory => Backend::Memory,
        }
    }

    /// Whether it runs like this: what is read before the clock starts is never cold.
    pub fn runs(self, temperature: Temperature) -> bool {
        self != Self::Mmap(Mapping::Populated) || temperature == Temperature::Warm
    }

    /// What of a command line is its own.
    pub fn arguments(self) -> Vec<OsString> {
        let mut line = vec!["--backend".into(), self.backend().to_string().into()];
        let (advice, populated) = match self {
            Self::Mmap(Mapping::Advised(advice)) => (advice, false),
            Self::Mmap(Mapping::Populated) => (Advice::Random, true),
            _ => return line,
        };
        line.extend(["--mmap-advice".into(), advice.to_string().into()]);
        if populated {
            line.extend(["--warm-up".into(), "all=before-serving".into()]);
        }
        line
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoolAgain => f.pad("pool again"),
            Self::Mmap(mapping) => write!(f, "mmap {mapping}"),
            other => write!(f, "{}", other.backend()),
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advised(advice) => write!(f, "{advice}"),
            Self::Populated => f.pad(POPULATE),
        }
    }
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.parse() {
            Ok(advice) => Ok(Self::Advised(advice)),
            Err(_) if word == POPULATE => Ok(Self::Populated),
            Err(_) => Err("use willneed, random, normal or populate".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_contestant_takes_part_once() {
        let backends = [Backend::Mmap, Backend::Pool, Backend::Mmap];
        let mappings = ["willneed", "populate"].map(|word| word.parse().unwrap());
        let all = Contestant::all(&backends, &mappings);
        let willneed = Mapping::Advised(Advice::WillNeed);
        let mmap = Contestant::Mmap;
        assert_eq!(all, [mmap(willneed), mmap(Mapping::Populated), Contestant::Pool]);
        assert!("soon".parse::<Mapping>().is_err());
    }

    #[test]
    fn a_populated_mapping_is_never_cold() {
        let populated = Contestant::Mmap(Mapping::Populated);
        assert!(!populated.runs(Temperature::Cold) && populated.runs(Temperature::Warm));
        assert!(Contestant::Pool.runs(Temperature::Cold));
        assert_eq!(populated.to_string(), "mmap populate");
    }
}
