//! `src/limits.md` against the code: the defaults that it names are those in force, it leaves no
//! setter and no constant out, and it names none that is not there.

mod common {
    pub(crate) mod sources;
}

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wsroom::limits::{Bound, Limit};
use wsroom::{Config, Upgrade};

const DOCUMENT: &str = include_str!("../src/limits.md");

/// Types whose setters are limits, but for those that are listed.
const SETTINGS: [(&str, &[&str]); 6] = [
    ("Config", &["compression_level", "compression_threshold"]),
    (
        "Upgrade",
        &[
            "protocols",
            "header",
            "origin",
            "allow_origins",
            "same_origin",
            "deflate",
        ],
    ),
    ("Server", &["upgrade", "any_origin", "config"]),
    ("SessionConfig", &["outbox"]),
    ("OutboxLimits", &[]),
    ("HubConfig", &["hooks"]),
];

/// Types whose methods take `mut self` and set no limit. The windows of `Deflate` are in its own
/// table of memory, and `WebSocketUpgrade` has the setters of `Upgrade` and `Config`.
const OTHERS: [&str; 6] = [
    "Agreed",
    "Broadcast",
    "Deflate",
    "InForce",
    "Profile",
    "WebSocketUpgrade",
];

/// Constants that look like limits and are none of what a peer can do.
const CONSTANTS: [&str; 5] = [
    // The length of a header and of a reason (§5.2, §5.5).
    "src/frame.rs MAX_LEN",
    "src/close.rs MAX_REASON",
    // A parameter of RFC 7692.
    "src/deflate/params.rs MAX_BITS",
    // The first of the pauses whose last is in the document.
    "src/net/listener.rs FIRST_PAUSE",
    // States that a thread keeps, which the documentation of `Deflate` counts.
    "src/deflate/pool.rs KEPT",
];

/// Whether the limits of all layers are compiled in.
const ALL: bool = cfg!(all(feature = "tokio", feature = "rooms"));

#[test]
fn each_default_in_force_is_the_one_in_the_document() {
    let documented = settable();
    let mut found = 0;
    for ((of, name), limit) in in_force() {
        let name = format!("{of}::{name}");
        let text = documented.get(&*name);
        assert_eq!(text, Some(&&*limit.bound.to_string()), "{name}");
        found += 1;
    }
    assert!(found >= 14, "the lists were read");
    if ALL {
        assert_eq!(found, documented.len(), "the document names no others");
    }
}

#[test]
fn no_setter_is_missing_from_the_document() {
    let documented = settable();
    let mut seen = 0;
    for (path, text) in sources() {
        let mut implemented = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("impl") {
                implemented = type_of(rest);
            }
            let Some(setter) = setter(line) else {
                continue;
            };
            let path = path.display();
            match SETTINGS.iter().find(|(of, _)| *of == implemented) {
                Some((_, exempt)) if exempt.contains(&setter) => {}
                Some((of, _)) => {
                    let name = format!("{of}::{setter}");
                    assert!(documented.contains_key(&*name), "{path}: {name}");
                    seen += 1;
                }
                None => assert!(
                    OTHERS.contains(&implemented),
                    "{path}: {implemented}::{setter} is neither a limit nor none"
                ),
            }
        }
    }
    assert_eq!(seen, documented.len(), "each documented limit can be set");
}

#[test]
fn each_constant_in_the_document_is_as_the_code_has_it() {
    let mut found = 0;
    for (place, text) in fixed() {
        let (path, name) = place.split_once(' ').unwrap();
        let code = fs::read_to_string(root().join(path)).unwrap();
        let (kind, value) = constants(&code)
            .find_map(|(constant, kind, value)| (constant == name).then_some((kind, value)))
            .unwrap_or_else(|| panic!("{place} is not there"));
        let bound = match kind {
            "Duration" => Bound::Time(time(value)),
            _ if text.ends_with(['B', 's']) => Bound::Bytes(number(value)),
            _ => Bound::Count(number(value)),
        };
        assert_eq!(bound.to_string(), text, "{place}");
        found += 1;
    }
    assert!(found > 10, "the table was read");
}

#[test]
fn no_constant_that_bounds_a_peer_is_missing_from_the_document() {
    let documented = fixed();
    for (path, text) in sources() {
        for (name, kind, _) in constants(&text) {
            let bounds = kind == "Duration" || name.starts_with("MAX") || name == "KEPT";
            let place = format!("{} {name}", path.display());
            if bounds && !CONSTANTS.contains(&&*place) {
                assert!(documented.contains_key(&*place), "{place}");
            }
        }
    }
}

#[test]
fn what_was_set_is_in_force_and_no_limit_says_so() {
    let config = Config::default()
        .max_message_size(usize::MAX)
        .max_fragments(7)
        .idle_timeout(None)
        .close_timeout(Duration::from_millis(1500));
    let limits = config.in_force();
    assert_eq!(limits.get("max_message_size"), Some(Bound::None));
    assert_eq!(limits.get("max_frame_size"), Some(Bound::None));
    assert_eq!(limits.get("max_fragments"), Some(Bound::Count(7)));
    assert_eq!(limits.get("idle_timeout"), Some(Bound::None));
    assert_eq!(limits.get("nothing"), None);
    let text = limits.and(Upgrade::default().max_headers(3).in_force());
    let text = text.to_string();
    assert!(text.contains("Config::close_timeout: 1.5 s\n"), "{text}");
    assert!(text.ends_with("Upgrade::timeout: 10 s\n"), "{text}");
    assert!(text.contains("Upgrade::max_headers: 3\n"), "{text}");
}

/// What can be asked for with the features that are on, each limit once.
fn in_force() -> BTreeMap<(&'static str, &'static str), Limit> {
    let lists = [
        Config::default().in_force(),
        Upgrade::default().in_force(),
        #[cfg(feature = "tokio")]
        of_a_server(),
        #[cfg(feature = "tokio")]
        wsroom::net::SessionConfig::default().in_force(),
        #[cfg(any(feature = "tokio", feature = "rooms"))]
        wsroom::outbox::OutboxLimits::default().in_force(),
        #[cfg(feature = "rooms")]
        wsroom::Hub::new().in_force(),
    ];
    let limits = lists.into_iter().flatten();
    limits
        .map(|limit| ((limit.of, limit.name), limit))
        .collect()
}

#[cfg(feature = "tokio")]
fn of_a_server() -> wsroom::limits::InForce {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(wsroom::net::Server::bind("127.0.0.1:0"));
    server.unwrap().in_force()
}

/// The settable limits: name and default.
fn settable() -> BTreeMap<String, &'static str> {
    let rows = rows().filter(|cells| cells[0].contains("::"));
    rows.map(|cells| (cells[0].replace('`', ""), cells[1]))
        .collect()
}

/// The constants: file and name, and the value.
fn fixed() -> BTreeMap<String, &'static str> {
    let rows = rows().filter(|cells| cells.get(2).is_some_and(|cell| cell.starts_with("`src/")));
    rows.map(|cells| (cells[2].replace('`', ""), cells[1]))
        .collect()
}

fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| "));
    rows.map(|row| row.split(" | ").collect())
}

/// Every source below `src`, but for the network of tests, on which no peer is a stranger.
fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    common::sources::sources()
        .into_iter()
        .filter(|(path, _)| !path.starts_with("test_util"))
        .map(|(path, text)| (Path::new("src").join(path), text))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The type of an `impl`, behind its parameters.
fn type_of(rest: &str) -> &str {
    let named = match rest.split_once(" for ") {
        Some((_, named)) => named,
        None if rest.starts_with('<') => rest.split_once("> ").unwrap().1,
        None => rest,
    };
    let named = named.trim();
    let end = named.find(|c: char| !c.is_alphanumeric() && c != '_');
    &named[..end.unwrap_or(named.len())]
}

/// The name of the public method that begins in this line and takes `mut self`.
fn setter(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub ")?;
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    let (name, arguments) = rest.strip_prefix("fn ")?.split_once('(')?;
    // Of those that are broken over lines, the first line ends here.
    let is_setter = arguments.starts_with("mut self");
    is_setter.then(|| name.split('<').next().unwrap_or(name))
}

/// Constants: name, type and value.
fn constants(code: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    code.lines().filter_map(|line| {
        let (_, rest) = line.split_once("const ")?;
        let (name, rest) = rest.split_once(": ")?;
        let (kind, value) = rest.strip_suffix(';')?.split_once(" = ")?;
        ["usize", "u32", "Duration"]
            .contains(&kind)
            .then_some((name, kind, value))
    })
}

/// The value of `A` or `A << B`.
fn number(value: &str) -> usize {
    let parse = |digits: &str| -> usize { digits.trim().replace('_', "").parse().unwrap() };
    match value.split_once("<<") {
        Some((number, shift)) => parse(number) << parse(shift),
        None => parse(value),
    }
}

fn time(value: &str) -> Duration {
    let (unit, count) = value.trim_end_matches(')').split_once('(').unwrap();
    match unit {
        "Duration::from_secs" => Duration::from_secs(number(count) as u64),
        "Duration::from_millis" => Duration::from_millis(number(count) as u64),
        _ => panic!("{value} is no time that this test reads"),
    }
}
