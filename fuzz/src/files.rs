//! Files that are read alone: hot sets, vectors, fields; and filters, which people write.

use std::path::Path;

use ringpool::bufferpool::HotSet;
use ringpool::storage::FileKey;
use ringpool::{Columns, Filter, Patience, Quantizer, SearchError, columns, vectors};

use super::chosen;
use super::segments::{Files, Kind, in_folder, sound};

/// Calls `with` with the path of a file of this name and these bytes.
fn with_file<T>(name: &str, bytes: Vec<u8>, with: impl FnOnce(&Path) -> T) -> T {
    let files: Files = [(name.to_owned(), bytes)].into();
    in_folder(&files, |dir| with(&dir.join(name)))
}

/// A hot set under a checksum that is right, or any file.
pub fn hot_set(input: &[u8]) {
    let Some((is_sealed, bytes)) = chosen(input, &[true, false]) else { return };
    let mut file = bytes.to_vec();
    if is_sealed {
        file.extend(crc32c::crc32c(bytes).to_le_bytes());
    }
    // The key stands in the file; another is refused, and nothing lies behind that.
    let key = bytes.get(16..24).and_then(|key| key.try_into().ok()).map_or(0, u64::from_le_bytes);
    with_file("graph.hot", file, |path| {
        if let Ok(read) = HotSet::read(path, FileKey(key)) {
            read.write(path).expect("what was read is written");
            assert!(HotSet::read(path, FileKey(key)).expect("and read again") == read);
        }
        let _ = HotSet::read_for(path, FileKey(key), 20);
    });
}

/// Vectors and ids in each format.
pub fn vector_files(input: &[u8]) {
    let endings = ["npy", "fvecs", "bvecs", "ivecs", "npy.gz", "fvecs.gz", "bvecs.gz", "ivecs.gz"];
    let Some((ending, bytes)) = chosen(input, &endings) else { return };
    with_file(&format!("vectors.{ending}"), bytes.to_vec(), |path| {
        let read = vectors::read(path);
        if let (Ok(read), Ok(Some(shape))) = (&read, vectors::shape(path)) {
            assert!((read.dim(), read.element()) == (shape.dim, shape.element));
            assert!(read.len() as u64 == shape.rows);
        }
        let _ = read.inspect_err(|error| assert!(!error.to_string().is_empty()));
        let _ = vectors::read_ids(path);
        let _ = vectors::read_point_ids(path);
    });
}

/// Fields as JSON, a row a line.
pub fn field_files(input: &[u8]) {
    let Some((name, bytes)) = chosen(input, &["fields.ndjson", "fields.ndjson.gz"]) else { return };
    const MOST_ROWS: usize = 8;
    with_file(name, bytes.to_vec(), |path| {
        for rows in 1..MOST_ROWS {
            let read = columns::read(path, &[], rows);
            let read: Option<Columns> = read
                .inspect_err(|e| assert!(!e.to_string().is_empty()))
                .map(|file| file.columns)
                .ok();
            assert!(read.is_none_or(|columns| columns.rows() == rows));
        }
    });
}

/// A filter, and what it selects.
pub fn filters(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(filter) = text.parse::<Filter>().inspect_err(|e| assert!(!e.to_string().is_empty()))
    else {
        return;
    };
    let again: Filter = filter.to_string().parse().expect("what a filter writes is a filter");
    assert!(again == filter, "{filter}");
    thread_local! {
        static SEGMENT: ringpool::Segment =
            in_folder(sound(Kind::Fielded), |dir| super::judging::resident(dir, Quantizer::None));
    }
    SEGMENT.with(|segment| match segment.select(&filter, &Patience::default()) {
        Ok(found) => assert!(found.len() <= segment.manifest().points),
        Err(SearchError::Filter(error)) => assert!(!error.to_string().is_empty()),
        Err(error) => panic!("{filter}: {error}"),
    });
}
