//! What the fuzz targets are begun with, run once by a plain `cargo test`: so the targets stay sound
//! without a fuzzer, and whatever one has found once is tried for ever.

use std::fs;
use std::path::Path;

/// The targets' own code, without the loop that draws inputs.
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

#[test]
fn every_seed_is_refused_or_read() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut folders: Vec<_> =
        fs::read_dir(&seeds).unwrap().map(|folder| folder.unwrap().file_name()).collect();
    folders.sort();
    let mut names = fuzz::TARGETS.map(|(name, _)| name);
    names.sort();
    assert_eq!(folders, names, "a folder of seeds for each target");
    for (name, target) in fuzz::TARGETS {
        let seeds: Vec<_> = fs::read_dir(seeds.join(name)).unwrap().map(Result::unwrap).collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            // Told where it fails, since a panic in a target does not know its input.
            println!("{name}: {}", seed.path().display());
            target(&fs::read(seed.path()).unwrap());
        }
        target(&[]);
    }
}
