//! Vectors that are written come back; what cannot be written leaves nothing.

use super::*;

fn rows(element: Element, dim: usize, from: usize, count: usize) -> Vectors {
    let values: Vec<u8> = (from * dim..(from + count) * dim).map(|i| (i % 120) as u8).collect();
    let vectors = match element {
        Element::F32 => {
            Vectors::from_f32(dim, values.iter().map(|&v| f32::from(v) / 7.0).collect())
        }
        Element::F16 => Vectors::from_f16(dim, values.iter().map(|&v| f16::from(v)).collect()),
        Element::Bf16 => Vectors::from_bf16(dim, values.iter().map(|&v| bf16::from(v)).collect()),
        Element::U8 => Vectors::from_u8(dim, values),
        Element::I8 => Vectors::from_i8(dim, values.iter().map(|&v| v as i8 - 60).collect()),
    };
    vectors.unwrap()
}

#[test]
fn rows_come_back_as_they_were_written() {
    let folder = Folder::new();
    for (name, element) in [
        ("a.fvecs", Element::F32),
        ("a.bvecs", Element::U8),
        ("4.npy", Element::F32),
        ("2.npy", Element::F16),
        ("b.npy", Element::Bf16),
        ("u.npy", Element::U8),
        ("i.npy", Element::I8),
    ] {
        for name in [name.to_owned(), format!("{name}.gz")] {
            for (dim, count) in [(1, 1), (7, 100), (300, 12)] {
                let path = folder.file(&name, b"before");
                let mut file = RowWriter::create(&path, element, dim, count as u64).unwrap();
                let cut = count / 3;
                file.write(&rows(element, dim, 0, cut)).unwrap();
                file.write(&rows(element, dim, cut, count - cut)).unwrap();
                assert_eq!(fs::read(&path).unwrap(), b"before", "not until it is whole");
                file.publish().unwrap();
                assert_eq!(read(&path).unwrap(), rows(element, dim, 0, count), "{name}");
                let told = shape(&path).unwrap();
                let expected = Shape { rows: count as u64, dim, element };
                assert_eq!(told, (!name.ends_with("vecs.gz")).then_some(expected), "{name}");
            }
        }
    }
    assert_eq!(folder.names().len(), 14, "{:?}", folder.names());
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = Folder::new();
    let path = folder.file("a.fvecs", b"before");
    let f32s = |count| RowWriter::create(&path, Element::F32, 3, count);
    let other = |dim| path.with_file_name(dim);
    for (name, element) in
        [("a.fvecs", Element::U8), ("a.bvecs", Element::F32), ("a.ivecs", Element::F32)]
    {
        let refused = RowWriter::create(&other(name), element, 3, 1).err().unwrap();
        assert!(matches!(refused, VectorFileError::Unwritable { .. }), "{refused}");
    }
    assert!(matches!(f32s(0), Err(VectorFileError::Empty { .. })));
    let wide = RowWriter::create(&path, Element::F32, MAX_DIM + 1, 1);
    assert!(matches!(wide, Err(VectorFileError::Dimension { .. })));
    let mut file = f32s(2).unwrap();
    for wrong in
        [rows(Element::U8, 3, 0, 1), rows(Element::F32, 4, 0, 1), rows(Element::F32, 3, 0, 3)]
    {
        assert!(matches!(file.write(&wrong), Err(VectorFileError::OtherRows { .. })));
    }
    file.write(&rows(Element::F32, 3, 0, 1)).unwrap();
    let error = file.publish().unwrap_err();
    assert!(error.to_string().contains("1 x 3 of f32 rows, where 2 x 3 of f32"), "{error}");
    drop(f32s(2).unwrap());
    assert_eq!(folder.names(), ["a.fvecs"]);
    assert_eq!(fs::read(&path).unwrap(), b"before");
}
