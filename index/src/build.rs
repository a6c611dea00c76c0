//! From vectors to a segment on disk.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::attached::Ranked;
use crate::codes::{Measured, Rows, Scheme, with_scheme};
use crate::columns::{self, Laid};
use crate::component::ComponentKind;
use crate::graph::{self, ByteSpace, EMPTY, Graph, GraphOptions, RowSpace, Space};
use crate::packing::{self, Near};
use crate::paged::{Node, UpperCodes};
use crate::step::{self, Gate};
use crate::workers::Workers;
use crate::write::{Section, Staging};
use crate::{
    Attached, BuildError, BuildOptions, Column, Component, Manifest, Metric, Order, Phase,
    Progress, Quantizer, Vectors,
};

/// What a build made, and how long it took.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BuildReport {
    /// How many points each layer has, layer 0 first.
    pub layers: Vec<usize>,
    /// Points that nothing led to and that were linked at the end.
    pub linked_points: usize,
    /// Whether the codes tell exactly what the vectors do.
    pub lossless_codes: bool,
    /// The bytes of all pages.
    pub pages_bytes: u64,
    /// Time spent on the codes.
    pub codes_time: Duration,
    /// Time spent on the graph.
    pub graph_time: Duration,
    /// Time spent on packing.
    pub packing_time: Duration,
    /// Time spent on writing.
    pub write_time: Duration,
}

/// Builds a segment of `vectors` in the folder `out`, which must not exist yet and appears whole
/// or not at all. In memory it takes vectors, codes and graph (for M 16 about 170 bytes a point), and
/// while points are packed about 350 bytes a point more.
/// Whole numbers under l2, none more than 255 above the least of its dimension, are compared as
/// bytes: for a byte a value more, where they are not bytes already, and several times as fast.
///
/// # Errors
/// When an option is out of range, a value is no number, there are no vectors, `out` exists or
/// cannot be written, or `progress` ends the build. Nothing is left behind then.
pub fn build(
    vectors: &Vectors,
    out: &Path,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    build_with(vectors, &Attached::default(), out, options, progress)
}

/// [`build`] of vectors with what is attached to them.
///
/// # Errors
/// As those of `build`, and when what is attached does not go with the vectors, or with itself.
pub fn build_with(
    vectors: &Vectors,
    attached: &Attached<'_>,
    out: &Path,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    build_gated(vectors, attached, out, options, progress, step::OPEN)
}

/// The same, with a gate at each step on disk.
pub(crate) fn build_gated(
    vectors: &Vectors,
    attached: &Attached<'_>,
    out: &Path,
    options: &BuildOptions,
    progress: &dyn Progress,
    gate: &Gate<'_>,
) -> Result<BuildReport, BuildError> {
    options.check(vectors.dim())?;
    if vectors.is_empty() {
        return Err(BuildError::Empty);
    }
    let ids = Ranked::new(attached.ids, vectors.len())?;
    attached.check(vectors.len())?;
    // First of all: who has no room for the result need not wait for it.
    let staging = Staging::begin(out, gate)?;
    let threads = options.threads;
    let workers = Workers::new(threads)
        .map_err(|e| BuildError::Threads { threads, reason: e.to_string() })?;
    let made = workers.run(|| make(vectors, ids, options, progress))?;
    let begun = Instant::now();
    let columns = lay(attached, &made, out)?;
    let manifest = write(vectors, &made, &columns, options, progress, staging)?;
    let pages = manifest.components.iter().map(|component| component.pages);
    Ok(BuildReport {
        layers: manifest.layers.clone(),
        linked_points: made.linked_points,
        lossless_codes: made.codes.iter().any(|made| made.codes.lossless()),
        pages_bytes: pages.sum::<u64>() * options.page_size.bytes() as u64,
        codes_time: made.codes_time,
        graph_time: made.graph_time,
        packing_time: made.packing_time,
        write_time: begun.elapsed(),
    })
}

/// What is written besides the vectors.
struct Made {
    /// In the order of the options.
    codes: Vec<Measured>,
    /// By places.
    graph: Graph,
    /// For each place its point, where points are packed.
    order: Option<Vec<u32>>,
    ids: Ranked,
    linked_points: usize,
    codes_time: Duration,
    graph_time: Duration,
    packing_time: Duration,
}

/// A graph, and who is to lie beside whom where points are packed.
struct Grown {
    graph: Graph,
    near: Option<Near>,
    linked_points: usize,
    graph_time: Duration,
    near_time: Duration,
}

impl Made {
    /// The point at this place.
    fn point_at(&self, place: u32) -> u32 {
        self.order.as_ref().map_or(place, |order| order[place as usize])
    }
}

fn make(
    vectors: &Vectors,
    ids: Ranked,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Made, BuildError> {
    expect_finite(vectors)?;
    let begun = Instant::now();
    let points = vectors.len() as u64;
    let rows = Rows::new(vectors, options.metric, options.seed);
    let sets = options.codes().count() as u64;
    let train = |(set, quantizer)| {
        let step = |done| progress.report(Phase::Codes, set * points + done, sets * points);
        unless_cancelled(Measured::train(quantizer, &rows, &step))
    };
    let trained = (0..).zip(options.codes()).map(train).collect::<Result<Vec<_>, _>>()?;
    let codes: Vec<Measured> = trained.into_iter().flatten().collect();
    let codes_time = begun.elapsed();
    let bytes = (options.metric == Metric::L2).then(|| ByteSpace::new(vectors)).flatten();
    let grown = match bytes {
        Some(space) => grow(&space, options, progress)?,
        None => grow(&RowSpace::new(vectors, options.metric), options, progress)?,
    };
    let Grown { mut graph, near, linked_points, graph_time, near_time } = grown;
    let begun = Instant::now();
    let group = packing::group_of(options.per_page(vectors.dim(), vectors.element()));
    let heard = || progress.report(Phase::Packing, points, points);
    let pack = |near| unless_cancelled(packing::pack(near, group, &heard));
    let order = near.map(pack).transpose()?;
    if let Some(order) = &order {
        graph = graph.placed(order);
    }
    let packing_time = near_time + begun.elapsed();
    Ok(Made { codes, graph, order, ids, linked_points, codes_time, graph_time, packing_time })
}

fn grow<S: Space>(
    space: &S,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Grown, BuildError> {
    let begun = Instant::now();
    let points = space.len() as u64;
    let graph_options =
        GraphOptions { m: options.m, ef_construction: options.ef_construction, seed: options.seed };
    let step = |done| progress.report(Phase::Graph, done, points);
    let (graph, linked_points) = unless_cancelled(graph::build(space, graph_options, &step))?;
    let graph_time = begun.elapsed();
    let begun = Instant::now();
    let step = |done| progress.report(Phase::Packing, done, points);
    let find = || unless_cancelled(Near::find(space, &graph, &step));
    let near = (options.order == Order::Packed).then(find).transpose()?;
    Ok(Grown { graph, near, linked_points, graph_time, near_time: begun.elapsed() })
}

fn unless_cancelled<T>(flow: ControlFlow<(), T>) -> Result<T, BuildError> {
    match flow {
        ControlFlow::Continue(value) => Ok(value),
        ControlFlow::Break(()) => Err(BuildError::Cancelled),
    }
}

/// Names the first value that is no number.
fn expect_finite(vectors: &Vectors) -> Result<(), BuildError> {
    let wrong = |row| {
        let mut values = vec![0.0; vectors.dim()];
        vectors.row_f32(row, &mut values);
        let dimension = values.iter().position(|value| !value.is_finite())?;
        Some(BuildError::NotFinite { row, dimension, value: values[dimension] })
    };
    let rows = (0..vectors.len()).into_par_iter().with_min_len(64);
    rows.find_map_first(wrong).map_or(Ok(()), Err)
}

/// The columns in the order of places.
fn lay<'a>(
    attached: &Attached<'a>,
    made: &'a Made,
    out: &Path,
) -> Result<Vec<Laid<'a>>, BuildError> {
    let Some(columns) = attached.columns else { return Ok(Vec::new()) };
    let rows = columns::Rows { points: columns.rows(), order: made.order.as_deref() };
    let laid = columns.iter().map(|(field, cells)| Laid::lay(field, cells, rows));
    laid.collect::<Result<_, _>>().map_err(|source| {
        let (path, doing) = (out.into(), "lay out the columns");
        BuildError::Io { path, doing, source }
    })
}

fn write(
    vectors: &Vectors,
    made: &Made,
    columns: &[Laid<'_>],
    options: &BuildOptions,
    progress: &dyn Progress,
    staging: Staging<'_>,
) -> Result<Manifest, BuildError> {
    let mut manifest = describe(vectors, made, columns, options);
    let total = manifest.components.iter().map(|component| component.pages).sum::<u64>()
        * options.page_size.bytes() as u64;
    let mut done = 0;
    let mut written = |bytes| {
        done += bytes;
        unless_cancelled(progress.report(Phase::Write, done, total))
    };
    let mut components = std::mem::take(&mut manifest.components);
    for component in &mut components {
        let records = manifest.sections(component.kind).into_iter();
        let contents = contents_of(component.kind, &manifest, vectors, made, columns);
        debug_assert_eq!(records.len(), contents.len());
        let sections: Vec<Section<'_>> = records
            .zip(contents)
            .map(|(records, (bytes, order))| Section { records, bytes, order })
            .collect();
        staging.write_component(component, &sections, &mut written)?;
    }
    manifest.components = components;
    staging.publish(&manifest)?;
    Ok(manifest)
}

/// The records of a section put end to end, and in which order they are to be written.
type Contents<'a> = (Cow<'a, [u8]>, Option<&'a [u32]>);

/// What goes into each section of a component.
fn contents_of<'a>(
    kind: ComponentKind,
    manifest: &Manifest,
    vectors: &'a Vectors,
    made: &'a Made,
    columns: &[Laid<'_>],
) -> Vec<Contents<'a>> {
    let order = made.order.as_deref();
    let laid = |number: u16, sections: fn(&Laid<'_>) -> Vec<Vec<u8>>| {
        let sections = columns.get(usize::from(number)).map_or_else(Vec::new, sections);
        sections.into_iter().map(|bytes| (bytes.into(), None)).collect()
    };
    match kind {
        ComponentKind::Vectors => match manifest.node() {
            None => vec![(vectors.bytes().into(), order)],
            Some(node) => vec![(nodes(&node, manifest.inlined, vectors, made).into(), None)],
        },
        ComponentKind::Codes(quantizer) => {
            let codes = made.codes.iter().find(|made| made.codes.quantizer() == quantizer);
            let all = |set: &'a Measured| {
                let deviation = set.deviation.to_bytes().to_vec().into();
                let sections = std::iter::once(deviation).chain(set.codes.to_sections());
                let mut contents: Vec<Contents<'a>> = sections.map(|bytes| (bytes, None)).collect();
                // The last has the codes themselves, one a point.
                contents.last_mut().into_iter().for_each(|codes| codes.1 = order);
                contents.insert(contents.len() - 1, (upper_codes(set, made).into(), None));
                contents
            };
            codes.map_or_else(Vec::new, all)
        }
        ComponentKind::Graph => {
            let upper = made.graph.layers.iter().skip(1).map(|layer| {
                let records = layer.slots.chunks(layer.max_neighbours);
                let with_point = layer.points.iter().zip(records);
                let words = with_point.flat_map(|(&point, record)| {
                    std::iter::once(point).chain(record.iter().copied())
                });
                let words: Vec<u32> = words.collect();
                bytemuck::cast_slice(&words).to_vec().into()
            });
            let layer_0 = bytemuck::cast_slice(&made.graph.layers[0].slots).into();
            std::iter::once(layer_0).chain(upper).map(|bytes| (bytes, None)).collect()
        }
        ComponentKind::Ids => vec![(ranks(vectors.len(), made), None)],
        ComponentKind::OwnIds => vec![(bytemuck::cast_slice(&made.ids.own).into(), None)],
        ComponentKind::Column(number) => laid(number, |laid| laid.sections()),
        ComponentKind::ColumnIndex(number) => laid(number, |laid| laid.index_sections()),
    }
}

/// The rank of the id of the point at each place.
fn ranks(points: usize, made: &Made) -> Cow<'_, [u8]> {
    match (&made.order, &made.ids.ranks) {
        // A row is its own rank.
        (Some(order), None) => bytemuck::cast_slice(order).into(),
        _ => {
            let places = 0..points as u32;
            let ranks: Vec<u32> = places.map(|at| made.ids.rank(made.point_at(at))).collect();
            bytemuck::cast_slice(&ranks).to_vec().into()
        }
    }
}

/// The codes of the points above layer 0.
fn upper_codes(codes: &Measured, made: &Made) -> Vec<u8> {
    let points = UpperCodes::points(&made.graph).iter().map(|&place| made.point_at(place));
    let code = |point| with_scheme!(&codes.codes, codes => codes.row(point));
    points.flat_map(code).copied().collect()
}

/// Records that go on with a point's neighbours and their codes.
fn nodes(node: &Node, inlined: Option<Quantizer>, vectors: &Vectors, made: &Made) -> Vec<u8> {
    let codes = made.codes.iter().find(|made| Some(made.codes.quantizer()) == inlined);
    let mut records = vec![0; vectors.len() * node.record_bytes()];
    let places = 0..vectors.len() as u32;
    let places = records.par_chunks_exact_mut(node.record_bytes()).zip(places.into_par_iter());
    places.for_each(|(record, place)| {
        let slots = made.graph.layers[0].slots(place);
        let (row, slots_out, codes_out) = node.parts_mut(record);
        row.copy_from_slice(vectors.row_bytes(made.point_at(place) as usize));
        slots_out.copy_from_slice(bytemuck::cast_slice(slots));
        let neighbours = slots.iter().take_while(|&&slot| slot != EMPTY);
        for (&neighbour, out) in neighbours.zip(codes_out.chunks_exact_mut(node.code_bytes)) {
            if let Some(Measured { codes, .. }) = codes {
                let point = made.point_at(neighbour);
                with_scheme!(codes, codes => out.copy_from_slice(codes.row(point)));
            }
        }
    });
    records
}

/// The manifest, but for the checksums.
fn describe(
    vectors: &Vectors,
    made: &Made,
    columns: &[Laid<'_>],
    options: &BuildOptions,
) -> Manifest {
    let graph = &made.graph;
    let mut manifest = Manifest {
        required_features: Vec::new(),
        optional_features: Vec::new(),
        metric: options.metric,
        element: vectors.element(),
        dim: vectors.dim(),
        points: vectors.len(),
        m: options.m,
        ef_construction: options.ef_construction,
        quantizers: options.codes().collect(),
        inlined: options.inlined,
        seed: options.seed,
        order: options.order,
        ids: made.ids.source,
        page_size: options.page_size,
        entry_point: graph.entry_point,
        layers: graph.layers.iter().map(graph::Layer::len).collect(),
        columns: columns.iter().map(|laid| laid.column.clone()).collect::<Vec<Column>>(),
        components: Vec::new(),
    };
    let contents = crc32c::crc32c(vectors.bytes());
    let component = |kind: ComponentKind| Component {
        kind,
        name: kind.name(),
        key: key_of(&kind.name(), options.seed, contents),
        pages: manifest.pages_of(kind),
        record_bytes: manifest.record_bytes_of(kind),
        checksums_crc32c: 0,
    };
    manifest.components = manifest.kinds().into_iter().map(component).collect();
    manifest
}

/// Keys the checksums of a component, so that pages of another component, and those of a segment
/// of other vectors, never pass for its own.
fn key_of(name: &str, seed: u64, contents: u32) -> u64 {
    let name = u64::from(crc32c::crc32c(name.as_bytes()));
    graph::mix(seed ^ graph::mix(name << 32 | u64::from(contents)))
}
