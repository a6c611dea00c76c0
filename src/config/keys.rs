//! All that can be set: each key with its default, its unit and what it does.

use std::fmt;

/// Something that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// Its name, with dots for sections. `NAME` stands for that of a collection.
    pub name: &'static str,
    /// The flag that sets it on the command line. Empty where there is none.
    pub flag: &'static str,
    /// What holds where nothing is set.
    pub default: &'static str,
    /// What it is measured in. Empty where it is not.
    pub unit: &'static str,
    /// What it may be.
    pub allowed: &'static str,
    /// What it does.
    pub consequence: &'static str,
}

const PROFILE: &str = "performance or capacity";
const PLACES: &str = "components with resident, pool, mmap, direct or inlined, as graph=resident,\
                      columns.price=mmap";
const WARM: &str = "components with none, background or before-serving, as graph=before-serving";

/// All keys, in the order of the documentation.
pub(super) const KEYS: [Key; 18] = [
    key("profile", "--profile", "", PROFILE, "places for all components by one name"),
    key(
        "hot_set",
        "--hot-set",
        "forget",
        "forget or save",
        "whether an index that is closed saves which pages its pool held, for the next warm-up",
    ),
    Key {
        unit: "bytes, or % of what is in the pool",
        ..key(
            "memory.budget",
            "--memory",
            "25%",
            "bytes as 64MiB, or a share as 25%",
            "what the pool may use, its tables included; more of it is fewer reads. By default at \
             most half of what is left, and at least what a pool needs",
        )
    },
    Key {
        unit: "bytes",
        ..key(
            "memory.total",
            "--memory-total",
            "",
            "bytes as 2GiB",
            "what resident components and the pool may use together; what does not fit is refused \
             when it is opened or moved, and not by the kernel later",
        )
    },
    key(
        "memory.populate",
        "--populate",
        "background",
        "none, background or before-serving",
        "when the pool's frames get their memory: none is when a page is first read into each, and \
         that read waits for the system to find and clear it",
    ),
    key("placement", "--place", "", PLACES, "where components are, in all collections"),
    key("warm_up", "--warm-up", "none", WARM, "what is read before it is asked for"),
    Key {
        unit: "candidates",
        ..key(
            "search.ef",
            "--ef",
            "100",
            "a whole number from 1 to 4294967295",
            "how many candidates a walk keeps: more find more, and take longer",
        )
    },
    Key {
        unit: "originals a neighbour",
        ..key(
            "search.oversample",
            "--oversample",
            "4",
            "a decimal of at least 1, or auto",
            "how many originals are rescored: more find more, and read more",
        )
    },
    key(
        "search.recall",
        "--recall",
        "0.95",
        "a decimal above 0 and below 1",
        "the recall that oversample = \"auto\" reads for",
    ),
    Key {
        unit: "queries a thread",
        ..key(
            "search.inflight",
            "--inflight",
            "8",
            "a whole number from 1 to 1024",
            "how many searches a thread goes on with while pages of others are on their way; 1 \
             where everything is in memory",
        )
    },
    key(
        "engine.reads",
        "--engine",
        "auto",
        "auto, uring or blocking",
        "what files are read with: a ring where the system allows one, or blocking reads",
    ),
    key(
        "engine.backend",
        "--backend",
        "pool",
        "pool, mmap, direct or memory",
        "where components are that have no place of their own and are not resident by default",
    ),
    key(
        "engine.mmap_advice",
        "--mmap-advice",
        "willneed",
        "willneed, random or normal",
        "what the kernel is told about a mapping",
    ),
    key(
        "engine.mmap_verify",
        "--mmap-verify",
        "first-touch",
        "first-touch or never",
        "when a mapping checks its pages",
    ),
    key("collection.NAME.profile", "", "", PROFILE, "the profile of one collection"),
    key("collection.NAME.placement", "", "", PLACES, "where components of one collection are"),
    key("collection.NAME.warm_up", "", "", WARM, "what of one collection is read in advance"),
];

const fn key(
    name: &'static str,
    flag: &'static str,
    default: &'static str,
    allowed: &'static str,
    consequence: &'static str,
) -> Key {
    Key { name, flag, default, unit: "", allowed, consequence }
}

/// What a name is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A key, or what stands below one that has names of its own.
    Key(&'static Key),
    /// A section of keys.
    Section,
    /// Nothing; the name that is most like it.
    Nothing(String),
}

impl Key {
    /// Its variable in the environment. None where it is for one collection.
    pub fn variable(&self) -> Option<String> {
        let is_one = !self.name.contains("NAME");
        is_one.then(|| format!("{PREFIX}{}", self.name.to_uppercase().replace('.', "_")))
    }

    /// Whether it holds names of components, and what is said of them.
    pub(super) fn is_by_part(&self) -> bool {
        self.name.ends_with("placement") || self.name.ends_with("warm_up")
    }

    fn parts(&self) -> Vec<&'static str> {
        self.name.split('.').collect()
    }
}

/// What all variables begin with.
pub(super) const PREFIX: &str = "RINGPOOL_";

/// What the name with these parts is.
pub(super) fn named(parts: &[&str]) -> Named {
    let begins = |long: &[&str], short: &[&str]| {
        long.len() >= short.len()
            && short.iter().zip(long).all(|(a, b)| a == b || *a == "NAME" || *b == "NAME")
    };
    for key in &KEYS {
        let own = key.parts();
        if own.len() == parts.len() && begins(&own, parts) {
            return Named::Key(key);
        }
        if key.is_by_part() && parts.len() > own.len() && begins(parts, &own) {
            return Named::Key(key);
        }
    }
    match KEYS.iter().any(|key| begins(&key.parts(), parts)) {
        true => Named::Section,
        false => Named::Nothing(nearest(parts)),
    }
}

/// The key that these parts were meant to name.
fn nearest(parts: &[&str]) -> String {
    let (last, name) = (parts.last().copied().unwrap_or_default(), parts.join("."));
    // A right word in the wrong section, then a wrong one in the right section.
    let unlike = |known: &str| {
        let own = known.rsplit('.').next().unwrap_or_default();
        let is_elsewhere = own == last;
        (!is_elsewhere, strsim::damerau_levenshtein(&name, known))
    };
    let sections = ["memory", "search", "engine", "collection"];
    let all = KEYS.iter().map(|key| key.name).filter(|name| !name.contains("NAME")).chain(sections);
    let named = match parts {
        // Below a collection there are its own keys alone.
        ["collection", name, _, ..] => ["profile", "placement", "warm_up"]
            .map(|own| format!("collection.{name}.{own}"))
            .to_vec(),
        _ => all.map(String::from).collect(),
    };
    named.into_iter().min_by_key(|known| unlike(known)).unwrap_or_default()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_keys_sections_or_nothing() {
        let is_key =
            |name: &str| matches!(named(&name.split('.').collect::<Vec<_>>()), Named::Key(_));
        for key in &KEYS {
            assert!(is_key(&key.name.replace("NAME", "products")), "{key}");
        }
        assert!(is_key("placement.columns.price") && is_key("collection.a.placement.graph"));
        assert_eq!(named(&["search"]), Named::Section);
        assert_eq!(named(&["collection", "anything"]), Named::Section);
        for (name, like) in [
            ("serach", "search"),
            ("search.eff", "search.ef"),
            ("ef", "search.ef"),
            ("memory.buget", "memory.budget"),
            ("placment", "placement"),
            ("collection.a.profil", "collection.a.profile"),
            ("search.budget", "memory.budget"),
        ] {
            let parts: Vec<&str> = name.split('.').collect();
            assert_eq!(named(&parts), Named::Nothing(like.into()), "{name}");
        }
    }

    #[test]
    fn variables_are_told_apart() {
        let mut variables: Vec<String> = KEYS.iter().filter_map(Key::variable).collect();
        assert_eq!(variables[2], "RINGPOOL_MEMORY_BUDGET");
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), 15);
    }
}
