//! Which pages are evicted: the policies that a pool may have, by name.

use std::fmt;
use std::str::FromStr;

/// How a pool chooses the page that has to go when another one comes in.
///
/// Whatever the policy, a hit sets a bit of the page's own word and nothing else, and pinned pages
/// stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// A clock with probation and ghosts in front of it; `probation`.
    ///
    /// Once the pool is full, a new page is on probation, in a ring of a fourteenth of the frames.
    /// One that was used twice more when its turn comes is promoted to the clock; the others are
    /// evicted, and remembered for as many evictions as the pool has frames. One that is asked for
    /// again meanwhile goes straight to the clock. So what is read once passes through a
    /// fourteenth of the pool.
    #[default]
    Probation,
    /// The plain clock; `clock`. One hand over all frames, and one reference bit a page: set when
    /// the page is read and whenever it is used, cleared by the hand, which evicts a page whose
    /// bit it finds cleared.
    Clock,
}

impl Policy {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::Probation, Self::Clock];

    fn name(self) -> &'static str {
        match self {
            Self::Probation => "probation",
            Self::Clock => "clock",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no policy has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no eviction policy: use probation or clock")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        let named = Self::ALL.into_iter().find(|policy| policy.name() == name);
        named.ok_or_else(|| UnknownPolicy(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for policy in Policy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert_eq!(Policy::ALL[0], Policy::default());
        let error = "lru".parse::<Policy>().unwrap_err().to_string();
        assert!(Policy::ALL.iter().all(|policy| error.contains(policy.name())), "{error}");
    }
}
