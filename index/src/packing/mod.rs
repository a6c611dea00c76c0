//! The order of points on disk: what is searched together lies together.
//!
//! A query's candidates are near each other, so pages should hold points that are near each other.
//! Points and their nearest neighbours are a graph ([`near`], [`links`]), which is to be cut into
//! groups of as many points as a page holds originals, such that much of the weight of its links
//! stays within groups. That is done as in Starling (SIGMOD'24, section 4.1, block shuffling): first
//! greedily, a group at a time ([`filling`]), then by swapping points of two groups wherever that
//! gains weight ([`swaps`]). The groups are then points of a smaller graph, and are packed into
//! groups of groups in the same way, up to a single one. Read from left to right that is an order
//! in which also records that are smaller than originals (codes, neighbours), and larger pages,
//! have their own together.
//!
//! Only the nearest neighbours are found on many threads, each point's for itself; the rest is one
//! thread's. The same graph and distances give the same order.

mod filling;
mod links;
mod near;
mod swaps;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

pub(crate) use near::Near;

use links::{Link, Links, MAX_NAMED};
use near::NEAREST;

/// How many groups make one of the next level: pages of 16 KiB hold as many of 4 KiB, and smaller
/// records have theirs together nearly as well.
const GROUPS_PER_GROUP: usize = 4;
/// Groups of so many points are packed as they are asked for: more are a page of small vectors,
/// which holds several groups of fewer.
const MAX_GROUP: usize = 64;
/// Where no page holds several originals, groups are for the smaller records alone.
const GROUP_OF_RECORDS: usize = 32;

/// How many of the points that share a page are packed at a time, where `per_page` originals do.
pub(crate) fn group_of(per_page: usize) -> usize {
    if (2..=MAX_GROUP).contains(&per_page) { per_page } else { GROUP_OF_RECORDS }
}

/// What the nearest neighbours of a point take.
pub(crate) const NEAR_BYTES: u64 = (NEAREST * size_of::<u32>()) as u64;

/// The most memory that it takes for each point, in groups of `group`.
pub(crate) fn bytes_per_point(group: usize) -> u64 {
    let level = |width: usize| {
        // All links in both directions, where a node's begin and end, and how often it was named.
        let links = 2 * width * size_of::<Link>();
        (links + 2 * size_of::<usize>() + 1, links + 2 * size_of::<usize>())
    };
    let (making, made) = level(NEAREST);
    let (making_groups, _) = level(MAX_NAMED);
    let first = NEAREST * size_of::<u32>() + making;
    let groups = (MAX_NAMED * size_of::<Link>() + making_groups).div_ceil(group);
    first.max(made + 2 * size_of::<u32>() + groups) as u64
}

/// The order of the points that have `near` as their nearest neighbours, in groups of `group`: for
/// each place its point. `heard` is asked now and then whether to go on.
pub(crate) fn pack(
    near: Near,
    group: usize,
    heard: &dyn Fn() -> ControlFlow<()>,
) -> ControlFlow<(), Vec<u32>> {
    let mut links = Links::of_near(&near);
    drop(near);
    let mut levels = Vec::new();
    let mut size = group;
    loop {
        let mut order = filling::fill(&links, size, heard)?;
        swaps::swap(&links, &mut order, size, heard)?;
        let groups = order.len() / size;
        if groups > 1 {
            links = links.between_groups(&order, size);
        }
        levels.push((order, size));
        if groups <= 1 {
            break;
        }
        size = GROUPS_PER_GROUP;
    }
    ControlFlow::Continue(unfold(levels))
}

/// From the order of the largest groups down to that of the points. What is left over and makes no
/// whole group comes last on each level.
fn unfold(levels: Vec<(Vec<u32>, usize)>) -> Vec<u32> {
    let unfolded = levels.into_iter().rev().reduce(|(groups, _), (order, size)| {
        let (whole, rest) = order.split_at(order.len() / size * size);
        let members = groups.iter().flat_map(|&group| &whole[group as usize * size..][..size]);
        (members.chain(rest).copied().collect(), size)
    });
    unfolded.map_or_else(Vec::new, |(order, _)| order)
}
