//! Values as keys: whole numbers of 64 bits that are in the order of the values.
//!
//! So one search and one scan serve whole numbers, floats, timestamps, true and false, and the
//! numbers of words, which are in the order of the words.

use super::FieldType;
use super::timestamp::is_timestamp;

const SIGN: u64 = 1 << 63;

/// The key of a whole number or a timestamp.
pub(crate) fn of_i64(value: i64) -> u64 {
    value as u64 ^ SIGN
}

/// The key of a float that is a number. Both zeros have one.
pub(crate) fn of_f64(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The key of a value of 8 bytes that anybody may have written; says what is wrong where it can be
/// none of the field's.
pub(crate) fn of_record(record: &[u8], field_type: FieldType) -> Result<u64, String> {
    let bits = word_of(record);
    match field_type {
        FieldType::F64 => {
            let value = f64::from_bits(bits);
            let wrong = || format!("it has the value {value}, which no build lets pass");
            value.is_finite().then(|| of_f64(value)).ok_or_else(wrong)
        }
        FieldType::Timestamp => {
            let us = bits as i64;
            let wrong = || format!("it has the timestamp {us}, which no build lets pass");
            is_timestamp(us).then(|| of_i64(us)).ok_or_else(wrong)
        }
        _ => Ok(of_i64(bits as i64)),
    }
}

/// The number in a record of up to 8 bytes.
pub(crate) fn word_of(record: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = record.len().min(8);
    word[..length].copy_from_slice(&record[..length]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_their_values(a: i64, b: i64, x: f64, y: f64) {
            prop_assert_eq!(of_i64(a).cmp(&of_i64(b)), a.cmp(&b));
            if let Some(order) = x.partial_cmp(&y) {
                prop_assert_eq!(of_f64(x).cmp(&of_f64(y)), order);
            }
        }
    }

    #[test]
    fn zeros_are_one_and_what_is_no_number_is_refused() {
        assert_eq!(of_f64(-0.0), of_f64(0.0));
        assert!(of_f64(-f64::MIN_POSITIVE) < of_f64(0.0));
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(of_record(&wrong.to_le_bytes(), FieldType::F64).is_err());
        }
        assert!(of_record(&i64::MAX.to_le_bytes(), FieldType::Timestamp).is_err());
        assert_eq!(of_record(&7_i64.to_le_bytes(), FieldType::I64), Ok(of_i64(7)));
    }
}
