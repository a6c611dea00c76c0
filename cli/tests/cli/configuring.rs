//! Places and configuration on the command line: what is set where, and what is wrong told at once.

use serde_json::Value;

use crate::workshop::{Workshop, done, failed, json, misused};

const SEARCH: [&str; 5] = ["search", "segment", "--queries", "query.fvecs", "--json"];

#[test]
fn wrong_words_are_refused_with_the_nearest_known_one() {
    let shop = Workshop::with_segment();
    for (flag, word, part) in [
        ("--place", "grpah=pool", "is it graph?"),
        ("--place", "graph=poll", "is it pool?"),
        ("--place", "column.price=pool", "is it columns.price?"),
        ("--place", "graph=pool:flor=1%", "is it floor?"),
        ("--place", "graph=pool:floor=2%:ceiling=1%", "below its floor"),
        ("--place", "vectors=inlined", "cannot be inlined"),
        ("--place", "codes.sq4=mmap", "there is no codes.sq4, is it codes.sq8?"),
        ("--profile", "capasity", "is it capacity?"),
        ("--warm-up", "graph=backgroud", "is it background?"),
        ("--hot-set", "keep", "forget or save"),
        ("--memory-total", "10%", "bytes"),
    ] {
        let before = shop.contents();
        misused(&shop.ringpool(SEARCH.into_iter().chain([flag, word])), &[part]);
        misused(&shop.ringpool(["inspect", "segment", flag, word]), &[part]);
        assert_eq!(shop.contents(), before);
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line() {
    let shop = Workshop::with_segment();
    for (text, part) in [
        (
            "\n[placment]\ngraph = 'pool'",
            "wrong.toml:2: there is no key 'placment', is it placement?",
        ),
        ("[search]\nef = 0", "wrong.toml:2: search.ef cannot be 0"),
        ("[memory]\nbudget = 'lots'", "memory.budget cannot be 'lots'"),
        ("[search", "wrong.toml:1"),
    ] {
        shop.file("wrong.toml", text.as_bytes());
        for line in [&SEARCH[..], &["inspect", "segment"], &["config"]] {
            let line = line.iter().copied().chain(["--config", "wrong.toml"]);
            misused(&shop.ringpool(line), &[part]);
        }
    }
    let mut command = shop.command(["config"]);
    command.env("RINGPOOL_SEARCH_EFF", "1");
    misused(&command.output().unwrap(), &["RINGPOOL_SEARCH_EFF", "is it RINGPOOL_SEARCH_EF?"]);
    misused(&shop.ringpool(["config", "--config", "missing.toml"]), &["missing.toml"]);
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let shop = Workshop::with_segment();
    shop.file(
        "ringpool.toml",
        b"profile = 'capacity'\n[search]\ninflight = 3\n[collection.segment.placement]\ncodes = 'direct'\n",
    );
    let search = |flags: &[&str], variables: &[(&str, &str)]| {
        let line = SEARCH.iter().copied().chain(["--config", "ringpool.toml"]);
        let mut command = shop.command(line.chain(flags.iter().copied()));
        command.envs(variables.iter().copied());
        json(&command.output().unwrap())
    };
    let expected = json(&shop.ringpool(SEARCH));
    let place = |found: &Value| found["place"].as_str().unwrap().to_string();
    for (flags, variables, places) in [
        (&[][..], &[][..], "graph=pool:priority=high,codes=direct,vectors=pool:priority=low"),
        (
            &["--place", "graph=mmap"],
            &[("RINGPOOL_PLACEMENT", "graph=resident,vectors=mmap")],
            "graph=mmap,codes=direct,vectors=mmap",
        ),
        (&["--profile", "performance"], &[], "graph=resident,codes=resident,vectors=pool"),
    ] {
        let found = search(flags, variables);
        assert_eq!(place(&found), places);
        assert_eq!(found["inflight"], 3);
        assert_eq!(found["answers_crc32c"], expected["answers_crc32c"]);
    }
    let line = ["config", "--config", "ringpool.toml", "--memory", "1MiB", "--json"];
    let mut config = shop.command(line);
    config.env("RINGPOOL_SEARCH_EF", "7");
    let lines = json(&config.output().unwrap());
    let of = |key: &str| {
        let mut lines = lines["settings"].as_array().unwrap().iter();
        lines.find(|line| line["key"] == key).unwrap_or_else(|| panic!("{key}")).clone()
    };
    for (key, value, source) in [
        ("memory.budget", "1MiB", "flags"),
        ("search.ef", "7", "environment"),
        ("profile", "capacity", "ringpool.toml"),
        ("collection.segment.placement.codes", "direct", "ringpool.toml"),
        ("engine.backend", "pool", "default"),
    ] {
        assert_eq!(
            (&of(key)["value"], &of(key)["source"]),
            (&value.into(), &source.into()),
            "{key}"
        );
    }
}

#[test]
fn inspect_says_what_each_place_costs() {
    let shop = Workshop::with_segment();
    let inspect =
        |place: &str| json(&shop.ringpool(["inspect", "segment", "--place", place, "--json"]));
    let resident = inspect("all=resident");
    let paged = inspect("graph=pool:floor=10%,codes=mmap,vectors=direct");
    let of = |contents: &Value, name: &str| {
        let mut components = contents["components"].as_array().unwrap().iter();
        components.find(|line| line["name"] == name).unwrap().clone()
    };
    for name in ["graph", "codes-sq8", "vectors"] {
        let (all, some) = (of(&resident, name), of(&paged, name));
        assert_eq!(all["memory_bytes"], all["bytes"], "{name}");
        assert!(some["memory_bytes"].as_u64() < all["memory_bytes"].as_u64(), "{name}");
    }
    assert_eq!(of(&paged, "graph")["place"], "pool:floor=10%");
    assert!(of(&paged, "graph")["table_bytes"].as_u64() > Some(0));
    assert!(resident["memory_bytes"].as_u64() > paged["memory_bytes"].as_u64());
    // What does not fit is told with the bytes.
    let line = SEARCH.into_iter().chain(["--place", "all=resident", "--memory-total", "10KiB"]);
    failed(&shop.ringpool(line), &["vectors (resident)", "more than the 10240"]);
}

#[test]
fn a_hot_set_is_saved_and_warms_the_next_search() {
    let shop = Workshop::with_segment();
    let flags = ["--memory", "2MiB", "--hot-set", "save", "--warm-up", "vectors=before-serving"];
    let cold = json(&shop.ringpool(SEARCH.into_iter().chain(flags)));
    assert!(shop.path("segment/vectors.hot").exists());
    let warm = json(&shop.ringpool(SEARCH.into_iter().chain(flags)));
    assert_eq!(warm["misses"], 0);
    assert_eq!(warm["answers_crc32c"], cold["answers_crc32c"]);
    done(&shop.ringpool(["verify", "segment"]));
}
