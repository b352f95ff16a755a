//! Finds the public futures in the sources.

use std::fs;
use std::path::Path;

/// The sources whose futures users see, by module.
pub(super) fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders = ["net", "rooms"].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let files = folders
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    files
        .chain([root.join("outbox.rs")])
        .map(|path| {
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (module, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

pub(super) struct PublicFuture {
    pub(super) name: String,
    pub(super) docs: String,
}

/// Public functions that are asynchronous or give a future, and public types that are one.
pub(super) fn public_futures(text: &str) -> Vec<PublicFuture> {
    let mut futures = Vec::new();
    let mut docs = String::new();
    let mut documented: Vec<(String, String)> = Vec::new();
    let lines: Vec<_> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let line = line.trim();
        if line.starts_with("///") {
            docs.push_str(line);
            docs.push('\n');
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        let docs = std::mem::take(&mut docs);
        let head: String = lines[number..]
            .iter()
            .flat_map(|line| [line.split("//").next().unwrap(), " "])
            .collect();
        let head = head.split(['{', ';']).next().unwrap();
        if let Some(name) = after(line, "pub async fn ") {
            futures.push(PublicFuture { name, docs });
        } else if let Some(name) = after(line, "pub fn ") {
            let gives = head.split("->").last().unwrap();
            if gives.contains("impl Future") || gives.contains("dyn Future") {
                futures.push(PublicFuture { name, docs });
            }
        } else if let Some(name) = after(line, "pub struct ") {
            documented.push((name, docs));
        } else if line.starts_with("impl") && head.contains("Future for ") {
            let name = after(head.split("Future for ").last().unwrap(), "").unwrap();
            if let Some((name, docs)) = documented.iter().find(|(known, _)| *known == name) {
                let (name, docs) = (name.clone(), docs.clone());
                futures.push(PublicFuture { name, docs });
            }
        }
    }
    futures
}

/// The name that follows `start`.
fn after(line: &str, start: &str) -> Option<String> {
    let rest = line.strip_prefix(start)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    Some(rest[..end.unwrap_or(rest.len())].to_owned())
}

#[test]
fn public_futures_are_found_in_every_form() {
    let text = "/// # Cancel safety\npub async fn a(&self) {}\n\
                pub fn b<B>(\n    x: u8,\n) -> impl Future<Output = B>\nwhere\n    B: Sized,\n{\n}\n\
                pub fn c(shutdown: impl Future) -> u8 {}\nasync fn private() {}\n\
                pub(super) async fn inner() {}\n/// D.\n#[must_use]\npub struct D {}\n\
                impl Future for D {\n";
    let found: Vec<_> = public_futures(text)
        .into_iter()
        .map(|future| (future.name, future.docs.len() > 5))
        .collect();
    let expected = [("a", true), ("b", false), ("D", true)];
    assert_eq!(found, expected.map(|(name, has)| (name.to_owned(), has)));
}
