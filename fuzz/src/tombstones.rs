//! The file of deleted points: any bitmap under a checksum that is right, or any file.

use ringpool::{Quantizer, SegmentError, live_points};

use super::chosen;
use super::judging::judge_alike;
use super::segments::{Kind, POINTS, in_folder, seal_of, sound};

/// Bytes as the bitmap, or as the whole file.
pub fn tombstones(input: &[u8]) {
    let Some((is_bitmap, bytes)) = chosen(input, &[true, false]) else { return };
    let mut files = sound(Kind::Plain).clone();
    let file = if is_bitmap { sealed(bytes, seal_of(&files)) } else { bytes.to_vec() };
    files.insert("TOMBSTONES".into(), file);
    in_folder(&files, |dir| match live_points(dir) {
        Ok(live) => {
            assert!(live <= POINTS);
            judge_alike(dir, Quantizer::Sq8);
        }
        Err(SegmentError::Tombstones { .. } | SegmentError::NewerVersion { .. }) => {}
        Err(error) => panic!("{error}"),
    });
}

fn sealed(bitmap: &[u8], seal: u32) -> Vec<u8> {
    let rest = format!(" segment={seal:08x}\n");
    let crc = crc32c::crc32c(&[rest.as_bytes(), bitmap].concat());
    let line = format!("ringpool-tombstones 2 since=0.1.0 crc32c={crc:08x}{rest}");
    [line.as_bytes(), bitmap].concat()
}
