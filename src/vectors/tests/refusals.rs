//! Each kind of wrong file, the error that names it, and where it says that the fault is.

use super::*;

#[test]
fn each_wrong_row_is_named() {
    let folder = Folder::new();
    let row = |dim: i32, bytes: usize| [&dim.to_le_bytes()[..], &vec![0; bytes]].concat();
    for dim in [0, -1, i32::MIN, i32::MAX, MAX_DIM as i32 + 1] {
        let error = refusal(&folder.file("a.bvecs", &[row(3, 3), row(dim, 40)].concat()));
        let VectorFileError::Dimension { row: 1, offset: 7, found, .. } = error else {
            panic!("{dim}: {error}");
        };
        assert_eq!(found, dim.into());
    }
    let error = refusal(&folder.file("a.fvecs", &[row(2, 8), row(2, 8), row(3, 12)].concat()));
    let named = matches!(
        error,
        VectorFileError::UnequalRows { row: 2, offset: 24, expected: 2, found: 3, .. }
    );
    assert!(named, "{error}");
    let widest = read(&folder.file("a.bvecs", &row(MAX_DIM as i32, MAX_DIM))).unwrap();
    assert_eq!(widest.dim(), MAX_DIM);
    // 2^24 + 1 is the first integer that f32 rounds.
    let exact = le(&[1 << 24, -(1 << 24)], |v: &i32| v.to_le_bytes());
    assert!(read(&folder.file("a.ivecs", &vecs(1, 4, &exact))).is_ok());
    for value in [(1 << 24) + 1, -(1 << 24) - 1, i32::MIN] {
        let ints = le(&[5, 6, 7, value], |v| v.to_le_bytes());
        let error = refusal(&folder.file("a.ivecs", &vecs(2, 4, &ints)));
        let VectorFileError::NotExact { row: 1, value: found, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(found, value);
    }
}

#[test]
fn what_is_no_file_of_vectors_is_refused() {
    let folder = Folder::new();
    for name in ["a", "a.gz", "a.txt", "a.fvecs.bz2", "fvecs", "a.hdf5", ".gz"] {
        let error = refusal(&folder.file(name, b"x"));
        assert!(matches!(error, VectorFileError::UnknownEnding { .. }), "{name}: {error}");
        assert!(error.to_string().contains(".npy"), "the known ones are listed: {error}");
    }
    let missing = folder.0.path().join("missing.fvecs");
    assert!(matches!(refusal(&missing), VectorFileError::Io { doing: "open", .. }));
    let fifo = folder.0.path().join("fifo.fvecs");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let directory = folder.0.path().join("directory.fvecs");
    fs::create_dir(&directory).unwrap();
    for path in [fifo, directory] {
        assert!(matches!(refusal(&path), VectorFileError::NotAFile { .. }));
    }
    for (ending, _) in ENDINGS {
        for (name, bytes) in [("a", vec![]), ("a", gzip(b""))] {
            let gz = if bytes.is_empty() { "" } else { ".gz" };
            let error = refusal(&folder.file(&format!("{name}.{ending}{gz}"), &bytes));
            assert!(matches!(error, VectorFileError::Empty { .. }), "{ending}{gz}: {error}");
        }
        let error = refusal(&folder.file(&format!("a.{ending}.gz"), &small_file(ending)));
        assert!(matches!(error, VectorFileError::NotGzip { .. }), "{error}");
    }
}

#[test]
fn headers_that_are_no_matrix_of_vectors_are_refused_with_what_to_do() {
    let folder = Folder::new();
    let of = |descr, order, shape| {
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")
    };
    for (text, expected) in [
        (of("'<f8'", "False", "(1, 2)"), ".astype('<f4')"),
        (of("'>f4'", "False", "(1, 2)"), "big-endian"),
        (of("'|b1'", "False", "(1, 2)"), "are possible"),
        (of("[('x', '<f4')]", "False", "(1, 2)"), "cannot be read"),
        (of("'<f4'", "True", "(1, 2)"), "Fortran order"),
        (of("'<f4'", "False", "(2,)"), "the shape [2]"),
        (of("'<f4'", "False", "()"), "the shape []"),
        (of("'<f4'", "False", "(1, 1, 2)"), "the shape [1, 1, 2]"),
        (of("'<f4'", "False", "(-1, 2)"), "cannot be read"),
        (of("'<f4'", "False", "(1, 99999999999999999999)"), "cannot be read"),
        (of("'<f4'", "False", "(1, 2), 'shape': (1, 2)"), "cannot be read"),
        (of("'<f4'", "0", "(1, 2)"), "cannot be read"),
        (of("'<f4'", "False", "(0, 2)"), "holds no rows"),
        (of("'<f4'", "False", "(2, 0)"), "claims 0 dimensions"),
        (of("'<f4'", "False", "(2, 65537)"), "claims 65537 dimensions"),
        (of("'<f4'", "False", "(18446744073709551615, 2)"), "more than any file holds"),
        ("{'descr': '<f4', 'shape': (1, 2)}".into(), "cannot be read"),
        ("((((((((((((((((((((".into(), "cannot be read"),
    ] {
        let said = refusal(&folder.file("a.npy", &npy_header(1, &text))).to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
    let said = refusal(&folder.file("a.npy", &npy_header(9, "{}"))).to_string();
    assert!(said.contains("version 9.0"), "{said}");
    let said = refusal(&folder.file("a.npy", b"PK\x03\x04 an npz")).to_string();
    assert!(said.contains("no .npy file"), "{said}");
}

/// Were memory taken for the claim, these would abort or take the machine's memory.
#[test]
fn a_claim_is_compared_with_what_is_there() {
    let folder = Folder::new();
    let huge = npy("<f4", 1 << 44, 65_536, &[0; 4_000]);
    for (name, bytes) in [("a.npy", huge.clone()), ("a.npy.gz", gzip(&huge))] {
        let error = refusal(&folder.file(name, &bytes));
        assert!(matches!(error, VectorFileError::Truncated { .. }), "{error}");
    }
    let long_header = [MAGIC, &[2, 0], &u32::MAX.to_le_bytes()].concat();
    let said = refusal(&folder.file("a.npy", &long_header)).to_string();
    assert!(said.contains("header of 4294967295 bytes"), "{said}");
    // The file's own length may be a claim: a sparse file of 4 TiB takes no room on the disk.
    let path = folder.file("a.fvecs", &1i32.to_le_bytes());
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 42).unwrap();
    assert!(matches!(
        refusal(&path),
        VectorFileError::Dimension { row: 1, found: 0, .. } | VectorFileError::OutOfMemory { .. }
    ));
}

#[test]
fn an_array_with_more_behind_it_is_refused() {
    let folder = Folder::new();
    let more = npy("|u1", 2, 2, &[1, 2, 3, 4, 5]);
    for (name, bytes) in [("a.npy", more.clone()), ("a.npy.gz", gzip(&more))] {
        let error = refusal(&folder.file(name, &bytes));
        assert!(matches!(error, VectorFileError::TrailingBytes { offset: 132, .. }), "{error}");
    }
}
