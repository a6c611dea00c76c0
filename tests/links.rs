//! Every relative link in every Markdown file leads somewhere: to a file or folder that is there,
//! and where it names a heading, to one that is in it. And every page can be found from the
//! README, link by link.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The root of the repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Folders that are not the repository's own.
const FOREIGN: [&str; 3] = ["target", "venv", "node_modules"];

/// A Markdown file.
struct Page {
    /// Where its links lead: the line, a path from the root, and the heading.
    links: Vec<(usize, PathBuf, Option<String>)>,
    /// What its headings are called in links.
    anchors: BTreeSet<String>,
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let pages = pages();
    let mut broken = Vec::new();
    for (path, page) in &pages {
        for (line, to, anchor) in &page.links {
            let at = format!("{}:{line}", path.display());
            if !Path::new(ROOT).join(to).exists() {
                broken.push(format!("{at}: there is no {}", to.display()));
            }
            let anchors = pages.get(to).map(|page| &page.anchors);
            match (anchor, anchors) {
                (Some(anchor), Some(anchors)) if !anchors.contains(anchor) => {
                    broken.push(format!("{at}: {} has no heading #{anchor}", to.display()));
                }
                _ => {}
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_found_from_the_readme() {
    let pages = pages();
    let mut found = BTreeSet::from([PathBuf::from("README.md")]);
    let mut ahead: Vec<_> = found.iter().cloned().collect();
    while let Some(path) = ahead.pop() {
        for (_, to, _) in &pages[&path].links {
            // Of a folder its README is shown.
            let to = if pages.contains_key(to) { to.clone() } else { to.join("README.md") };
            if pages.contains_key(&to) && found.insert(to.clone()) {
                ahead.push(to);
            }
        }
    }
    let lost: Vec<_> = pages.keys().filter(|path| !found.contains(*path)).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

/// All pages of the repository, by their paths from the root.
fn pages() -> BTreeMap<PathBuf, Page> {
    let mut pages = BTreeMap::new();
    collect(Path::new(""), &mut pages);
    assert!(pages.contains_key(Path::new("README.md")));
    pages
}

fn collect(folder: &Path, pages: &mut BTreeMap<PathBuf, Page>) {
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = folder.join(&name);
        // What a symbolic link leads to is found where it is.
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
                collect(&path, pages);
            }
        } else if kind.is_file() && name.ends_with(".md") {
            pages.insert(path.clone(), page(&path));
        }
    }
}

fn page(path: &Path) -> Page {
    let text = fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let mut page = Page { links: Vec::new(), anchors: BTreeSet::new() };
    let mut in_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            if line.starts_with('#') {
                let slug = slug(line.trim_start_matches('#').trim());
                let numbered = (1..).map(|count| format!("{slug}-{count}"));
                let mut free = [slug.clone()].into_iter().chain(numbered);
                page.anchors.extend(free.find(|slug| !page.anchors.contains(slug)));
            }
            let links = links(line).into_iter();
            page.links
                .extend(links.filter_map(|to| resolve(path, &to)).map(|(to, a)| (at + 1, to, a)));
        }
    }
    page
}

/// The targets of the links in a line. What stands in backquotes is no link.
fn links(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
    let after = prose.split("](").skip(1);
    after.filter_map(|rest| rest.split_once(')')).map(|(to, _)| to.to_owned()).collect()
}

/// Where a link of the page at `path` leads, from the root, and to which heading. `None` for one to
/// elsewhere in the world.
fn resolve(path: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(f, a)| (f, Some(a)));
    if file.is_empty() {
        return Some((path.to_owned(), anchor.map(str::to_owned)));
    }
    let mut to = PathBuf::new();
    for component in path.parent().expect("a file is in a folder").join(file).components() {
        match component {
            Component::ParentDir => assert!(to.pop(), "{}: {link} leads out", path.display()),
            Component::Normal(name) => to.push(name),
            _ => {}
        }
    }
    Some((to, anchor.map(str::to_owned)))
}

/// What a heading is called in links: lower case, blanks as hyphens, no punctuation.
fn slug(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
    heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}
