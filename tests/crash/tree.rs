//! All that is in a folder, to be compared and to be put elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything below a folder: files with their bytes, and folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Tree {
    pub fn of(below: &Path) -> Self {
        let mut found = BTreeMap::new();
        let mut folders = vec![below.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let bytes = (!path.is_dir()).then(|| fs::read(&path).unwrap());
                if bytes.is_none() {
                    folders.push(path.clone());
                }
                found.insert(path.strip_prefix(below).unwrap().into(), bytes);
            }
        }
        Self(found)
    }

    /// Puts it into an empty folder.
    pub fn plant(&self, into: &Path) {
        for (path, bytes) in &self.0 {
            match bytes {
                None => fs::create_dir(into.join(path)).unwrap(),
                Some(bytes) => fs::write(into.join(path), bytes).unwrap(),
            }
        }
    }

    /// What is in it at `name` and below.
    pub fn part(&self, name: &str) -> Self {
        let below = self.0.iter().filter(|(path, _)| path.starts_with(name));
        Self(below.map(|(path, bytes)| (path.clone(), bytes.clone())).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(Path::new(path))
    }

    /// Whether the other has all of this, and the same.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|(path, bytes)| other.0.get(path) == Some(bytes))
    }

    /// Takes out what is documented to be left behind by who is killed: a folder that a build has
    /// begun, tombstones and files that are not whole. Returns whether there was any.
    pub fn sweep(&mut self) -> bool {
        let before = self.0.len();
        self.0.retain(|path, _| {
            let is_left = |name: &str| {
                name.starts_with(".out.building-")
                    || name == ".TOMBSTONES.writing"
                    || (name.starts_with(".ringpool-") && name.ends_with(".partial"))
            };
            !path.iter().any(|name| is_left(&name.to_string_lossy()))
        });
        self.0.len() < before
    }

    /// How many bytes its files have.
    pub fn bytes(&self) -> usize {
        self.0.values().flatten().map(Vec::len).sum()
    }

    /// How many files and folders it has.
    pub fn files(&self) -> usize {
        self.0.len()
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(Path::new(name));
    }

    pub fn names(&self) -> Vec<&PathBuf> {
        self.0.keys().collect()
    }
}
