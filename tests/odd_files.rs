//! Whatever stands in a file's place that is no file is refused, at once and by its name: links,
//! pipes, sockets, folders, and devices where the test may make one. By every backend, by whoever only
//! looks, and by who deletes.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use ringpool::storage::conformance;
use ringpool::{
    Backend, BuildOptions, Compaction, EngineChoice, Error, Index, Indexes, Manifest, NoProgress,
    OpenOptions, Vectors, build, delete, live_points, segments_in, verify,
};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

fn segment(dir: &Path) {
    let values = (0..300).map(|i| (i * 7 % 101) as f32).collect();
    let vectors = Vectors::from_f32(3, values).unwrap();
    build(&vectors, dir, &BuildOptions::default(), &NoProgress).unwrap();
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What can stand where a file should be.
const ODD: [&str; 7] = [
    "a link beside it",
    "a link elsewhere",
    "a link to nothing",
    "a pipe",
    "a socket",
    "a folder",
    "a device",
];

/// Puts something odd at `path`, where nothing is; says whether it could.
fn put(what: &str, path: &Path, sound: &Path) -> bool {
    let mode = Mode::RUSR | Mode::WUSR;
    match what {
        "a link beside it" => {
            let beside = path.with_extension("beside");
            fs::copy(sound, &beside).unwrap();
            symlink(beside.file_name().unwrap(), path).unwrap();
        }
        "a link elsewhere" => symlink(sound, path).unwrap(),
        "a link to nothing" => symlink("/nowhere/at/all", path).unwrap(),
        "a pipe" => mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap(),
        "a socket" => drop(UnixListener::bind(path).unwrap()),
        "a folder" => fs::create_dir(path).unwrap(),
        // /dev/zero, which would never end.
        _ => return mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 5)).is_ok(),
    }
    true
}

fn take_away(path: &Path) {
    let _ = fs::remove_dir(path).or_else(|_| fs::remove_file(path));
    let _ = fs::remove_file(path.with_extension("beside"));
}

/// Each way in which a segment's files are looked at.
fn refusals(dir: &Path) -> Vec<(String, Result<(), Error>)> {
    let backends = [Backend::Pool, Backend::Mmap, Backend::Direct, Backend::Memory];
    let opened = backends.map(|backend| {
        let options = OpenOptions { backend, ..OpenOptions::default() };
        (format!("open by {backend}"), Index::open(dir, &options).map(drop))
    });
    let going_on = &mut |_, _| ControlFlow::Continue(());
    let looked = Manifest::read(dir)
        .and_then(|manifest| manifest.component_files(dir).map(drop))
        .and_then(|()| live_points(dir).map(drop));
    let verified = verify(dir, EngineChoice::Blocking, going_on, &mut |_, _, _| {});
    let others = [
        ("inspect".into(), looked.map_err(Error::from)),
        ("verify".into(), verified),
        ("delete".into(), delete(dir, &[1]).map(drop)),
        ("compact".into(), Compaction::new(&[dir]).map(drop)),
    ];
    opened.into_iter().chain(others).collect()
}

#[test]
fn what_is_no_file_is_refused_by_its_name_and_not_waited_for() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, sound) = (parent.path().join("segment"), parent.path().join("sound"));
    segment(&dir);
    delete(&dir, &[0]).unwrap();
    fs::create_dir(&sound).unwrap();
    for name in names_in(&dir) {
        let (path, sound) = (dir.join(&name), sound.join(&name));
        fs::rename(&path, &sound).unwrap();
        for what in ODD {
            if !put(what, &path, &sound) {
                conformance::skipped("devices: only root makes one");
                continue;
            }
            for (how, refused) in refusals(&dir) {
                let error = refused.expect_err(&format!("{how}: {what} as {name}")).to_string();
                assert!(error.contains(&name), "{how}, {what} as {name}: {error}");
            }
            take_away(&path);
        }
        fs::rename(&sound, &path).unwrap();
    }
    assert!(refusals(&dir).into_iter().all(|(_, sound)| sound.is_ok()));
}

/// Engines and mappings open a file once more, after it was looked at: by then it may be another.
#[test]
fn a_link_that_a_file_was_exchanged_for_is_not_followed() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("segment");
    segment(&dir);
    let file = &Manifest::read(&dir).unwrap().component_files(&dir).unwrap()[0];
    let elsewhere = parent.path().join("elsewhere");
    fs::rename(&file.path, &elsewhere).unwrap();
    symlink(&elsewhere, &file.path).unwrap();
    for choice in [EngineChoice::Auto, EngineChoice::Blocking] {
        let engine = ringpool::uring::Engine::start(choice).unwrap();
        let error = engine.open(&file.path, file.page_size).err().expect("a link").to_string();
        assert!(error.contains("link"), "{error}");
    }
    let options = ringpool::MmapOptions::default();
    let mapped = ringpool::mmap::MmapSource::open(&file.path, file.page_size, None, options).err();
    assert!(mapped.expect("a link").to_string().contains("link"));
}

/// A hot set is a hint: one that is no file is passed by, and one in its place is written anew.
#[test]
fn a_hot_set_that_is_no_file_keeps_nobody_out() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("segment");
    segment(&dir);
    let secret = parent.path().join("secret");
    fs::write(&secret, "what is elsewhere stays as it is").unwrap();
    let path = dir.join("vectors.hot");
    let warm_up = "all=before-serving".parse().unwrap();
    let options = OpenOptions { backend: Backend::Pool, warm_up, ..OpenOptions::default() };
    for what in ODD.into_iter().filter(|&what| what != "a folder") {
        if !put(what, &path, &secret) {
            continue;
        }
        let index = Index::open(&dir, &options).unwrap();
        assert!(index.restore_hot_sets(&dir).is_err(), "{what}");
        index.save_hot_sets(&dir).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{what}");
        take_away(&path);
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "what is elsewhere stays as it is");
}

/// What a writer of tombstones finds under the name that it writes by is not written to.
#[test]
fn deleting_writes_to_nothing_that_was_there() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("segment");
    segment(&dir);
    let (secret, path) = (parent.path().join("secret"), dir.join(".TOMBSTONES.writing"));
    fs::write(&secret, "mine").unwrap();
    let mut id = 0;
    let mut expect_deleted = || {
        id += 1;
        assert_eq!(delete(&dir, &[id]).unwrap().deleted, 1);
        assert_eq!(live_points(&dir).unwrap(), 100 - id as usize);
    };
    for what in ["a link elsewhere", "a link to nothing", "a pipe", "a socket"] {
        put(what, &path, &secret);
        expect_deleted();
    }
    // The same file by another name.
    fs::hard_link(&secret, &path).unwrap();
    expect_deleted();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "mine");
    fs::create_dir(&path).unwrap();
    assert!(delete(&dir, &[90]).is_err());
}

#[test]
fn a_folder_of_segments_does_not_lead_elsewhere() {
    let parent = tempfile::tempdir().unwrap();
    let (all, elsewhere) = (parent.path().join("all"), parent.path().join("elsewhere"));
    fs::create_dir(&all).unwrap();
    segment(&all.join("own"));
    segment(&elsewhere);
    symlink(&elsewhere, all.join("linked")).unwrap();
    mknodat(CWD, all.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(segments_in(&all).unwrap(), [all.join("own")]);
    assert_eq!(Indexes::open_folder(&all, &OpenOptions::default()).unwrap().points(), 100);
    // One whose manifest is elsewhere is told of, and not passed by.
    let half: PathBuf = all.join("half");
    fs::create_dir(&half).unwrap();
    symlink(elsewhere.join("MANIFEST"), half.join("MANIFEST")).unwrap();
    let refused = Indexes::open_folder(&all, &OpenOptions::default()).err().expect("a link");
    assert!(refused.to_string().contains("half/MANIFEST is no regular file"), "{refused}");
}
