//! The names of the codes that a segment may carry.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// What the graph is walked with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum Quantizer {
    /// The originals themselves, read from their pages at every hop.
    None,
    /// Scalar codes of one byte a dimension.
    Sq8,
    /// Scalar codes of half a byte a dimension.
    Sq4,
    /// Product quantization (Jegou, Douze and Schmid, TPAMI 2011).
    Pq {
        /// The bytes of a code: 1 to the number of dimensions, one for each group of dimensions.
        bytes: u32,
    },
    /// RaBitQ (Gao and Long, SIGMOD 2024 and 2025): a random rotation, then few bits a dimension.
    RaBitQ {
        /// The bits of a rotated dimension: 1, 2 or 4.
        bits: u8,
    },
}

/// The most codes that one segment carries.
pub(crate) const MAX_QUANTIZERS: usize = 16;

impl Quantizer {
    /// The name of the component: letters, digits and hyphens.
    pub(crate) fn component_name(self) -> String {
        format!("codes-{}", self.to_string().replace(':', "-"))
    }
}

/// Whether one segment of vectors of `dim` dimensions can carry these codes; why not where it
/// cannot.
pub(crate) fn expect_possible(quantizers: &[Quantizer], dim: usize) -> Result<(), String> {
    if quantizers.len() > MAX_QUANTIZERS {
        return Err(format!("{} sets of codes, at most {MAX_QUANTIZERS}", quantizers.len()));
    }
    for (i, &quantizer) in quantizers.iter().enumerate() {
        if quantizers[..i].contains(&quantizer) {
            return Err(format!("{quantizer} is asked for twice"));
        }
        match quantizer {
            Quantizer::None if quantizers.len() > 1 => {
                return Err("\"none\" is asked for beside codes".into());
            }
            Quantizer::Pq { bytes } if bytes == 0 || bytes as usize > dim => {
                return Err(format!("{quantizer} for {dim} dimensions: use pq:1 to pq:{dim}"));
            }
            Quantizer::RaBitQ { bits } if !matches!(bits, 1 | 2 | 4) => {
                return Err(format!("{quantizer}: use 1, 2 or 4 bits"));
            }
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for Quantizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Sq8 => f.pad("sq8"),
            Self::Sq4 => f.pad("sq4"),
            Self::Pq { bytes } => f.pad(&format!("pq:{bytes}")),
            Self::RaBitQ { bits } => f.pad(&format!("rabitq:{bits}")),
        }
    }
}

impl FromStr for Quantizer {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || {
            let choices = "none, sq8, sq4, pq:BYTES, or rabitq:1, rabitq:2 or rabitq:4";
            ParseError::new(text, "quantizer", choices)
        };
        match text {
            "none" => return Ok(Self::None),
            "sq8" => return Ok(Self::Sq8),
            "sq4" => return Ok(Self::Sq4),
            _ => {}
        }
        let (name, number) = text.split_once(':').ok_or_else(wrong)?;
        // One way to write a number: "pq:096" and "pq:+96" would be other names of pq:96.
        let canonical = !number.starts_with(['0', '+']);
        let number: u32 = number.parse().ok().filter(|_| canonical).ok_or_else(wrong)?;
        match (name, number) {
            ("pq", bytes) => Ok(Self::Pq { bytes }),
            ("rabitq", bits @ (1 | 2 | 4)) => Ok(Self::RaBitQ { bits: bits as u8 }),
            _ => Err(wrong()),
        }
    }
}

impl From<Quantizer> for String {
    fn from(quantizer: Quantizer) -> Self {
        quantizer.to_string()
    }
}

impl TryFrom<String> for Quantizer {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["none", "sq8", "sq4", "pq:1", "pq:96", "rabitq:1", "rabitq:2", "rabitq:4"] {
            assert_eq!(name.parse::<Quantizer>().unwrap().to_string(), name);
        }
        for name in ["", "sq", "SQ8", "pq", "pq:", "pq:0", "pq:-1", "pq:096", "pq:+96", "pq:1.5"] {
            assert!(name.parse::<Quantizer>().is_err(), "{name}");
        }
        for name in ["rabitq:3", "rabitq:01", "rabitq:", "rabitq", "pq:99999999999", "sq8:1"] {
            assert!(name.parse::<Quantizer>().is_err(), "{name}");
        }
    }

    #[test]
    fn what_one_segment_carries_is_bounded_and_unambiguous() {
        let possible = |names: &[&str], dim| {
            let quantizers: Vec<Quantizer> =
                names.iter().map(|name| name.parse().unwrap()).collect();
            expect_possible(&quantizers, dim).is_ok()
        };
        assert!(possible(&[], 1) && possible(&["none"], 1) && possible(&["sq8", "pq:8"], 8));
        assert!(!possible(&["sq8", "sq8"], 8));
        assert!(!possible(&["none", "sq8"], 8) && !possible(&["sq8", "none"], 8));
        assert!(!possible(&["pq:9"], 8));
        assert!(expect_possible(&[Quantizer::RaBitQ { bits: 3 }], 8).is_err());
    }
}
