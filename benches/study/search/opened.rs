//! A segment whose pages are read through a contestant.

use std::sync::Arc;

use ringpool::storage::{Error, PageSource};
use ringpool::{
    Component, ComponentFile, ComponentKind, EngineChoice, Index, Manifest, Memory, OpenOptions,
    Placed, Profile, Quantizer, Segment,
};
use ringpool_cli::failure::Failure;
use serde::{Deserialize, Serialize};

use super::Task;
use crate::contestants::{self, Access, Contestant, Subject};
use crate::slow_disk::{Asked, Seen};

/// The codes that searches walk by.
pub const CODES: Quantizer = Quantizer::Sq8;

/// What is read by page at search time. All else is loaded.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Paged {
    /// The original vectors: graph and codes are resident.
    Originals,
    /// Graph, codes and originals: what a database does that maps whole segments.
    All,
}

/// An open segment, and what is known of its files.
pub struct Opened {
    pub segment: Arc<Segment>,
    pub page_bytes: usize,
    /// The names of the files that are read by page.
    files: Vec<String>,
    /// Keeps the pool.
    _index: Option<Index>,
}

impl Paged {
    /// Whether this component is read by page.
    pub fn has(self, kind: ComponentKind) -> bool {
        match kind {
            ComponentKind::Vectors => true,
            ComponentKind::Graph => self == Self::All,
            ComponentKind::Codes(codes) => self == Self::All && codes == CODES,
            _ => false,
        }
    }
}

impl Opened {
    /// Opens the task's segment through its contestant.
    pub fn open(task: &Task) -> Result<Self, Failure> {
        let contestant = contestants::named(&task.contestant)?;
        let manifest = Manifest::read(&task.segment).map_err(|error| Failure::of(&error))?;
        let paged = |one: &&Component| task.paged.has(one.kind);
        let files = manifest.components.iter().filter(paged).map(Component::pages_file).collect();
        let page_bytes = manifest.page_size.bytes();
        if contestant.name() == "pool-ring" && task.paged == Paged::All {
            let index = in_one_pool(task)?;
            let segment = index.segment();
            return Ok(Self { segment, page_bytes, files, _index: Some(index) });
        }
        let mut refused = None;
        let segment = Segment::open(&task.segment, &mut |file| {
            placed(task, contestant, file).map_err(|failure| {
                let path: Arc<str> = file.path.display().to_string().into();
                let said = Error::not_pages(&path, failure.to_string());
                refused = Some(failure);
                said
            })
        });
        let segment = segment.map_err(|error| refused.unwrap_or_else(|| Failure::of(&error)))?;
        Ok(Self { segment: Arc::new(segment), page_bytes, files, _index: None })
    }

    /// What a slow disk was asked for of the files that are read by page.
    pub fn asked(&self, seen: &Seen) -> Asked {
        let mut all = Asked::default();
        for asked in self.files.iter().map(|name| seen.of(name)) {
            all.reads += asked.reads;
            all.bytes += asked.bytes;
            all.failed += asked.failed;
        }
        all
    }
}

/// Everything in one pool, as the library does by its profile `capacity`: the graph goes before
/// codes, and these before originals.
fn in_one_pool(task: &Task) -> Result<Index, Failure> {
    let options = OpenOptions {
        place: Profile::Capacity.placement(),
        codes: Some(CODES),
        memory: Some(Memory::Bytes(task.memory_bytes)),
        engine: EngineChoice::Uring,
        ..OpenOptions::default()
    };
    Index::open(&task.segment, &options).map_err(|error| Failure::of(&error))
}

fn placed(
    task: &Task,
    contestant: &dyn Contestant,
    file: &ComponentFile,
) -> Result<Placed, Failure> {
    let subject = Subject {
        path: file.path.clone(),
        page_size: file.page_size,
        checksums: Some(file.checksums.clone()),
        memory_bytes: task.memory_bytes,
        access: Access::Random,
    };
    Ok(match file.kind {
        kind if task.paged.has(kind) => Placed::Paged(contestant.open(&subject)?),
        ComponentKind::Codes(codes) if codes != CODES => Placed::Left,
        _ => Placed::Resident(loading(&subject)?),
    })
}

/// What is loaded once is read in one way for all.
fn loading(subject: &Subject) -> Result<Arc<dyn PageSource>, Failure> {
    contestants::named("direct-ring")?.open(subject)
}
