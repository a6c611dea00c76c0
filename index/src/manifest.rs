//! The manifest: what a segment is and which files it has.
//!
//! One line that tells the format, the first release that reads it and the checksum of all that
//! follows, then JSON:
//!
//! ```text
//! ringpool-segment 5 since=0.1.0 crc32c=89abcdef
//! { "metric": "l2", ... }
//! ```
//!
//! The layout of every component follows from the manifest's numbers. What it says about files is
//! compared with that, and the files with what it says, before anything is read from them.

use std::path::Path;

use ringpool_storage::PageSize;
use serde::{Deserialize, Serialize};

use crate::codes;
use crate::columns::Column;
use crate::component::{open_regular, read_at_most};
use crate::graph::MAX_LAYERS;
use crate::layout::Records;
use crate::options::{MAX_EF_CONSTRUCTION, MAX_M};
use crate::paged::{Node, UpperCodes};
use crate::quantizer::expect_possible;
use crate::release::Heading;
use crate::{
    ComponentFile, ComponentKind, Element, Feature, Field, IdSource, MAX_DIM, MAX_ID, MAX_POINTS,
    Metric, Order, Quantizer, Release, SegmentError,
};

/// The format that this crate writes, and the newest that it reads.
pub const FORMAT_VERSION: u64 = 5;
/// What a manifest begins with.
const HEADING: Heading = Heading {
    word: "ringpool-segment",
    format: FORMAT_VERSION,
    since: Release { major: 0, minor: 1, patch: 0 },
};

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// No manifest is longer. Most have a few kilobytes; a column has up to 800 bytes with its two
/// components, and there are at most 1,024 of these.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Features without which a segment cannot be read and that this crate knows: none yet.
const KNOWN_FEATURES: [&str; 0] = [];
/// No segment has more, of either kind.
const MAX_FEATURES: usize = 64;
/// No segment has longer components, put end to end: no disk holds them, and sums of lengths stay
/// far from what 64 bits hold.
const MAX_SEGMENT_BYTES: u64 = 1 << 60;

/// What a segment is, and which files it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// What a reader must know beyond the format's number.
    pub required_features: Vec<Feature>,
    /// What a reader may ignore.
    pub optional_features: Vec<Feature>,
    /// What "near" means.
    pub metric: Metric,
    /// The type of the original values.
    pub element: Element,
    /// The vectors' dimension.
    pub dim: usize,
    /// How many vectors there are.
    pub points: usize,
    /// M of the graph.
    pub m: usize,
    /// How many candidates the neighbours were chosen from.
    pub ef_construction: usize,
    /// The codes that the segment carries, the default of its searches first; none where walks
    /// read the originals.
    pub quantizers: Vec<Quantizer>,
    /// The codes that each vector's record goes on with, after its neighbours; none where it ends
    /// with the vector.
    pub inlined: Option<Quantizer>,
    /// What the graph's layers were drawn from.
    pub seed: u64,
    /// How points lie in every component.
    pub order: Order,
    /// What the points' ids are.
    pub ids: IdSource,
    /// The size of a page of every component.
    #[serde(with = "page_size_bytes")]
    pub page_size: PageSize,
    /// The place where walks begin.
    pub entry_point: u32,
    /// How many points each layer of the graph has, layer 0 first.
    pub layers: Vec<usize>,
    /// The columns of the fields that points have.
    pub columns: Vec<Column>,
    /// The components, each a file of pages and one of checksums.
    pub components: Vec<Component>,
}

/// One component of a segment, by its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Component {
    /// What it is for.
    pub kind: ComponentKind,
    /// Its name: lower-case letters, digits and hyphens.
    pub name: String,
    /// What its checksums are keyed with.
    pub key: u64,
    /// How many pages it has.
    pub pages: u64,
    /// The length of its main records: a vector, a code, a point's neighbours in layer 0.
    pub record_bytes: usize,
    /// The checksum of its file of checksums.
    pub checksums_crc32c: u32,
}

impl Component {
    /// The name of the file that holds its pages.
    pub fn pages_file(&self) -> String {
        format!("{}.pages", self.name)
    }

    /// The name of the file that says which of its pages were hot, where that was saved: a hint that
    /// any reader may ignore.
    pub fn hot_set_file(&self) -> String {
        format!("{}.hot", self.name)
    }

    /// The name of the file that holds its checksums.
    pub fn checksums_file(&self) -> String {
        format!("{}.crc", self.name)
    }
}

impl Manifest {
    /// Reads the manifest of the segment in `dir`, and nothing else.
    ///
    /// # Errors
    /// When there is none, or none that this crate can have written and can read.
    pub fn read(dir: &Path) -> Result<Self, SegmentError> {
        Self::read_sealed(dir).map(|(manifest, _)| manifest)
    }

    /// The same with its checksum, by which other files name the segment.
    pub(crate) fn read_sealed(dir: &Path) -> Result<(Self, u32), SegmentError> {
        let path = dir.join(MANIFEST);
        let file = match open_regular(&path) {
            Err(SegmentError::Missing { .. }) => {
                return Err(SegmentError::NotASegment { dir: dir.into() });
            }
            file => file?,
        };
        // One byte more than is allowed tells a longer file from the longest.
        let bytes = read_at_most(file, &path, MAX_MANIFEST_BYTES + 1)?;
        Self::parse_sealed(&path, &bytes)
    }

    /// The files of all components: lengths and checksums of checksums are compared with the
    /// manifest, the pages themselves are not read.
    ///
    /// # Errors
    /// When a file is missing, not a regular file, cut, or its checksums were changed.
    pub fn component_files(&self, dir: &Path) -> Result<Vec<ComponentFile>, SegmentError> {
        let components = self.components.iter();
        components.map(|component| ComponentFile::check(dir, component, self.page_size)).collect()
    }

    /// The bytes of the manifest's file.
    pub(crate) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        let mut bytes = first_line(crc32c::crc32c(&json)).into_bytes();
        bytes.append(&mut json);
        Ok(bytes)
    }

    #[cfg(test)]
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, SegmentError> {
        Self::parse_sealed(path, bytes).map(|(manifest, _)| manifest)
    }

    fn parse_sealed(path: &Path, bytes: &[u8]) -> Result<(Self, u32), SegmentError> {
        let wrong = |reason: String| SegmentError::Manifest { path: path.into(), reason };
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(wrong(format!("it is longer than {MAX_MANIFEST_BYTES} bytes")));
        }
        let (line, json) = Heading::split(bytes);
        HEADING
            .check(line)
            .map_err(|foreign| SegmentError::foreign(path, FORMAT_VERSION, foreign))?;
        let seal = crc32c::crc32c(json);
        let expected = first_line(seal);
        if line != expected.as_bytes() {
            let (expected, found) = (expected.trim_end(), line.trim_ascii_end().escape_ascii());
            return Err(wrong(format!(
                "its first line is \"{found}\" where its contents say \"{expected}\": it was changed"
            )));
        }
        // Before anything else, since what a feature adds is not known either.
        let needs: Needs = serde_json::from_slice(json).map_err(|e| wrong(e.to_string()))?;
        needs.check(path)?;
        let manifest: Self = serde_json::from_slice(json).map_err(|e| wrong(e.to_string()))?;
        manifest.check().map_err(wrong)?;
        Ok((manifest, seal))
    }

    /// Whether the numbers can be those of a segment, and agree with each other.
    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, least: usize, most: usize| {
            let out = || format!("{name} is {value}, expected {least} to {most}");
            (least..=most).contains(&value).then_some(()).ok_or_else(out)
        };
        within("dim", self.dim, 1, MAX_DIM)?;
        within("points", self.points, 1, MAX_POINTS)?;
        within("m", self.m, 2, MAX_M)?;
        within("ef_construction", self.ef_construction, 1, MAX_EF_CONSTRUCTION)?;
        within("entry_point", self.entry_point as usize, 0, self.points - 1)?;
        within("the number of layers", self.layers.len(), 1, MAX_LAYERS)?;
        within("layer 0", self.layers[0], self.points, self.points)?;
        for (below, pair) in self.layers.windows(2).enumerate() {
            within(&format!("layer {}", below + 1), pair[1], 1, pair[0])?;
        }
        if self.quantizers.contains(&Quantizer::None) {
            return Err(
                "\"none\" among the quantizers: they are those that the codes are of".into()
            );
        }
        self.check_ids()?;
        expect_possible(&self.quantizers, self.dim)?;
        if let Some(inlined) = self.inlined.filter(|inlined| !self.quantizers.contains(inlined)) {
            return Err(format!("{inlined} codes are inlined, and are none of the segment's"));
        }
        self.check_columns()?;
        let kinds = self.components.iter().map(|component| component.kind);
        if !kinds.eq(self.kinds()) {
            let names = self.kinds().into_iter().map(ComponentKind::name);
            let names: Vec<_> = names.collect();
            return Err(format!("expected the components {}", names.join(", ")));
        }
        self.components.iter().try_for_each(|c| self.check_component(c))?;
        let mut bytes =
            self.components.iter().map(|c| c.pages.checked_mul(self.page_size.bytes() as u64));
        let all = bytes.try_fold(0_u64, |all, bytes| all.checked_add(bytes?));
        match all.filter(|&all| all <= MAX_SEGMENT_BYTES) {
            Some(_) => Ok(()),
            None => {
                Err(format!("its components are longer than {MAX_SEGMENT_BYTES} bytes together"))
            }
        }
    }

    fn check_ids(&self) -> Result<(), String> {
        let IdSource::Rows { first_id } = self.ids else { return Ok(()) };
        match first_id.checked_add(self.points as u64 - 1) {
            Some(last) if last <= MAX_ID => Ok(()),
            _ => Err(format!("the first id is {first_id}, and the last would be above {MAX_ID}")),
        }
    }

    fn check_columns(&self) -> Result<(), String> {
        let fields: Vec<Field> = self.columns.iter().map(Column::field).collect();
        Field::check_all(&fields).map_err(|e| e.to_string())?;
        self.columns.iter().try_for_each(|column| column.check(self.points))
    }

    fn check_component(&self, component: &Component) -> Result<(), String> {
        let (kind, name) = (component.kind, component.kind.name());
        if component.name != name {
            let found = &component.name;
            return Err(format!("the {kind} is called {found:?}, expected {name:?}"));
        }
        let expected = (self.pages_of(kind), self.record_bytes_of(kind));
        let found = (component.pages, component.record_bytes);
        if found != expected {
            return Err(format!(
                "{name} has {} pages with records of {} bytes, expected {} with {}",
                found.0, found.1, expected.0, expected.1
            ));
        }
        Ok(())
    }

    /// The components that a segment has, in the order of its manifest.
    pub(crate) fn kinds(&self) -> Vec<ComponentKind> {
        let codes = self.quantizers.iter().copied().map(ComponentKind::Codes);
        let first = std::iter::once(ComponentKind::Vectors);
        let are_given = self.ids == IdSource::Given;
        let ranks = (are_given || self.order == Order::Packed).then_some(ComponentKind::Ids);
        let ids = ranks.into_iter().chain(are_given.then_some(ComponentKind::OwnIds));
        let columns = (0..).zip(&self.columns).flat_map(|(number, column)| {
            let index = column.index.map(|_| ComponentKind::ColumnIndex(number));
            std::iter::once(ComponentKind::Column(number)).chain(index)
        });
        first.chain(codes).chain([ComponentKind::Graph]).chain(ids).chain(columns).collect()
    }

    /// The records of each of a component's sections, one section after the other.
    pub(crate) fn sections(&self, kind: ComponentKind) -> Vec<Records> {
        let lengths: Vec<(usize, usize)> = match kind {
            ComponentKind::Vectors | ComponentKind::Ids | ComponentKind::OwnIds => {
                vec![(self.record_bytes_of(kind), self.points)]
            }
            ComponentKind::Codes(quantizer) => {
                let upper = UpperCodes::count(&self.layers);
                codes::sections(quantizer, self.dim, self.points, upper)
            }
            ComponentKind::Graph => {
                let upper = self.layers.iter().skip(1);
                // An upper record is a point and its slots.
                let upper = upper.map(|&count| (4 * (1 + self.m), count));
                let layer_0 = (self.record_bytes_of(kind), self.points);
                std::iter::once(layer_0).chain(upper).collect()
            }
            ComponentKind::Column(number) => {
                self.column(number).map_or_else(Vec::new, |column| column.sections(self.points))
            }
            ComponentKind::ColumnIndex(number) => {
                let column = self.column(number);
                column.map_or_else(Vec::new, |column| column.index_sections(self.points))
            }
        };
        let mut first_page = 0;
        let section = |(record_bytes, count)| {
            let records = Records {
                page_size: self.page_size,
                record_bytes,
                count: count as u64,
                first_page,
            };
            first_page = records.end_page();
            records
        };
        lengths.into_iter().map(section).collect()
    }

    /// The length of a component's main records.
    pub(crate) fn record_bytes_of(&self, kind: ComponentKind) -> usize {
        match kind {
            ComponentKind::Vectors => {
                self.node().map_or(self.row_bytes(), |node| node.record_bytes())
            }
            ComponentKind::Codes(quantizer) => codes::record_bytes(quantizer, self.dim),
            ComponentKind::Graph => 4 * 2 * self.m,
            ComponentKind::Ids => 4,
            ComponentKind::OwnIds => 8,
            ComponentKind::Column(number) => self.column(number).map_or(0, Column::record_bytes),
            ComponentKind::ColumnIndex(number) => {
                self.column(number).map_or(0, Column::index_record_bytes)
            }
        }
    }

    fn column(&self, number: u16) -> Option<&Column> {
        self.columns.get(usize::from(number))
    }

    /// The field whose values or whose index a component is.
    pub fn field_of(&self, kind: ComponentKind) -> Option<&str> {
        match kind {
            ComponentKind::Column(number) | ComponentKind::ColumnIndex(number) => {
                self.column(number).map(|column| &*column.name)
            }
            _ => None,
        }
    }

    /// The length of a vector, in bytes.
    pub(crate) fn row_bytes(&self) -> usize {
        self.dim * self.element.bytes()
    }

    /// What each vector's record has in it where neighbours and codes are inlined.
    pub(crate) fn node(&self) -> Option<Node> {
        let code_bytes = codes::record_bytes(self.inlined?, self.dim);
        Some(Node { row_bytes: self.row_bytes(), max_neighbours: 2 * self.m, code_bytes })
    }

    pub(crate) fn pages_of(&self, kind: ComponentKind) -> u64 {
        self.sections(kind).iter().map(Records::pages).sum()
    }
}

fn first_line(crc32c: u32) -> String {
    format!("{HEADING} crc32c={crc32c:08x}\n")
}

/// What must be known of a manifest before the rest can be read.
#[derive(Deserialize)]
struct Needs {
    required_features: Vec<Feature>,
    optional_features: Vec<Feature>,
}

impl Needs {
    fn check(&self, path: &Path) -> Result<(), SegmentError> {
        let wrong = |reason| SegmentError::Manifest { path: path.into(), reason };
        for features in [&self.required_features, &self.optional_features] {
            if features.len() > MAX_FEATURES {
                let found = features.len();
                return Err(wrong(format!("it has {found} features, at most {MAX_FEATURES}")));
            }
            features.iter().try_for_each(Feature::check).map_err(wrong)?;
        }
        let unknown = |feature: &&Feature| !KNOWN_FEATURES.contains(&feature.name.as_str());
        match self.required_features.iter().find(unknown).cloned() {
            None => Ok(()),
            Some(Feature { name: feature, since }) if since > Release::OWN => {
                Err(SegmentError::UnknownFeature { path: path.into(), feature, since })
            }
            Some(Feature { name, since }) => Err(wrong(format!(
                "it says that release {since} knows the feature {name:?}, and this one does not"
            ))),
        }
    }
}

/// A page's size as its number of bytes.
mod page_size_bytes {
    use ringpool_storage::PageSize;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(size: &PageSize, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(size.bytes() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PageSize, D::Error> {
        PageSize::new(u64::deserialize(from)?).map_err(Error::custom)
    }
}
