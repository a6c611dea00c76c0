//! A segment that was changed: opened and searched in every place its components can have.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ringpool::storage::{Error, MemorySource, PageSource};
use ringpool::{
    ComponentFile, ComponentKind, Filter, Hit, Patience, Placed, Quantizer, Rescore, Scratch,
    SearchError, SearchParams, Segment, SegmentError,
};

/// Where components are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    /// All as arrays.
    Resident,
    /// All read by page but for ids, which are never.
    Paged,
    /// Graph and codes in the records of the originals.
    Inlined,
}

/// Opens and searches what lies in `dir`, by codes that are among its own: hits are possible, or the
/// damage is told.
pub fn judge(dir: &Path, codes: Quantizer) {
    judged(dir, codes);
}

/// The same where nothing that a segment has twice was changed in one place alone, as codes of upper
/// layers are: what is sound in memory is then sound on pages, with the same hits.
pub fn judge_alike(dir: &Path, codes: Quantizer) {
    if let [Some(resident), paged, _] = judged(dir, codes) {
        let paged = paged.expect("what is sound in memory is sound on pages");
        assert_eq!(resident, paged, "places make a difference");
    }
}

/// What searches have found, for each place in which it could be opened.
fn judged(dir: &Path, codes: Quantizer) -> [Option<Found>; 3] {
    EVERYWHERE.map(|place| {
        let segment = open(dir, codes, place).ok()?;
        let found = searched(&segment);
        expect_possible(&segment, found.iter().flatten());
        Some(found)
    })
}

/// The hits of each query; none where a page holds what no build writes.
type Found = Option<Vec<Vec<Hit>>>;

/// Opens what lies in `dir` for its fields: values are of their types, points are among those that
/// there are, or the damage is told.
pub fn judge_fields(dir: &Path) {
    for place in [Where::Resident, Where::Paged] {
        open(dir, Quantizer::None, place).iter().for_each(read_fields);
    }
}

const EVERYWHERE: [Where; 3] = [Where::Resident, Where::Paged, Where::Inlined];

/// A sound segment, all in memory.
pub fn resident(dir: &Path, codes: Quantizer) -> Segment {
    open(dir, codes, Where::Resident).expect("a sound segment")
}

fn source(file: &ComponentFile) -> Result<Arc<dyn PageSource>, Error> {
    let name: Arc<str> = file.path.to_string_lossy().into();
    let bytes = fs::read(&file.path).map_err(|e| Error::io(&name, "read", e))?;
    let source = MemorySource::new(name, file.page_size, bytes)?;
    Ok(Arc::new(source.verified(&file.checksums)?))
}

fn open(dir: &Path, codes: Quantizer, place: Where) -> Result<Segment, SegmentError> {
    let opened = Segment::open(dir, &mut |file| {
        let is_left = matches!(file.kind, ComponentKind::Codes(other) if other != codes);
        if is_left {
            return Ok(Placed::Left);
        }
        let source = source(file)?;
        Ok(match (file.kind, place) {
            (ComponentKind::Ids | ComponentKind::OwnIds, _) | (_, Where::Resident) => {
                Placed::Resident(source)
            }
            (ComponentKind::Graph | ComponentKind::Codes(_), Where::Inlined) => {
                Placed::Inlined(source)
            }
            _ => Placed::Paged(source),
        })
    });
    opened.inspect_err(|error| assert!(!error.to_string().is_empty()))
}

/// What some queries find. Nothing else may go wrong in a search than what a page holds.
fn searched(segment: &Segment) -> Found {
    let dim = segment.manifest().dim;
    let queries = [vec![0.0; dim], vec![20.0; dim], vec![1e30; dim]];
    let rescores = [Rescore::Off, Rescore::Times(2.0), Rescore::Auto { recall: 0.95 }];
    let mut scratch = Scratch::default();
    let mut all = Vec::new();
    for (query, rescore) in queries.iter().zip(rescores) {
        let params = SearchParams { k: 5, ef: 12, rescore };
        match segment.search(query, &params, &mut scratch) {
            Ok(hits) => all.push(hits),
            Err(error) => {
                expect_damage(&error);
                return None;
            }
        }
    }
    Some(all)
}

fn expect_damage(error: &SearchError) {
    assert!(matches!(error, SearchError::Component { .. }), "{error}");
}

fn expect_possible<'h>(segment: &Segment, found: impl Iterator<Item = &'h Vec<Hit>>) {
    let order = |a: &Hit, b: &Hit| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id));
    for hits in found {
        assert!(hits.len() <= 5, "{} hits", hits.len());
        assert!(hits.windows(2).all(|pair| order(&pair[0], &pair[1]).is_lt()), "{hits:?}");
        let is_one = |hit: &Hit| !hit.distance.is_nan() && segment.has_id(hit.id);
        assert!(hits.iter().all(is_one), "{hits:?}");
    }
}

/// Reads and tests every field: values of its type, points that there are, or a typed error.
fn read_fields(segment: &Segment) {
    let points = segment.manifest().points;
    let places: Vec<u32> = (0..points as u32).collect();
    for (number, field) in segment.fields().iter().enumerate() {
        match segment.values(&places, &[number]) {
            Err(error) => expect_damage(&error),
            Ok(rows) => {
                assert!(rows.iter().all(|row| {
                    row[0].field_type().is_none_or(|found| found == field.field_type)
                }))
            }
        }
    }
    for text in FILTERS {
        let filter: Filter = text.parse().expect("a filter");
        match segment.select(&filter, &Patience::default()) {
            Ok(found) => assert!(found.points() == points && found.len() <= points),
            // A segment that was made up may lack the field, or have it of another type.
            Err(SearchError::Filter(_)) => {}
            Err(error) => expect_damage(&error),
        }
    }
}

/// One for each way in which a field is looked at.
const FILTERS: [&str; 8] = [
    "number = 1",
    "number > -2 and price < 4.5",
    "price between 1.5 and 7.25",
    "sold",
    "word starts with \"word 1\"",
    "word in (\"word 2\", \"word 7\") or about is null",
    "about = \"text text \"",
    "at >= '2000-01-01T00:00:00Z'",
];
