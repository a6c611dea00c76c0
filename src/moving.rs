//! Moving components of open segments while they are searched.
//!
//! Three steps. What moves is opened where it goes, beside what is open: nobody sees it yet, and
//! whatever fails ends here. Then the pool is shared out among what will be in it. Then, for each
//! segment, one pointer is exchanged: searches that begin from here on find everything in its new
//! place, those that have begun end in the old one, and the last of them lets go of it.

use std::sync::Arc;

use ringpool_index::{ComponentKind, Patience};

use crate::index::Open;
use crate::opening::{Held, Opening};
use crate::together::Together;
use crate::warm::Pooled;
use crate::{Error, Index, Memory, Placement};

impl Index {
    /// Changes where components are, while searches run. What `changes` do not speak of stays where
    /// it is. Answers are the same before, during and after, bit by bit; none is lost.
    ///
    /// Nothing is built anew. What moves into memory is read once; what leaves the pool gives its
    /// frames to the others once the searches that began before have ended.
    ///
    /// # Errors
    /// As those of [`open`](Self::open), and [`Error::DoesNotFit`]. Everything is then where it was.
    pub fn place(&self, changes: &Placement) -> Result<(), Error> {
        self.place_within(changes, Patience::default())
    }

    /// [`place`](Self::place) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `place`; of a deadline that has passed, or of the caller who has cancelled.
    /// Everything is then where it was.
    pub fn place_within(&self, changes: &Placement, patience: Patience<'_>) -> Result<(), Error> {
        let _changing = self.together().change(&patience)?;
        place_all(self.together(), &[self], changes, patience)
    }
}

/// Changes where components of `indexes` are, which are open together: all of them or none. Called
/// by who holds [`change`](Together::change).
pub(crate) fn place_all(
    together: &Together,
    indexes: &[&Index],
    changes: &Placement,
    patience: Patience<'_>,
) -> Result<(), Error> {
    let mut moves = Vec::with_capacity(indexes.len());
    for index in indexes {
        moves.push(Move::of(index, changes)?);
    }
    expect_room(together, &moves)?;
    let mut opened = Vec::with_capacity(moves.len());
    for one in moves {
        opened.push(one.open(together, patience).inspect_err(|_| together.share_out_again())?);
    }
    let pooled = |held: &[Held]| -> Vec<Arc<Pooled>> {
        held.iter().filter_map(|held| held.pooled.clone()).collect()
    };
    let left: Vec<_> = opened.iter().flat_map(|(before, ..)| pooled(&before.held)).collect();
    let claims = opened.iter().flat_map(|(_, now, _)| now.claims()).collect();
    together.share_out(&left, claims)?;
    for (_, now, index) in opened {
        index.exchange(now);
    }
    Ok(())
}

/// What is to change of one segment.
struct Move<'i> {
    index: &'i Index,
    before: Arc<Open>,
    /// What holds from now on.
    now: Open,
    /// What is opened anew.
    kinds: Vec<ComponentKind>,
}

impl<'i> Move<'i> {
    fn of(index: &'i Index, changes: &Placement) -> Result<Self, Error> {
        let before = index.now();
        let mut now = Open { rules: before.rules.changed(changes), ..(*before).clone() };
        let mut kinds = Vec::new();
        let manifest = before.segment.manifest();
        for component in &manifest.components {
            let held = now.held.iter_mut().find(|held| held.kind == component.kind);
            let place = now.rules.place_of(manifest, component.kind, component.pages)?;
            if let (Some(held), Some(place)) = (held, place) {
                if held.place.word() != place.word() {
                    kinds.push(held.kind);
                }
                held.place = place;
            }
        }
        Ok(Self { index, before, now, kinds })
    }

    /// Opens what moves. Returns the segment as it was and as it will be.
    fn open(
        self,
        together: &Together,
        patience: Patience<'_>,
    ) -> Result<(Arc<Open>, Open, &'i Index), Error> {
        let Self { index, before, mut now, kinds } = self;
        if !kinds.is_empty() {
            let manifest = before.segment.manifest();
            let mut opening = Opening::new(together, manifest, &now.rules, patience);
            let segment =
                opening.run(|place| before.segment.replaced_within(&kinds, place, patience))?;
            let (held, engine) = opening.end(before.segment.dir())?;
            now.held.retain(|held| !kinds.contains(&held.kind));
            now.held.extend(held);
            now.segment = Arc::new(segment);
            now.engine = engine.or(now.engine);
        }
        Ok((before, now, index))
    }
}

/// Whether what comes into memory has room there.
fn expect_room(together: &Together, moves: &[Move<'_>]) -> Result<(), Error> {
    let mut plan = together.plan();
    plan.segments = moves
        .iter()
        .map(|one| one.now.rules.plan(one.before.segment.manifest()))
        .collect::<Result<_, _>>()?;
    if plan.total_is_said {
        return plan.check();
    }
    // What is in memory already is not in what is left.
    plan.total_bytes = Memory::left_bytes();
    for (planned, one) in plan.segments.iter_mut().zip(moves) {
        planned.retain(|planned| one.kinds.contains(&planned.kind));
    }
    plan.check()
}
