//! Which layers a point is in, and the order in which points are inserted.

use super::MAX_LAYERS;

/// A splitmix64 step: a well-mixed number for each number.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The highest layer of each point: at least l with probability M^-l, as the paper's
/// floor(-ln(u) / ln(M)), drawn in whole numbers so that every machine draws the same.
pub(super) fn draw(points: usize, m: usize, seed: u64) -> Vec<u8> {
    let level = |point| {
        let mut state = mix(seed ^ mix(point as u64));
        let mut level = 0;
        while state.is_multiple_of(m as u64) && level + 1 < MAX_LAYERS {
            state = mix(state);
            level += 1;
        }
        level as u8
    };
    (0..points).map(level).collect()
}

/// A shuffle of all points whose first is one of the highest layer: the entry point, which then
/// never changes. The shuffle makes sorted input harmless: points inserted side by side do not
/// see each other, and neighbours in space must not all be in one round.
pub(super) fn order_of_insertion(levels: &[u8], seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..levels.len() as u32).collect();
    order.sort_unstable_by_key(|&point| (mix(!seed ^ mix(point.into())), point));
    let top = levels.iter().max();
    if let Some(first) = order.iter().position(|&point| levels.get(point as usize) == top) {
        order.swap(0, first);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_about_an_mth_of_the_one_below() {
        let levels = draw(200_000, 16, 5);
        let at_least = |level| levels.iter().filter(|&&l| l >= level).count();
        assert!((11_500..13_500).contains(&at_least(1)), "{}", at_least(1));
        assert!((650..920).contains(&at_least(2)), "{}", at_least(2));
        assert_ne!(levels, draw(200_000, 16, 6), "the seed decides");
    }

    #[test]
    fn every_point_is_inserted_once_a_highest_first() {
        let levels = draw(1000, 4, 1);
        let mut order = order_of_insertion(&levels, 1);
        assert_eq!(Some(&levels[order[0] as usize]), levels.iter().max());
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
    }
}
