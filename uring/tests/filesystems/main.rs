//! The engines on every filesystem that can be made here: the conformance list, thousands of
//! reads compared byte for byte, and a file that is cut while it is open.
//!
//! Mounting needs root, and some filesystems need their tools. What a machine cannot run says so
//! in one line on stderr, past the test harness that would swallow it. So does what was run: the
//! filesystem, the engine, whether reads were direct, and why.

mod disk_process;
mod mounts;
mod on_slow_disk;
mod slow_disk;

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool_storage::conformance::{self, Specimen};
use ringpool_storage::{Error, PageDevice, PageNo, PageSize, ReadBuffer};
use ringpool_uring::{DirectIo, Engine, EngineChoice, OpenedFile};

use mounts::{Image, Mount, in_own_mounts};
use slow_disk::SlowDisk;

/// Small filesystems get blocks of 1 KiB by themselves, which a disk with larger ones cannot mount.
const MAKE_EXT4: &[&str] = &["mkfs.ext4", "-q", "-F", "-b", "4096"];

#[test]
fn ext4() {
    on_image("ext4", Direct::Always, Image::new("ext4", MAKE_EXT4));
}

#[test]
fn ext4_on_a_disk_of_four_kilobyte_blocks() {
    let image = Image::new("ext4", MAKE_EXT4).block_bytes(4096);
    on_image("ext4, blocks of 4 KiB", Direct::Always, image);
}

#[test]
fn ext4_that_journals_data_and_refuses_direct_reads() {
    let image = Image::new("ext4", MAKE_EXT4).options("data=journal");
    on_image("ext4, data=journal", Direct::Never, image);
}

#[test]
fn xfs() {
    on_image("xfs", Direct::Always, Image::new("xfs", &["mkfs.xfs", "-q", "-f"]));
}

#[test]
fn btrfs() {
    on_image("btrfs", Direct::Always, Image::new("btrfs", &["mkfs.btrfs", "-q", "-f"]));
}

#[test]
fn tmpfs() {
    on("tmpfs", |dir| {
        let mount = Mount::new(&dir.join("mounted"), "tmpfs", "tmpfs", "size=256m")?;
        survives(&Place::plain("tmpfs", mount.path(), Direct::AsItMay));
        Ok(())
    });
}

#[test]
fn overlayfs_whose_files_are_in_the_upper_layer() {
    on("overlayfs, upper", |dir| {
        let (_ext4, merged) = overlay(dir, |_| {})?;
        survives(&Place::plain("overlayfs, upper", merged.path(), Direct::AsItMay));
        Ok(())
    });
}

/// As the image of a container has it. Cutting it copies it up: what is open must follow.
#[test]
fn overlayfs_whose_file_is_in_the_lower_layer() {
    let name = "overlayfs, lower";
    on(name, |dir| {
        for (no, engine) in engines().enumerate() {
            let dir = dir.join(no.to_string());
            fs::create_dir(&dir).unwrap();
            let mut written = None;
            let (_ext4, merged) = overlay(&dir, |lower| {
                written = Some(Specimen::write(lower, "pages", PageSize::KIB_4, 500));
            })?;
            let specimen = written.expect("written before the overlay was mounted");
            let path = merged.path().join("pages");
            let opened = engine.open(&path, specimen.page_size).unwrap();
            report(name, &opened);
            compare(&*opened.device, &choose(500, 3_000, 11), 64);
            cut_and_read(name, &*opened.device, &path);
        }
        Ok(())
    });
}

#[test]
fn fuse() {
    in_own_mounts(|_| {
        let dir = folder();
        let disks = RefCell::new(Vec::new());
        let show = |written: &Path| {
            let at = dir.path().join(format!("disk-{}", disks.borrow().len()));
            let disk = SlowDisk::over(written, &at).unwrap();
            let path = disk.file().to_path_buf();
            disks.borrow_mut().push(disk);
            path
        };
        if let Err(why) = SlowDisk::over(Path::new("/dev/null"), &dir.path().join("try")) {
            return say(&format!("fuse: skipped: {why}"));
        }
        let (name, dir, direct) = ("fuse", dir.path().to_path_buf(), Direct::Always);
        survives(&Place { name, dir, show: &show, direct });
    });
}

/// Whether reads bypass the page cache on a filesystem.
#[derive(Clone, Copy, PartialEq)]
enum Direct {
    Always,
    Never,
    /// It differs from kernel to kernel.
    AsItMay,
}

/// Where files are written, and where they are then opened.
struct Place<'a> {
    name: &'a str,
    dir: PathBuf,
    show: &'a dyn Fn(&Path) -> PathBuf,
    direct: Direct,
}

impl<'a> Place<'a> {
    /// Files are opened where they were written.
    fn plain(name: &'a str, dir: &Path, direct: Direct) -> Self {
        Self { name, dir: dir.to_path_buf(), show: &|path| path.to_path_buf(), direct }
    }

    /// A file of pages on its disk, and as an engine has it open.
    fn open(&self, engine: &Engine, specimen: &Specimen) -> OpenedFile {
        File::open(&specimen.path).unwrap().sync_all().unwrap();
        engine.open(&(self.show)(&specimen.path), specimen.page_size).unwrap()
    }
}

fn on_image(name: &'static str, direct: Direct, image: Image) {
    on(name, |dir| {
        let mount = image.mount(dir)?;
        survives(&Place::plain(name, mount.path(), direct));
        Ok(())
    });
}

/// Runs `test` in an empty folder, with mounts of its own. An error is why it cannot run here.
fn on(name: &str, test: impl FnOnce(&Path) -> Result<(), String> + Send) {
    in_own_mounts(|allowed| {
        let dir = folder();
        if let Err(why) = allowed.and_then(|()| test(dir.path())) {
            say(&format!("{name}: skipped: {why}"));
        }
    });
}

fn survives(place: &Place<'_>) {
    a_ring_that_can_be_had_is_chosen(place);
    for engine in engines() {
        conformance::devices(&place.dir, &|specimen| place.open(&engine, specimen).device);
        random_reads_are_right(place, &engine);
        a_file_that_is_cut_is_never_wrong(place, &engine);
    }
}

fn a_ring_that_can_be_had_is_chosen(place: &Place<'_>) {
    let specimen = Specimen::write(&place.dir, "chosen", PageSize::KIB_4, 2);
    let path = (place.show)(&specimen.path);
    let ring = Engine::start(EngineChoice::Uring);
    match ring.and_then(|ring| ring.open(&path, specimen.page_size)) {
        Err(why) => say(&format!("{}: skipped with the ring: {why}", place.name)),
        Ok(_) => {
            let opened = place.open(&Engine::start(EngineChoice::Auto).unwrap(), &specimen);
            assert_eq!(opened.engine, EngineChoice::Uring, "{}: {}", place.name, opened.reason);
        }
    }
}

fn random_reads_are_right(place: &Place<'_>, engine: &Engine) {
    for (page_size, pages, reads) in [(PageSize::KIB_4, 4096, 4000), (PageSize::KIB_64, 128, 500)] {
        // Older bytes at the same place: every page is another one's.
        let older = (0..pages).flat_map(|no| Specimen::page(PageNo(pages - no), page_size));
        let path = place.dir.join("pages");
        fs::write(&path, older.collect::<Vec<u8>>()).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        let specimen = Specimen::write(&place.dir, "pages", page_size, pages);
        let opened = place.open(engine, &specimen);
        match &opened.direct_io {
            DirectIo::Yes => assert!(place.direct != Direct::Never, "{}: direct?", place.name),
            DirectIo::No(why) => assert!(place.direct != Direct::Always, "{}: {why}", place.name),
        }
        if page_size == PageSize::KIB_4 {
            report(place.name, &opened);
        }
        for depth in [1, 64] {
            let reads = if depth == 1 { reads / 10 } else { reads };
            compare(&*opened.device, &choose(pages, reads, depth.into()), depth);
        }
    }
}

fn a_file_that_is_cut_is_never_wrong(place: &Place<'_>, engine: &Engine) {
    let specimen = Specimen::write(&place.dir, "cut", PageSize::KIB_4, 64);
    let device = place.open(engine, &specimen).device;
    cut_and_read(place.name, &*device, &specimen.path);
}

/// Cuts the file at `path`, which `device` has open, shorter and shorter: what is left of it is
/// right, and what is not is an error that names the page.
fn cut_and_read(name: &str, device: &dyn PageDevice, path: &Path) {
    let page_bytes = device.page_size().bytes() as u64;
    let file = File::options().write(true).open(path).unwrap();
    for (whole, rest) in [(40, 512), (20, 100), (8, 0), (0, 0)] {
        file.set_len(whole * page_bytes + rest).unwrap();
        file.sync_all().unwrap();
        compare(device, &(0..whole).map(PageNo).collect::<Vec<_>>(), 16);
        for no in whole..device.page_count() {
            let mut buffer = ReadBuffer::new(1, device.page_size());
            let verdict = buffer.visit(device, &[PageNo(no)], |_, _| panic!("page {no} is gone"));
            let typed = match &verdict {
                Err(Error::Truncated { page, .. }) => page.0 == no,
                Err(Error::Io { doing, .. }) => doing.contains(&format!("page {no}")),
                _ => false,
            };
            assert!(typed, "{name}: page {no} of a file of {whole} pages: {verdict:?}");
        }
    }
}

/// What a user gets who chooses nothing, and what one gets where rings are refused.
fn engines() -> impl Iterator<Item = Engine> {
    let choices = [EngineChoice::Auto, EngineChoice::Blocking];
    choices.into_iter().map(|choice| Engine::start(choice).unwrap())
}

/// Reads `pages`, of which each tells its number, and compares every byte.
fn compare(device: &dyn PageDevice, pages: &[PageNo], depth: u32) {
    let page_size = device.page_size();
    let mut seen = vec![0; pages.len()];
    let visited = ReadBuffer::new(depth, page_size).visit(device, pages, |i, bytes| {
        assert!(bytes == Specimen::page(pages[i], page_size), "bytes of page {}", pages[i]);
        seen[i] += 1;
    });
    visited.unwrap_or_else(|error| panic!("{} reads, {depth} at once: {error}", pages.len()));
    assert!(seen.iter().all(|&times| times == 1), "each read lands once");
}

/// `count` pages of a file of `pages`, always the same for a seed.
fn choose(pages: u64, count: usize, seed: u64) -> Vec<PageNo> {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..count).map(|_| PageNo(rng.random_range(0..pages))).collect()
}

/// An overlay over an ext4 of its own. `fill` writes into the lower layer before it is mounted.
fn overlay(dir: &Path, fill: impl FnOnce(&Path)) -> Result<(Mount, Mount), String> {
    let ext4 = Image::new("ext4", MAKE_EXT4).mount(dir)?;
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| ext4.path().join(name));
    for layer in [&lower, &upper, &work] {
        fs::create_dir(layer).unwrap();
    }
    fill(&lower);
    let (lower, upper, work) = (lower.display(), upper.display(), work.display());
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let merged = Mount::new(&dir.join("merged"), "overlay", "overlay", &layers)?;
    Ok((ext4, merged))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn report(name: &str, opened: &OpenedFile) {
    let direct = match &opened.direct_io {
        DirectIo::Yes => "direct".to_string(),
        DirectIo::No(why) => format!("through the page cache ({why})"),
    };
    say(&format!("{name}: {}, {direct}: {}", opened.engine, opened.reason));
}

/// One line on stderr, which the harness does not capture.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
