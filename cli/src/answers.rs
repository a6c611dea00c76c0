//! What the queries found: recall against the truth, one checksum over all of it, the ids as a
//! file.

use std::path::Path;

use ringpool::vectors::{self, IdRows};
use ringpool::{Hit, Indexes};

use crate::failure::Failure;
use crate::filtering::Chosen;

/// The hits of each query, nearest first.
pub struct Answers(pub Vec<Vec<Hit>>);

/// The true nearest ids of each query, nearest first.
pub struct Truth(IdRows);

impl Answers {
    /// CRC32C over the count, the ids and the bits of the distances of each query, in order.
    /// Equal for the same ids with bit by bit the same distances.
    pub fn crc32c(&self) -> u32 {
        self.0.iter().fold(0, |crc, hits| {
            let crc = crc32c::crc32c_append(crc, &(hits.len() as u64).to_le_bytes());
            hits.iter().fold(crc, |crc, hit| {
                let crc = crc32c::crc32c_append(crc, &hit.id.to_le_bytes());
                crc32c::crc32c_append(crc, &hit.distance.to_bits().to_le_bytes())
            })
        })
    }

    /// The share of the true nearest that was found: recall@k, averaged over the queries. Where
    /// there are fewer points than `k`, all of them are the true nearest.
    pub fn recall(&self, truth: &Truth, k: usize, points: usize) -> f64 {
        let truth = truth.0.rows();
        recall(&self.0, truth, k.min(points))
    }

    /// Writes `k` ids a query to `path`, -1 where fewer were found.
    pub fn write_ids(&self, path: &Path, k: usize) -> Result<(), Failure> {
        let row = |hits: &Vec<Hit>| -> Vec<u64> {
            let ids = hits.iter().map(|hit| hit.id);
            ids.chain(std::iter::repeat(vectors::NO_ID)).take(k).collect()
        };
        vectors::write_ids(path, self.0.iter().map(row)).map_err(|error| Failure::of(&error))
    }
}

/// The share of the first `wanted` of each true row among the hits, averaged over the rows.
fn recall<'a>(rows: &[Vec<Hit>], truth: impl Iterator<Item = &'a [u64]>, wanted: usize) -> f64 {
    let found = rows.iter().zip(truth).map(|(hits, truth)| {
        let truth = &truth[..wanted];
        hits.iter().filter(|hit| truth.contains(&hit.id)).count()
    });
    found.sum::<usize>() as f64 / (rows.len() * wanted) as f64
}

impl Truth {
    /// Reads the truth of `queries` queries over the points of `indexes`, or over those that were
    /// chosen, for recall at `k`.
    ///
    /// # Errors
    /// When it is the truth of something else.
    pub fn read(
        path: &Path,
        queries: usize,
        indexes: &Indexes,
        chosen: Option<&Chosen>,
        k: usize,
    ) -> Result<Self, Failure> {
        let points = chosen.map_or_else(|| indexes.live_points(), Chosen::selected);
        let rows = vectors::read_ids(path).map_err(|error| Failure::of(&error))?;
        let shown = path.display();
        if rows.len() != queries {
            return Err(Failure::new(format!(
                "{shown}: the truth of {} queries, but there are {queries}: give the file that \
                 belongs to these queries",
                rows.len()
            )));
        }
        let (wanted, width) = (k.min(points), rows.width());
        if width < wanted {
            return Err(Failure::new(format!(
                "{shown}: {width} true ids a query are too few for recall@{k}: ask for --k \
                 {width} or less"
            )));
        }
        let snapshot = indexes.snapshot();
        for (query, row) in rows.rows().enumerate() {
            if let Some(&id) = row[..wanted].iter().find(|id| !snapshot.has_id(**id)) {
                let named = match id {
                    vectors::NO_ID => format!("fewer than {wanted} points"),
                    id => format!("point {id}"),
                };
                return Err(Failure::new(format!(
                    "{shown}: query {query} names {named}, and the {points} that are searched have \
                     others: give the file that belongs to these vectors"
                )));
            }
        }
        if let Some(chosen) = chosen {
            let first = rows.rows().map(|row| &row[..wanted]);
            chosen.expect_all(path, first, indexes)?;
        }
        Ok(Self(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(ids: &[u64]) -> Vec<Hit> {
        ids.iter().map(|&id| Hit { id, distance: id as f32 }).collect()
    }

    #[test]
    fn recall_counts_what_was_found_at_any_rank() {
        let rows = [hits(&[3, 1]), hits(&[7, 8])];
        let truth = [[1, 3, 9], [8, 5, 7]];
        assert_eq!(recall(&rows, truth.iter().map(|row| &row[..]), 2), 0.75);
        assert_eq!(recall(&rows, truth.iter().map(|row| &row[..]), 1), 1.0);
    }

    #[test]
    fn every_bit_counts_in_the_checksum() {
        let answers = || Answers(vec![hits(&[3, 1]), hits(&[7])]);
        let crc = answers().crc32c();
        let mut nudged = answers();
        nudged.0[1][0].distance = f32::from_bits(nudged.0[1][0].distance.to_bits() ^ 1);
        assert_ne!(nudged.crc32c(), crc);
        let mut other = answers();
        other.0[0][1].id = 2;
        assert_ne!(other.crc32c(), crc);
        // The same hits, cut differently.
        assert_ne!(Answers(vec![hits(&[3]), hits(&[1, 7])]).crc32c(), crc);
        assert_eq!(answers().crc32c(), crc);
    }
}
