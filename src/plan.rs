//! Where the components of segments go, and what that costs in memory: worked out from their
//! manifests, before anything is opened.
//!
//! What nothing is said of has a place by its size and by what memory is left:
//!
//! | component | where nothing is said |
//! |---|---|
//! | graph and codes | resident, as long as both together take at most half of the memory that is left; else read through the backend |
//! | originals | read through the backend |
//! | columns and indexes of fields | read through the backend, those of at most 64 KiB resident |
//! | ids | resident, in any case |

use std::path::Path;

use ringpool_bufferpool::Pool;
use ringpool_index::{Component, ComponentKind, Manifest, Quantizer};
use ringpool_storage::PageSize;

use crate::{Backend, Error, Memory, OpenOptions, Part, Place, Placement};

/// Columns and indexes up to this are resident by default: less than the pool would keep of them
/// anyway.
const SMALL_BYTES: u64 = 64 << 10;
/// Graph and codes are resident by default up to this part of the memory that is left.
const LEFT_PARTS: u64 = 2;

/// What segments that are opened together would take, and where.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The components of each segment, in the order of the manifests.
    pub segments: Vec<Vec<Planned>>,
    /// What the pool would have, in bytes; where nothing is in one, what one would have had.
    pub memory_budget_bytes: u64,
    /// What all may take, in bytes: what was said, or what the machine and the memory cgroups have
    /// left. `None` where they do not say.
    pub total_bytes: Option<u64>,
    /// The least that a pool for all that goes there needs.
    pub(crate) least_bytes: u64,
    /// Whether that was said.
    pub(crate) total_is_said: bool,
    page_size: PageSize,
}

/// A component, where it goes, and what it costs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Planned {
    /// What it is for.
    pub kind: ComponentKind,
    /// What people call it. `None` for what nobody places.
    pub part: Option<Part>,
    /// Where it goes. `None` where it is not opened: codes that no search walks by.
    pub place: Option<Place>,
    /// How many pages it has.
    pub pages: u64,
    /// What these take on disk.
    pub bytes: u64,
    /// What it keeps in memory whatever the budget, about.
    pub resident_bytes: u64,
    /// What is spent of the pool's budget on its page table and its checksums.
    pub table_bytes: u64,
}

impl Plan {
    /// For the segments in `dirs`, as they would be opened with `options`.
    ///
    /// # Errors
    /// When a manifest cannot be read, or the segment has no such codes.
    pub fn new<P: AsRef<Path>>(dirs: &[P], options: &OpenOptions) -> Result<Self, Error> {
        let manifests = dirs.iter().map(|dir| Manifest::read(dir.as_ref()));
        let (plan, _) = Self::of(&manifests.collect::<Result<Vec<_>, _>>()?, options, None)?;
        Ok(plan)
    }

    pub(crate) fn of(
        manifests: &[Manifest],
        options: &OpenOptions,
        shared: Option<&Pool>,
    ) -> Result<(Self, Rules), Error> {
        let rules = Rules::new(manifests, options, shared.is_some())?;
        let segments: Vec<Vec<Planned>> =
            manifests.iter().map(|manifest| rules.plan(manifest)).collect::<Result<_, _>>()?;
        let page_size = manifests.first().map_or(PageSize::KIB_4, |manifest| manifest.page_size);
        let mut plan = Self {
            segments,
            memory_budget_bytes: 0,
            total_bytes: options.total_bytes.or_else(Memory::left_bytes),
            total_is_said: options.total_bytes.is_some(),
            least_bytes: 0,
            page_size,
        };
        // The budget is for what is in the pool; where nothing is, it says what one would have had.
        let pages_of = |is_one: &dyn Fn(&Planned) -> bool| {
            plan.opened()
                .filter(|planned| is_one(planned))
                .map(|planned| planned.pages)
                .sum::<u64>()
        };
        let is_in = |planned: &Planned| planned.place.is_some_and(Place::is_pool);
        let is_paged = |planned: &Planned| planned.place.is_some_and(Place::is_paged);
        let is_original = |planned: &Planned| planned.kind == ComponentKind::Vectors;
        let pages = [pages_of(&is_in), pages_of(&is_paged), pages_of(&is_original)];
        let pages = pages.into_iter().find(|&pages| pages > 0).unwrap_or(0);
        let paged_bytes = pages * page_size.bytes() as u64;
        plan.least_bytes = Pool::minimum_bytes(page_size, pages);
        plan.memory_budget_bytes = match (shared, options.memory) {
            (Some(pool), _) => pool.stats().memory_bytes,
            (None, Some(memory)) => memory.resolve(paged_bytes),
            (None, None) => {
                let default_bytes = Memory::default_for(paged_bytes);
                let left_bytes = options
                    .total_bytes
                    .map(|total_bytes| total_bytes.saturating_sub(plan.resident_bytes()));
                default_bytes.min(left_bytes.unwrap_or(u64::MAX)).max(plan.least_bytes)
            }
        };
        Ok((plan, rules))
    }

    /// All components that are opened.
    pub fn opened(&self) -> impl Iterator<Item = &Planned> {
        self.segments.iter().flatten().filter(|planned| planned.place.is_some())
    }

    /// What all components keep in memory whatever the budget, about.
    pub fn resident_bytes(&self) -> u64 {
        self.opened().map(|planned| planned.resident_bytes).sum()
    }

    /// Whether something is in the pool.
    pub fn has_pool(&self) -> bool {
        self.opened().any(|planned| planned.place.is_some_and(Place::is_pool))
    }

    /// Where each component of the first segment goes, by its own word.
    pub fn placement(&self) -> Placement {
        let first = self.segments.iter().take(1).flatten();
        first.fold(Placement::default(), |placement, planned| {
            match (&planned.part, planned.place) {
                (Some(Part::Codes(_)), Some(place)) => placement.with(Part::Codes(None), place),
                (Some(part), Some(place)) => placement.with(part.clone(), place),
                _ => placement,
            }
        })
    }

    /// Whether what must be in memory fits into it: what is resident, and the floors of the pool;
    /// or, where it was said what all may take, the whole pool.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] with what takes how much, the largest first.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Some(memory_bytes) = self.total_bytes else { return Ok(()) };
        let named = |planned: &Planned| match (&planned.part, planned.place) {
            (Some(part), Some(place)) => format!("{part} ({})", place.word()),
            _ => planned.kind.name(),
        };
        let resident = self.opened().filter(|planned| planned.resident_bytes > 0);
        let mut takes: Vec<(String, u64)> =
            resident.map(|planned| (named(planned), planned.resident_bytes)).collect();
        if self.has_pool() && self.total_is_said {
            takes.push(("the pool".into(), self.memory_budget_bytes));
        } else {
            takes
                .extend(self.floors().map(|(part, bytes)| (format!("the floor of {part}"), bytes)));
            // Of the budget, which is not less than these where nothing was said of it.
            let table_bytes = self.opened().map(|planned| planned.table_bytes).sum();
            if table_bytes > 0 {
                takes.push(("the pool's page tables".into(), table_bytes));
            }
        }
        let wanted_bytes: u64 = takes.iter().map(|(_, bytes)| bytes).sum();
        if wanted_bytes <= memory_bytes {
            return Ok(());
        }
        takes.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
        Err(Error::DoesNotFit { takes, wanted_bytes, memory_bytes })
    }

    /// The floors that were asked for, in bytes.
    fn floors(&self) -> impl Iterator<Item = (&Part, u64)> {
        self.opened().filter_map(|planned| {
            let (Some(part), Some(Place::Pool(portion))) = (&planned.part, planned.place) else {
                return None;
            };
            Some((part, portion.floor?.resolve(self.memory_budget_bytes)))
        })
    }

    /// A component that `placement` names and no segment has, with the one that is most like it.
    pub fn missing<'p>(&self, placement: &'p Placement) -> Option<(&'p Part, Option<Part>)> {
        let known = || self.segments.iter().flatten().filter_map(|planned| planned.part.as_ref());
        let is_one = |part: &Part| part.wider().is_some_and(|wider| wider != Part::All);
        let mut named = placement.iter().map(|(part, _)| part).filter(|part| is_one(part));
        let missing = named.find(|part| !known().any(|one| one == *part))?;
        let word = missing.to_string();
        let unlike = |part: &&Part| strsim::damerau_levenshtein(&word, &part.to_string());
        Some((missing, known().filter(|part| is_one(part)).min_by_key(unlike).cloned()))
    }

    /// The size of a page.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }
}

/// What decides where a component goes.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    place: Placement,
    backend: Backend,
    codes: Option<Quantizer>,
    /// Where graph and codes go of which nothing is said.
    walks: Place,
}

impl Rules {
    /// For segments that are opened together.
    pub(crate) fn new(
        manifests: &[Manifest],
        options: &OpenOptions,
        is_shared: bool,
    ) -> Result<Self, Error> {
        let backend = if is_shared { Backend::Pool } else { options.backend };
        let total_bytes = options.total_bytes.or_else(Memory::left_bytes);
        let mut rules = Self {
            place: options.place.clone(),
            backend,
            codes: options.codes,
            walks: Place::Resident,
        };
        let mut walked_bytes = 0;
        for manifest in manifests {
            let codes = walked_by(options.codes, manifest)?;
            let unsaid = manifest.components.iter().filter(|component| match component.kind {
                ComponentKind::Codes(others) if others != codes => false,
                kind @ (ComponentKind::Graph | ComponentKind::Codes(_)) => {
                    part_of(manifest, kind).is_some_and(|part| rules.place.of(&part).is_none())
                }
                _ => false,
            });
            walked_bytes += unsaid.map(|one| bytes_of(manifest, one)).sum::<u64>();
        }
        let most_bytes = total_bytes.map_or(u64::MAX, |total_bytes| total_bytes / LEFT_PARTS);
        if walked_bytes > most_bytes {
            rules.walks = backend.into();
        }
        Ok(rules)
    }

    /// With these changes before what was said.
    pub(crate) fn changed(&self, changes: &Placement) -> Self {
        Self { place: changes.clone().over(&self.place), ..self.clone() }
    }

    /// Where a component goes; nowhere if no search will walk by it.
    pub(crate) fn place_of(
        &self,
        manifest: &Manifest,
        kind: ComponentKind,
        pages: u64,
    ) -> Result<Option<Place>, Error> {
        if let ComponentKind::Codes(codes) = kind
            && codes != walked_by(self.codes, manifest)?
        {
            return Ok(None);
        }
        let Some(part) = part_of(manifest, kind) else {
            return Ok(Some(Place::Resident));
        };
        if let Some(&place) = self.place.of(&part) {
            return Ok(Some(place));
        }
        let is_small = pages * manifest.page_size.bytes() as u64 <= SMALL_BYTES;
        Ok(Some(match part {
            Part::Graph | Part::Codes(_) => self.walks,
            Part::Columns(_) | Part::Indexes(_) if is_small => Place::Resident,
            _ => self.backend.into(),
        }))
    }

    /// Where everything of a segment goes, and what it costs.
    pub(crate) fn plan(&self, manifest: &Manifest) -> Result<Vec<Planned>, Error> {
        let planned = manifest.components.iter().map(|component| {
            let (kind, pages) = (component.kind, component.pages);
            let place = self.place_of(manifest, kind, pages)?;
            let bytes = bytes_of(manifest, component);
            // What is kept to find, and to check, a page by: 8 bytes in the pool, and 4.
            let table_bytes = if place.is_some_and(Place::is_pool) { 12 * pages } else { 0 };
            let checksums_bytes = match place {
                Some(Place::Mmap | Place::Direct | Place::Inlined) => 4 * pages,
                _ => 0,
            };
            let resident_bytes = match place {
                None => 0,
                Some(Place::Resident) => bytes,
                Some(_) => kept_bytes(manifest, component) + checksums_bytes,
            };
            let part = part_of(manifest, kind);
            Ok(Planned { kind, part, place, pages, bytes, resident_bytes, table_bytes })
        });
        planned.collect()
    }
}

/// What people call a component. `None` for what nobody places.
pub(crate) fn part_of(manifest: &Manifest, kind: ComponentKind) -> Option<Part> {
    let field = manifest.field_of(kind).map(Into::into);
    match kind {
        ComponentKind::Vectors => Some(Part::Vectors),
        ComponentKind::Codes(codes) => Some(Part::Codes(Some(codes))),
        ComponentKind::Graph => Some(Part::Graph),
        ComponentKind::Column(_) => Some(Part::Columns(field)),
        ComponentKind::ColumnIndex(_) => Some(Part::Indexes(field)),
        ComponentKind::Ids | ComponentKind::OwnIds => None,
    }
}

fn bytes_of(manifest: &Manifest, component: &Component) -> u64 {
    component.pages * manifest.page_size.bytes() as u64
}

/// What is kept of a component that is read by page: of graph and codes what is above layer 0.
fn kept_bytes(manifest: &Manifest, component: &Component) -> u64 {
    let upper = manifest.layers.get(1).copied().unwrap_or(1);
    let bytes = match component.kind {
        ComponentKind::Graph => {
            manifest.layers.iter().skip(1).sum::<usize>() * 4 * (manifest.m + 1)
        }
        // With a word and a count for each 64 points, to find them by.
        ComponentKind::Codes(_) => upper * component.record_bytes + manifest.points / 64 * 16,
        _ => 0,
    };
    bytes as u64
}

/// The codes to walk by: those that are asked for, or the first that there are.
pub(crate) fn walked_by(asked: Option<Quantizer>, manifest: &Manifest) -> Result<Quantizer, Error> {
    let carried = &manifest.quantizers;
    let first = carried.first().copied().unwrap_or(Quantizer::None);
    match asked {
        Some(wanted) if wanted != Quantizer::None && !carried.contains(&wanted) => {
            Err(Error::NoSuchCodes { wanted, carried: carried.clone() })
        }
        asked => Ok(asked.unwrap_or(first)),
    }
}
