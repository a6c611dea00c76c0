//! Centroids of one byte a value: as good as exact ones, since residuals are taken from what is
//! stored, and a query is compared with all of them in a quarter of the time and memory.

/// The step of the value 0.
const ZERO_STEP: u8 = 128;

/// Centroids in units: a value is unit · (step - [`ZERO_STEP`]).
#[derive(Default)]
pub(super) struct Centroids {
    pub(super) unit: f32,
    /// One centroid after the other.
    pub(super) steps: Vec<u8>,
    /// |c|² of each.
    pub(super) norms: Vec<f64>,
}

impl Centroids {
    pub(super) fn new(unit: f32, steps: Vec<u8>, dim: usize) -> Self {
        let squared_unit = f64::from(unit) * f64::from(unit);
        let norm = |steps: &[u8]| {
            let squares = steps.iter().map(|&step| (i64::from(step) - i64::from(ZERO_STEP)).pow(2));
            squares.sum::<i64>() as f64 * squared_unit
        };
        let norms = steps.chunks_exact(dim).map(norm).collect();
        Self { unit, steps, norms }
    }

    /// The nearest of `places`.
    pub(super) fn rounded(places: &[f32], dim: usize) -> Self {
        let largest = places.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let unit = (largest / f32::from(ZERO_STEP - 1)).max(f32::MIN_POSITIVE);
        // The cast truncates, and saturates where it must.
        let step = |value: &f32| (value / unit + f32::from(ZERO_STEP) + 0.5) as u8;
        Self::new(unit, places.iter().map(step).collect(), dim)
    }

    /// Where the centroids are, one after the other.
    pub(super) fn places(&self) -> Vec<f32> {
        let place = |&step: &u8| self.unit * (f32::from(step) - f32::from(ZERO_STEP));
        self.steps.iter().map(place).collect()
    }

    /// The product with a centroid of a query in units, made of its product with the steps and the
    /// sum of its units.
    #[inline]
    pub(super) fn dot(&self, query_unit: f64, dot_steps: i64, sum: i64) -> f64 {
        f64::from(self.unit) * query_unit * (dot_steps - i64::from(ZERO_STEP) * sum) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_and_products_are_those_of_the_places() {
        let places = [-2.54, 0.0, 1.27, 0.005, -0.2, 2.54];
        let centroids = Centroids::rounded(&places, 3);
        assert_eq!(centroids.steps[1], ZERO_STEP);
        for (found, place) in centroids.places().iter().zip(places) {
            assert!((found - place).abs() <= centroids.unit * 0.5001, "{found} for {place}");
        }
        let query = [5_i64, -3, 7];
        for (i, place) in centroids.places().chunks(3).enumerate() {
            let exact: f64 =
                place.iter().zip(query).map(|(&c, q)| f64::from(c) * 0.25 * q as f64).sum();
            let steps = &centroids.steps[3 * i..][..3];
            let dot_steps = steps.iter().zip(query).map(|(&step, q)| i64::from(step) * q).sum();
            let found = centroids.dot(0.25, dot_steps, query.iter().sum());
            assert!((found - exact).abs() < 1e-6, "{found} for {exact}");
            let norm: f64 = place.iter().map(|&c| f64::from(c) * f64::from(c)).sum();
            assert!((centroids.norms[i] - norm).abs() < 1e-6);
        }
        assert_eq!(Centroids::rounded(&[0.0; 2], 2).places(), [0.0; 2]);
    }
}
