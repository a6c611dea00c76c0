//! Bytes of any sections of any files, all read side by side.
//!
//! Whoever needs bytes says all that are known to be needed, reads them in one batch over all
//! files, and looks at them then. What depends on them is the next wave.

use std::ops::Range;
use std::time::{Duration, Instant};

use ringpool_storage::{AtOnce, Gather, PageNo, PageSource};

use super::part::{Part, PartBytes};
use crate::{Patience, SearchError};

/// Pages that are asked for at once, of all files together.
const PAGES_AT_ONCE: usize = 1024;
/// How long a thread waits at one source before it looks at the others, and whether it was told to
/// stop.
const GLANCE: Duration = Duration::from_millis(10);

/// What is to be read, and after that what was.
#[derive(Default)]
pub(crate) struct Wave<'a> {
    wants: Vec<Want<'a>>,
    bytes: Vec<u8>,
}

/// Bytes of a section, and where they go.
struct Want<'a> {
    part: &'a Part,
    range: Range<usize>,
    at: usize,
}

/// A page that bytes are on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Share {
    source: usize,
    page: PageNo,
    want: usize,
}

impl<'a> Wave<'a> {
    /// Asks for the bytes of a section in `range`, put end to end; returns the number by which
    /// they are [had](Self::get).
    pub(crate) fn want(&mut self, part: &'a Part, range: Range<usize>) -> usize {
        let at = self.wants.last().map_or(0, |want| want.at + want.range.len());
        debug_assert!(range.end as u64 <= part.records.bytes());
        self.wants.push(Want { part, range, at });
        self.wants.len() - 1
    }

    /// The same for the records from one to another.
    pub(crate) fn want_records(&mut self, part: &'a Part, records: Range<usize>) -> usize {
        self.want(part, part.range(records))
    }

    /// What was read.
    pub(crate) fn get(&self, want: usize) -> &[u8] {
        let Want { range, at, .. } = &self.wants[want];
        &self.bytes[*at..*at + range.len()]
    }

    /// How many bytes are asked for.
    pub(crate) fn len(&self) -> usize {
        self.wants.last().map_or(0, |want| want.at + want.range.len())
    }

    /// Reads all that was asked for.
    pub(crate) fn read(&mut self, patience: &Patience<'_>) -> Result<(), SearchError> {
        patience.check()?;
        self.bytes.clear();
        self.bytes.resize(self.len(), 0);
        let (mut sources, mut shares) = (Vec::new(), Vec::new());
        for (number, want) in self.wants.iter().enumerate() {
            match &want.part.bytes {
                PartBytes::Loaded(bytes) => {
                    self.bytes[want.at..][..want.range.len()]
                        .copy_from_slice(&bytes[want.range.clone()]);
                }
                PartBytes::Paged(source) => {
                    let source = number_of(&mut sources, &**source);
                    let pages = pages_of(want);
                    shares.extend(pages.map(|page| Share { source, page, want: number }));
                }
            }
        }
        shares.sort_unstable();
        let mut rest = &shares[..];
        while !rest.is_empty() {
            patience.check()?;
            let (batch, later) = rest.split_at(batch_of(rest));
            Batch { wants: &self.wants, bytes: &mut self.bytes, shares: batch }
                .read(&sources, patience)?;
            rest = later;
        }
        Ok(())
    }
}

/// Pages that are asked for at once.
struct Batch<'w, 'a> {
    wants: &'w [Want<'a>],
    bytes: &'w mut [u8],
    /// By source and page.
    shares: &'w [Share],
}

/// The pages of one source, and for each where its shares begin.
struct Asked<'w> {
    shares: &'w [Share],
    pages: Vec<PageNo>,
    starts: Vec<usize>,
}

impl Batch<'_, '_> {
    fn read(
        &mut self,
        sources: &[&dyn PageSource],
        patience: &Patience<'_>,
    ) -> Result<(), SearchError> {
        let asked: Vec<Asked<'_>> =
            self.shares.chunk_by(|a, b| a.source == b.source).map(Asked::of).collect();
        if let [asked] = &asked[..] {
            let source = sources[asked.shares[0].source];
            source.visit_until(&asked.pages, patience.deadline(), &mut |place, page| {
                self.take(asked, place, page);
            })?;
            return Ok(());
        }
        let gather = |asked: &Asked<'_>| -> Box<dyn Gather + '_> {
            let source = sources[asked.shares[0].source];
            source.gather().unwrap_or_else(|| Box::new(AtOnce(source)))
        };
        let mut gathers: Vec<Box<dyn Gather + '_>> = asked.iter().map(gather).collect();
        for (gather, asked) in gathers.iter_mut().zip(&asked) {
            gather.ask(0, &asked.pages, &mut |place, page| self.take(asked, place, page))?;
        }
        while gathers.iter().any(|gather| gather.outstanding() > 0) {
            wait(&gathers, patience)?;
            for (gather, asked) in gathers.iter_mut().zip(&asked) {
                let mut failure = None;
                gather.collect(&mut |_, place, page| match page {
                    Ok(page) => self.take(asked, place, page),
                    Err(error) => failure = failure.take().or(Some(error)),
                });
                failure.map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// Takes what is wanted of a page.
    fn take(&mut self, asked: &Asked<'_>, place: usize, page: &[u8]) {
        for share in &asked.shares[asked.starts[place]..asked.starts[place + 1]] {
            let Want { part, range, at } = &self.wants[share.want];
            let stretch = part.records.stretch(share.page.0 - part.records.first_page);
            let (start, end) = (range.start.max(stretch.start), range.end.min(stretch.end));
            self.bytes[at + start - range.start..at + end - range.start]
                .copy_from_slice(&page[start - stretch.start..end - stretch.start]);
        }
    }
}

impl<'w> Asked<'w> {
    fn of(shares: &'w [Share]) -> Self {
        let (mut pages, mut starts) = (Vec::new(), Vec::new());
        for (at, share) in shares.iter().enumerate() {
            if pages.last() != Some(&share.page) {
                pages.push(share.page);
                starts.push(at);
            }
        }
        starts.push(shares.len());
        Self { shares, pages, starts }
    }
}

/// Waits until something has arrived at one of them, or it is time to look after the others.
fn wait(gathers: &[Box<dyn Gather + '_>], patience: &Patience<'_>) -> Result<(), SearchError> {
    let has_arrivals = || gathers.iter().any(|gather| gather.has_arrivals());
    let awaited = || gathers.iter().filter(|gather| gather.outstanding() > 0);
    for gather in awaited() {
        if has_arrivals() {
            break;
        }
        let glance = Instant::now() + GLANCE;
        let deadline = patience.deadline().map_or(glance, |deadline| deadline.min(glance));
        gather.wait(&has_arrivals, Some(deadline))?;
    }
    patience.check()
}

/// The number of a source among those that were met, which it joins.
fn number_of<'a>(sources: &mut Vec<&'a dyn PageSource>, source: &'a dyn PageSource) -> usize {
    let known = sources.iter().position(|other| std::ptr::addr_eq(*other, source));
    known.unwrap_or_else(|| {
        sources.push(source);
        sources.len() - 1
    })
}

/// The pages that wanted bytes are on.
fn pages_of(want: &Want<'_>) -> impl Iterator<Item = PageNo> {
    let Want { part, range, .. } = want;
    let records = part.records;
    // Records of columns are shorter than any page.
    let per_page_bytes = records.per_page() * records.record_bytes;
    let pages = range.start / per_page_bytes..range.end.div_ceil(per_page_bytes);
    let pages = if range.is_empty() { 0..0 } else { pages };
    pages.map(move |page| PageNo(records.first_page + page as u64))
}

/// How many of these shares are of as many pages as are asked for at once.
fn batch_of(shares: &[Share]) -> usize {
    let mut pages = 0;
    let starts_page = |at: usize| {
        at == 0
            || (shares[at].source, shares[at].page) != (shares[at - 1].source, shares[at - 1].page)
    };
    let past = |&at: &usize| {
        pages += usize::from(starts_page(at));
        pages > PAGES_AT_ONCE
    };
    (0..shares.len()).find(past).unwrap_or(shares.len())
}
