//! Files that are right come back as they were written; files that are wrong are refused by name.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use half::{bf16, f16};
use proptest::prelude::*;
use ringpool_index::{Element, MAX_DIM};

use super::*;

mod ids;
mod refusals;
mod writer;

/// The endings of vectors, with the width of an element in a small file of each.
const ENDINGS: [(&str, usize); 4] = [("fvecs", 4), ("bvecs", 1), ("ivecs", 4), ("npy", 4)];

/// A folder for the files of one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Rows as `.fvecs` and its kin have them: `bytes` holds their elements, of `width` bytes each.
fn vecs(dim: usize, width: usize, bytes: &[u8]) -> Vec<u8> {
    let rows = bytes.chunks(dim * width);
    rows.flat_map(|row| [&(dim as i32).to_le_bytes(), row].concat()).collect()
}

fn npy_header(version: u8, text: &str) -> Vec<u8> {
    let mut bytes = [MAGIC, &[version, 0]].concat();
    match version {
        1 => bytes.extend((text.len() as u16).to_le_bytes()),
        _ => bytes.extend((text.len() as u32).to_le_bytes()),
    }
    bytes.extend(text.as_bytes());
    bytes
}
const MAGIC: &[u8] = b"\x93NUMPY";

/// An array as numpy.save writes it.
fn npy(descr: &str, rows: usize, dim: usize, bytes: &[u8]) -> Vec<u8> {
    let text =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    [npy_header(1, &format!("{text:<117}\n")), bytes.to_vec()].concat()
}

/// What a matrix is: its element, its dimensions, and the bytes of its rows.
fn parts(vectors: &Vectors) -> (Element, usize, Vec<u8>) {
    let rows = (0..vectors.len()).flat_map(|row| vectors.row_bytes(row).to_vec());
    (vectors.element(), vectors.dim(), rows.collect())
}

fn refusal(path: &Path) -> VectorFileError {
    match read(path) {
        Ok(vectors) => panic!("{} was read: {:?}", path.display(), parts(&vectors)),
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with(&path.display().to_string()), "which file? {said}");
            error
        }
    }
}

fn le<const N: usize, T>(values: &[T], bytes: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(bytes).collect()
}

/// A small matrix of 3 rows of 5 as a file of each ending.
fn small_file(ending: &str) -> Vec<u8> {
    let bytes = le(&[0.5f32; 15], |v| v.to_le_bytes());
    match ending {
        "fvecs" => vecs(5, 4, &bytes),
        "bvecs" => vecs(5, 1, &bytes[..15]),
        "ivecs" => vecs(5, 4, &le(&[7i32; 15], |v| v.to_le_bytes())),
        _ => npy("<f4", 3, 5, &bytes),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_comes_back(dim in 1usize..40, rows in 1usize..12, seed: u8, zipped: bool) {
        let folder = Folder::new();
        // Every bit pattern is an element, but for integers that must fit a float.
        let bytes: Vec<u8> = (0..rows * dim * 4).map(|i| (i as u8).wrapping_mul(seed)).collect();
        let ints: Vec<i32> = (0..rows * dim).map(|i| (i as i32 - 7) * i32::from(seed)).collect();
        let floats = le(&ints, |v| (*v as f32).to_le_bytes());
        let n = rows * dim;
        let cases = [
            ("a.fvecs", vecs(dim, 4, &bytes), Element::F32, &bytes[..]),
            ("a.bvecs", vecs(dim, 1, &bytes[..n]), Element::U8, &bytes[..n]),
            ("a.ivecs", vecs(dim, 4, &le(&ints, |v| v.to_le_bytes())), Element::F32, &floats[..]),
            ("4.npy", npy("<f4", rows, dim, &bytes), Element::F32, &bytes[..]),
            ("2.npy", npy("<f2", rows, dim, &bytes[..2 * n]), Element::F16, &bytes[..2 * n]),
            ("b.npy", npy("<V2", rows, dim, &bytes[..2 * n]), Element::Bf16, &bytes[..2 * n]),
            ("v.npy", npy("|V2", rows, dim, &bytes[..2 * n]), Element::Bf16, &bytes[..2 * n]),
            ("u.npy", npy("|u1", rows, dim, &bytes[..n]), Element::U8, &bytes[..n]),
            ("i.npy", npy("|i1", rows, dim, &bytes[..n]), Element::I8, &bytes[..n]),
        ];
        for (name, file, element, expected) in cases {
            let path = match zipped {
                true => folder.file(&format!("{name}.gz"), &gzip(&file)),
                false => folder.file(name, &file),
            };
            let vectors = read(&path).unwrap_or_else(|e| panic!("{e}"));
            prop_assert_eq!(parts(&vectors), (element, dim, expected.to_vec()), "{}", name);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = Folder::new();
        for (ending, _) in ENDINGS {
            let _ = read(&folder.file(&format!("a.{ending}"), &bytes));
            let _ = read(&folder.file(&format!("b.{ending}.gz"), &bytes));
            let _ = read(&folder.file(&format!("c.{ending}.gz"), &gzip(&bytes)));
        }
        let _ = read_ids(&folder.file("d.ivecs", &bytes));
        let _ = read_ids(&folder.file("d.npy", &bytes));
        let _ = read_point_ids(&folder.file("e.npy", &bytes));
        let _ = read_point_ids(&folder.file("e.txt", &bytes));
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(at: prop::sample::Index, byte: u8) {
        let folder = Folder::new();
        for (ending, _) in ENDINGS {
            let mut bytes = small_file(ending);
            *at.get_mut(&mut bytes) = byte;
            let _ = read(&folder.file(&format!("a.{ending}"), &bytes));
        }
    }

    #[test]
    fn any_header_is_read_or_refused(text in "[{}()',:0-9a-z<|TF \\\\]{0,80}", version in 0u8..4) {
        let folder = Folder::new();
        let _ = read(&folder.file("a.npy", &npy_header(version, &text)));
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let folder = Folder::new();
    for (ending, width) in ENDINGS {
        let whole = small_file(ending);
        let row_bytes = 4 + 5 * width;
        for cut in 0..whole.len() {
            let path = folder.file(&format!("a.{ending}"), &whole[..cut]);
            match read(&path) {
                // A cut between two rows is a shorter file, and nobody can tell.
                Ok(vectors) => {
                    assert_ne!(ending, "npy");
                    assert_eq!((cut % row_bytes, vectors.len()), (0, cut / row_bytes));
                }
                Err(VectorFileError::Empty { .. }) => assert_eq!(cut, 0),
                Err(VectorFileError::Truncated { offset, expected_bytes, found_bytes, .. }) => {
                    assert_eq!(offset + found_bytes, cut as u64, "{ending}");
                    assert!(found_bytes < expected_bytes);
                }
                Err(other) => panic!("{ending} cut at {cut}: {other}"),
            }
        }
        let zipped = gzip(&whole);
        for cut in 2..zipped.len() {
            let path = folder.file(&format!("a.{ending}.gz"), &zipped[..cut]);
            let error = refusal(&path);
            assert!(matches!(error, VectorFileError::CorruptGzip { .. }), "{cut}: {error}");
        }
    }
}

#[test]
fn a_flipped_bit_in_gzip_never_gives_other_vectors() {
    let folder = Folder::new();
    let whole = small_file("fvecs");
    let expected = parts(&read(&folder.file("a.fvecs", &whole)).unwrap());
    let zipped = gzip(&whole);
    for bit in 0..zipped.len() * 8 {
        let mut bad = zipped.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // The time stamp and the system's name in the header are nobody's concern.
        if let Ok(vectors) = read(&folder.file("a.fvecs.gz", &bad)) {
            assert_eq!(parts(&vectors), expected, "bit {bit}");
        }
    }
}

#[test]
fn gzip_members_one_after_the_other_are_one_file() {
    let folder = Folder::new();
    let whole = small_file("bvecs");
    let (one, two) = whole.split_at(11);
    let path = folder.file("a.bvecs.gz", &[gzip(one), gzip(two)].concat());
    assert_eq!(read(&path).unwrap().len(), 3);
    let path = folder.file("b.bvecs.gz", &[gzip(&whole), b"more".to_vec()].concat());
    assert!(matches!(refusal(&path), VectorFileError::CorruptGzip { offset: 27, .. }));
}

#[test]
fn headers_as_numpy_writes_them_are_read() {
    let folder = Folder::new();
    let bytes = le(&[f16::ONE; 6], |v| v.to_le_bytes());
    for (version, text) in [
        (1, "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 2), }      \n"),
        (2, "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 2), }\n"),
        (3, "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 2), }\n"),
        (1, "{\"shape\":(3,2,),\"fortran_order\":False,\"descr\":\"<f2\"}"),
    ] {
        let path = folder.file("a.npy", &[npy_header(version, text), bytes.clone()].concat());
        let vectors = read(&path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(parts(&vectors), (Element::F16, 2, bytes.clone()));
    }
}
