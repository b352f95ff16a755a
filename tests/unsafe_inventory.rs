//! `unsafe.md` against the sources: each block of unsafe code has its row, each row its block, and
//! each test that a row names is there.

mod common {
    pub(crate) mod sources;
}

use std::fs;
use std::path::Path;

const INVENTORY: &str = include_str!("unsafe.md");

#[test]
fn each_unsafe_block_has_its_row_and_each_row_its_block() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let mut function = "";
        for line in code.lines() {
            let line = line.split("//").next().unwrap();
            if let Some((_, rest)) = line.split_once("fn ") {
                function = rest.split(['(', '<']).next().unwrap();
            }
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            for _ in words.filter(|&word| word == "unsafe") {
                found.push((path.clone(), function.to_owned()));
            }
        }
    }
    let mut written: Vec<_> = rows()
        .map(|[path, function, ..]| (path.to_owned(), function.to_owned()))
        .collect();
    found.sort();
    written.sort();
    assert_eq!(found, written);
    assert!(!found.is_empty(), "the sources were read");
}

#[test]
fn each_test_of_the_inventory_is_there() {
    for [path, _, _, _, test] in rows() {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let declared = format!("#[test]\n    fn {test}()");
        assert!(text.contains(&declared), "{path}: {test}");
    }
}

/// In the sources, in the examples, and in whatever else is compiled for users.
#[test]
fn unsafe_code_is_denied_where_it_is_not_expected() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""));
    for (path, text) in sources() {
        assert!(!text.contains("allow(unsafe_code"), "{path}");
        let expected = text.matches("expect(unsafe_code").count();
        let rows = rows().filter(|[of, ..]| *of == path).count();
        assert_eq!(expected, rows, "{path}");
    }
}

/// The cells of each row.
fn rows() -> impl Iterator<Item = [&'static str; 5]> {
    let rows = INVENTORY.lines().filter(|line| line.starts_with("| `src/"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [path, function, what, why, test] = cells[..] else {
            panic!("not five cells: {row}");
        };
        let [path, function, test] = [path, function, test].map(|cell| cell.trim_matches('`'));
        [path, function, what, why, test]
    })
}

/// Every file below `src`, by its path from the root.
fn sources() -> impl Iterator<Item = (String, String)> {
    common::sources::sources()
        .into_iter()
        .map(|(path, text)| (format!("src/{}", path.display()), text))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
