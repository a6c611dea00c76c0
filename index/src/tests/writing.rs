//! A segment appears whole or not at all.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::{Cancel, as_element, clustered};
use crate::build::build_gated;
use crate::step::Side;
use crate::{Attached, BuildError, BuildOptions, Element, NoProgress, Phase, Vectors, build};

fn few() -> Vectors {
    as_element(10, &clustered(2100, 10, 5, false, 21), Element::U8)
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

fn quick() -> BuildOptions {
    BuildOptions { m: 4, ef_construction: 10, ..Default::default() }
}

#[test]
fn cancelling_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    for phase in [Phase::Codes, Phase::Graph, Phase::Packing, Phase::Write] {
        for after in [0, 1, 2] {
            let after = AtomicU64::new(after);
            let refused = build(&few(), &out, &quick(), &Cancel { phase, after });
            assert!(matches!(refused, Err(BuildError::Cancelled)), "{refused:?}");
            assert_eq!(entries(parent.path()), 0, "{phase}");
        }
    }
}

#[test]
fn a_panic_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let gate = |step: &'static str, _: Side| match step {
        "sync" => std::panic::resume_unwind(Box::new("on purpose")),
        _ => Ok(()),
    };
    let build = || build_gated(&few(), &Attached::default(), &out, &quick(), &NoProgress, &gate);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(build)).is_err());
    assert_eq!(entries(parent.path()), 0);
}

#[test]
fn what_exists_is_not_touched() {
    let parent = tempfile::tempdir().unwrap();
    let exists = |name: &str| {
        let out = parent.path().join(name);
        let before = entries(parent.path());
        let refused = build(&few(), &out, &quick(), &NoProgress);
        assert!(matches!(refused, Err(BuildError::Exists { .. })), "{refused:?}");
        assert_eq!(entries(parent.path()), before);
    };
    fs::create_dir(parent.path().join("folder")).unwrap();
    exists("folder");
    fs::write(parent.path().join("file"), "kept").unwrap();
    exists("file");
    std::os::unix::fs::symlink("nowhere", parent.path().join("link")).unwrap();
    exists("link");
    assert_eq!(fs::read(parent.path().join("file")).unwrap(), b"kept");
}

/// Somebody makes the folder while the segment is being built.
#[test]
fn a_folder_that_appears_meanwhile_is_not_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let gate = |step: &'static str, side: Side| match (step, side) {
        ("rename", Side::Before) => fs::create_dir(&out),
        _ => Ok(()),
    };
    let refused = build_gated(&few(), &Attached::default(), &out, &quick(), &NoProgress, &gate);
    assert!(matches!(refused, Err(BuildError::Exists { .. })), "{refused:?}");
    assert_eq!((entries(parent.path()), entries(&out)), (1, 0));
}

#[test]
fn places_that_cannot_be() {
    let parent = tempfile::tempdir().unwrap();
    let refused = |out: &Path| build(&few(), out, &quick(), &NoProgress).unwrap_err();
    let nowhere = parent.path().join("no/where");
    assert!(matches!(refused(&nowhere), BuildError::Io { .. }));
    for name in ["..", "/", ""] {
        assert!(matches!(refused(Path::new(name)), BuildError::Name { .. }));
    }
    assert_eq!(entries(parent.path()), 0);
}

#[test]
fn input_that_cannot_be() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let refused = |vectors: Vectors, options: &BuildOptions| {
        let error = build(&vectors, &out, options, &NoProgress).unwrap_err();
        assert_eq!(entries(parent.path()), 0);
        error
    };
    let none = Vectors::from_f32(4, Vec::new()).unwrap();
    assert!(matches!(refused(none, &quick()), BuildError::Empty));
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![1.0; 4 * 500];
        values[4 * 321 + 2] = wrong;
        values[4 * 400] = f32::NAN;
        let error = refused(Vectors::from_f32(4, values).unwrap(), &quick());
        let named = matches!(
            error,
            BuildError::NotFinite { row: 321, dimension: 2, value } if value.to_bits() == wrong.to_bits()
        );
        assert!(named, "{error}");
    }
    let wrong = [(0, 10, 0), (1, 10, 0), (4096, 10, 0), (4, 0, 0), (4, 10, 1 << 20)];
    for (m, ef_construction, threads) in wrong {
        let options = BuildOptions { m, ef_construction, threads, ..Default::default() };
        assert!(matches!(refused(few(), &options), BuildError::Option { .. }));
    }
    for dim in [0, 65_537] {
        assert!(Vectors::from_f32(dim, vec![0.0; dim]).is_err());
    }
    assert!(Vectors::from_f32(3, vec![0.0; 7]).is_err());
}
