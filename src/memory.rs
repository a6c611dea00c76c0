//! How much memory a backend may use for pages, as people write it: `256MiB`, `2GB` or `25%`.
//!
//! A share is of the bytes, as stored in pages, that go through the backend. Where nothing was
//! said the default is a quarter of them, but at most half of what is left to this process: of
//! every memory cgroup (v1 and v2) that it lives in, and of the machine.

mod left;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A byte budget: absolute, or a share of the bytes that it is a budget for. Written as text, or as
/// a number of bytes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "Written")]
pub enum Memory {
    /// This many bytes.
    Bytes(u64),
    /// This many hundredths of the bytes in pages; above 100 there is room for all of them.
    Percent(f64),
}

/// Why a word is no amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Neither a number of bytes nor a share.
    #[error(
        "{0:?} is no amount of memory: write bytes as 1048576, 256MiB or 2GB, or a share as 25%"
    )]
    Unparsable(String),
    /// Nothing, or less than one byte.
    #[error("{0:?} is no memory at all: ask for more than 0")]
    Zero(String),
    /// Less than nothing.
    #[error("{0:?} is negative: ask for more than 0")]
    Negative(String),
    /// More bytes than 64 bits count, or a share that is not finite.
    #[error("{0:?} is more than 64 bits can count: ask for less")]
    TooLarge(String),
}

/// The units, and how many bytes each is.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// The default share, in hundredths.
const DEFAULT_PERCENT: f64 = 25.0;

impl Memory {
    /// The budget in bytes, when `paged_bytes` bytes in pages go through the backend.
    pub fn resolve(self, paged_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            // A float holds 53 bits exactly, which is 9 PB; `as` saturates above that.
            Self::Percent(percent) => (paged_bytes as f64 * (percent / 100.0)) as u64,
        }
    }

    /// What the memory cgroups of this process, or the machine, have left. `None` where neither
    /// says.
    pub fn left_bytes() -> Option<u64> {
        left::left_bytes()
    }

    /// The budget in bytes where none was asked for: 25 % of `paged_bytes`, but at most half of
    /// what the memory cgroups of this process, or the machine, have left.
    pub fn default_for(paged_bytes: u64) -> u64 {
        let share = Self::Percent(DEFAULT_PERCENT).resolve(paged_bytes);
        left::left_bytes().map_or(share, |left| share.min(left / 2))
    }
}

/// An amount as it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bytes(u64),
    Text(String),
}

impl TryFrom<Written> for Memory {
    type Error = MemoryError;

    fn try_from(written: Written) -> Result<Self, MemoryError> {
        match written {
            Written::Bytes(bytes) => bytes.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.to_string()
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => {
                let whole = |unit: &&(&str, u64)| bytes % unit.1 == 0;
                let binary = UNITS[1..5].iter().rev().find(whole);
                match binary {
                    Some((name, unit)) => write!(f, "{}{name}", bytes / unit),
                    None => write!(f, "{bytes}"),
                }
            }
        }
    }
}

impl FromStr for Memory {
    type Err = MemoryError;

    fn from_str(word: &str) -> Result<Self, MemoryError> {
        let text = word.trim();
        if text.starts_with('-') {
            return Err(MemoryError::Negative(word.into()));
        }
        let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (digits, unit) = (&text[..digits_end], text[digits_end..].trim_start());
        if digits.is_empty() {
            return Err(MemoryError::Unparsable(word.into()));
        }
        if unit == "%" {
            return percent(word, digits);
        }
        let unit_bytes = match unit {
            "" => Some(1),
            _ => UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, bytes)| *bytes),
        };
        let unit_bytes = unit_bytes.ok_or_else(|| MemoryError::Unparsable(word.into()))?;
        bytes(word, digits, unit_bytes)
    }
}

fn percent(word: &str, digits: &str) -> Result<Memory, MemoryError> {
    match digits.parse::<f64>() {
        Ok(percent) if !percent.is_finite() => Err(MemoryError::TooLarge(word.into())),
        Ok(percent) if percent > 0.0 => Ok(Memory::Percent(percent)),
        Ok(_) => Err(MemoryError::Zero(word.into())),
        Err(_) => Err(MemoryError::Unparsable(word.into())),
    }
}

fn bytes(word: &str, digits: &str, unit_bytes: u64) -> Result<Memory, MemoryError> {
    let bytes = if digits.contains('.') {
        let number: f64 = digits.parse().map_err(|_| MemoryError::Unparsable(word.into()))?;
        let bytes = number * unit_bytes as f64;
        // 2^64 itself is the first that does not fit.
        (bytes < u64::MAX as f64).then_some(bytes as u64)
    } else {
        // Only digits are left, so that the one way to fail is to be too long.
        let number: Option<u64> = digits.parse().ok();
        number.and_then(|number| number.checked_mul(unit_bytes))
    };
    match bytes {
        None => Err(MemoryError::TooLarge(word.into())),
        Some(0) => Err(MemoryError::Zero(word.into())),
        Some(bytes) => Ok(Memory::Bytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (word, bytes) in [
            ("1048576", 1 << 20),
            ("64KiB", 64 << 10),
            ("256MiB", 256 << 20),
            ("256 mib", 256 << 20),
            ("2GiB", 2 << 30),
            ("1.5GiB", 3 << 29),
            ("1TiB", 1 << 40),
            ("5kB", 5_000),
            ("7MB", 7_000_000),
            ("2GB", 2_000_000_000),
            ("12B", 12),
            (" 12 ", 12),
        ] {
            assert_eq!(word.parse(), Ok(Memory::Bytes(bytes)), "{word}");
        }
        for (word, percent) in [("25%", 25.0), ("12.5 %", 12.5), ("250%", 250.0)] {
            assert_eq!(word.parse(), Ok(Memory::Percent(percent)), "{word}");
        }
    }

    #[test]
    fn every_refusal_says_which() {
        type Refusal = fn(String) -> MemoryError;
        let cases: [(&[&str], Refusal); 4] = [
            (
                &[
                    "", "lots", "MiB", "%", "12XiB", "1.2.3", "1e9", "0x10", "5M", "25%%", "NaN",
                    "inf", "+5", ".",
                ],
                MemoryError::Unparsable,
            ),
            (&["0", "0%", "0.0%", "0GiB", "0.5", "0.1B"], MemoryError::Zero),
            (&["-1", "-5%", "-3GiB"], MemoryError::Negative),
            (
                &["18446744073709551616", "99999999999TiB", "16777216.5TiB", "16777216TiB"],
                MemoryError::TooLarge,
            ),
        ];
        for (words, refusal) in cases {
            for word in words {
                assert_eq!(word.parse::<Memory>(), Err(refusal((*word).into())), "{word:?}");
            }
        }
        let endless = format!("{}%", "9".repeat(400));
        assert_eq!(endless.parse::<Memory>(), Err(MemoryError::TooLarge(endless)));
    }

    #[test]
    fn a_share_is_of_the_bytes_in_pages() {
        assert_eq!(Memory::Percent(10.0).resolve(1000), 100);
        assert_eq!(Memory::Percent(250.0).resolve(1000), 2500);
        assert_eq!(Memory::Percent(f64::MAX).resolve(u64::MAX), u64::MAX);
        assert_eq!(Memory::Bytes(7).resolve(1000), 7);
    }

    #[test]
    fn the_default_is_at_most_a_quarter() {
        assert_eq!(Memory::default_for(4 << 10), 1 << 10);
        // No machine has half an exabyte left.
        let budget = Memory::default_for(1 << 61);
        assert!(budget < 1 << 58, "{budget}");
    }

    proptest! {
        #[test]
        fn no_word_panics(word in ".{0,40}") {
            let _ = word.parse::<Memory>();
        }

        #[test]
        fn bytes_survive_being_written(bytes in 1..u64::MAX) {
            let memory = Memory::Bytes(bytes);
            prop_assert_eq!(memory.to_string().parse(), Ok(memory));
        }
    }
}
