//! The smallest ef and the smallest oversampling that reach a recall.
//!
//! Recall grows with both, up to noise, so that a bisection finds the edge. Three steps: the
//! smallest ef when every candidate is rescored; then, with a few times as many candidates, the
//! least that must be rescored; then, for that and for more and more rescored, the smallest ef.
//! What is left is a trade of originals read against candidates walked, and the measured time
//! decides it.

use crate::failure::Failure;

/// What a pass over all queries is run with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    pub ef: usize,
    /// How many times k are rescored: 0 for none, a multiple of a quarter otherwise, so that
    /// times k it is exact. `None` where there is nothing to rescore since walks read originals.
    pub oversample: Option<f64>,
}

/// What is looked for, and in which bounds.
pub struct Search {
    pub k: usize,
    pub points: usize,
    /// The recall to be reached.
    pub recall: f64,
    /// Whether walks go by codes.
    pub by_codes: bool,
}

/// The largest ef that is tried.
const MAX_EF: usize = 1 << 15;
/// A found ef is at most so much larger than the smallest, relatively.
const PRECISION: f64 = 0.02;
/// So many times the candidates that rescoring all of them needs: more find hardly more.
const GENEROUS: usize = 4;
/// Oversampling is tried in quarters.
const STEP: f64 = 0.25;
/// From the least oversampling on each further one is so many times the one before.
const GROWTH: f64 = 1.4;
/// How many of them are tried at most.
const MAX_ROWS: usize = 8;

impl Search {
    /// Settings that reach the recall, the least rescoring first. Empty when none does. `measure`
    /// runs a pass and says its recall; it remembers what it has measured.
    pub fn run(
        &self,
        measure: &mut dyn FnMut(Setting) -> Result<f64, Failure>,
    ) -> Result<Vec<Setting>, Failure> {
        let most = self.points.min(MAX_EF);
        let first = self.k.min(most);
        if !self.by_codes {
            let found = self.smallest_ef(first, most, &|_| None, measure)?;
            return Ok(found.into_iter().map(|ef| Setting { ef, oversample: None }).collect());
        }
        let all = |ef: usize| (ef as f64 / self.k as f64 / STEP).ceil() * STEP;
        let Some(least_ef) = self.smallest_ef(first, most, &|ef| Some(all(ef)), measure)? else {
            return Ok(Vec::new());
        };
        let generous = (GENEROUS * least_ef).min(most);
        let mut oversample = self.least_oversample(generous, all(least_ef), measure)?;
        let mut settings = Vec::new();
        for _ in 0..MAX_ROWS {
            let from = ((self.k as f64 * oversample).ceil() as usize).clamp(first, generous);
            let found = self.smallest_ef(from, generous, &|_| Some(oversample), measure)?;
            if let Some(ef) = found {
                if settings.last().is_some_and(|less: &Setting| ef >= less.ef) {
                    break; // Rescoring more saves no candidates any more.
                }
                settings.push(Setting { ef, oversample: Some(oversample) });
            }
            oversample = (oversample.max(1.0 / GROWTH) * GROWTH / STEP).ceil() * STEP;
        }
        Ok(settings)
    }

    /// The smallest ef from `first` to `most` that reaches the recall, where `oversample` says how
    /// much is rescored.
    fn smallest_ef(
        &self,
        first: usize,
        most: usize,
        oversample: &dyn Fn(usize) -> Option<f64>,
        measure: &mut dyn FnMut(Setting) -> Result<f64, Failure>,
    ) -> Result<Option<usize>, Failure> {
        let mut reaches = |ef: usize| -> Result<bool, Failure> {
            Ok(measure(Setting { ef, oversample: oversample(ef) })? >= self.recall)
        };
        let (mut below, mut ef) = (first, first);
        while !reaches(ef)? {
            if ef >= most {
                return Ok(None);
            }
            below = ef + 1;
            ef = (2 * ef).min(most);
        }
        while (ef - below) as f64 > PRECISION * ef as f64 {
            let middle = below + (ef - below) / 2;
            if reaches(middle)? {
                ef = middle;
            } else {
                below = middle + 1;
            }
        }
        Ok(Some(ef))
    }

    /// The least oversampling that reaches the recall with `ef` candidates; 0 where codes alone do.
    fn least_oversample(
        &self,
        ef: usize,
        most: f64,
        measure: &mut dyn FnMut(Setting) -> Result<f64, Failure>,
    ) -> Result<f64, Failure> {
        let mut reaches = |oversample: f64| -> Result<bool, Failure> {
            let oversample = Some(oversample);
            Ok(measure(Setting { ef, oversample })? >= self.recall)
        };
        if reaches(0.0)? {
            return Ok(0.0);
        }
        // In steps: from 1 up to what was enough with fewer candidates.
        let steps = |oversample: f64| (oversample / STEP) as usize;
        let (mut below, mut enough) = (steps(1.0), steps(most).max(steps(1.0)));
        while below < enough {
            let middle = below + (enough - below) / 2;
            if reaches(middle as f64 * STEP)? {
                enough = middle;
            } else {
                below = middle + 1;
            }
        }
        Ok(enough as f64 * STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(recall: f64, by_codes: bool) -> Search {
        Search { k: 10, points: 100_000, recall, by_codes }
    }

    /// A recall that grows with both, as that of real graphs does.
    fn model(setting: Setting) -> f64 {
        let walked = 1.0 - 3.0 / setting.ef as f64;
        match setting.oversample {
            None => walked,
            Some(oversample) => walked * (1.0 - 0.4 * (-oversample * 1.5_f64).exp()),
        }
    }

    #[test]
    fn the_smallest_ef_is_found_to_the_precision() {
        let mut passes = 0;
        let found = search(0.99, false).run(&mut |setting| {
            passes += 1;
            Ok(model(setting))
        });
        let [setting] = found.unwrap()[..] else { panic!("one setting") };
        // 1 - 3 / 300 = 0.99.
        assert!((300..=306).contains(&setting.ef), "{setting:?}");
        assert!(setting.oversample.is_none() && passes < 20, "{passes}");
    }

    #[test]
    fn every_setting_reaches_the_recall_and_less_does_not() {
        for recall in [0.8, 0.95, 0.99, 0.999] {
            let search = search(recall, true);
            let mut passes = 0;
            let settings = search.run(&mut |setting| {
                passes += 1;
                Ok(model(setting))
            });
            let settings = settings.unwrap();
            assert!(!settings.is_empty() && passes < 150, "{passes} for {settings:?}");
            for setting in &settings {
                assert!(model(*setting) >= recall, "{setting:?}");
                let less = Setting { ef: setting.ef * 97 / 100 - 1, ..*setting };
                let shortlist = 10.0 * setting.oversample.unwrap();
                let least = (setting.ef as f64) <= shortlist.max(10.0).ceil();
                assert!(least || model(less) < recall, "{setting:?} is not the smallest");
            }
            // Less rescored costs candidates.
            assert!(settings.windows(2).all(|pair| pair[0].ef > pair[1].ef), "{settings:?}");
            let least = settings[0].oversample.unwrap();
            let generous = settings.last().unwrap().ef * GENEROUS;
            let less = Setting { ef: generous, oversample: Some(least - STEP) };
            assert!(least <= 1.0 || model(less) < recall, "{settings:?}");
        }
    }

    #[test]
    fn codes_that_lose_nothing_need_no_originals() {
        let settings = search(0.97, true).run(&mut |s| Ok(1.0 - 3.0 / s.ef as f64)).unwrap();
        assert_eq!(settings.len(), 1);
        assert_eq!(settings[0].oversample, Some(0.0));
        assert!((100..=102).contains(&settings[0].ef));
    }

    #[test]
    fn what_cannot_be_reached_is_not_searched_for_ever() {
        let mut passes = 0;
        for by_codes in [false, true] {
            let found = search(0.99, by_codes).run(&mut |_| {
                passes += 1;
                Ok(0.98)
            });
            assert!(found.unwrap().is_empty());
        }
        assert!(passes < 40, "{passes}");
        // Also where there is hardly anything to search in.
        let tiny = Search { k: 10, points: 4, recall: 1.0, by_codes: true };
        assert_eq!(tiny.run(&mut |_| Ok(1.0)).unwrap()[0].ef, 4);
    }
}
