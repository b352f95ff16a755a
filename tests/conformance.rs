//! Holds `tests/conformance.md` and the tests together, by reading both: every rule has a test,
//! and every id that a test names is a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("conformance.md");

const TABLES: [&str; 3] = [
    include_str!("data/frames.md"),
    include_str!("data/deflate.md"),
    include_str!("data/handshake.md"),
];

#[test]
fn every_rule_has_a_test_for_each_of_its_sides() {
    let mut tested: BTreeMap<String, BTreeSet<Side>> = BTreeMap::new();
    for comment in comments().iter().filter(|comment| comment.is_test) {
        for (id, sides) in comment.list().iter().filter_map(Named::rule) {
            tested.entry(id).or_default().extend(sides);
        }
    }
    let mut faults = Vec::new();
    for (id, rule) in rules().iter().filter(|(_, rule)| rule.is_built) {
        let tested = tested.remove(id).unwrap_or_default();
        for side in rule.sides.difference(&tested) {
            faults.push(format!("{id} has no test for the {side:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_id_stands_at_a_test_and_names_a_rule() {
    let (rules, rows) = (rules(), rows());
    let mut faults = Vec::new();
    for comment in comments() {
        let at = format!("{}:{}", comment.path.display(), comment.line);
        for named in comment.list() {
            match named {
                Named::Rule { id, .. } if !rules.contains_key(&id) => {
                    faults.push(format!("{at}: {id} is no rule"));
                }
                Named::Rule {
                    id,
                    side: Some(side),
                } if !rules[&id].sides.contains(&side) => {
                    faults.push(format!("{at}: {id} does not bind the {side:?}"));
                }
                Named::Rule { id, .. } if !comment.is_test => {
                    faults.push(format!("{at}: {id} stands at no test that is run"));
                }
                Named::Rule { .. } => {}
                Named::Row(id) if !is_row(&rows, &id) => {
                    faults.push(format!("{at}: {id} is no row"));
                }
                Named::Row(_) => {}
                Named::Unclear(item) => faults.push(format!("{at}: {item:?} is no rule")),
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_row_that_a_rule_names_is_in_a_table() {
    let (rules, rows) = (rules(), rows());
    let mut named = 0;
    for (id, rule) in &rules {
        for row in rule
            .rows
            .split(' ')
            .filter(|row| row.contains(char::is_numeric))
        {
            let (first, last) = row.split_once('-').unwrap_or((row, row));
            assert_eq!(first.len(), last.len(), "{id}: {row}");
            let is_there = rows.iter().any(|row| {
                let row = row.trim_end_matches(['s', 'c']);
                row.len() == first.len() && (first..=last).contains(&row)
            });
            assert!(is_there || rules.contains_key(first), "{id}: {row}");
            named += 1;
        }
    }
    assert!(named > 100, "the columns were read");
}

#[test]
fn a_list_is_read_as_the_document_says() {
    let rule = |id: &str, side| Named::Rule {
        id: id.to_owned(),
        side,
    };
    for (text, expected) in [
        (
            "S12, S13 (server): a, B1",
            vec![rule("S12", None), rule("S13", Some(Side::Server))],
        ),
        ("G2. Not F1.", vec![rule("G2", None)]),
        (
            "F1 to F3, §5.2",
            vec![rule("F1", None), rule("F2", None), rule("F3", None)],
        ),
        (
            "RFC 3629 §3, T1, T2: x",
            vec![rule("T1", None), rule("T2", None)],
        ),
        ("§5.5.1, C1 (client)", vec![rule("C1", Some(Side::Client))]),
        (
            "Rows I01 to I05, row S160: x",
            ["I01", "I05", "S160"]
                .map(|id| Named::Row(id.into()))
                .into(),
        ),
        ("P4 or so: x", vec![Named::Unclear("P4 or so".into())]),
        ("S1 (peer)", vec![Named::Unclear("S1 (peer)".into())]),
        ("It says F1, G2: x", vec![]),
        ("Rows of F1: x", vec![]),
        ("§5.1: F1", vec![]),
    ] {
        assert_eq!(list(text), expected, "{text}");
    }
}

#[test]
fn a_comment_belongs_to_a_test_only_if_that_is_run() {
    for (source, is_test) in [
        ("/// F1.\n#[test]\nfn a() {}", true),
        (
            "/// F1.\n#[cfg(\n    unix\n)]\n#[tokio::test(start_paused = true)]\nasync fn a() {}",
            true,
        ),
        (
            "    /// Below.\n    /// F1.\n    #[test]\n    fn a(x in 0..2) {}",
            true,
        ),
        ("/// F1.\n#[test]\n#[ignore = \"slow\"]\nfn a() {}", false),
        ("/// F1.\nfn helper() {}\n#[test]\nfn a() {}", false),
        ("//! F1.\n#[test]\nfn a() {}", false),
    ] {
        let comments = comments_of(Path::new("a.rs"), source);
        assert_eq!(comments.len(), 1, "{source}");
        assert_eq!(comments[0].is_test, is_test, "{source}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Client,
    Server,
}

const BOTH: [Side; 2] = [Side::Client, Side::Server];

/// A row of the document.
struct Rule {
    /// Both where a rule is of neither: a test for it tests it.
    sides: BTreeSet<Side>,
    rows: &'static str,
    is_built: bool,
}

fn rules() -> BTreeMap<String, Rule> {
    let mut rules = BTreeMap::new();
    let mut is_built = true;
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            is_built = heading != "Not built yet";
        }
        let Some(cells) = line
            .strip_prefix("| ")
            .and_then(|row| row.strip_suffix(" |"))
        else {
            continue;
        };
        let cells: Vec<_> = cells.split(" | ").collect();
        let &[id, _, _, side, _, ref rest @ ..] = &cells[..] else {
            panic!("{line}");
        };
        if id == "id" {
            continue;
        }
        let sides = match side {
            "client" => [Side::Client].into(),
            "server" => [Side::Server].into(),
            "both" | "-" => BOTH.into(),
            _ => panic!("{id} has no side"),
        };
        let rows = rest.last().copied().unwrap_or_default();
        let rule = Rule {
            sides,
            rows,
            is_built,
        };
        assert!(
            rules.insert(id.to_owned(), rule).is_none(),
            "{id} is there twice"
        );
    }
    assert!(rules.len() > 150, "the document was read");
    rules
}

/// The ids of the rows of the tables.
fn rows() -> BTreeSet<&'static str> {
    let lines = TABLES.iter().flat_map(|table| table.lines());
    lines
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .collect()
}

/// A row may be there once for each side.
fn is_row(rows: &BTreeSet<&str>, id: &str) -> bool {
    ["", "s", "c"]
        .iter()
        .any(|side| rows.contains(format!("{id}{side}").as_str()))
}

/// A doc comment.
struct Comment {
    path: PathBuf,
    line: usize,
    text: String,
    is_test: bool,
}

impl Comment {
    fn list(&self) -> Vec<Named> {
        list(&self.text)
    }
}

/// What a list names.
#[derive(Debug, PartialEq)]
enum Named {
    Rule {
        id: String,
        side: Option<Side>,
    },
    Row(String),
    /// Begins like an id.
    Unclear(String),
}

impl Named {
    fn rule(&self) -> Option<(String, Vec<Side>)> {
        match self {
            Self::Rule { id, side } => {
                Some((id.clone(), side.map_or(BOTH.into(), |side| vec![side])))
            }
            _ => None,
        }
    }
}

/// The list at the beginning of a comment, if it begins with one.
fn list(text: &str) -> Vec<Named> {
    let end = text.match_indices([':', '.']).map(|(at, _)| at).find(|at| {
        let next = text[at + 1..].chars().next();
        next.is_none_or(char::is_whitespace)
    });
    let head = &text[..end.unwrap_or(text.len())];
    let mut named = Vec::new();
    for (number, item) in head.split(", ").enumerate() {
        let sections = ["§", "RFC ", "Autobahn "];
        if sections.iter().any(|begin| item.starts_with(begin)) {
            continue;
        }
        let rows = ["row ", "rows ", "Row ", "Rows "];
        let rows = rows.iter().find_map(|begin| item.strip_prefix(begin));
        if let Some(rows) = rows.filter(|rows| begins_with_id(rows)) {
            named.extend(rows.split(" to ").map(|row| Named::Row(row.to_owned())));
        } else if begins_with_id(item) {
            named.extend(rules_in(item).unwrap_or_else(|| vec![Named::Unclear(item.to_owned())]));
        } else if number == 0 {
            break;
        }
    }
    named
}

/// `F1`, `F1 (client)`, `F1 to F4`.
fn rules_in(item: &str) -> Option<Vec<Named>> {
    let (ids, side) = match item.strip_suffix(')').map(|item| item.split_once(" (")) {
        Some(Some((ids, "client"))) => (ids, Some(Side::Client)),
        Some(Some((ids, "server"))) => (ids, Some(Side::Server)),
        Some(_) => return None,
        None => (item, None),
    };
    let (first, last) = ids.split_once(" to ").unwrap_or((ids, ids));
    let letter = first.get(..1)?;
    if !begins_with_id(first) || !last.starts_with(letter) {
        return None;
    }
    if first == last {
        let id = first.to_owned();
        let is_id = first[1..].bytes().all(|byte| byte.is_ascii_digit());
        return is_id.then(|| vec![Named::Rule { id, side }]);
    }
    let numbers = first[1..].parse::<u32>().ok()?..=last[1..].parse().ok()?;
    let rules = numbers.map(|number| Named::Rule {
        id: format!("{letter}{number}"),
        side,
    });
    Some(rules.collect())
}

fn begins_with_id(item: &str) -> bool {
    let mut characters = item.chars();
    characters
        .next()
        .is_some_and(|letter| letter.is_ascii_uppercase())
        && characters
            .next()
            .is_some_and(|digit| digit.is_ascii_digit())
}

/// The doc comments of all sources and tests.
fn comments() -> Vec<Comment> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut comments = Vec::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // A package of its own is no test.
                if !path.join("Cargo.toml").exists() {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                comments.extend(comments_of(path.strip_prefix(root).unwrap(), &source));
            }
        }
    }
    assert!(comments.len() > 1000, "the sources were read");
    comments
}

fn comments_of(path: &Path, source: &str) -> Vec<Comment> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let mut comments = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(marker) = ["///", "//!"]
            .into_iter()
            .find(|marker| lines[at].starts_with(marker))
        else {
            at += 1;
            continue;
        };
        let line = at + 1;
        let mut text = Vec::new();
        while let Some(more) = lines.get(at).and_then(|line| line.strip_prefix(marker)) {
            text.push(more.trim());
            at += 1;
        }
        let attributes = attributes(&lines[at..]);
        let runs = |begin: &str| attributes.contains(begin);
        comments.push(Comment {
            path: path.to_owned(),
            line,
            text: text.join(" "),
            is_test: marker == "///"
                && (runs("#[test]") || runs("#[tokio::test"))
                && !runs("#[ignore"),
        });
    }
    comments
}

/// The attributes in front of an item.
fn attributes(lines: &[&str]) -> String {
    let mut attributes = String::new();
    let mut open = 0;
    for line in lines {
        if open == 0 && !line.starts_with("#[") {
            break;
        }
        attributes += line;
        let count = |bracket| line.matches(bracket).count() as isize;
        open += count('[') - count(']');
    }
    attributes
}
