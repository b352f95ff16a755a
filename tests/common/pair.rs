//! A client and a server with their bytes in between, cut as asked, and a clock moved by hand.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wsroom::{Agreed, Config, Connection, Role};

use super::events::{Outcome, receive};
use super::output::written;

pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
    /// Takes effect at the next [`pump`](Self::pump).
    pub(crate) now: Instant,
    /// Cuts what travels into pieces of a random length up to this one.
    longest_piece: usize,
    random: StdRng,
}

pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) received: Vec<Outcome>,
    last_key: Option<[u8; 4]>,
}

impl Pair {
    /// Runs a test with bytes that travel whole, as single bytes and in random pieces.
    pub(crate) fn in_all_cuts(config: Config, test: impl Fn(&mut Self)) {
        for longest_piece in [usize::MAX, 1, 7, 5_000] {
            let now = Instant::now();
            let end = |role| {
                let mut connection = Connection::new(role, Agreed::default(), config);
                connection.handle_timeout(now);
                End {
                    connection,
                    received: Vec::new(),
                    last_key: None,
                }
            };
            test(&mut Self {
                client: end(Role::Client),
                server: end(Role::Server),
                now,
                longest_piece,
                random: StdRng::seed_from_u64(longest_piece as u64),
            });
        }
    }

    /// Lets both ends do what is due and carries their bytes, until neither has any more. What
    /// both have to write at one time crosses on the way.
    pub(crate) fn pump(&mut self) {
        loop {
            for end in [&mut self.client, &mut self.server] {
                while end
                    .connection
                    .next_timeout()
                    .is_some_and(|due| due <= self.now)
                {
                    end.connection.handle_timeout(self.now);
                }
            }
            let to_server = self.client.write();
            let to_client = self.server.write();
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
            let pieces = self.cut(&to_server);
            self.server.receive(pieces);
            let pieces = self.cut(&to_client);
            self.client.receive(pieces);
        }
    }

    fn cut<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let longest = self.longest_piece.min(bytes.len());
            let len = match self.longest_piece {
                usize::MAX => longest,
                _ => self.random.random_range(1..=longest),
            };
            let (piece, rest) = bytes.split_at(len);
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

impl End {
    fn receive(&mut self, pieces: Vec<&[u8]>) {
        self.received.extend(receive(&mut self.connection, pieces));
    }

    /// Takes what is to be written, and checks the masking of each frame in it (§5.1, §5.3: M2,
    /// M3, O07).
    fn write(&mut self) -> Vec<u8> {
        let wire = written(&mut self.connection);
        let is_client = self.connection.role() == Role::Client;
        let mut rest = &wire[..];
        while let [_, second, tail @ ..] = rest {
            let (len, tail) = match second & 0x7f {
                126 => (u16::from_be_bytes([tail[0], tail[1]]).into(), &tail[2..]),
                127 => {
                    let (len, tail) = tail.split_at(8);
                    (u64::from_be_bytes(len.try_into().unwrap()), tail)
                }
                len => (len.into(), tail),
            };
            assert_eq!(second & 0x80 != 0, is_client, "only a client masks");
            let mut payload = tail;
            if is_client {
                let key = *tail.first_chunk().unwrap();
                assert_ne!(self.last_key, Some(key), "each frame has a fresh key");
                self.last_key = Some(key);
                payload = &tail[4..];
            }
            rest = &payload[len as usize..];
        }
        assert!(rest.is_empty(), "the output is a sequence of whole frames");
        wire
    }
}
