//! What "near" means.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// How the distance of two vectors is measured. Smaller is nearer for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Metric {
    /// The squared Euclidean distance.
    L2,
    /// The negated inner product.
    Ip,
    /// 1 minus the cosine of the angle; 1 to and from a vector of norm 0.
    Cosine,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 3] = [Self::L2, Self::Ip, Self::Cosine];

    const fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Ip => "ip",
            Self::Cosine => "cosine",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|metric| metric.name() == text);
        found.ok_or_else(|| ParseError::new(text, "metric", "l2, ip or cosine"))
    }
}
