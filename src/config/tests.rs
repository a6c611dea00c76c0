//! What is right in a configuration is taken, and what is wrong is told with its line.

use proptest::prelude::*;

use super::*;
use crate::{Part, Place, Warm};

fn parsed(text: &str) -> Config {
    Config::parse(text, "ringpool.toml").unwrap()
}

fn refused(text: &str) -> String {
    Config::parse(text, "ringpool.toml").unwrap_err().to_string()
}

const EXAMPLE: &str = include_str!("../../docs/ringpool.toml");

#[test]
fn the_example_sets_every_key_to_its_default_or_says_so() {
    let config = parsed(EXAMPLE);
    assert_eq!(config.search.ef, Some(100));
    assert_eq!(config.placement.of(&Part::Graph), Some(&Place::Resident));
    for key in keys::KEYS {
        let word = key.name.rsplit('.').next().unwrap();
        assert!(EXAMPLE.contains(word), "{key} is not in docs/ringpool.toml");
    }
}

#[test]
fn the_documentation_has_every_key_with_all_that_is_to_be_known_of_it() {
    let text = include_str!("../../docs/configuration.md");
    for key in keys::KEYS {
        let row = format!("| `{}` |", key.name);
        let row = text.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("{key} is not in docs/configuration.md"));
        let variable = key.variable().unwrap_or_default();
        for part in [key.default, &*variable, key.flag] {
            assert!(row.contains(part), "{key}: {part} is not in {row}");
        }
    }
}

#[test]
fn a_file_says_what_the_types_of_the_library_say() {
    let config = parsed(
        r#"
        profile = "capacity"
        hot_set = "save"
        memory = { budget = "1GiB", total = 2147483648, populate = "before-serving" }
        [search]
        ef = 200
        oversample = "auto"
        recall = 0.9
        [engine]
        reads = "blocking"
        mmap_advice = "random"
        [placement]
        graph = "pool:floor=10%:priority=high"
        columns = "pool"
        "columns.price" = "mmap"
        [warm_up]
        graph = "before-serving"
        [collection.products]
        profile = "performance"
        placement.codes.sq8 = "direct"
        [collection."with.dots"]
        warm_up = "all=background"
        "#,
    );
    assert_eq!(config.profile, Some(Profile::Capacity));
    assert_eq!(config.memory.total, Some(Memory::Bytes(2 << 30)));
    assert_eq!(config.memory.populate, Some(Warm::BeforeServing));
    assert_eq!(config.search.oversample, Some(Oversample::Auto));
    assert_eq!(config.engine.reads, Some(EngineChoice::Blocking));
    let placement = "graph=pool:floor=10%:priority=high,columns=pool,columns.price=mmap";
    assert_eq!(config.placement.to_string(), placement);
    let products = &config.collection["products"];
    assert_eq!(products.placement.to_string(), "codes.sq8=direct");
    assert_eq!(config.collection["with.dots"].warm_up.of(&Part::Graph), Some(&Warm::Background));
    // The same by serde, for programs that have it in theirs.
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    assert!(serde_json::from_str::<Config>(r#"{"serach": {}}"#).is_err());
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, parts) in [
        ("\n\nserach = 1", &["ringpool.toml:3", "no key 'serach'", "is it search?"][..]),
        ("[search]\neff = 100", &["ringpool.toml:2", "search.eff", "is it search.ef?"]),
        ("ef = 100", &["ringpool.toml:1", "is it search.ef?"]),
        ("[memory]\nbugdet = '1GiB'", &["ringpool.toml:2", "is it memory.budget?"]),
        ("[colection.a]", &["is it collection?"]),
        ("[collection.a]\nplacment = ''", &["ringpool.toml:2", "is it collection.a.placement?"]),
        ("[search]\nef = 0", &["ringpool.toml:2", "search.ef cannot be 0", "from 1"]),
        ("[search]\nef = -5", &["search.ef cannot be -5"]),
        ("[search]\nef = 1.5", &["search.ef cannot be 1.5"]),
        ("[search]\nef = true", &["search.ef cannot be true", "a whole number"]),
        ("[search]\nef = [1]", &["search.ef cannot be [1]"]),
        ("[search]\noversample = 0.5", &["0.5", "at least 1, or auto"]),
        ("[search]\nrecall = 1.0", &["search.recall cannot be 1.0", "below 1"]),
        ("[search]\ninflight = 2000", &["from 1 to 1024"]),
        ("search = 3", &["search cannot be 3", "section"]),
        ("[memory]\nbudget = 'lots'", &["memory.budget cannot be 'lots'", "64MiB"]),
        ("[memory]\ntotal = '10%'", &["memory.total cannot be '10%'", "bytes"]),
        ("profile = 'fast'", &["profile cannot be 'fast'", "performance or capacity"]),
        ("[engine]\nreads = 'aio'", &["engine.reads", "auto, uring or blocking"]),
        ("[placement]\ngrpah = 'pool'", &["ringpool.toml:2", "placement.grpah", "is it graph?"]),
        ("[placement]\ngraph = 'poll'", &["placement.graph", "is it pool?"]),
        ("[placement]\ngraph = 3", &["placement.graph cannot be 3"]),
        ("[placement]\nvectors = 'inlined'", &["cannot be inlined"]),
        ("[placement]\ngraph = 'pool:floor=2%:ceiling=1%'", &["below its floor"]),
        ("placement = 'graph=pool,graph=mmap'", &["placed twice"]),
        ("[warm_up]\ngraph = 'soon'", &["warm_up.graph", "before-serving"]),
        ("[search]\nef = 1\nef = 2", &["ringpool.toml:3"]),
        ("[search", &["ringpool.toml:1"]),
        ("a = ", &["ringpool.toml:1"]),
    ] {
        let said = refused(text);
        for part in parts {
            assert!(said.contains(part), "{text:?}: {part:?} is not in {said:?}");
        }
        assert!(!said.contains('\n'), "{said:?}");
    }
}

#[test]
fn variables_are_taken_by_their_names() {
    let config = Config::from_variables([
        ("PATH", "/bin"),
        ("RINGPOOL_MEMORY_BUDGET", "64MiB"),
        ("RINGPOOL_PLACEMENT", "graph=pool,vectors=mmap"),
        ("RINGPOOL_WARM_UP", "graph=background"),
        ("RINGPOOL_SEARCH_EF", "12"),
        ("RINGPOOL_PROFILE", ""),
        ("RINGPOOL_SERVICE_HOST", "10.0.0.1"),
        ("RINGPOOL_PORT_80_TCP", "tcp://10.0.0.1:80"),
    ]);
    let config = config.unwrap();
    assert_eq!(config.memory.budget, Some(Memory::Bytes(64 << 20)));
    assert_eq!(config.placement.to_string(), "graph=pool,vectors=mmap");
    assert_eq!((config.search.ef, config.profile), (Some(12), None));
    for (name, value, parts) in [
        (
            "RINGPOOL_MEMORY_BUGDET",
            "1",
            &["no key 'RINGPOOL_MEMORY_BUGDET'", "RINGPOOL_MEMORY_BUDGET?"],
        ),
        ("RINGPOOL_SEARCH_EF", "many", &["RINGPOOL_SEARCH_EF: search.ef", "a whole number"]),
        ("RINGPOOL_PLACEMENT", "grpah=pool", &["RINGPOOL_PLACEMENT", "is it graph?"]),
    ] {
        let said = Config::from_variables([(name, value)]).unwrap_err().to_string();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

#[test]
fn the_stronger_source_and_the_narrower_word_win() {
    let flags = Config { placement: "vectors=direct".parse().unwrap(), ..Config::default() };
    let environment = Config::from_variables([("RINGPOOL_SEARCH_EF", "50")]).unwrap();
    let file = parsed(
        r#"
        profile = "capacity"
        search.ef = 300
        placement.graph = "mmap"
        placement.columns = "direct"
        [collection.a.placement]
        graph = "resident"
        "columns.price" = "mmap"
        [collection.b]
        profile = "performance"
        "#,
    );
    let settings = Settings::default()
        .then(Source::Flags, flags)
        .then(Source::Environment, environment)
        .then(Source::File("ringpool.toml".into()), file);
    assert_eq!(settings.ef(), 50);
    let of = |collection: Option<&str>, part: &str| {
        let placement = settings.placement(collection);
        placement.of(&part.parse().unwrap()).map(|place| place.word()).unwrap_or("-")
    };
    for (collection, part, expected) in [
        (None, "graph", "mmap"),
        (None, "vectors", "direct"),
        (None, "codes", "pool"),
        (None, "columns.price", "direct"),
        (Some("a"), "graph", "resident"),
        (Some("a"), "columns.price", "mmap"),
        (Some("a"), "columns.name", "direct"),
        (Some("a"), "vectors", "direct"),
        (Some("b"), "graph", "resident"),
        (Some("b"), "indexes.price", "resident"),
        (Some("b"), "vectors", "direct"),
        (Some("b"), "columns.name", "pool"),
        (Some("c"), "graph", "mmap"),
    ] {
        assert_eq!(of(collection, part), expected, "{collection:?} {part}");
    }
    let in_force = settings.in_force();
    let ef = in_force.iter().find(|one| one.name == "search.ef").unwrap();
    assert_eq!((&*ef.value, &ef.source), ("50", &Some(Source::Environment)));
    let backend = in_force.iter().find(|one| one.name == "engine.backend").unwrap();
    assert_eq!((&*backend.value, &backend.source), ("pool", &None));
    assert!(in_force.iter().any(|one| one.name == "collection.a.placement.graph"));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = Config::parse(&text, "ringpool.toml");
        let _ = Config::from_variables([("RINGPOOL_PLACEMENT", &*text)]);
        let _ = text.parse::<Placement>();
    }

    #[test]
    fn no_keys_panic(key in "[a-z_.]{1,20}", value in "(-?[0-9]{1,20}|\"[a-z=,:.%]{0,20}\"|true|\\[\\])") {
        let _ = Config::parse(&format!("{key} = {value}"), "ringpool.toml");
    }
}
