//! The layers that the drawing in `lib.rs` shows, and the rules of what may stand where, checked
//! by reading the sources. A new arrow is a design decision: change the drawing with the table.

mod common {
    pub(crate) mod sources;
}

use std::path::PathBuf;

/// What each module may name of the others: a module, or one item of it.
const ARROWS: [(&str, &[&str]); 22] = [
    ("backplane", &["rooms"]),
    (
        "rooms",
        &[
            "outbox",
            "protocol::PreparedBatch",
            "protocol::PreparedMessage",
            "limits",
            "message",
            "close",
            "utf8",
            "log",
        ],
    ),
    (
        "outbox",
        &[
            "protocol::CloseInfo",
            "protocol::Connection",
            "protocol::PreparedBatch",
            "protocol::PreparedMessage",
            "protocol::SendError",
            "limits",
            "line",
            "message",
            "close",
        ],
    ),
    (
        "net",
        &[
            "protocol",
            "handshake",
            "outbox",
            "buffer",
            "line",
            "agreed",
            "deflate::Deflate",
            "message",
            "close",
            "error",
            "utf8",
            "frame",
            "limits",
            "log",
        ],
    ),
    (
        "protocol",
        &[
            "agreed", "buffer", "deflate", "frame", "mask", "utf8", "close", "message", "error",
            "limits",
        ],
    ),
    ("handshake", &["agreed", "deflate", "limits", "random"]),
    ("agreed", &["deflate"]),
    ("frame", &["mask", "error"]),
    ("error", &["close"]),
    ("close", &["utf8"]),
    ("message", &["utf8"]),
    ("json", &["message"]),
    ("utf8", &["mask", "buffer"]),
    ("buffer", &[]),
    ("limits", &[]),
    ("line", &[]),
    ("mask", &["random"]),
    ("random", &[]),
    ("deflate", &[]),
    ("log", &[]),
    ("test_util", &[]),
    // The root names its modules to export them, and nothing else.
    ("lib", &[]),
];

#[test]
fn modules_name_only_those_below_them() {
    let mut faults = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = ARROWS.iter().find(|(module, _)| *module == source.module) else {
            faults.push(format!(
                "{}: no arrows are drawn for it",
                source.path.display()
            ));
            continue;
        };
        for path in paths(&source.code, "crate") {
            let is_own = path.split("::").next() == Some(&source.module);
            if !is_own && !allowed.iter().any(|&arrow| is_within(&path, arrow)) {
                faults.push(format!("{} names {path}", source.path.display()));
            }
        }
        let mut depth = source.path.components().count();
        if source.path.ends_with("mod.rs") {
            depth -= 1;
        }
        if source.code.contains(&"super::".repeat(depth)) {
            faults.push(format!(
                "{} leaves its module by `super`",
                source.path.display()
            ));
        }
    }
    assert_eq!(faults, [""; 0]);
}

/// The core has no runtime, and the rooms only its locks.
#[test]
fn tokio_is_named_in_the_adapter_only_and_its_locks_above() {
    let mut faults = Vec::new();
    for source in sources() {
        let allowed = match &source.module[..] {
            "net" | "backplane" | "test_util" => continue,
            "rooms" | "outbox" => &["sync"][..],
            _ => &[],
        };
        for path in paths(&source.code, "tokio") {
            if !allowed.iter().any(|&arrow| is_within(&path, arrow)) {
                faults.push(format!("{} names tokio::{path}", source.path.display()));
            }
        }
    }
    assert_eq!(faults, [""; 0]);
}

/// The core does no I/O.
#[test]
fn below_net_std_io_gives_the_slice_of_a_vectored_write_only() {
    let mut faults = Vec::new();
    for source in sources() {
        if ["net", "backplane", "test_util"].contains(&&source.module[..]) {
            continue;
        }
        for path in paths(&source.code, "std") {
            let is_io = ["io", "net", "fs"].iter().any(|io| is_within(&path, io));
            // An address is a value that is parsed from the text of a Host.
            let is_value = ["io::IoSlice", "net::Ipv4Addr", "net::Ipv6Addr"].contains(&&path[..]);
            if is_io && !is_value {
                faults.push(format!("{} names std::{path}", source.path.display()));
            }
        }
    }
    assert_eq!(faults, [""; 0]);
}

/// Time comes in with calls, and nothing below the adapter reads a clock or prints.
#[test]
fn the_core_reads_no_clock_and_prints_nothing() {
    let core = [
        "protocol",
        "handshake",
        "agreed",
        "frame",
        "mask",
        "utf8",
        "close",
        "message",
        "random",
    ];
    for source in sources() {
        if core.contains(&&source.module[..]) {
            for word in [
                "Instant::now",
                "SystemTime",
                "println!",
                "eprintln!",
                "dbg!",
                "tracing::",
            ] {
                let path = source.path.display();
                assert!(!source.code.contains(word), "{path} names {word}");
            }
        }
    }
}

#[test]
fn unsafe_stands_in_two_files_and_says_why_it_is_safe() {
    let mut faults = Vec::new();
    let mut found = 0;
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            if !words(line).any(|word| word == "unsafe") {
                continue;
            }
            found += 1;
            let place = format!("{}:{}", source.path.display(), number + 1);
            if !["mask.rs", "utf8.rs"].contains(&source.path.to_str().unwrap()) {
                faults.push(format!("{place}: unsafe"));
            }
            let wanted = if line.contains("unsafe fn") {
                "# Safety"
            } else {
                "// SAFETY: "
            };
            if !is_explained(&source.text, number, wanted) {
                faults.push(format!("{place}: unsafe without `{wanted}`"));
            }
        }
    }
    assert_eq!(faults, [""; 0]);
    assert!(found > 0, "the check finds what there is");
}

/// A gate inside a function, a field or a variant means that something lies in the wrong layer.
#[test]
fn feature_gates_stand_on_modules_only() {
    let mut faults = Vec::new();
    for source in sources() {
        let file = source.path.file_name().unwrap();
        let may_gate = file == "lib.rs" || file == "mod.rs";
        // These two are there to have one form with a feature and another without it.
        if ["deflate/mod.rs", "log.rs"].contains(&source.path.to_str().unwrap()) {
            continue;
        }
        let lines: Vec<_> = source.code.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if !line.contains("cfg") || !line.contains("feature =") {
                continue;
            }
            let item = lines[number + 1..]
                .iter()
                .map(|line| line.trim())
                .find(|line| !line.is_empty() && !line.starts_with("#["));
            let on_module = item.is_some_and(|item| {
                ["mod ", "pub mod ", "pub(crate) mod ", "pub use "]
                    .iter()
                    .any(|start| item.starts_with(start))
            });
            if !may_gate || !on_module || !line.trim_start().starts_with("#[cfg(") {
                faults.push(format!("{}:{}: {line}", source.path.display(), number + 1));
            }
        }
    }
    assert_eq!(faults, [""; 0]);
}

/// The checks above are worth what this reader of paths is.
#[test]
fn paths_are_found_in_every_form() {
    let code = "use crate::a;\nuse crate::b::{C, d::{self, E}};\nfn f() { crate::g::H::new(); }\n\
                pub(crate) fn crate_like() {} use crate::{\n    i,\n    j::*,\n};";
    let found = paths(code, "crate");
    let expected = ["a", "b::C", "b::d", "b::d::E", "g::H::new", "i", "j::*"];
    assert_eq!(found, expected);
    assert!(is_within("b::d::E", "b::d") && is_within("b", "b"));
    assert!(!is_within("bc", "b") && !is_within("b", "b::d"));
    assert_eq!(
        paths("use tokio;\ntokio::spawn(x);", "tokio"),
        ["", "spawn"]
    );
}

struct Source {
    /// Below `src`.
    path: PathBuf,
    /// The first part of the path.
    module: String,
    text: String,
    /// The text without comments, strings of documentation and unit tests, line by line.
    code: String,
}

fn sources() -> impl Iterator<Item = Source> {
    common::sources::sources()
        .into_iter()
        .map(|(path, text)| Source::new(path, text))
}

impl Source {
    fn new(path: PathBuf, text: String) -> Self {
        let before_tests = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        let code = before_tests
            .lines()
            .map(without_comment)
            .collect::<Vec<_>>()
            .join("\n");
        let module = path.iter().next().unwrap().to_str().unwrap();
        Self {
            module: module.trim_end_matches(".rs").to_owned(),
            path,
            text,
            code,
        }
    }
}

fn without_comment(line: &str) -> &str {
    // A string with slashes loses its end, which takes nothing away that is looked for.
    line.split("//").next().unwrap()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// Whether one of the comments and attributes right before a line, or of the statement that the
/// line goes on, contains `wanted`.
fn is_explained(text: &str, number: usize, wanted: &str) -> bool {
    let lines: Vec<_> = text.lines().take(number).collect();
    lines
        .iter()
        .rev()
        .map(|line| line.trim())
        .take_while(|line| line.starts_with("//") || line.starts_with("#["))
        .any(|line| line.contains(wanted))
}

fn is_within(path: &str, arrow: &str) -> bool {
    path.strip_prefix(arrow)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// All paths in `code` that begin with `root`, without it.
fn paths(code: &str, root: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            // The end of a longer word or path.
            continue;
        }
        let after = &code[at + root.len()..];
        if let Some(tree) = after.strip_prefix("::") {
            expand(tree, "", &mut paths);
        } else if after.starts_with(';') || after.starts_with(" as ") {
            paths.push(String::new());
        }
    }
    paths
}

/// Adds all paths of the use tree, or the path, at the front of `code`; gives what follows it.
fn expand<'a>(code: &'a str, prefix: &str, paths: &mut Vec<String>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            match rest.strip_prefix('}') {
                Some(rest) => return rest,
                None => rest = expand(rest, prefix, paths),
            }
        }
    }
    let end = code
        .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*')
        .unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    assert!(
        !name.is_empty(),
        "no path at {:?}",
        &code[..code.len().min(40)]
    );
    let path = match (prefix, name) {
        ("", name) => name.to_owned(),
        (prefix, "self") => prefix.to_owned(),
        (prefix, name) => format!("{prefix}::{name}"),
    };
    match rest.strip_prefix("::") {
        // A turbofish is not part of the path.
        Some(tail) if !tail.starts_with('<') => expand(tail, &path, paths),
        _ => {
            paths.push(path);
            let rest = rest.trim_start();
            match rest.strip_prefix("as ") {
                Some(alias) => alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
                None => rest,
            }
        }
    }
}
