//! How points lie on disk.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// How points lie in the components of a segment: vectors, codes and neighbours alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As they were given.
    Given,
    /// Near each other what is near each other in space, so that a search reads fewer pages.
    Packed,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 2] = [Self::Given, Self::Packed];

    const fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Packed => "packed",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Order {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|order| order.name() == text);
        found.ok_or_else(|| ParseError::new(text, "order", "given or packed"))
    }
}
