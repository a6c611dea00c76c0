//! Files of ids: read back, written whole or not at all, and those that are shipped.

use super::*;

#[test]
fn ids_come_back_as_they_were_written() {
    let folder = Folder::new();
    let rows = vec![vec![3, 1, -1], vec![0, i32::MAX, 2]];
    for name in ["a.ivecs", "a.ivecs.gz"] {
        let path = folder.0.path().join(name);
        write_ivecs(&path, &rows).unwrap();
        write_ivecs(&path, &rows).unwrap_or_else(|e| panic!("over a file that is there: {e}"));
        let ids = read_ids(&path).unwrap();
        assert_eq!((ids.len(), ids.width()), (2, 3));
        assert_eq!(ids.rows().map(<[i32]>::to_vec).collect::<Vec<_>>(), rows);
        assert_eq!(ids.row(1), rows[1]);
    }
    assert_eq!(folder.names().len(), 2, "nothing is left beside them: {:?}", folder.names());
    let bad = folder.file("b.ivecs", &vecs(2, 4, &le(&[1, 2, 3, -2], |v: &i32| v.to_le_bytes())));
    let error = read_ids(&bad).unwrap_err();
    assert!(matches!(error, VectorFileError::NotAnId { row: 1, id: -2, .. }), "{error}");
    let error = read_ids(&folder.file("a.fvecs", b"")).unwrap_err();
    assert!(matches!(error, VectorFileError::NotIvecs { .. }), "{error}");
}

#[test]
fn ids_are_written_whole_or_not_at_all() {
    let folder = Folder::new();
    let path = folder.file("a.ivecs", b"before");
    let written = |rows: &[Vec<i32>]| write_ivecs(&path, rows).unwrap_err();
    let error = written(&[vec![1, 2], vec![3]]);
    assert!(matches!(error, VectorFileError::UnequalRows { row: 1, expected: 2, found: 1, .. }));
    assert!(matches!(written(&[vec![]]), VectorFileError::Dimension { found: 0, .. }));
    let wide = written(&[vec![0; MAX_DIM + 1]]);
    assert!(matches!(wide, VectorFileError::Dimension { found: 65_537, .. }));
    assert!(matches!(written(&[]), VectorFileError::Empty { .. }));
    let nowhere = folder.0.path().join("nowhere/a.ivecs");
    let error = write_ivecs(&nowhere, [[1]]).unwrap_err();
    assert!(matches!(error, VectorFileError::Io { .. }), "{error}");
    let error = write_ivecs(&folder.0.path().join("a.txt"), [[1]]).unwrap_err();
    assert!(matches!(error, VectorFileError::NotIvecs { .. }), "{error}");
    assert_eq!(folder.names(), ["a.ivecs"]);
    assert_eq!(fs::read(&path).unwrap(), b"before");
}

/// The shipped slice is what its README says, and its truth is true.
#[test]
fn the_shipped_truth_is_the_exact_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist-12k");
    let base = read(&folder.join("base.bvecs.gz")).unwrap();
    let query = read(&folder.join("query.bvecs.gz")).unwrap();
    let truth = read_ids(&folder.join("truth.ivecs.gz")).unwrap();
    assert_eq!((base.element(), base.dim(), base.len()), (Element::U8, 784, 12_000));
    assert_eq!((query.element(), query.dim(), query.len()), (Element::U8, 784, 500));
    assert_eq!((truth.len(), truth.width()), (500, 100));
    for row in (0..500).step_by(100) {
        let distance = |id: usize| -> u32 {
            let pixels = base.row_bytes(id).iter().zip(query.row_bytes(row));
            pixels.map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
        };
        let mut nearest: Vec<(u32, i32)> =
            (0..base.len()).map(|id| (distance(id), id as i32)).collect();
        nearest.sort_unstable();
        let ids: Vec<i32> = nearest[..100].iter().map(|(_, id)| *id).collect();
        assert_eq!(truth.row(row), ids, "query {row}");
    }
}
