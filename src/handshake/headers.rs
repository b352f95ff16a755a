//! The grammars of header values: lists, tokens, hosts, extensions (§9.1, RFC 9110 §5.6).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::handshake::HandshakeError;

/// One element of a Sec-WebSocket-Extensions list: an offer in a request, the choice in a response
/// (§9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionOffer<'a> {
    name: &'a str,
    params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

impl<'a> ExtensionOffer<'a> {
    /// The token that names the extension.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The parameters in their order, with the value where there is one. A value that was quoted
    /// is given without its quotes; it is a token either way.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&str>)> {
        self.params
            .iter()
            .map(|(name, value)| (*name, value.as_deref()))
    }
}

/// Reads the extensions that a request offers or that a response chose, in order of preference.
///
/// # Errors
///
/// A value that does not follow the grammar of §9.1, an empty one included, is
/// [`ExtensionSyntax`](HandshakeError::ExtensionSyntax). More than 32 elements are
/// [`TooManyExtensions`](HandshakeError::TooManyExtensions), because each costs its reader work.
pub fn extension_offers(headers: &HeaderMap) -> Result<Vec<ExtensionOffer<'_>>, HandshakeError> {
    extensions_in(headers)
}

/// As [`extension_offers`], of any fields.
pub(super) fn extensions_in<F: Fields + ?Sized>(
    fields: &F,
) -> Result<Vec<ExtensionOffer<'_>>, HandshakeError> {
    let mut offers = Vec::new();
    let mut is_named = false;
    // §9.1: several lines are one list.
    for line in fields.values(&SEC_WEBSOCKET_EXTENSIONS) {
        is_named = true;
        let line = str::from_utf8(line).map_err(|_| HandshakeError::ExtensionSyntax)?;
        let mut rest = Cursor(line);
        loop {
            rest.skip_space();
            if rest.0.is_empty() {
                break;
            }
            if rest.take(',') {
                continue;
            }
            if offers.len() == MAX_EXTENSIONS {
                return Err(HandshakeError::TooManyExtensions);
            }
            offers.push(rest.offer().ok_or(HandshakeError::ExtensionSyntax)?);
            if !rest.0.is_empty() && !rest.take(',') {
                return Err(HandshakeError::ExtensionSyntax);
            }
        }
    }
    if offers.is_empty() && is_named {
        return Err(HandshakeError::ExtensionSyntax);
    }
    Ok(offers)
}

/// The most elements of a Sec-WebSocket-Extensions list that are read. Browsers offer one.
const MAX_EXTENSIONS: usize = 32;

/// What is left of a line, read from the left. White space may stand between any two of its parts.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// `extension-token *( ";" extension-param )`, and the white space after it.
    fn offer(&mut self) -> Option<ExtensionOffer<'a>> {
        let name = self.token()?;
        let mut params = Vec::new();
        while self.take(';') {
            self.skip_space();
            let name = self.token()?;
            let value = if self.take('=') {
                self.skip_space();
                Some(self.value()?)
            } else {
                None
            };
            params.push((name, value));
        }
        Some(ExtensionOffer { name, params })
    }

    fn value(&mut self) -> Option<Cow<'a, str>> {
        let Some(quoted) = self.0.strip_prefix('"') else {
            return self.token().map(Cow::Borrowed);
        };
        let mut value = String::new();
        let mut characters = quoted.chars();
        loop {
            let character = match characters.next()? {
                '"' => break,
                '\\' => characters.next()?,
                character => character,
            };
            // §9.1: what the quotes hold must be a token.
            if !u8::try_from(character).is_ok_and(is_token_byte) {
                return None;
            }
            value.push(character);
        }
        self.0 = characters.as_str();
        self.skip_space();
        (!value.is_empty()).then_some(Cow::Owned(value))
    }

    /// A token and the white space after it.
    fn token(&mut self) -> Option<&'a str> {
        let end = self.0.bytes().position(|byte| !is_token_byte(byte));
        let (token, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        self.skip_space();
        (!token.is_empty()).then_some(token)
    }

    fn take(&mut self, character: char) -> bool {
        match self.0.strip_prefix(character) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }
}

/// A host with an optional port, as Host and URLs have it (RFC 3986 §3.2.2, §3.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// An IPv6 address is in its brackets.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `text`, all of it.
    pub(super) fn parse(text: &'a str) -> Result<Self, BadAuthority> {
        let end = if text.starts_with('[') {
            text.find(']').ok_or(BadAuthority::Host)? + 1
        } else {
            text.find(':').unwrap_or(text.len())
        };
        let (host, port) = text.split_at(end);
        if !is_host(host) {
            return Err(BadAuthority::Host);
        }
        let port = match port.strip_prefix(':') {
            // RFC 3986 §3.2.3: the digits may be left out, and the default port is meant.
            Some("") => None,
            Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| BadAuthority::Port)?)
            }
            Some(_) => return Err(BadAuthority::Port),
            None if port.is_empty() => None,
            None => return Err(BadAuthority::Host),
        };
        Ok(Self { host, port })
    }
}

/// Which part of an authority does not follow the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadAuthority {
    Host,
    Port,
}

/// A name, an IPv4 address, or an IPv6 address in brackets (RFC 3986 §3.2.2).
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let mut bytes = host.bytes();
    while let Some(byte) = bytes.next() {
        let valid = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|b| b.is_ascii_hexdigit())),
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !valid {
            return false;
        }
    }
    !host.is_empty()
}

/// The fields of a head, however they are kept.
pub(crate) trait Fields {
    /// The values of the lines with this name, in their order.
    fn values(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]>;
}

impl Fields for HeaderMap {
    fn values(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.get_all(name).into_iter().map(HeaderValue::as_bytes)
    }
}

/// The elements of a list that may span several lines. Empty ones are left out (RFC 9110
/// §5.6.1.2).
pub(super) fn elements<'a, F: Fields + ?Sized>(
    fields: &'a F,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .values(name)
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// The value of a field that may be given once at most, without the white space around it.
pub(super) fn single<'a, F: Fields + ?Sized>(
    fields: &'a F,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, Repeated> {
    let mut lines = fields.values(name);
    let value = lines.next().map(trim);
    match lines.next() {
        None => Ok(value),
        Some(_) => Err(Repeated),
    }
}

/// A field that may be given once is given more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated;

/// `bytes` as text if they are a token (RFC 9110 §5.6.2).
pub(super) fn token(bytes: &[u8]) -> Option<&str> {
    if bytes.is_empty() || !bytes.iter().copied().all(is_token_byte) {
        return None;
    }
    str::from_utf8(bytes).ok()
}

/// Whether a token may have this byte in it (RFC 9110 §5.6.2).
#[inline]
pub(super) const fn is_token_byte(byte: u8) -> bool {
    IS_TOKEN[byte as usize]
}

/// A load where a comparison for each range would take ten instructions.
const IS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte as usize] = matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z'
                | b'^'..=b'z' | b'|' | b'~'
        );
        byte += 1;
    }
    table
};

/// `bytes` without the spaces and tabs around them.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use http::header::CONNECTION;

    use super::*;

    fn offers(lines: &[&'static str]) -> Result<Vec<String>, HandshakeError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(line));
        }
        let offers = extension_offers(&headers)?;
        Ok(offers
            .iter()
            .map(|offer| {
                offer
                    .params()
                    .fold(offer.name().to_owned(), |text, param| match param {
                        (name, Some(value)) => text + ";" + name + "=" + value,
                        (name, None) => text + ";" + name,
                    })
            })
            .collect())
    }

    /// §9.1 has these as examples.
    #[test]
    fn the_extension_lists_of_the_rfc_are_read() {
        assert_eq!(offers(&["foo, bar; baz=2"]).unwrap(), ["foo", "bar;baz=2"]);
        assert_eq!(
            offers(&["foo", "bar; baz=2"]).unwrap(),
            ["foo", "bar;baz=2"]
        );
        assert_eq!(offers(&["deflate-stream"]).unwrap(), ["deflate-stream"]);
        assert_eq!(
            offers(&["mux; max-channels=4; flow-control, deflate-stream"]).unwrap(),
            ["mux;max-channels=4;flow-control", "deflate-stream"]
        );
        assert_eq!(
            offers(&["private-extension"]).unwrap(),
            ["private-extension"]
        );
        assert_eq!(offers(&[]).unwrap(), [""; 0]);
    }

    #[test]
    fn a_quoted_value_is_given_without_quotes_and_escapes() {
        assert_eq!(offers(&[r#"a; b="10""#]).unwrap(), ["a;b=10"]);
        assert_eq!(
            offers(&[r#"a ;b = "1\0" ;c,,d ,"#]).unwrap(),
            ["a;b=10;c", "d"]
        );
    }

    /// S20.
    #[test]
    fn what_is_not_a_list_of_extensions_is_refused() {
        for line in [
            "",
            ",",
            ";",
            "a;",
            "a; =x",
            "a; b=",
            "a; b=\"x",
            "a; b=\"x y\"",
            "a; b=\"\"",
            "a b",
            "a; b=c=d",
            "a; b=\"c\"d",
            "a; b=\"c\\",
            "a=b",
            "\"a\"",
            "a;;b",
            "a, ;b",
            "a; b=\"x,y\"",
        ] {
            assert!(
                matches!(offers(&[line]), Err(HandshakeError::ExtensionSyntax)),
                "{line}"
            );
        }
    }

    /// S20.
    #[test]
    fn at_most_32_extensions_are_read() {
        let full: &'static str = String::leak("a,".repeat(32));
        assert_eq!(offers(&[full]).unwrap().len(), 32);
        assert!(matches!(
            offers(&[full, "a"]),
            Err(HandshakeError::TooManyExtensions)
        ));
    }

    /// S12, U4.
    #[test]
    fn an_authority_is_a_host_and_an_optional_port() {
        let parse = Authority::parse;
        for (text, host, port) in [
            ("a", "a", None),
            ("a.example:80", "a.example", Some(80)),
            ("a:", "a", None),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[::1]:0", "[::1]", Some(0)),
            ("a%2Db", "a%2Db", None),
        ] {
            assert_eq!(parse(text), Ok(Authority { host, port }), "{text}");
        }
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "u@a",
            "[::1",
            "[::1]x",
            "[]",
            "[1.2.3.4]",
            "::1",
            "a%2",
            "a%zz",
            "\u{e9}",
            "a?b",
            "a#b",
            "[fe80::1%25lo]",
            "a\\b",
            "<a>",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["a:65536", "a:99999", "a:8x", "a:+1", "a:000080", "[::1]:x"] {
            assert_eq!(parse(text), Err(BadAuthority::Port), "{text}");
        }
    }

    /// RFC 9110 §5.6.1.2: a recipient ignores empty elements.
    #[test]
    fn a_list_spans_lines_and_leaves_out_empty_elements() {
        let mut headers = HeaderMap::new();
        headers.append("connection", HeaderValue::from_static(", a,\tb ,,"));
        headers.append("connection", HeaderValue::from_static("c"));
        let list: Vec<_> = elements(&headers, &CONNECTION).collect();
        assert_eq!(list, [b"a", b"b", b"c"]);
    }
}
