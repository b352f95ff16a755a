//! The content of a response that refuses the handshake, within a limit (RFC 9112 §6.3).

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Response, StatusCode};

use crate::handshake::headers::{elements, single};
use crate::handshake::{HandshakeError, Upgrade};

/// Collects the content of a response other than a 101, for the error that reports it.
///
/// A client feeds it what follows the head until it wants no more or the stream ends. It keeps at
/// most [`max_error_body_size`](Upgrade::max_error_body_size) bytes and never reports a fault: the
/// handshake has failed already, and the content is for people to read.
///
/// # Examples
///
/// ```
/// use wsroom::handshake::{HandshakeError, Refusal, Upgrade};
///
/// let response = http::Response::builder()
///     .status(403)
///     .header("Content-Length", "2")
///     .body(())?;
/// let mut refusal = Refusal::new(&Upgrade::default(), response);
/// assert!(refusal.wants_more());
/// refusal.receive(&mut &b"no"[..]);
/// assert!(!refusal.wants_more());
/// let HandshakeError::Refused(response) = refusal.into_error() else { unreachable!() };
/// assert_eq!((response.status().as_u16(), &response.body()[..]), (403, &b"no"[..]));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug)]
pub struct Refusal {
    response: Response<()>,
    body: BytesMut,
    limit: usize,
    framing: Framing,
}

/// How the content is delimited.
#[derive(Debug)]
enum Framing {
    /// This many bytes are left; without a length, until the stream ends.
    Length(u64),
    /// The line that gives the size of a chunk, as far as it has come.
    ChunkSize(Vec<u8>),
    /// This many bytes of a chunk are left.
    Chunk(u64),
    /// This many bytes of the line end behind a chunk are left.
    ChunkEnd(usize),
}

impl Refusal {
    /// Begins with the head of the response.
    pub fn new(upgrade: &Upgrade, response: Response<()>) -> Self {
        let framing = framing(&response);
        Self {
            response,
            body: BytesMut::new(),
            limit: upgrade.settings.limits.error_body,
            framing,
        }
    }

    /// Takes bytes off the front of `input` that belong to the content and fit the limit.
    pub fn receive(&mut self, input: &mut &[u8]) {
        while self.wants_more()
            && let Some((&byte, rest)) = input.split_first()
        {
            match &mut self.framing {
                Framing::Length(left) | Framing::Chunk(left) => {
                    let room = (self.limit - self.body.len()) as u64;
                    // At most the length of `input`, so the cast loses nothing.
                    let count = (*left).min(room).min(input.len() as u64) as usize;
                    let (taken, rest) = input.split_at(count);
                    self.body.extend_from_slice(taken);
                    *left -= count as u64;
                    *input = rest;
                    if let Framing::Chunk(0) = self.framing {
                        self.framing = Framing::ChunkEnd(2);
                    }
                }
                Framing::ChunkEnd(left) => {
                    *left -= 1;
                    *input = rest;
                    if *left == 0 {
                        self.framing = Framing::ChunkSize(Vec::new());
                    }
                }
                Framing::ChunkSize(line) => {
                    line.push(byte);
                    *input = rest;
                    self.framing = match httparse::parse_chunk_size(line) {
                        Ok(httparse::Status::Partial) if line.len() < MAX_CHUNK_LINE => continue,
                        // The last chunk, or nothing that can be read: the content ends here.
                        Ok(httparse::Status::Partial | httparse::Status::Complete((_, 0)))
                        | Err(_) => Framing::Length(0),
                        Ok(httparse::Status::Complete((_, size))) => Framing::Chunk(size),
                    };
                }
            }
        }
    }

    /// Whether the content may go on and the limit is not reached.
    pub fn wants_more(&self) -> bool {
        self.body.len() < self.limit && !matches!(self.framing, Framing::Length(0))
    }

    /// The error that reports the response, with what came of its content.
    pub fn into_error(self) -> HandshakeError {
        let (parts, ()) = self.response.into_parts();
        let body = Bytes::from(self.body);
        HandshakeError::Refused(Box::new(Response::from_parts(parts, body)))
    }
}

/// The most bytes of the line in front of a chunk. Extensions of chunks are not in use.
const MAX_CHUNK_LINE: usize = 128;

/// RFC 9112 §6.3, the rules for a response to GET.
fn framing(response: &Response<()>) -> Framing {
    let headers = response.headers();
    let status = response.status();
    if status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        return Framing::Length(0);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let last = elements(headers, &TRANSFER_ENCODING).last();
        return match last {
            Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => {
                Framing::ChunkSize(Vec::new())
            }
            _ => Framing::Length(u64::MAX),
        };
    }
    let length = single(headers, &CONTENT_LENGTH).ok().flatten();
    let length = length.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    Framing::Length(length.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(headers: &[(&str, &str)], limit: usize, input: &[u8]) -> (Vec<u8>, bool, usize) {
        let upgrade = Upgrade::default().max_error_body_size(limit);
        let mut results = [input.len(), 1].map(|size| {
            let mut response = Response::builder().status(403);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            let mut refusal = Refusal::new(&upgrade, response.body(()).unwrap());
            let mut left = 0;
            for mut piece in input.chunks(size) {
                refusal.receive(&mut piece);
                left += piece.len();
            }
            let more = refusal.wants_more();
            let HandshakeError::Refused(response) = refusal.into_error() else {
                unreachable!()
            };
            (response.into_body().to_vec(), more, left)
        });
        assert_eq!(results[0], results[1], "the cuts agree");
        std::mem::take(&mut results[0])
    }

    /// A1, row R084, RFC 9112 §6.3.
    #[test]
    fn the_content_ends_where_the_head_says_or_at_the_limit() {
        let length = [("content-length", "3")];
        assert_eq!(body_of(&length, 9, b"abcd"), (b"abc".into(), false, 1));
        assert_eq!(body_of(&length, 9, b"ab"), (b"ab".into(), true, 0));
        assert_eq!(body_of(&length, 2, b"abcd"), (b"ab".into(), false, 2));
        let huge = [("content-length", "99999999999999999999999")];
        assert_eq!(body_of(&huge, 2, b"abcd"), (b"ab".into(), false, 2));
        assert_eq!(body_of(&[], 9, b"abcd"), (b"abcd".into(), true, 0));
    }

    /// RFC 9112 §7.1.
    #[test]
    fn chunks_are_put_together() {
        let chunked = [("transfer-encoding", "gzip, Chunked")];
        let input = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nmore";
        assert_eq!(body_of(&chunked, 99, input), (b"abcde".into(), false, 6));
        assert_eq!(body_of(&chunked, 4, input).0, b"abcd");
        assert_eq!(body_of(&chunked, 99, b"zz\r\nabc").0, b"");
        let endless = [b'1'; 300];
        assert_eq!(body_of(&chunked, 99, &endless).0, b"");
        let long = |len| format!("2;x={}\r\nde", "y".repeat(len));
        assert_eq!(body_of(&chunked, 99, long(100).as_bytes()).0, b"de");
        assert_eq!(body_of(&chunked, 99, long(130).as_bytes()).0, b"");
    }
}
