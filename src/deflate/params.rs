//! What client and server agree on about compression (RFC 7692 §5, §7.1).

use std::fmt::Write;

use super::PERMESSAGE_DEFLATE;

/// What this side asks for, or allows, about permessage-deflate. It is given to
/// [`Upgrade::deflate`](crate::Upgrade::deflate).
///
/// A client offers it; a server answers an offer with it. By default both sides keep their context
/// from message to message, which compresses best, and use the largest window.
///
/// # Examples
///
/// ```
/// use wsroom::Upgrade;
/// use wsroom::deflate::Deflate;
///
/// // A server that keeps no state for a connection that is idle.
/// let server = Upgrade::default().deflate(
///     Deflate::default()
///         .server_no_context_takeover()
///         .client_no_context_takeover(),
/// );
/// // A client that would like small windows, but takes large ones too.
/// let client = Upgrade::default()
///     .deflate(Deflate::default().server_max_window_bits(10).or(Deflate::default()));
///
/// let offer = client.offer("ws://server.example.com/")?;
/// assert_eq!(
///     offer.request().headers()["sec-websocket-extensions"],
///     "permessage-deflate; server_max_window_bits=10; client_max_window_bits, \
///      permessage-deflate; client_max_window_bits",
/// );
/// let (response, agreed) = server.accept(offer.request())?;
/// assert_eq!(offer.verify(&response)?, agreed);
/// assert_eq!(agreed.deflate().map(|params| params.server_max_window_bits), Some(10));
/// # Ok::<(), wsroom::HandshakeError>(())
/// ```
///
/// # Memory
///
/// A connection holds what messages may refer to and nothing else. What it takes to compress and to
/// inflate (some 300 KB and 80 KB) belongs to the thread, which keeps four of either for all of its
/// connections. In KiB, once so much has passed:
///
/// | bits of the window | of what it receives | of what it sends |
/// |---|---|---|
/// | no context takeover | 0 | 0 |
/// | 9 | 0.5 | 0.25 |
/// | 10 | 1 | 0.75 |
/// | 11 | 2 | 1.75 |
/// | 12 | 4 | 3.75 |
/// | 13 | 8 | 4 |
/// | 14 | 16 | 4 |
/// | 15 | 32 | 4 |
///
/// The 4 are [`Config::compression_history`](crate::Config::compression_history); with more of it,
/// as much as the window has.
///
/// A server for many connections should set [`client_max_window_bits`](Self::client_max_window_bits)
/// to 12: most of what a message repeats lies within the last 4 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deflate {
    own: Wish,
    /// Offered after `own`, in this order.
    fallbacks: Vec<Wish>,
    /// Whether a window was set that cannot be had.
    is_faulty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: u8,
    client_max_window_bits: u8,
    /// Whether a client lets the server choose its window.
    client_window_is_open: bool,
}

/// The parameters that an opening handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateParams {
    /// The server compresses each message by itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself.
    pub client_no_context_takeover: bool,
    /// The server's window is two to the power of this, 8 to 15.
    pub server_max_window_bits: u8,
    /// The client's window is two to the power of this, 8 to 15.
    pub client_max_window_bits: u8,
}

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The largest window, which is meant where nothing is said.
const MAX_BITS: u8 = 15;

/// The smallest window that can be compressed with: zlib takes 8 for 9, and would use distances
/// that a peer with a window of 256 bytes does not have.
const MIN_BITS: u8 = 9;

impl Default for Deflate {
    fn default() -> Self {
        Self {
            own: Wish {
                server_no_context_takeover: false,
                client_no_context_takeover: false,
                server_max_window_bits: MAX_BITS,
                client_max_window_bits: MAX_BITS,
                client_window_is_open: true,
            },
            fallbacks: Vec::new(),
            is_faulty: false,
        }
    }
}

impl Deflate {
    /// The server compresses each message by itself (§7.1.1.1). It then keeps no state for a
    /// connection between two messages, and the client no window.
    #[must_use]
    pub fn server_no_context_takeover(mut self) -> Self {
        self.own.server_no_context_takeover = true;
        self
    }

    /// The client compresses each message by itself (§7.1.1.2).
    #[must_use]
    pub fn client_no_context_takeover(mut self) -> Self {
        self.own.client_no_context_takeover = true;
        self
    }

    /// The server's window is at most two to the power of `bits`, 9 to 15 (§7.1.2.1).
    ///
    /// Another number is an error of [`Upgrade::offer`](crate::Upgrade::offer) and
    /// [`Upgrade::accept`](crate::Upgrade::accept): [`WindowBits`](crate::HandshakeError). So is 8,
    /// which the RFC has, but which few can compress with.
    #[must_use]
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.is_faulty |= !(MIN_BITS..=MAX_BITS).contains(&bits);
        self.own.server_max_window_bits = bits;
        self
    }

    /// The client's window is at most two to the power of `bits`, 9 to 15 (§7.1.2.2). Another number
    /// is an error, as of [`server_max_window_bits`](Self::server_max_window_bits).
    ///
    /// A server can ask this only of a client whose offer has this parameter, as that of all
    /// browsers has. Of another it asks to compress each message by itself, which it may always ask:
    /// then it holds no window at all, and never more than was set here.
    #[must_use]
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.is_faulty |= !(MIN_BITS..=MAX_BITS).contains(&bits);
        self.own.client_max_window_bits = bits;
        self
    }

    /// As a client, does not let the server choose the client's window, which is then the largest.
    #[must_use]
    pub fn full_client_window(mut self) -> Self {
        self.own.client_window_is_open = false;
        self
    }

    /// As a client, offers something else for a server that declines what was set so far. A server
    /// takes no notice of it.
    #[must_use]
    pub fn or(mut self, fallback: Self) -> Self {
        self.fallbacks.push(fallback.own);
        self.fallbacks.extend(fallback.fallbacks);
        self.is_faulty |= fallback.is_faulty;
        self
    }

    /// Whether a window was set that cannot be had.
    pub(crate) const fn is_faulty(&self) -> bool {
        self.is_faulty
    }

    /// The offers of a client, in order of preference (§5.1).
    pub(crate) fn offers(&self) -> String {
        let offers = self.wishes().map(|wish| wish.offer());
        offers.collect::<Vec<_>>().join(", ")
    }

    /// A server's answer to one offer, and what is agreed on then; `None` declines it (§7).
    pub(crate) fn accept<'a>(
        &self,
        params: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Option<(String, DeflateParams)> {
        let offer = Params::parse(params)?;
        // §7.1.2.2: a client may offer its limit without a value; another needs one.
        if offer.server_max_window_bits == Some(None) {
            return None;
        }
        let mut answer = Params::default();
        let wish = &self.own;
        // §7.1.1: what the client asks of the server is granted; the rest is ours to say.
        answer.server_no_context_takeover =
            offer.server_no_context_takeover || wish.server_no_context_takeover;
        answer.client_no_context_takeover =
            offer.client_no_context_takeover || wish.client_no_context_takeover;
        // §7.1.2.1: a value in the offer can only be lowered.
        let asked = offer.server_max_window_bits.flatten();
        let server_bits = asked.unwrap_or(MAX_BITS).min(wish.server_max_window_bits);
        if server_bits < MIN_BITS {
            return None;
        }
        if asked.is_some() || server_bits < MAX_BITS {
            answer.server_max_window_bits = Some(Some(server_bits));
        }
        // §7.1.2.2: the client's window is limited only if it offers that. §7.1.1.2: that it takes
        // no context over can be asked of any client, and then there is no window to keep.
        match offer.client_max_window_bits {
            Some(limit) => {
                let bits = limit.unwrap_or(MAX_BITS).min(wish.client_max_window_bits);
                if bits < MAX_BITS {
                    answer.client_max_window_bits = Some(Some(bits));
                }
            }
            None if wish.client_max_window_bits < MAX_BITS => {
                answer.client_no_context_takeover = true;
            }
            None => {}
        }
        Some((answer.encode(), answer.agreed()))
    }

    /// What is agreed on by a server's answer; `None` if it is none to any of the offers (§7).
    pub(crate) fn verify<'a>(
        &self,
        params: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Option<DeflateParams> {
        let answer = Params::parse(params)?;
        // §7.1.2: both limits have a value in an answer.
        let is_bare = |bits| bits == Some(None);
        if is_bare(answer.server_max_window_bits) || is_bare(answer.client_max_window_bits) {
            return None;
        }
        // The answer does not say to which offer it is one: to the first that it fits.
        let wish = self.wishes().find(|wish| wish.is_met_by(&answer))?;
        Some(wish.keep(answer.agreed()))
    }

    fn wishes(&self) -> impl Iterator<Item = &Wish> {
        std::iter::once(&self.own).chain(&self.fallbacks)
    }
}

impl Wish {
    fn offer(&self) -> String {
        let limited = |bits: u8| (bits < MAX_BITS).then_some(bits);
        Params {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: limited(self.server_max_window_bits).map(Some),
            client_max_window_bits: self
                .client_window_is_open
                .then(|| limited(self.client_max_window_bits)),
        }
        .encode()
    }

    /// Whether a server may answer this offer so.
    fn is_met_by(&self, answer: &Params) -> bool {
        let server_bits = answer.server_max_window_bits.flatten();
        let client_bits = answer.client_max_window_bits.flatten();
        let is_limited = server_bits.unwrap_or(MAX_BITS) <= self.server_max_window_bits;
        let is_allowed = match client_bits {
            None => true,
            // A window that cannot be compressed with is refused, see `MIN_BITS`.
            Some(bits) => {
                self.client_window_is_open
                    && (MIN_BITS..=self.client_max_window_bits).contains(&bits)
            }
        };
        let is_granted = answer.server_no_context_takeover || !self.server_no_context_takeover;
        is_limited && is_allowed && is_granted
    }

    /// What a client does by what was agreed on. §7.1.1.2, §7.1.2.2: what its offer says about
    /// itself it keeps to, though a server may leave it out of its answer.
    fn keep(&self, mut params: DeflateParams) -> DeflateParams {
        params.client_no_context_takeover |= self.client_no_context_takeover;
        if self.client_window_is_open {
            let bits = params
                .client_max_window_bits
                .min(self.client_max_window_bits);
            params.client_max_window_bits = bits;
        }
        params
    }
}

/// The parameters of one element of the header. A limit can be there with or without a value.
#[derive(Default)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<Option<u8>>,
    client_max_window_bits: Option<Option<u8>>,
}

impl Params {
    /// `None` for a parameter that is unknown, repeated or has a value that it must not have (§7).
    fn parse<'a>(params: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Option<Self> {
        let mut parsed = Self::default();
        for (name, value) in params {
            let is_first = match name {
                SERVER_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut parsed.server_no_context_takeover, true)
                }
                CLIENT_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut parsed.client_no_context_takeover, true)
                }
                SERVER_MAX_WINDOW_BITS => {
                    let bits = parse_limit(value)?;
                    parsed.server_max_window_bits.replace(bits).is_none()
                }
                CLIENT_MAX_WINDOW_BITS => {
                    let bits = parse_limit(value)?;
                    parsed.client_max_window_bits.replace(bits).is_none()
                }
                _ => false,
            };
            if !is_first {
                return None;
            }
        }
        Some(parsed)
    }

    fn encode(&self) -> String {
        let mut text = PERMESSAGE_DEFLATE.to_owned();
        if self.server_no_context_takeover {
            text = text + "; " + SERVER_NO_CONTEXT_TAKEOVER;
        }
        if self.client_no_context_takeover {
            text = text + "; " + CLIENT_NO_CONTEXT_TAKEOVER;
        }
        for (name, limit) in [
            (SERVER_MAX_WINDOW_BITS, self.server_max_window_bits),
            (CLIENT_MAX_WINDOW_BITS, self.client_max_window_bits),
        ] {
            // Writing to a string does not fail.
            let _ = match limit {
                None => Ok(()),
                Some(None) => write!(text, "; {name}"),
                Some(Some(bits)) => write!(text, "; {name}={bits}"),
            };
        }
        text
    }

    /// What an answer with these parameters means.
    fn agreed(&self) -> DeflateParams {
        DeflateParams {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits.flatten().unwrap_or(MAX_BITS),
            client_max_window_bits: self.client_max_window_bits.flatten().unwrap_or(MAX_BITS),
        }
    }
}

/// §7.1.2: a decimal number from 8 to 15 without leading zeroes, or no value.
fn parse_limit(value: Option<&str>) -> Option<Option<u8>> {
    let Some(value) = value else {
        return Some(None);
    };
    match value {
        "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15" => value.parse().ok().map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type List<'a> = &'a [(&'a str, Option<&'a str>)];

    fn accept(deflate: &Deflate, params: List<'_>) -> Option<String> {
        let accepted = deflate.accept(params.iter().copied());
        accepted.map(|(answer, _)| answer)
    }

    fn verify(deflate: &Deflate, params: List<'_>) -> Option<DeflateParams> {
        deflate.verify(params.iter().copied())
    }

    /// E3 (server).
    #[test]
    fn a_server_answers_each_parameter_as_section_7_1_says() {
        let any = Deflate::default();
        let small = Deflate::default()
            .server_max_window_bits(11)
            .client_max_window_bits(12);
        let none = Deflate::default()
            .server_no_context_takeover()
            .client_no_context_takeover();
        let table: [(&Deflate, List<'_>, &str); 11] = [
            (&any, &[], "permessage-deflate"),
            (
                &any,
                &[("client_max_window_bits", None)],
                "permessage-deflate",
            ),
            (
                &any,
                &[("client_max_window_bits", Some("10"))],
                "permessage-deflate; client_max_window_bits=10",
            ),
            (
                &any,
                &[("server_max_window_bits", Some("10"))],
                "permessage-deflate; server_max_window_bits=10",
            ),
            (
                &any,
                &[("server_max_window_bits", Some("15"))],
                "permessage-deflate; server_max_window_bits=15",
            ),
            (
                &any,
                &[("server_no_context_takeover", None)],
                "permessage-deflate; server_no_context_takeover",
            ),
            (
                &any,
                &[("client_no_context_takeover", None)],
                "permessage-deflate; client_no_context_takeover",
            ),
            (
                &small,
                &[],
                "permessage-deflate; client_no_context_takeover; server_max_window_bits=11",
            ),
            (
                &small,
                &[
                    ("client_max_window_bits", None),
                    ("server_max_window_bits", Some("12")),
                ],
                "permessage-deflate; server_max_window_bits=11; client_max_window_bits=12",
            ),
            (
                &small,
                &[
                    ("client_max_window_bits", Some("8")),
                    ("server_max_window_bits", Some("9")),
                ],
                "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8",
            ),
            (
                &none,
                &[],
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            ),
        ];
        for (deflate, offer, answer) in table {
            assert_eq!(accept(deflate, offer).as_deref(), Some(answer), "{offer:?}");
        }
    }

    /// E1, E16 (server).
    #[test]
    fn a_server_declines_what_section_7_calls_invalid_and_a_window_it_cannot_have() {
        let table: [List<'_>; 12] = [
            &[("foo", None)],
            &[("server_max_window_bits", None)],
            &[("server_max_window_bits", Some("7"))],
            &[("server_max_window_bits", Some("16"))],
            &[("server_max_window_bits", Some("08"))],
            &[("server_max_window_bits", Some("8"))],
            &[("client_max_window_bits", Some("16"))],
            &[("client_max_window_bits", Some(""))],
            &[("server_no_context_takeover", Some("1"))],
            &[
                ("client_no_context_takeover", None),
                ("client_no_context_takeover", None),
            ],
            &[
                ("client_max_window_bits", None),
                ("client_max_window_bits", Some("9")),
            ],
            &[("SERVER_NO_CONTEXT_TAKEOVER", None)],
        ];
        for offer in table {
            assert_eq!(accept(&Deflate::default(), offer), None, "{offer:?}");
        }
    }

    /// E5, §7.1.1.2, §7.1.2.2: a server may ignore them, and counts on them all the same.
    #[test]
    fn a_client_keeps_to_the_hints_of_its_offer() {
        let any = Deflate::default();
        let small = Deflate::default()
            .client_no_context_takeover()
            .client_max_window_bits(10);
        let table: [(&Deflate, List<'_>, bool, u8); 5] = [
            (&small, &[], true, 10),
            (&small, &[("client_max_window_bits", Some("9"))], true, 9),
            (&any, &[], false, 15),
            (&any, &[("client_no_context_takeover", None)], true, 15),
            (&any.clone().or(small.clone()), &[], false, 15),
        ];
        for (deflate, answer, alone, bits) in table {
            let params = verify(deflate, answer).unwrap();
            assert_eq!(params.client_no_context_takeover, alone, "{answer:?}");
            assert_eq!(params.client_max_window_bits, bits, "{answer:?}");
            assert!(!params.server_no_context_takeover);
            assert_eq!(params.server_max_window_bits, 15);
        }
    }

    /// E2, E3 (client), E4 (client).
    #[test]
    fn a_client_takes_only_what_answers_one_of_its_offers() {
        let any = Deflate::default();
        let closed = Deflate::default().full_client_window();
        let small = Deflate::default().server_max_window_bits(10);
        let fallback = small
            .clone()
            .or(Deflate::default().server_no_context_takeover());
        let table: [(&Deflate, List<'_>, bool); 13] = [
            (&any, &[], true),
            (&any, &[("client_no_context_takeover", None)], true),
            (&any, &[("server_no_context_takeover", None)], true),
            (&any, &[("server_max_window_bits", Some("8"))], true),
            (&any, &[("client_max_window_bits", Some("10"))], true),
            (&any, &[("client_max_window_bits", Some("8"))], false),
            (&any, &[("client_max_window_bits", None)], false),
            (&closed, &[("client_max_window_bits", Some("15"))], false),
            (&small, &[], false),
            (&small, &[("server_max_window_bits", Some("12"))], false),
            (&small, &[("server_max_window_bits", Some("10"))], true),
            (&fallback, &[], false),
            (&fallback, &[("server_no_context_takeover", None)], true),
        ];
        for (deflate, answer, expected) in table {
            assert_eq!(verify(deflate, answer).is_some(), expected, "{answer:?}");
        }
    }
}
