//! Which points a walk has seen.

/// A set of points that is emptied by raising a number.
#[derive(Default)]
pub(crate) struct Visited {
    /// For each point the walk that saw it last.
    stamps: Vec<u16>,
    walk: u16,
}

impl Visited {
    /// Forgets everything; afterwards points below `points` may be asked for.
    pub(crate) fn begin(&mut self, points: usize) {
        if self.stamps.len() < points {
            self.stamps.resize(points, 0);
        }
        self.walk = match self.walk.checked_add(1) {
            Some(walk) => walk,
            None => {
                self.stamps.fill(0);
                1
            }
        };
    }

    /// Whether `point` was seen.
    #[inline]
    pub(crate) fn contains(&self, point: u32) -> bool {
        self.stamps[point as usize] == self.walk
    }

    /// Whether `point` is seen for the first time.
    #[inline]
    pub(crate) fn insert(&mut self, point: u32) -> bool {
        let stamp = &mut self.stamps[point as usize];
        let first = *stamp != self.walk;
        *stamp = self.walk;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_walk_starts_empty_also_when_the_number_wraps() {
        let mut visited = Visited::default();
        for _ in 0..=2 * usize::from(u16::MAX) {
            visited.begin(3);
            assert!(visited.insert(1));
            assert!(!visited.insert(1));
            assert!(visited.contains(1) && !visited.contains(0));
        }
        visited.begin(5);
        assert!(visited.insert(4) && visited.insert(1));
    }
}
