//! Who wins the fight for frames where graph, codes and originals are in one pool.
//!
//! A search asks for some hundred lists of neighbours, for a page or so of codes for each of them,
//! and then for a few originals: the smaller a component, the more often a page of it is wanted
//! again. A clock alone sees that late, since originals are read in batches that push others out.
//! So the graph is sure of as many frames as it can use, up to half of them, and the codes of up to
//! half of the rest. What is not sure is fought for by all.

use ringpool_bufferpool::{Pool, Share};
use ringpool_index::ComponentKind;
use ringpool_storage::PageSource;

use crate::warm::Pooled;
use crate::{Error, Index};

/// Promises frames of the pool of `indexes`, which were opened together: to the files of a kind by
/// their length. Where only one kind is in the pool there is nobody to promise them against.
pub(crate) fn promise(indexes: &[Index]) -> Result<(), Error> {
    let Some(pool) = indexes.iter().find_map(Index::pool) else { return Ok(()) };
    let files = indexes.iter().flat_map(Index::pooled);
    let pages_of = |is_kind: fn(ComponentKind) -> bool| {
        let those = files.clone().filter(|pooled| is_kind(pooled.kind));
        those.map(|pooled| pooled.file.page_count()).sum::<u64>()
    };
    let (graph, codes) = (pages_of(is_graph), pages_of(is_codes));
    let all = pages_of(|_| true);
    if all == graph || all == codes || graph + codes == 0 {
        return Ok(());
    }
    let stats = pool.stats();
    let usable = (stats.frames - stats.retired) as u64;
    let spare = usable.saturating_sub(u64::from(Pool::MIN_FRAMES));
    let to_graph = graph.min(spare / 2);
    let to_codes = codes.min((spare - to_graph) / 2);
    for Pooled { kind, file, .. } in files {
        let (promised, of) = match *kind {
            kind if is_graph(kind) => (to_graph, graph),
            kind if is_codes(kind) => (to_codes, codes),
            _ => continue,
        };
        // Rounded down, so that together they are no more than was promised.
        let frames = u128::from(promised) * u128::from(file.page_count()) / u128::from(of);
        let floor_bytes = frames as u64 * Pool::frame_bytes(file.page_size());
        file.set_share(Share::default().floor_bytes(floor_bytes))?;
    }
    Ok(())
}

fn is_graph(kind: ComponentKind) -> bool {
    kind == ComponentKind::Graph
}

fn is_codes(kind: ComponentKind) -> bool {
    matches!(kind, ComponentKind::Codes(_))
}
