//! A disk without bytes: each page is made up from its number when it is read.
//!
//! For files longer than any disk at hand, and for traces of pages whose content nobody has.

use std::sync::Arc;
use std::time::Instant;

use crate::{Error, PageDevice, PageNo, PageRead, PageSize, park_until};

/// Pages that say who they are. Each read lands within `submit`.
pub struct NumberedPages {
    file: Arc<str>,
    size: PageSize,
    pages: u64,
}

impl NumberedPages {
    /// `pages` pages, under the name `file` in errors.
    pub fn new(file: &str, size: PageSize, pages: u64) -> Self {
        Self { file: file.into(), size, pages }
    }

    /// Whether `bytes` are those of `page`.
    pub fn is_page(bytes: &[u8], page: PageNo) -> bool {
        let word = word_of(page);
        bytes.chunks(word.len()).all(|chunk| chunk == word)
    }
}

/// The bytes of `page` are this word again and again: no two pages have the same, and none is
/// all zeros, as memory is that was never written to.
fn word_of(page: PageNo) -> [u8; 8] {
    // An odd factor: it maps no two numbers to one.
    (page.0 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()
}

impl PageDevice for NumberedPages {
    fn file(&self) -> &Arc<str> {
        &self.file
    }

    fn page_size(&self) -> PageSize {
        self.size
    }

    fn page_count(&self) -> u64 {
        self.pages
    }

    fn submit(&self, mut read: PageRead) -> std::result::Result<(), PageRead> {
        let page = read.page();
        let result = if page.0 < self.pages {
            let word = word_of(page);
            read.bytes_mut().chunks_mut(word.len()).for_each(|chunk| chunk.copy_from_slice(&word));
            Ok(())
        } else {
            Err(Error::NoSuchPage { file: self.file.clone(), page, pages: self.pages })
        };
        read.complete(result);
        Ok(())
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        park_until(until, deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ReadBuffer;

    #[test]
    fn each_page_is_itself_and_no_other_and_none_is_past_the_end() {
        let pages = NumberedPages::new("numbered", PageSize::KIB_4, 1 << 40);
        let device: Arc<dyn PageDevice> = Arc::new(pages);
        let batch = [0, 1, (1 << 40) - 1].map(PageNo);
        let mut seen = 0;
        let mut buffer = ReadBuffer::new(2, PageSize::KIB_4);
        let read = buffer.visit(&*device, &batch, |i, bytes| {
            let found = batch.map(|page| NumberedPages::is_page(bytes, page));
            assert!(found.iter().enumerate().all(|(page, &is)| is == (page == i)), "{found:?}");
            seen += 1;
        });
        read.unwrap();
        assert_eq!(seen, 3);
        let past = buffer.visit(&*device, &[PageNo(1 << 40)], |_, _| unreachable!());
        assert!(matches!(past, Err(Error::NoSuchPage { .. })));
    }
}
