//! Points in time: microseconds since the beginning of 1970 in UTC, and the text that RFC 3339 has
//! for them.
//!
//! The years are those that RFC 3339 can write, 0000 to 9999. What is finer than a microsecond is
//! refused: nothing is rounded unseen.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z.
pub(crate) const FIRST_US: i64 = -62_167_219_200_000_000;
pub(crate) const LAST_US: i64 = 253_402_300_799_999_999;

const NS_PER_US: i128 = 1000;

/// Whether RFC 3339 has a text for so many microseconds since 1970.
pub(crate) fn is_timestamp(us: i64) -> bool {
    (FIRST_US..=LAST_US).contains(&us)
}

/// The point in time that a text of RFC 3339 names, as `2026-11-21T20:00:00.5+01:00`: in
/// microseconds since 1970, UTC. `None` where it names none, one outside the years 0000 to 9999,
/// or one between two microseconds.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let ns = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    let us = i64::try_from(ns / NS_PER_US).ok()?;
    (ns % NS_PER_US == 0 && is_timestamp(us)).then_some(us)
}

/// The text of a timestamp, in UTC; its number where RFC 3339 has none for it.
pub(crate) fn to_rfc3339(us: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * NS_PER_US);
    let text = time.ok().and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_else(|| us.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_name_a_time_and_others() {
        for (text, us) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000001Z", 1),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("1970-01-01T01:00:00+01:00", 0),
            ("2026-11-21T20:00:00.5Z", 1_795_291_200_500_000),
            ("0000-01-01T00:00:00Z", FIRST_US),
            ("9999-12-31T23:59:59.999999Z", LAST_US),
        ] {
            assert_eq!(parse_timestamp(text), Some(us), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-11-21",
            "2026-11-21T20:00:00",
            "2026-13-21T20:00:00Z",
            "2026-02-29T20:00:00Z",
            "2026-11-21T20:00:00.0000001Z",
            "+10000-01-01T00:00:00Z",
            "0000-01-01T00:00:00+00:01",
            "2026-11-21T20:00:00Z ",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_timestamp_has_a_text_that_names_it(us in FIRST_US..=LAST_US) {
            prop_assert_eq!(parse_timestamp(&to_rfc3339(us)), Some(us));
        }
    }
}
