//! Which release reads what: the words that a file which lives long begins with.
//!
//! ```text
//! ringpool-segment 5 since=0.1.0 ...
//! ```
//!
//! What the file is, the number of its format, and the first release that reads this format. So much
//! stands in the first line of every format there will ever be, whatever follows, so that a reader
//! that is too old can say which one is not. It is the only thing that is read of a newer file, and it
//! is believed for that sentence alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// A release of ringpool; as text its three numbers, `0.1.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Release {
    /// Changes when programs have to.
    pub major: u16,
    /// Changes when something is added.
    pub minor: u16,
    /// Changes when something is mended.
    pub patch: u16,
}

impl Release {
    /// This one.
    pub const OWN: Self = Self {
        major: number(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: number(env!("CARGO_PKG_VERSION_MINOR")),
        patch: number(env!("CARGO_PKG_VERSION_PATCH")),
    };
}

const fn number(digits: &str) -> u16 {
    match u16::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("a release's numbers are below 65,536"),
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}.{}", self.major, self.minor, self.patch))
    }
}

impl FromStr for Release {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut numbers = text.split('.').map(|digits| decimal(digits)?.try_into().ok());
        let mut next = || numbers.next().flatten();
        match (next(), next(), next(), numbers.next()) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self { major, minor, patch }),
            _ => {
                let start: String = text.chars().take(MAX_LINE_BYTES).collect();
                Err(ParseError::new(&start, "release", "three numbers, as 0.1.0"))
            }
        }
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.to_string()
    }
}

impl TryFrom<String> for Release {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

/// Something that a segment has beyond its format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Feature {
    /// Its name: 1 to 64 lower-case letters, digits and hyphens.
    pub name: String,
    /// The first release that knows it.
    pub since: Release,
}

impl Feature {
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=MAX_FEATURE_BYTES).contains(&self.name.len()) || !self.name.bytes().all(is_one) {
            let start: String = self.name.chars().take(MAX_FEATURE_BYTES).collect();
            return Err(format!(
                "a feature is called {start:?}: expected 1 to {MAX_FEATURE_BYTES} lower-case \
                 letters, digits and hyphens"
            ));
        }
        Ok(())
    }
}

/// The longest name of a feature.
const MAX_FEATURE_BYTES: usize = 64;
/// No file's first line is longer, its line feed included, in any format.
pub(crate) const MAX_LINE_BYTES: usize = 128;

/// What the first line of a file begins with.
pub(crate) struct Heading {
    /// What the file is.
    pub(crate) word: &'static str,
    /// The format that is written, and the only one that is read.
    pub(crate) format: u64,
    /// The first release that reads it.
    pub(crate) since: Release,
}

/// A first line that is of no file that is read here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// That of a later release.
    Newer { format: u64, since: Release },
    /// What is wrong with it.
    Wrong(String),
}

impl Heading {
    /// The first line, with its line feed if it has one, and what follows.
    pub(crate) fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
        let start = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
        let end = start.iter().position(|&byte| byte == b'\n');
        bytes.split_at(end.map_or(start.len(), |end| end + 1))
    }

    /// Passes where a first line is of this format: what follows in it is the caller's to check.
    pub(crate) fn check(&self, line: &[u8]) -> Result<(), Foreign> {
        let mut words = str::from_utf8(line).unwrap_or_default().split([' ', '\n']);
        let is_one = words.next() == Some(self.word);
        let format = words.next().filter(|_| is_one).and_then(decimal);
        match format {
            Some(format) if format == self.format => Ok(()),
            Some(format) if format > self.format => {
                let since = words.next().and_then(|word| word.strip_prefix("since=")?.parse().ok());
                match since {
                    // Otherwise this one would read it.
                    Some(since) if since > Release::OWN => Err(Foreign::Newer { format, since }),
                    _ => Err(Foreign::Wrong(format!(
                        "it says that it is of format {format}, and names no later release that \
                         reads this: it was changed"
                    ))),
                }
            }
            Some(format @ 1..) => Err(Foreign::Wrong(format!(
                "it is of format {format}, from before the first release, and no release reads this"
            ))),
            _ => Err(Foreign::Wrong(format!("it does not begin with \"{self}\""))),
        }
    }
}

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} since={}", self.word, self.format, self.since)
    }
}

/// A number as this crate writes it: no sign, no zero in front.
fn decimal(digits: &str) -> Option<u64> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = digits == "0" || !digits.starts_with('0');
    digits.parse().ok().filter(|_| is_plain && is_short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADING: Heading = Heading {
        word: "ringpool-thing",
        format: 5,
        since: Release { major: 0, minor: 1, patch: 0 },
    };

    fn newer(format: u64, since: &str) -> Result<(), Foreign> {
        Err(Foreign::Newer { format, since: since.parse().unwrap() })
    }

    #[test]
    fn a_later_format_names_its_release_whatever_follows() {
        for rest in ["", "\n", " crc32c=89abcdef\n", " blake3=00 of the rest\n", "\nbytes"] {
            let line = format!("ringpool-thing 7 since=3.14.15{rest}");
            assert_eq!(HEADING.check(line.as_bytes()), newer(7, "3.14.15"), "{rest:?}");
        }
        let own = format!("{HEADING} crc32c=89abcdef\n");
        assert_eq!(own, "ringpool-thing 5 since=0.1.0 crc32c=89abcdef\n");
        assert_eq!(HEADING.check(own.as_bytes()), Ok(()));
    }

    #[test]
    fn other_first_lines_are_told_apart() {
        let own = format!("ringpool-thing 9 since={}\n", Release::OWN);
        let wrong = [
            ("", "does not begin with \"ringpool-thing 5 since=0.1.0\""),
            ("ringpool-thing", "does not begin"),
            ("ringpool-thing 0 ", "does not begin"),
            ("ringpool-thing 05 ", "does not begin"),
            ("ringpool-thing +7 since=9.0.0", "does not begin"),
            ("ringpool-thing 99999999999999999999 since=9.0.0", "does not begin"),
            ("ringpool-things 7 since=9.0.0", "does not begin"),
            ("ringpool-thing  7 since=9.0.0", "does not begin"),
            ("ringpool-thing 4 crc32c=89abcdef\n", "of format 4, from before the first release"),
            ("ringpool-thing 7 crc32c=89abcdef\n", "names no later release"),
            ("ringpool-thing 7 since=9.0\n", "names no later release"),
            ("ringpool-thing 7 since=9.0.0.0\n", "names no later release"),
            ("ringpool-thing 7 since=9.0.70000\n", "names no later release"),
            ("ringpool-thing 7 since=0.0.9\n", "names no later release"),
            (&own, "names no later release"),
        ];
        for (line, part) in wrong {
            let Err(Foreign::Wrong(reason)) = HEADING.check(line.as_bytes()) else {
                panic!("{line:?} passes")
            };
            assert!(reason.contains(part), "{line:?}: {reason}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics_and_none_is_long(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (line, rest) = Heading::split(&bytes);
            prop_assert!(line.len() <= MAX_LINE_BYTES && line.len() + rest.len() == bytes.len());
            let _ = HEADING.check(line);
            let mut begun = b"ringpool-thing 7 ".to_vec();
            begun.extend(&bytes);
            let _ = HEADING.check(&begun);
        }

        #[test]
        fn a_release_is_read_as_it_is_written(major: u16, minor: u16, patch: u16) {
            let release = Release { major, minor, patch };
            prop_assert_eq!(release.to_string().parse::<Release>().unwrap(), release);
        }
    }
}
