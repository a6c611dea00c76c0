//! Who wins the fight for frames where graph, codes and originals are in one pool.
//!
//! A search asks for some hundred lists of neighbours, for a page or so of codes for each of them,
//! and then for a few originals: the smaller a component, the more often a page of it is wanted
//! again. A clock alone sees that late, since originals are read in batches that push others out.
//! So the graph is sure of as many frames as it can use, up to half of them, and the codes of up to
//! half of the rest. What is not sure is fought for by all.

use std::sync::Arc;

use ringpool_bufferpool::{Pool, PoolError};
use ringpool_index::ComponentKind;
use ringpool_storage::PageSource;

use crate::warm::Pooled;

/// Promises frames of `pool` to `files`, all that are to be in it: to those of a kind by their
/// length. Where only one kind is in the pool there is nobody to promise them against. Nothing is
/// sure any more to those that have `left`.
pub(crate) fn promise(
    pool: &Pool,
    left: &[Arc<Pooled>],
    files: &[Arc<Pooled>],
) -> Result<(), PoolError> {
    let before = left.iter().map(|one| (one, 0));
    let mut floors: Vec<(&Arc<Pooled>, u64)> = before.chain(floors(pool, files)).collect();
    // First who has less from now on: what it gives up the others may get.
    floors.sort_by_key(|(one, floor)| *floor > one.floor_bytes());
    for (one, floor) in floors {
        one.set_floor_bytes(floor)?;
    }
    Ok(())
}

/// What each of `files` is to be sure of, in bytes.
fn floors<'f>(
    pool: &Pool,
    files: &'f [Arc<Pooled>],
) -> impl Iterator<Item = (&'f Arc<Pooled>, u64)> {
    let pages_of = |is_kind: fn(ComponentKind) -> bool| {
        let those = files.iter().filter(|pooled| is_kind(pooled.kind));
        those.map(|pooled| pooled.file.page_count()).sum::<u64>()
    };
    let (graph, codes) = (pages_of(is_graph), pages_of(is_codes));
    let all = pages_of(|_| true);
    let is_contested = all != graph && all != codes;
    let stats = pool.stats();
    let usable = (stats.frames - stats.retired) as u64;
    let spare = usable.saturating_sub(u64::from(Pool::MIN_FRAMES));
    let to_graph = graph.min(spare / 2);
    let to_codes = codes.min((spare - to_graph) / 2);
    files.iter().map(move |pooled| {
        let (promised, of) = match pooled.kind {
            kind if is_graph(kind) && is_contested => (to_graph, graph),
            kind if is_codes(kind) && is_contested => (to_codes, codes),
            _ => (0, 1),
        };
        // Rounded down, so that together they are no more than was promised.
        let frames = u128::from(promised) * u128::from(pooled.file.page_count()) / u128::from(of);
        (pooled, frames as u64 * Pool::frame_bytes(pooled.file.page_size()))
    })
}

fn is_graph(kind: ComponentKind) -> bool {
    kind == ComponentKind::Graph
}

fn is_codes(kind: ComponentKind) -> bool {
    matches!(kind, ComponentKind::Codes(_))
}
