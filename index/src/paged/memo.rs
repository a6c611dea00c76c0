//! What a walk through pages knows of the points that it has met: how far each is.
//!
//! A walk in memory stamps an array over all points; a thread that carries many walks through a
//! segment larger than its memory cannot have one for each. This is a table of what was met alone,
//! a few thousand points: open addressing, emptied by raising a number.

/// Distances by point, kept from one walk to the next.
#[derive(Default)]
pub(crate) struct Memo {
    /// A power of two of them, at most half of them used.
    entries: Vec<Entry>,
    used: usize,
    walk: u32,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    /// The walk that it is of; another's is an empty place.
    walk: u32,
    point: u32,
    told: Told,
    /// The sweep that has visited the point last.
    sweep: u8,
}

/// What is told of a point.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) distance: f32,
    /// The standard deviation of that, where a code tells it.
    pub(crate) error: Option<f32>,
    /// The distance of the original, where that was read on the way.
    pub(crate) exact: Option<f32>,
}

const LEAST: usize = 1 << 10;

impl Memo {
    /// Forgets everything.
    pub(crate) fn begin(&mut self) {
        self.used = 0;
        match self.walk.checked_add(1) {
            Some(walk) => self.walk = walk,
            None => {
                self.entries.fill(Entry::default());
                self.walk = 1;
            }
        }
    }

    /// What was told of `point`.
    #[inline]
    pub(crate) fn get(&self, point: u32) -> Option<Told> {
        let entry = self.entries.get(self.place(point)?)?;
        (entry.walk == self.walk).then_some(entry.told)
    }

    /// Notes what is told of `point`.
    pub(crate) fn put(&mut self, point: u32, told: Told) {
        if 2 * (self.used + 1) > self.entries.len() {
            self.grow();
        }
        let walk = self.walk;
        let Some(place) = self.place(point) else { return };
        let entry = &mut self.entries[place];
        if entry.walk == walk {
            entry.told = told;
            return;
        }
        *entry = Entry { walk, point, told, sweep: 0 };
        self.used += 1;
    }

    /// Takes a point of which nothing is to be told. Returns whether it was not met before.
    #[inline]
    pub(crate) fn insert(&mut self, point: u32) -> bool {
        let is_new = self.get(point).is_none();
        if is_new {
            self.put(point, Told::default());
        }
        is_new
    }

    /// Of how many points something was told.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Notes the exact distance of a point that something was told of.
    pub(crate) fn put_exact(&mut self, point: u32, distance: f32) {
        if let Some(told) = self.get(point) {
            self.put(point, Told { exact: Some(distance), ..told });
        }
    }

    /// What was told of `point`, if this sweep visits it for the first time.
    #[inline]
    pub(crate) fn visit(&mut self, point: u32, sweep: u8) -> Option<Told> {
        let place = self.place(point)?;
        let entry = self.entries.get_mut(place)?;
        if entry.walk != self.walk || entry.sweep == sweep {
            return None;
        }
        entry.sweep = sweep;
        Some(entry.told)
    }

    /// Where a point is, or would be; `None` while there is no place at all.
    #[inline]
    fn place(&self, point: u32) -> Option<usize> {
        let mask = self.entries.len().checked_sub(1)?;
        // Fibonacci hashing: neighbours in number are strangers in place.
        let hash = u64::from(point).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let mut place = hash as usize & mask;
        // Ends, since half of the places are empty.
        while self.entries[place].walk == self.walk && self.entries[place].point != point {
            place = (place + 1) & mask;
        }
        Some(place)
    }

    fn grow(&mut self) {
        let length = (2 * self.entries.len()).max(LEAST);
        let old = std::mem::replace(&mut self.entries, vec![Entry::default(); length]);
        for entry in old.into_iter().filter(|entry| entry.walk == self.walk) {
            if let Some(place) = self.place(entry.point) {
                self.entries[place] = entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn knows_what_a_map_knows(walks in proptest::collection::vec(
            proptest::collection::vec((0u32..3000, any::<bool>(), 1u8..3), 0..2000), 1..4,
        )) {
            let mut memo = Memo::default();
            for walk in walks {
                memo.begin();
                let mut map: HashMap<u32, (Told, u8)> = HashMap::new();
                for (i, (point, put, sweep)) in walk.into_iter().enumerate() {
                    if put {
                        let told = Told { distance: i as f32, error: (i % 2 == 0).then_some(0.5), exact: None };
                        memo.put(point, told);
                        map.entry(point).or_insert((told, 0)).0 = told;
                    }
                    prop_assert_eq!(memo.get(point), map.get(&point).map(|known| known.0));
                    let known = map.get_mut(&point).filter(|known| known.1 != sweep);
                    let visited = known.map(|known| { known.1 = sweep; known.0 });
                    prop_assert_eq!(memo.visit(point, sweep), visited);
                }
            }
        }
    }
}
