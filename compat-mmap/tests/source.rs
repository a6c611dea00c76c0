//! What a mapping must do as a source of pages, and what it must refuse.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ringpool_compat_mmap::{Advice, MmapOptions, MmapSource, Verify};
use ringpool_storage::conformance::{self, Specimen};
use ringpool_storage::{Error, PageNo, PageSize, PageSource, Result};

fn open(specimen: &Specimen, options: MmapOptions) -> MmapSource {
    let checksums = Some(specimen.checksums.clone());
    MmapSource::open(&specimen.path, specimen.page_size, checksums, options).expect("open")
}

fn open_plain(path: &Path) -> Result<MmapSource> {
    MmapSource::open(path, PageSize::KIB_4, None, MmapOptions::default())
}

/// The one page `page`, as the visitor sees it.
fn page_of(source: &MmapSource, page: u64) -> Result<Vec<u8>> {
    let mut seen = Vec::new();
    source.visit(&[PageNo(page)], &mut |_, bytes| seen.extend_from_slice(bytes))?;
    Ok(seen)
}

/// Why `opened` was refused as no file of pages.
fn reason(opened: Result<MmapSource>) -> String {
    match opened.map(|_| ()) {
        Err(Error::NotPages { reason, .. }) => reason.to_string(),
        other => panic!("expected a file that is not pages, got {other:?}"),
    }
}

fn refusal(opened: Result<MmapSource>) -> ErrorKind {
    match opened.map(|_| ()) {
        Err(Error::Io { source, .. }) => source.kind(),
        other => panic!("expected the system's refusal, got {other:?}"),
    }
}

#[test]
fn each_advice_is_a_source() {
    for advice in Advice::ALL {
        let dir = tempfile::tempdir().unwrap();
        let verify = Verify::FirstTouch;
        let open = |specimen: &Specimen| -> Box<dyn PageSource> {
            Box::new(open(specimen, MmapOptions { advice, verify }))
        };
        conformance::sources(dir.path(), &open);
        conformance::gathers(dir.path(), &open);
    }
}

#[test]
fn pages_smaller_and_larger_than_the_systems_are_read_too() {
    for bytes in [512, 2_048, 16_384, 65_536] {
        let dir = tempfile::tempdir().unwrap();
        let size = PageSize::new(bytes).unwrap();
        let specimen = Specimen::write(dir.path(), "f", size, 37);
        let source = open(&specimen, MmapOptions::default());
        assert_eq!(source.page_count(), 37);
        let pages: Vec<PageNo> = [0, 1, 2, 5, 6, 36, 35].map(PageNo).to_vec();
        let visited = source.visit(&pages, &mut |i, bytes| {
            assert!(bytes == Specimen::page(pages[i], size), "page {}", pages[i]);
        });
        visited.unwrap();
    }
}

#[test]
fn a_batch_larger_than_what_is_asked_for_at_once_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let size = PageSize::new(512).unwrap();
    let specimen = Specimen::write(dir.path(), "f", size, 2_500);
    let source = open(&specimen, MmapOptions::default());
    let pages: Vec<PageNo> = (0..2_500).map(PageNo).collect();
    let mut next = 0;
    let visited = source.visit(&pages, &mut |i, bytes| {
        assert_eq!(i, next);
        assert!(bytes == Specimen::page(pages[i], size), "page {i}");
        next += 1;
    });
    visited.unwrap();
    assert_eq!(next, pages.len());
}

#[test]
fn a_run_that_leaves_the_file_names_its_first_missing_page() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 10);
    for advice in Advice::ALL {
        let verify = Verify::FirstTouch;
        let source = open(&specimen, MmapOptions { advice, verify });
        let verdict = source.visit(&[8, 9, 10, 11].map(PageNo), &mut |_, _| {});
        let named = matches!(verdict, Err(Error::NoSuchPage { page: PageNo(10), pages: 10, .. }));
        assert!(named, "{advice}: {verdict:?}");
    }
}

#[test]
fn an_empty_file_is_one_of_no_pages() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 0);
    for advice in Advice::ALL {
        let verify = Verify::FirstTouch;
        let source = open(&specimen, MmapOptions { advice, verify });
        assert_eq!(source.page_count(), 0);
        source.visit(&[], &mut |_, _| panic!("no pages")).unwrap();
        let verdict = source.visit(&[PageNo(0), PageNo(1)], &mut |_, _| panic!("no pages"));
        assert!(matches!(verdict, Err(Error::NoSuchPage { page: PageNo(0), pages: 0, .. })));
    }
}

#[test]
fn a_wrong_length_is_refused_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 3);
    let pages = fs::read(&specimen.path).unwrap();
    for len in [1, 4_095, 4_097, 3 * 4_096 - 1] {
        fs::write(&specimen.path, &pages[..len]).unwrap();
        let said = reason(open_plain(&specimen.path));
        assert!(said.contains(&format!("{len} bytes")), "{said}");
    }
    for (count, len) in [(0, 0), (2, 2 * 4_096), (4, 4 * 4_096)] {
        fs::write(&specimen.path, &pages.repeat(2)[..len]).unwrap();
        let checksums = Some(specimen.checksums.clone());
        let options = MmapOptions::default();
        let opened = MmapSource::open(&specimen.path, specimen.page_size, checksums, options);
        let said = reason(opened);
        assert!(said.contains(&format!("{count} pages")) && said.contains("where 3"), "{said}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    assert!(reason(open_plain(dir.path())).contains("no regular file"));
    let fifo = dir.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo").success());
    assert!(reason(open_plain(&fifo)).contains("no regular file"));
    assert!(reason(open_plain(Path::new("/dev/zero"))).contains("no regular file"));
}

#[test]
fn a_missing_file_is_the_systems_refusal_and_names_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nowhere");
    assert_eq!(refusal(open_plain(&path)), ErrorKind::NotFound);
    let said = open_plain(&path).map(|_| ()).unwrap_err().to_string();
    assert!(said.starts_with(&path.display().to_string()), "{said}");
}

#[test]
fn a_file_without_permission_is_the_systems_refusal() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 1);
    fs::set_permissions(&specimen.path, PermissionsExt::from_mode(0o000)).unwrap();
    // Root may read anything, so the open is tried by a thread that is nobody to the file system.
    let opened = std::thread::scope(|scope| {
        let nobody = scope.spawn(|| become_nobody().then(|| open_plain(&specimen.path)));
        nobody.join().unwrap()
    });
    match opened {
        Some(opened) => assert_eq!(refusal(opened), ErrorKind::PermissionDenied),
        None => conformance::skipped("this user may read anything and cannot become another"),
    }
}

/// Gives up root's rights over files for the calling thread; false where that is not possible.
#[allow(unsafe_code)]
fn become_nobody() -> bool {
    const NOBODY: libc::uid_t = 65_534;
    // SAFETY: geteuid and setfsuid take and return numbers only; setfsuid concerns only the file
    // accesses of the calling thread. Asked for -1 it changes nothing and tells what is in force.
    unsafe {
        if libc::geteuid() != 0 {
            return true;
        }
        libc::setfsuid(NOBODY);
        libc::setfsuid(libc::uid_t::MAX) as libc::uid_t == NOBODY
    }
}

#[test]
fn a_page_is_verified_until_it_has_matched_once() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 4);
    let source = open(&specimen, MmapOptions::default());
    assert_eq!(source.verify(), Verify::FirstTouch);
    let first_bit_of = |page: u64| page * 4_096 * 8;

    // Never matched: refused each time, until the bytes are right.
    specimen.flip_bit(first_bit_of(1));
    for _ in 0..3 {
        let verdict = page_of(&source, 1);
        assert!(matches!(verdict, Err(Error::Checksum { page: PageNo(1), .. })), "{verdict:?}");
    }
    specimen.flip_bit(first_bit_of(1));
    assert!(page_of(&source, 1).unwrap() == Specimen::page(PageNo(1), PageSize::KIB_4));

    // Matched once: a change after that is not seen, as the documentation of FirstTouch says.
    specimen.flip_bit(first_bit_of(1));
    let changed = page_of(&source, 1).unwrap();
    assert!(changed != Specimen::page(PageNo(1), PageSize::KIB_4), "the mapping shows the file");
    let verdict = page_of(&open(&specimen, MmapOptions::default()), 1);
    assert!(verdict.is_err(), "a source that is opened later has touched nothing: {verdict:?}");
}

#[test]
fn a_bad_page_ends_its_batch_and_spares_the_pages_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 4);
    specimen.flip_bit(2 * 4_096 * 8 + 99);
    let source = open(&specimen, MmapOptions::default());
    let mut visited = Vec::new();
    let verdict = source.visit(&[0, 1, 2, 3].map(PageNo), &mut |i, _| visited.push(i));
    assert!(matches!(verdict, Err(Error::Checksum { page: PageNo(2), .. })), "{verdict:?}");
    assert_eq!(visited, [0, 1]);
}

#[test]
fn never_hands_over_flipped_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 4);
    specimen.flip_bit(2 * 4_096 * 8);
    let (advice, verify) = (Advice::default(), Verify::Never);
    let source = open(&specimen, MmapOptions { advice, verify });
    assert_eq!(source.verify(), Verify::Never);
    let mut expected = Specimen::page(PageNo(2), PageSize::KIB_4);
    expected[0] ^= 1;
    assert!(page_of(&source, 2).unwrap() == expected);
}

#[test]
fn without_checksums_the_source_says_that_nothing_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 4);
    let source = open_plain(&specimen.path).unwrap();
    assert_eq!(source.verify(), Verify::Never);
    assert_eq!(source.page_count(), 4);
    assert!(page_of(&source, 3).unwrap() == Specimen::page(PageNo(3), PageSize::KIB_4));
}
