//! Manifests: any bytes, any JSON, and a sound one that was changed.

use ringpool::{Manifest, OpenOptions, Plan, Quantizer};

use super::chosen;
use super::judging::{judge, judge_fields};
use super::segments::{Kind, filled, in_folder, sealed, sound};

/// How the bytes become a manifest.
#[derive(Clone, Copy)]
enum Given {
    /// They are its file.
    File,
    /// They are its JSON, and the checksum is right.
    Json,
}

/// A manifest, and a segment of the shape that it tells.
pub fn manifest(input: &[u8]) {
    let Some((given, bytes)) = chosen(input, &[Given::Json, Given::File]) else { return };
    let file = match given {
        Given::File => bytes.to_vec(),
        Given::Json => sealed(bytes),
    };
    let mut files = sound(Kind::Plain).clone();
    files.insert("MANIFEST".into(), file);
    files.remove("TOMBSTONES");
    let told = in_folder(&files, |dir| {
        let told = Manifest::read(dir);
        let manifest = told.inspect_err(|error| assert!(!error.to_string().is_empty())).ok()?;
        // Neither a sum that is too large nor a file that is not as long as it says.
        let planned = Plan::new(&[dir], &OpenOptions::default()).expect("a plan");
        assert!(planned.segments[0].len() == manifest.components.len());
        let _ = manifest.component_files(dir);
        Some(manifest)
    });
    let (Some(manifest), Given::Json) = (told, given) else { return };
    let codes = manifest.quantizers.first().copied().unwrap_or(Quantizer::None);
    if let Some(files) = filled(&manifest, bytes) {
        in_folder(&files, |dir| {
            judge(dir, codes);
            judge_fields(dir);
        });
    }
}
