//! Files of ids: read back, and written whole or not at all.

use super::*;

#[test]
fn ids_come_back_as_they_were_written() {
    let folder = Folder::new();
    let narrow = vec![vec![3, 1, NO_ID], vec![0, i32::MAX as u64, 2]];
    let wide = vec![vec![3, 1 << 31, NO_ID], vec![0, u64::MAX - 1, 2]];
    for (name, rows) in [
        ("a.ivecs", &narrow),
        ("a.ivecs.gz", &narrow),
        ("a.npy", &narrow),
        ("b.npy", &wide),
        ("b.npy.gz", &wide),
    ] {
        let path = folder.0.path().join(name);
        write_ids(&path, rows).unwrap();
        write_ids(&path, rows).unwrap_or_else(|e| panic!("over a file that is there: {e}"));
        let ids = read_ids(&path).unwrap();
        assert_eq!((ids.len(), ids.width()), (2, 3));
        assert_eq!(&ids.rows().map(<[u64]>::to_vec).collect::<Vec<_>>(), rows);
        assert_eq!(ids.row(1), rows[1]);
    }
    assert_eq!(folder.names().len(), 5, "nothing is left beside them: {:?}", folder.names());
    let bad = folder.file("b.ivecs", &vecs(2, 4, &le(&[1, 2, 3, -2], |v: &i32| v.to_le_bytes())));
    let error = read_ids(&bad).unwrap_err();
    assert!(matches!(error, VectorFileError::NotAnId { row: 1, id: -2, .. }), "{error}");
    let error = read_ids(&folder.file("a.fvecs", b"")).unwrap_err();
    assert!(matches!(error, VectorFileError::NotIds { .. }), "{error}");
}

/// Rows of ids as other programs save them, and arrays that are none.
#[test]
fn arrays_of_whole_numbers_are_rows_of_ids() {
    let folder = Folder::new();
    let file = |name: &str, descr: &str, shape: &str, values: &[u8]| {
        let literal = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n");
        let start = [b"\x93NUMPY\x01\x00", &(literal.len() as u16).to_le_bytes()[..]].concat();
        folder.file(name, &[&start, literal.as_bytes(), values].concat())
    };
    let signed = le(&[4, -1, 1 << 40, 0], |v: &i64| v.to_le_bytes());
    let ids = read_ids(&file("a.npy", "<i8", "(2, 2)", &signed)).unwrap();
    assert_eq!(ids.rows().flatten().copied().collect::<Vec<_>>(), [4, NO_ID, 1 << 40, 0]);
    let narrow = le(&[4, 7], |v: &u32| v.to_le_bytes());
    assert_eq!(read_ids(&file("b.npy", "<u4", "(1, 2)", &narrow)).unwrap().row(0), [4, 7]);
    let refused = |descr: &str, shape: &str, values: &[u8]| {
        read_ids(&file("c.npy", descr, shape, values)).unwrap_err()
    };
    let below = le(&[4, -2], |v: &i64| v.to_le_bytes());
    let error = refused("<i8", "(2, 1)", &below);
    assert!(matches!(error, VectorFileError::NotAnId { row: 1, id: -2, .. }), "{error}");
    for (descr, shape, part) in [
        ("<i8", "(4,)", "2 lengths"),
        ("<f4", "(1, 8)", ".astype('<u8')"),
        (">i8", "(2, 2)", ".astype('<u8')"),
        ("<i8", "(2, 3)", "48 bytes are expected"),
        ("<i8", "(2, 1)", "goes on"),
        ("<i8", "(0, 2)", "no rows"),
    ] {
        let error = refused(descr, shape, &signed).to_string();
        assert!(error.contains(part), "{descr} {shape}: {error}");
    }
}

#[test]
fn ids_are_written_whole_or_not_at_all() {
    let folder = Folder::new();
    let path = folder.file("a.ivecs", b"before");
    let written = |rows: &[Vec<u64>]| write_ids(&path, rows).unwrap_err();
    let large = written(&[vec![1, 1 << 31]]);
    assert!(
        matches!(large, VectorFileError::IdTooLarge { row: 0, id: 0x8000_0000, .. }),
        "{large}"
    );
    let error = written(&[vec![1, 2], vec![3]]);
    assert!(matches!(error, VectorFileError::UnequalRows { row: 1, expected: 2, found: 1, .. }));
    assert!(matches!(written(&[vec![]]), VectorFileError::Dimension { found: 0, .. }));
    let wide = written(&[vec![0; MAX_DIM + 1]]);
    assert!(matches!(wide, VectorFileError::Dimension { found: 65_537, .. }));
    assert!(matches!(written(&[]), VectorFileError::Empty { .. }));
    let nowhere = folder.0.path().join("nowhere/a.ivecs");
    let error = write_ids(&nowhere, [[1]]).unwrap_err();
    assert!(matches!(error, VectorFileError::Io { .. }), "{error}");
    let error = write_ids(&folder.0.path().join("a.txt"), [[1]]).unwrap_err();
    assert!(matches!(error, VectorFileError::NotIds { .. }), "{error}");
    assert_eq!(folder.names(), ["a.ivecs"]);
    assert_eq!(fs::read(&path).unwrap(), b"before");
}

#[test]
fn ids_of_points_come_as_text_or_as_an_array() {
    let folder = Folder::new();
    let read = |name: &str, bytes: &[u8]| read_point_ids(&folder.file(name, bytes));
    for text in ["7\n0\n18446744073709551614\n", "7\r\n0\r\n18446744073709551614"] {
        assert_eq!(read("a.txt", text.as_bytes()).unwrap(), [7, 0, u64::MAX - 1]);
        assert_eq!(read("a.txt.gz", &gzip(text.as_bytes())).unwrap(), [7, 0, u64::MAX - 1]);
    }
    // Longer than what is looked at at once, so that a number is cut.
    let many: String = (0..20_000).map(|id| format!("{}\n", 10_000_000 + id)).collect();
    let ids = read("a.txt", many.as_bytes()).unwrap();
    assert!(ids.iter().copied().eq(10_000_000..10_020_000));
    for (text, line) in [
        ("1\n\n2\n", 2),
        ("1\n-2\n", 2),
        ("1 \n", 1),
        ("1\n2\n3.5", 3),
        ("18446744073709551616", 1),
        ("1\r2\n", 1),
        ("id\n1", 1),
    ] {
        let error = read("a.txt", text.as_bytes()).unwrap_err();
        assert!(matches!(error, VectorFileError::IdLine { line: at, .. } if at == line), "{error}");
    }
    assert!(matches!(read("a.txt", b"").unwrap_err(), VectorFileError::Empty { .. }));
    for name in ["a.ivecs", "a.fvecs", "ids", "a.csv", "txt"] {
        let error = read(name, b"1\n").unwrap_err();
        assert!(matches!(error, VectorFileError::NotPointIds { .. }), "{error}");
    }
    let array = |descr: &str, shape: &str, values: &[u8]| {
        let literal = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n");
        let start = [b"\x93NUMPY\x01\x00", &(literal.len() as u16).to_le_bytes()[..]].concat();
        read("a.npy", &[&start, literal.as_bytes(), values].concat())
    };
    let signed = le(&[4, 3, -1], |v: &i64| v.to_le_bytes());
    assert_eq!(array("<u8", "(2,)", &signed[..16]).unwrap(), [4, 3]);
    assert_eq!(array("<i8", "(2,)", &signed[..16]).unwrap(), [4, 3]);
    let error = array("<i8", "(3,)", &signed).unwrap_err();
    assert!(matches!(error, VectorFileError::NotAnId { row: 2, id: -1, .. }), "{error}");
    assert!(array("<i8", "(3, 1)", &signed).unwrap_err().to_string().contains("1 lengths"));
}
