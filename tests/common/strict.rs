//! A strict reading of the heads of opening handshakes, written down once more and plainly: line by
//! line over the whole head, which shares no code with the crate.

#![allow(dead_code, reason = "no test uses all of it")]

use std::net::Ipv6Addr;

use super::heads::DEFLATE;

/// The limits of the tables.
const MAX_HEAD: usize = 16_384;
const MAX_LINE: usize = 8192;
const MAX_FIELDS: usize = 100;
const MAX_EXTENSIONS: usize = 32;
const MAX_PROTOCOLS: usize = 64;
const MAX_INTERIM: usize = 10;

/// What is to come of a head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The WebSocket opens. This many bytes are the head.
    Opens {
        len: usize,
        protocol: Option<String>,
    },
    /// It opens or does not: a choice that nothing depends on.
    Either,
    Refused,
    /// The head has no end.
    Incomplete,
}

/// A head that is complete.
struct Head<'a> {
    start: &'a [u8],
    /// Names in lower case, values without the white space around them.
    fields: Vec<(String, Vec<u8>)>,
    len: usize,
}

enum Fault {
    Wrong,
    Missing,
}

impl From<Fault> for Reading {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Wrong => Self::Refused,
            Fault::Missing => Self::Incomplete,
        }
    }
}

/// What a server of the tables makes of a request. It knows these subprotocols, and lets in the
/// pages of these origins, if there is a list.
pub(crate) fn request(bytes: &[u8], ours: &[&str], origins: Option<&[&str]>) -> Reading {
    let mut skipped = 0;
    while bytes[skipped..].starts_with(b"\r\n") {
        skipped += 2;
    }
    let head = match head(&bytes[skipped..], skipped, false) {
        Ok(head) => head,
        Err(fault) => return fault.into(),
    };
    let start: Vec<&[u8]> = head.start.split(|&byte| byte == b' ').collect();
    let &[b"GET", target, b"HTTP/1.1"] = &start[..] else {
        return Reading::Refused;
    };
    let target = target_is_good(target);
    let asks = head.once("host").is_some_and(is_authority)
        && matches!(head.all("content-length")[..], [] | [b"0"])
        && head.all("transfer-encoding").is_empty()
        && upgrade_is_wanted(&head)
        && head.once("sec-websocket-version") == Some(b"13")
        && head.once("sec-websocket-key").is_some_and(is_key)
        && origin_is_good(&head, origins)
        && extensions(&head).is_some();
    let (true, Some(protocol)) = (asks, choice(&head, ours)) else {
        return Reading::Refused;
    };
    match target {
        Some(true) => Reading::Opens {
            len: head.len,
            protocol,
        },
        Some(false) => Reading::Refused,
        None => Reading::Either,
    }
}

/// What a client of the tables makes of a response to the sample key.
pub(crate) fn response(bytes: &[u8], offered: &[&str]) -> Reading {
    let mut rest = bytes;
    for interim in 0..=MAX_INTERIM {
        let head = match head(rest, 0, true) {
            Ok(head) => head,
            Err(fault) => return fault.into(),
        };
        let Some((status, is_1_1)) = status(head.start) else {
            return Reading::Refused;
        };
        if !is_1_1 || status != *b"101" && (status[0] != b'1' || interim == MAX_INTERIM) {
            return Reading::Refused;
        }
        if status == *b"101" {
            return answer(&head, bytes.len() - rest.len() + head.len, offered);
        }
        rest = &rest[head.len..];
    }
    unreachable!("an interim response too many is refused")
}

fn answer(head: &Head<'_>, len: usize, offered: &[&str]) -> Reading {
    let upgrade = head.once("upgrade");
    let is_named = head
        .list("connection")
        .iter()
        .any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    let opens = upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
        && is_named
        && head.once("sec-websocket-accept") == Some(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let protocols = head.all("sec-websocket-protocol");
    let is_offered = |name: &[u8]| offered.iter().any(|own| own.as_bytes() == name);
    let protocol = match protocols[..] {
        [] => None,
        [name] if is_offered(name) => Some(String::from_utf8(name.to_vec()).unwrap()),
        _ => return Reading::Refused,
    };
    match (opens, extensions(head)) {
        (true, Some(chosen)) if chosen.is_empty() => Reading::Opens { len, protocol },
        // Which parameters answer an offer is tested elsewhere.
        (true, Some(chosen)) if DEFLATE && chosen == ["permessage-deflate"] => Reading::Either,
        _ => Reading::Refused,
    }
}

/// `HTTP/1.x NNN`, and then nothing, or a space and a reason.
fn status(line: &[u8]) -> Option<([u8; 3], bool)> {
    let (version, rest) = line.split_at_checked(8)?;
    let is_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return None,
    };
    match rest {
        [
            b' ',
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            reason @ ..,
        ] if matches!(reason, [] | [b' ', ..]) && reason.iter().all(|&b| is_value_byte(b)) => {
            Some(([*a, *b, *c], is_1_1))
        }
        _ => None,
    }
}

/// Reads up to the empty line. `before` bytes of the head were skipped.
fn head(bytes: &[u8], before: usize, folds: bool) -> Result<Head<'_>, Fault> {
    let mut lines = Vec::new();
    let mut at = 0;
    loop {
        let end = bytes[at..].windows(2).position(|pair| pair == b"\r\n");
        let line = &bytes[at..end.map_or(bytes.len(), |end| at + end)];
        // What follows a line that does not end yet is not known.
        let held = at + line.len() + end.map_or(0, |_| 2);
        if line.len() > MAX_LINE || before + held > MAX_HEAD {
            return Err(Fault::Wrong);
        }
        if end.is_none() {
            return Err(Fault::Missing);
        }
        at += line.len() + 2;
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            return Err(Fault::Wrong);
        }
        if line.is_empty() && !lines.is_empty() {
            break;
        }
        lines.push(line);
    }
    let (start, lines) = (lines[0], &lines[1..]);
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for line in lines {
        if line.iter().any(|&byte| !is_value_byte(byte)) {
            return Err(Fault::Wrong);
        }
        if let [b' ' | b'\t', ..] = line {
            let (_, value) = fields.last_mut().filter(|_| folds).ok_or(Fault::Wrong)?;
            value.extend([b"  ", *line].concat());
            continue;
        }
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .ok_or(Fault::Wrong)?;
        if !is_token(&line[..colon]) || fields.len() == MAX_FIELDS {
            return Err(Fault::Wrong);
        }
        let name = String::from_utf8(line[..colon].to_ascii_lowercase()).unwrap();
        fields.push((name, line[colon + 1..].to_vec()));
    }
    for (_, value) in &mut fields {
        *value = trim(value).to_vec();
    }
    let len = before + at;
    Ok(Head { start, fields, len })
}

impl Head<'_> {
    fn all(&self, name: &str) -> Vec<&[u8]> {
        let fields = self.fields.iter().filter(|(own, _)| own == name);
        fields.map(|(_, value)| &value[..]).collect()
    }

    fn once(&self, name: &str) -> Option<&[u8]> {
        match self.all(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The elements of a list, without the empty ones.
    fn list(&self, name: &str) -> Vec<&[u8]> {
        let joined = self.all(name);
        let elements = joined
            .into_iter()
            .flat_map(|line| line.split(|&byte| byte == b','));
        elements
            .map(trim)
            .filter(|element| !element.is_empty())
            .collect()
    }
}

fn upgrade_is_wanted(head: &Head<'_>) -> bool {
    let upgrade = head.list("upgrade");
    let connection = head.list("connection");
    let is_protocol = |value: &&[u8]| value.splitn(2, |&byte| byte == b'/').all(is_token);
    upgrade.iter().all(is_protocol)
        && connection.iter().all(|value| is_token(value))
        && upgrade
            .iter()
            .any(|value| value.eq_ignore_ascii_case(b"websocket"))
        && connection
            .iter()
            .any(|value| value.eq_ignore_ascii_case(b"upgrade"))
}

fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(is_digit) && &key[22..] == b"=="
}

fn origin_is_good(head: &Head<'_>, origins: Option<&[&str]>) -> bool {
    match (&head.all("origin")[..], origins) {
        ([], _) | ([_], None) => true,
        ([origin], Some(origins)) => {
            let origin = origin.to_ascii_lowercase();
            origins.iter().any(|allowed| allowed.as_bytes() == origin)
        }
        _ => false,
    }
}

/// The subprotocol that is agreed on, if the list is one.
fn choice(head: &Head<'_>, ours: &[&str]) -> Option<Option<String>> {
    let offered = head.list("sec-websocket-protocol");
    let is_unique = |(i, name): (usize, &&[u8])| is_token(name) && !offered[..i].contains(name);
    let is_list = offered.iter().enumerate().all(is_unique)
        && offered.len() <= MAX_PROTOCOLS
        && (!offered.is_empty() || head.all("sec-websocket-protocol").is_empty());
    let chosen = ours.iter().find(|own| offered.contains(&own.as_bytes()));
    is_list.then(|| chosen.map(|&name| name.to_owned()))
}

/// The names of the extensions, if the list is one (§9.1).
fn extensions(head: &Head<'_>) -> Option<Vec<String>> {
    let lines = head.all("sec-websocket-extensions");
    let mut names = Vec::new();
    for line in &lines {
        for element in split(line, b',')?
            .iter()
            .filter(|element| !element.is_empty())
        {
            let mut parts = split(element, b';')?.into_iter();
            let name = parts.next().filter(|name| is_token(name))?;
            names.push(String::from_utf8(name.to_vec()).unwrap());
            if !parts.all(is_parameter) {
                return None;
            }
        }
    }
    let is_list = names.len() <= MAX_EXTENSIONS && (lines.is_empty() || !names.is_empty());
    is_list.then_some(names)
}

fn is_parameter(parameter: &[u8]) -> bool {
    let Some(parts) = split(parameter, b'=') else {
        return false;
    };
    match parts[..] {
        [name] => is_token(name),
        [name, [b'"', quoted @ .., b'"']] => {
            let mut value = Vec::new();
            let mut bytes = quoted.iter();
            while let Some(byte) = bytes.next() {
                match byte {
                    b'\\' => value.extend(bytes.next()),
                    b'"' => return false,
                    byte => value.push(*byte),
                }
            }
            is_token(name) && is_token(&value)
        }
        [name, value] => is_token(name) && is_token(value),
        _ => false,
    }
}

/// Splits where no quotes are, or says that they have no end.
fn split(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    let (mut start, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if byte == separator && !is_quoted => {
                parts.push(trim(&text[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(trim(&text[start..]));
    (!is_quoted).then_some(parts)
}

/// A path, or an http URI; `None` where a byte should have been escaped, which some do not.
fn target_is_good(target: &[u8]) -> Option<bool> {
    let is_uri_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%".contains(byte);
    let is_let_through = |byte: &u8| is_uri_byte(byte) || b"\\^{|}[]".contains(byte);
    if !target.iter().all(is_let_through) {
        return Some(false);
    }
    let is_path = target.starts_with(b"/");
    let is_plain = target.iter().all(is_uri_byte);
    if is_path {
        return is_plain.then_some(true);
    }
    let text = std::str::from_utf8(target).unwrap();
    let Some((scheme, rest)) = text.split_once("://") else {
        return Some(false);
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_http = ["http", "https"]
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name));
    if !is_http || !is_authority(authority.as_bytes()) {
        return Some(false);
    }
    (is_plain && !authority.contains(['%', '['])).then_some(true)
}

/// A host with an optional port.
fn is_authority(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let at = text.rfind(':').filter(|&at| !text[at..].contains(']'));
    let (host, port) = text.split_at(at.unwrap_or(text.len()));
    let is_port = match port.get(1..) {
        None | Some("") => true,
        Some(digits) => {
            digits.len() <= 5
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u32>().is_ok_and(|port| port <= 65_535)
        }
    };
    is_port && is_host(host)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let mut parts = host.split('%');
    let is_name = |part: &str| {
        let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
        part.bytes().all(is_byte)
    };
    let is_escaped = |part: &str| {
        part.len() >= 2
            && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit())
            && is_name(part)
    };
    !host.is_empty() && parts.next().is_some_and(is_name) && parts.all(is_escaped)
}

fn is_token(text: &[u8]) -> bool {
    let is_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_byte)
}

fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text
        .iter()
        .position(|byte| !is_space(byte))
        .unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(start, |at| at + 1);
    &text[start..end]
}
