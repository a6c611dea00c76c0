//! A query in whole numbers, for the integer kernels: 14 bits a value, in a unit of its own.

use crate::kernels::MAX_QUERY_UNIT;

/// The unit in which `values` are within ±[`MAX_QUERY_UNIT`]: `natural`, which loses nothing,
/// where all of them are whole in it.
pub(super) fn unit_of(values: impl Iterator<Item = f64> + Clone, natural: f64) -> f64 {
    let limit = f64::from(MAX_QUERY_UNIT);
    let mut natural_steps = values.clone().map(|value| value / natural);
    if natural_steps.all(|steps| steps.abs() <= limit && steps.trunc() == steps) {
        return natural;
    }
    let largest = values.fold(0.0_f64, |largest, value| largest.max(value.abs()));
    // Never 0 here, since zeros are whole, but it may be too small for the division.
    (largest / limit).max(f64::MIN_POSITIVE)
}

/// Replaces `units` by the nearest whole numbers of `unit`.
pub(super) fn encode_units(values: impl Iterator<Item = f64>, unit: f64, units: &mut Vec<i16>) {
    units.clear();
    // The cast truncates: half a unit is added away from 0 first.
    units.extend(values.map(|value| {
        let steps = value / unit;
        ((steps + 0.5_f64.copysign(steps)) as i16).clamp(-MAX_QUERY_UNIT, MAX_QUERY_UNIT)
    }));
}
