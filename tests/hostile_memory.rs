//! What an open allocates is bounded by what its files are long, whatever they say: manifests that
//! promise anything, files with holes, bitmaps and lists that claim to be long.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use ringpool::storage::PageSize;
use ringpool::{
    Backend, BuildOptions, FORMAT_VERSION, Index, Manifest, Memory, NoProgress, OPEN_BYTES,
    OPEN_BYTES_PER_BYTE, OpenOptions, Order, Vectors, WarmUp, build, delete, live_points,
};
use serde_json::{Value as Json, json};

/// Counts the bytes that are allocated, and the most that ever were.
struct Counting;

static NOW: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);

fn count(bytes: i64) {
    MOST.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most that was allocated at once while `call` ran, beyond what was before.
fn most_bytes<T>(call: impl FnOnce() -> T) -> (u64, T) {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let value = call();
    ((MOST.load(Relaxed) - before) as u64, value)
}

/// Opens in every way, each within the bound of files of this length, and says how many succeeded.
fn open_all_ways(what: &str, dir: &Path, files_bytes: u64) -> usize {
    let bound = OPEN_BYTES + OPEN_BYTES_PER_BYTE * files_bytes;
    let mut opened = 0;
    for backend in [Backend::Pool, Backend::Mmap, Backend::Direct, Backend::Memory] {
        let warm_up = "all=before-serving".parse().unwrap();
        let options = OpenOptions {
            backend,
            memory: Some(Memory::Bytes(8 << 20)),
            // However much the machine has.
            total_bytes: Some(1 << 30),
            // By hot sets; a mapping would be read to the end of its holes.
            warm_up: if backend == Backend::Pool { warm_up } else { WarmUp::default() },
            ..OpenOptions::default()
        };
        let (bytes, index) = most_bytes(|| Index::open(dir, &options));
        println!("{what}, {backend}: {bytes} of {bound} bytes: {:?}", index.as_ref().err());
        assert!(bytes <= bound, "{what}, {backend}: {bytes} bytes, at most {bound}");
        opened += usize::from(index.is_ok());
    }
    let (bytes, _) = most_bytes(|| {
        let manifest = Manifest::read(dir)?;
        manifest.component_files(dir)?;
        live_points(dir)
    });
    assert!(bytes <= bound, "{what}: {bytes} bytes, at most {bound}");
    opened
}

/// A sound segment of a few points.
fn segment(parent: &Path) -> PathBuf {
    let out = parent.join("segment");
    let values = (0..1000_u32).map(|i| (i * 31 % 251) as u8).collect();
    let vectors = Vectors::from_u8(1, values).unwrap();
    let options = BuildOptions {
        m: 2,
        ef_construction: 8,
        quantizers: Vec::new(),
        order: Order::Given,
        page_size: PageSize::new(1 << 16).unwrap(),
        ..BuildOptions::default()
    };
    build(&vectors, &out, &options, &NoProgress).unwrap();
    out
}

fn json_of(dir: &Path) -> Json {
    let manifest = fs::read_to_string(dir.join("MANIFEST")).unwrap();
    serde_json::from_str(manifest.split_once('\n').unwrap().1).unwrap()
}

/// Writes a manifest under a checksum that is right.
fn write(dir: &Path, json: &str) {
    let crc = crc32c::crc32c(json.as_bytes());
    let line = format!("ringpool-segment {FORMAT_VERSION} since=0.1.0 crc32c={crc:08x}\n");
    fs::write(dir.join("MANIFEST"), line + json).unwrap();
}

fn length_of(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.metadata().unwrap().len()).sum()
}

/// One test, since what is allocated is counted for the whole process.
#[test]
fn a_hostile_segment_takes_no_more_memory_than_its_files_are_long() {
    let parent = tempfile::tempdir().unwrap();
    let dir = segment(parent.path());
    assert_eq!(open_all_ways("a sound one", &dir, length_of(&dir)), 4);
    manifests_that_fill_a_mebibyte(&dir);
    files_with_holes(&dir);
    fs::remove_dir_all(&dir).unwrap();
    let dir = segment(parent.path());
    tombstones_of_many_containers(&dir);
    hot_sets_that_are_long(&dir);
}

fn manifests_that_fill_a_mebibyte(dir: &Path) {
    let sound = json_of(dir);
    let fills: [(&str, String); 7] = [
        ("required_features", filled(r#"{"name":"a","since":"9.9.9"}"#)),
        ("optional_features", filled(r#"{"name":"a","since":"9.9.9"}"#)),
        ("layers", filled("1")),
        ("quantizers", filled(r#""sq8""#)),
        ("columns", filled(COLUMN)),
        ("components", filled(&sound["components"][0].to_string())),
        ("surprise", filled("[]")),
    ];
    for (key, filled) in fills {
        let mut json = sound.clone();
        json[key] = json!("HERE");
        write(dir, &json.to_string().replacen("\"HERE\"", &filled, 1));
        assert_eq!(open_all_ways(key, dir, length_of(dir)), 0);
    }
    write(dir, &"[".repeat(1 << 19));
    assert_eq!(open_all_ways("brackets", dir, length_of(dir)), 0);
    write(dir, &sound.to_string());
}

const COLUMN: &str = concat!(
    r#"{"name":"a","type":"i64","nullable":false,"nulls":0,"distinct":1,"heap_bytes":0,"#,
    r#""index":"range"}"#
);

/// As many of these as a manifest has room for.
fn filled(one: &str) -> String {
    let count = ((1 << 20) - (1 << 13)) / (one.len() + 1);
    format!("[{}]", vec![one; count].join(","))
}

/// The most points that there can be, in files that are as long as that takes and have no bytes: 34
/// GB that lie nowhere.
fn files_with_holes(dir: &Path) {
    let mut json = json_of(dir);
    let points = ringpool::MAX_POINTS as u64;
    json["points"] = points.into();
    json["layers"] = json!([points]);
    let mut sums_bytes = 0;
    for (at, record_bytes) in [(0, 1), (1, 16)] {
        let pages = points.div_ceil((1 << 16) / record_bytes);
        let component = &mut json["components"][at];
        component["pages"] = pages.into();
        let sums = vec![0; 4 * pages as usize];
        component["checksums_crc32c"] = crc32c::crc32c(&sums).into();
        let name = component["name"].as_str().unwrap();
        let file = File::create(dir.join(format!("{name}.pages"))).unwrap();
        file.set_len(pages << 16).unwrap();
        fs::write(dir.join(format!("{name}.crc")), &sums).unwrap();
        sums_bytes += sums.len() as u64;
    }
    write(dir, &json.to_string());
    // Against what lies on the disk: holes count for nothing.
    open_all_ways("holes", dir, sums_bytes);
}

/// A bitmap of which each byte claims as much as it can, under a checksum that is right.
fn tombstones_of_many_containers(dir: &Path) {
    assert_eq!(delete(dir, &[5]).unwrap().deleted, 1);
    let file = fs::read(dir.join("TOMBSTONES")).unwrap();
    let end = file.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let line = str::from_utf8(&file[..end]).unwrap();
    let segment = &line[line.find(" segment=").unwrap()..];
    // Containers of one run of all places, as many as fit; and one of as many places as can be said.
    let mut runs = (12347_u32 | (1099 << 16)).to_le_bytes().to_vec();
    runs.extend(vec![0xff; 138]);
    (0..1100_u16).for_each(|key| runs.extend([key.to_le_bytes(), [0xff; 2]].concat()));
    runs.extend([0; 4 * 1100]);
    (0..1100).for_each(|_| runs.extend([1, 0, 0, 0, 0xff, 0xff]));
    let mut many = 12346_u32.to_le_bytes().to_vec();
    many.extend(u32::MAX.to_le_bytes());
    many.extend(vec![0xff; 12_000]);
    for bitmap in [runs, many] {
        let crc = crc32c::crc32c(&[segment.as_bytes(), &bitmap].concat());
        let line = format!("ringpool-tombstones 2 since=0.1.0 crc32c={crc:08x}{segment}");
        fs::write(dir.join("TOMBSTONES"), [line.as_bytes(), &bitmap].concat()).unwrap();
        assert_eq!(open_all_ways("tombstones", dir, length_of(dir)), 0);
    }
    fs::remove_file(dir.join("TOMBSTONES")).unwrap();
}

/// As long as a hot set may be, and nothing but zeros: a hint that is no use keeps nobody out.
fn hot_sets_that_are_long(dir: &Path) {
    let bound = length_of(dir);
    for name in ["graph.hot", "vectors.hot"] {
        File::create(dir.join(name)).unwrap().set_len(256 << 20).unwrap();
    }
    assert_eq!(open_all_ways("hot sets", dir, bound), 4);
}
