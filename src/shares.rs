//! Who is sure of how much of a pool that several components are in.
//!
//! A search asks for some hundred lists of neighbours, for a page or so of codes for each of them,
//! and then for a few originals: the smaller a component, the more often a page of it is wanted
//! again. A clock alone sees that late, since originals are read in batches that push others out.
//! So where nobody says anything the graph is sure of as many frames as it can use, up to half of
//! them, and the codes of up to half of the rest. What is not sure is fought for by all.
//!
//! Where somebody says something of floors or shares, nothing else is sure: first the floors, then
//! half of what they leave by the shares, to each at most as much as it is long.

use std::sync::Arc;

use ringpool_bufferpool::{Pool, PoolError, Priority, Share};
use ringpool_index::ComponentKind;
use ringpool_storage::PageSource;

use crate::warm::Pooled;
use crate::{Error, Memory, Portion};

/// A component that is in the pool, and what is said of it there.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) pooled: Arc<Pooled>,
    /// What people call it.
    pub(crate) name: String,
    pub(crate) portion: Portion,
}

/// What a component in the pool is sure of, and what it may take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sure {
    floor_bytes: u64,
    ceiling_bytes: Option<u64>,
    priority: Priority,
}

impl From<Sure> for Share {
    fn from(sure: Sure) -> Self {
        let share = Self::default().floor_bytes(sure.floor_bytes).priority(sure.priority);
        match sure.ceiling_bytes {
            Some(ceiling_bytes) => share.ceiling_bytes(ceiling_bytes),
            None => share,
        }
    }
}

/// Shares `pool` out among `claims`, which are all that is to be in it. Nothing is sure any more to
/// what has `left`. With `by_default` the graph and the codes are sure of something where nobody
/// says anything.
///
/// # Errors
/// [`Error::FloorsBeyondBudget`] and [`Error::CeilingBelowFloor`]; everything is then as it was.
pub(crate) fn share_out(
    pool: &Pool,
    left: &[Arc<Pooled>],
    claims: &[Claim],
    by_default: bool,
) -> Result<(), Error> {
    let budget_bytes = pool.stats().memory_bytes;
    let floors = floors(pool, claims, by_default, budget_bytes)?;
    let mut all: Vec<(&Pooled, Sure)> =
        left.iter().map(|pooled| (&**pooled, Sure::default())).collect();
    for (claim, &floor_bytes) in claims.iter().zip(&floors) {
        all.push((&claim.pooled, sure_of(claim, floor_bytes, budget_bytes)?));
    }
    // First who has less from now on: what it gives up the others may get.
    all.sort_by_key(|(pooled, sure)| sure.floor_bytes > pooled.sure().floor_bytes);
    let before: Vec<(&Pooled, Sure)> =
        all.iter().map(|&(pooled, _)| (pooled, pooled.sure())).collect();
    let Err(error) = set_all(&all) else { return Ok(()) };
    // It was so before; should it fail all the same, what is sure is less, and nothing wrong.
    let _ = set_all(&before);
    Err(error.into())
}

fn set_all(all: &[(&Pooled, Sure)]) -> Result<(), PoolError> {
    all.iter().try_for_each(|(pooled, sure)| pooled.set(*sure))
}

fn sure_of(claim: &Claim, floor_bytes: u64, budget_bytes: u64) -> Result<Sure, Error> {
    let Portion { ceiling, priority, floor, .. } = claim.portion;
    let Some(ceiling) = ceiling else {
        return Ok(Sure { floor_bytes, ceiling_bytes: None, priority });
    };
    let ceiling_bytes = ceiling.resolve(budget_bytes);
    let least_bytes = match floor {
        Some(floor) => whole_frames(floor, claim, budget_bytes),
        None => frame_bytes(claim),
    };
    if ceiling_bytes < least_bytes {
        let component = claim.name.clone();
        return Err(Error::CeilingBelowFloor { component, ceiling_bytes, least_bytes });
    }
    let floor_bytes = floor_bytes.min(ceiling_bytes);
    Ok(Sure { floor_bytes, ceiling_bytes: Some(ceiling_bytes), priority })
}

/// What each of `claims` is to be sure of, in bytes.
fn floors(
    pool: &Pool,
    claims: &[Claim],
    by_default: bool,
    budget_bytes: u64,
) -> Result<Vec<u64>, Error> {
    let stats = pool.stats();
    let usable = (stats.frames - stats.retired) as u64;
    let spare = usable.saturating_sub(u64::from(Pool::MIN_FRAMES));
    let is_said =
        claims.iter().any(|claim| claim.portion.floor.is_some() || claim.portion.share.is_some());
    if !is_said {
        return Ok(if by_default { default_floors(spare, claims) } else { vec![0; claims.len()] });
    }
    let said =
        |claim: &Claim| claim.portion.floor.map(|floor| whole_frames(floor, claim, budget_bytes));
    let mut floors: Vec<u64> = claims.iter().map(|claim| said(claim).unwrap_or(0)).collect();
    let floors_bytes = floors.iter().fold(0, |sum: u64, floor| sum.saturating_add(*floor));
    let most_bytes = spare * claims.first().map_or(0, frame_bytes);
    if floors_bytes > most_bytes {
        let named = claims.iter().zip(&floors).filter(|(_, floor)| **floor > 0);
        return Err(Error::FloorsBeyondBudget {
            floors: named.map(|(claim, floor)| (claim.name.clone(), *floor)).collect(),
            floors_bytes,
            most_bytes,
            budget_bytes,
        });
    }
    // Half of what is left, by the shares; who is short leaves what he does not need to the others.
    let mut left_bytes = (most_bytes - floors_bytes) / 2;
    let mut by_need: Vec<usize> =
        (0..claims.len()).filter(|&at| claims[at].portion.share.is_some()).collect();
    let weight = |at: usize| u64::from(claims[at].portion.share.unwrap_or(0));
    let needed = |at: usize| length_bytes(&claims[at]).saturating_sub(floors[at]);
    by_need.sort_by_key(|&at| needed(at) / weight(at).max(1));
    let mut weights: u64 = by_need.iter().map(|&at| weight(at)).sum();
    let needs: Vec<u64> = (0..claims.len()).map(needed).collect();
    for at in by_need {
        let part = u128::from(left_bytes) * u128::from(weight(at)) / u128::from(weights.max(1));
        let frame = frame_bytes(&claims[at]);
        let part = needs[at].min(part as u64) / frame * frame;
        floors[at] += part;
        left_bytes -= part;
        weights -= weight(at);
    }
    Ok(floors)
}

/// Where nobody says anything: to the files of a kind by their length. Where only one kind is in
/// the pool there is nobody to promise them against.
fn default_floors(spare: u64, claims: &[Claim]) -> Vec<u64> {
    let pages_of = |is_kind: fn(ComponentKind) -> bool| {
        let those = claims.iter().filter(|claim| is_kind(claim.pooled.kind));
        those.map(|claim| claim.pooled.file.page_count()).sum::<u64>()
    };
    let (graph, codes) = (pages_of(is_graph), pages_of(is_codes));
    let all = pages_of(|_| true);
    let is_contested = all != graph && all != codes;
    let to_graph = graph.min(spare / 2);
    let to_codes = codes.min((spare - to_graph) / 2);
    let floor = |claim: &Claim| {
        let (promised, of) = match claim.pooled.kind {
            kind if is_graph(kind) && is_contested => (to_graph, graph),
            kind if is_codes(kind) && is_contested => (to_codes, codes),
            _ => (0, 1),
        };
        // Rounded down, so that together they are no more than was promised.
        let pages = claim.pooled.file.page_count();
        let frames = u128::from(promised) * u128::from(pages) / u128::from(of);
        frames as u64 * frame_bytes(claim)
    };
    claims.iter().map(floor).collect()
}

fn frame_bytes(claim: &Claim) -> u64 {
    Pool::frame_bytes(claim.pooled.file.page_size())
}

/// What all of its pages take in the pool.
fn length_bytes(claim: &Claim) -> u64 {
    claim.pooled.file.page_count() * frame_bytes(claim)
}

/// A floor as the pool takes it: rounded up, and no more than all of its pages.
fn whole_frames(floor: Memory, claim: &Claim, budget_bytes: u64) -> u64 {
    let frame = frame_bytes(claim);
    let bytes = floor.resolve(budget_bytes).min(length_bytes(claim));
    bytes.div_ceil(frame).saturating_mul(frame)
}

fn is_graph(kind: ComponentKind) -> bool {
    kind == ComponentKind::Graph
}

fn is_codes(kind: ComponentKind) -> bool {
    matches!(kind, ComponentKind::Codes(_))
}

impl Claim {
    /// Has it sure of no more than was asked for, until the pool is shared out anew.
    pub(crate) fn let_go(&self) -> Result<(), PoolError> {
        match self.portion.floor.is_some() || self.portion.share.is_some() {
            true => Ok(()),
            false => self.pooled.set(Sure { floor_bytes: 0, ..self.pooled.sure() }),
        }
    }
}
