//! Many searches on one thread, through pages that come late: the hits are those of one alone.

use std::path::PathBuf;

use ringpool_storage::PageSize;

use super::late::Late;
use super::*;
use crate::{Answer, Manifest, Metric, Patience, Query, Rescore, SearchError, Searches, Selection};

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Resident,
    Paged,
    Inlined,
}
pub(super) use Place::{Inlined, Paged, Resident};

/// Where graph, codes and originals are.
pub(super) const PLACES: [[Place; 3]; 8] = [
    [Resident, Resident, Paged],
    [Paged, Resident, Paged],
    [Resident, Paged, Paged],
    [Paged, Paged, Paged],
    [Paged, Paged, Resident],
    [Inlined, Resident, Paged],
    [Inlined, Inlined, Paged],
    [Inlined, Paged, Paged],
];

pub(super) struct Subject {
    _parent: tempfile::TempDir,
    pub(super) out: PathBuf,
    pub(super) queries: Vectors,
}

pub(super) fn subject(quantizer: Quantizer, metric: Metric, seed: u64) -> Subject {
    subject_of(1500, quantizer, metric, seed)
}

/// The same with so many points.
pub(super) fn subject_of(
    points: usize,
    quantizer: Quantizer,
    metric: Metric,
    seed: u64,
) -> Subject {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let dim = 24;
    let base = as_element(dim, &clustered(points, dim, 12, false, seed), Element::F32);
    let quantizers = if quantizer == Quantizer::None { vec![] } else { vec![quantizer] };
    let page_size = PageSize::new(512).unwrap();
    let inlined = quantizers.first().copied();
    let options =
        BuildOptions { quantizers, inlined, metric, m: 9, page_size, ..Default::default() };
    build(&base, &out, &options, &NoProgress).unwrap();
    let queries = as_element(dim, &clustered(40, dim, 12, false, seed + 9), Element::F32);
    Subject { _parent: parent, out, queries }
}

impl Subject {
    pub(super) fn open(&self, places: [Place; 3], seed: u64, at_once: u64) -> Segment {
        let opened = Segment::open(&self.out, &mut |file| {
            let source: Arc<dyn PageSource> =
                Arc::new(Late { source: in_memory(file)?, seed, at_once });
            let place = match file.kind {
                ComponentKind::Graph => places[0],
                ComponentKind::Codes(_) => places[1],
                ComponentKind::Vectors => places[2],
                ComponentKind::Ids
                | ComponentKind::OwnIds
                | ComponentKind::Column(_)
                | ComponentKind::ColumnIndex(_) => Resident,
            };
            Ok(match place {
                Resident => Placed::Resident(source),
                Paged => Placed::Paged(source),
                Inlined => Placed::Inlined(source),
            })
        });
        opened.unwrap()
    }
}

/// Searches for all `queries`, `in_flight` at a time.
pub(super) fn run(
    segments: &[&Segment],
    queries: &Vectors,
    params: &SearchParams,
    among: Option<&[Selection]>,
    in_flight: usize,
) -> Vec<Result<Vec<(u32, Hit)>, SearchError>> {
    let rows: Vec<Vec<f32>> = (0..queries.len()).map(|i| row(queries, i)).collect();
    let mut found = vec![Ok(Vec::new()); rows.len()];
    let mut next = rows.iter().zip(0..).map(|(values, number)| Query {
        number,
        values,
        params: *params,
        among,
        patience: Patience::default(),
    });
    let answered = &mut |answer: Answer<'_>| {
        let hits = answer.hits.map(|hits| {
            assert_eq!(hits.len(), answer.segments.len());
            answer.segments.iter().copied().zip(hits.iter().copied()).collect()
        });
        found[answer.number as usize] = hits;
    };
    Searches::new(segments, in_flight).unwrap().run(&mut || next.next(), answered);
    found
}

#[test]
fn hits_depend_on_neither_place_nor_order_nor_what_is_in_flight() {
    let subjects = quantizers(6).into_iter().zip(Metric::ALL.into_iter().cycle());
    for (quantizer, metric) in subjects {
        let subject = subject(quantizer, metric, 21);
        for rescore in [Rescore::Times(3.0), Rescore::Auto { recall: 0.9 }, Rescore::Off] {
            let params = SearchParams { k: 5, ef: 30, rescore };
            let resident = open_resident(&subject.out).unwrap();
            let expected = search_all(&resident, &subject.queries, &params);
            for (places, in_flight) in PLACES.into_iter().zip([1, 4, 3, 16, 40, 2, 5, 16]) {
                if quantizer == Quantizer::None && matches!(places[0], Inlined) {
                    continue; // Nothing is inlined without codes.
                }
                let segment = subject.open(places, in_flight as u64, 3);
                let alone = search_all(&segment, &subject.queries, &params);
                assert_eq!(alone, expected, "{quantizer} {rescore:?} {places:?} alone");
                let found = run(&[&segment], &subject.queries, &params, None, in_flight);
                for (found, expected) in found.into_iter().zip(&expected) {
                    let found: Vec<Hit> = found.unwrap().into_iter().map(|(_, hit)| hit).collect();
                    assert_eq!(&found, expected, "{quantizer} {rescore:?} {places:?} {in_flight}");
                }
            }
        }
    }
}

/// A search alone through pages of which `damage` has changed those of one component.
fn through_damage(
    subject: &Subject,
    places: [Place; 3],
    damage: impl Fn(ComponentKind, &mut [u8]),
) -> Vec<Result<Vec<Hit>, SearchError>> {
    let segment = Segment::open(&subject.out, &mut |file| {
        let mut bytes = fs::read(&file.path).unwrap();
        damage(file.kind, &mut bytes);
        let name = file.path.to_string_lossy();
        let source: Arc<dyn PageSource> =
            Arc::new(MemorySource::new(&*name, file.page_size, bytes)?);
        let place = match file.kind {
            ComponentKind::Graph => places[0],
            ComponentKind::Codes(_) => places[1],
            ComponentKind::Vectors => places[2],
            ComponentKind::Ids
            | ComponentKind::OwnIds
            | ComponentKind::Column(_)
            | ComponentKind::ColumnIndex(_) => Resident,
        };
        Ok(match place {
            Resident => Placed::Resident(source),
            Paged => Placed::Paged(source),
            Inlined => Placed::Inlined(source),
        })
    });
    let (segment, params) = (segment.unwrap(), SearchParams::default());
    let mut scratch = Scratch::default();
    let rows = (0..subject.queries.len()).map(|i| row(&subject.queries, i));
    rows.map(|query| segment.search(&query, &params, &mut scratch)).collect()
}

/// What no disk does but anybody may write: records whose pages match their checksums and that
/// cannot be what they should be.
#[test]
fn records_that_cannot_be_are_errors_that_name_the_file() {
    let subject = subject(Quantizer::RaBitQ { bits: 1 }, Metric::L2, 33);
    let manifest = Manifest::read(&subject.out).unwrap();
    let node = manifest.node().unwrap();
    let first_page = |kind| manifest.sections(kind).last().unwrap().first_page as usize * 512;
    let codes = manifest.components[1].kind;
    let (code_bytes, codes_begin) = (manifest.record_bytes_of(codes), first_page(codes));
    let per_page = 512 / code_bytes;
    type Damage<'a> = &'a dyn Fn(ComponentKind, &mut [u8]);
    let strangers: Damage<'_> = &|kind, bytes| {
        if kind == ComponentKind::Graph {
            let record_bytes = manifest.record_bytes_of(kind);
            let layer = &mut bytes[..manifest.sections(kind)[0].pages() as usize * 512];
            for page in layer.chunks_mut(512) {
                for record in page.chunks_exact_mut(record_bytes) {
                    record[..4].copy_from_slice(&1500_u32.to_le_bytes());
                }
            }
        }
    };
    let no_numbers: Damage<'_> = &|kind, bytes| {
        if kind == codes {
            for page in bytes[codes_begin..].chunks_mut(512) {
                for code in page.chunks_exact_mut(code_bytes).take(per_page) {
                    code[code_bytes - 16..].fill(0xFF);
                }
            }
        }
    };
    let inlined: Damage<'_> = &|kind, bytes| {
        if kind == ComponentKind::Vectors {
            let span = node.record_bytes().div_ceil(512) * 512;
            for record in bytes.chunks_mut(span) {
                let slots = node.row_bytes..node.row_bytes + 4;
                record[slots].copy_from_slice(&0x7FFF_FFFF_u32.to_le_bytes());
            }
        }
    };
    assert!(node.record_bytes() > 512, "records over several pages are met, too");
    for (places, damage, file) in [
        ([Paged, Resident, Paged], strangers, "graph.pages"),
        ([Resident, Paged, Paged], no_numbers, "codes-rabitq-1.pages"),
        ([Inlined, Inlined, Paged], inlined, "vectors.pages"),
    ] {
        for found in through_damage(&subject, places, damage) {
            match found {
                Err(SearchError::Component { path, .. }) => assert!(path.ends_with(file)),
                other => panic!("{file}: {other:?}"),
            }
        }
    }
    let none = |_, _: &mut [u8]| {};
    assert!(through_damage(&subject, [Paged, Paged, Paged], none).iter().all(Result::is_ok));
}
