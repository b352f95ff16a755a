//! Open, Closing, Closed: each event in each state, at both ends, in each way to get there.

use std::time::{Duration, Instant};

use bytes::Bytes;
use wsroom::frame::{FrameHeader, OpCode};
use wsroom::protocol::{Fragment, PreparedBatch, State};
use wsroom::{
    Agreed, CloseCause, CloseCode, CloseFrame, Config, Connection, Event, PreparedMessage,
    ProtocolError, Role, SendError,
};

use super::common::frames::frame_to;
use super::common::output::written;
use super::table;

/// How a connection came to where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Opened,
    ClosingWith1000,
    ClosingWithNothing,
    ClosedByPeer,
    ClosedAfterOurs,
    Failed,
    FailedAfterOurs,
    Lost,
    LostAfterOurs,
    Overdue,
    PongTimeout,
    IdleTimeout,
}

impl Way {
    const ALL: [Self; 12] = [
        Self::Opened,
        Self::ClosingWith1000,
        Self::ClosingWithNothing,
        Self::ClosedByPeer,
        Self::ClosedAfterOurs,
        Self::Failed,
        Self::FailedAfterOurs,
        Self::Lost,
        Self::LostAfterOurs,
        Self::Overdue,
        Self::PongTimeout,
        Self::IdleTimeout,
    ];

    fn state(self) -> State {
        match self {
            Self::Opened => State::Open,
            Self::ClosingWith1000 | Self::ClosingWithNothing => State::Closing,
            _ => State::Closed,
        }
    }
}

/// What is unfinished when the event happens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unfinished {
    Nothing,
    /// A message of the peer.
    Receiving,
    /// A message of ours.
    Sending,
}

struct Scene {
    connection: Connection,
    now: Instant,
}

const HEADING: [&str; 4] = ["event", "Open", "Closing", "Closed"];

#[test]
fn every_event_in_every_state_does_what_the_table_says() {
    let mut compared = 0;
    for row in table(&HEADING) {
        for role in [Role::Client, Role::Server] {
            for way in Way::ALL {
                for unfinished in before(row.event, role) {
                    for waits in [false, true] {
                        let at = format!("{}: {role:?}, {way:?}, {unfinished:?}", row.event);
                        let cell = row.cells[match way.state() {
                            State::Open => 0,
                            State::Closing => 1,
                            State::Closed => 2,
                        }];
                        for (nth, _) in variants(row.event, role).iter().enumerate() {
                            let mut scene = Scene::new(row.event, role, way);
                            scene.begin(row.event, unfinished);
                            if !waits {
                                written(&mut scene.connection);
                            }
                            scene.go(way);
                            if !waits {
                                written(&mut scene.connection);
                            }
                            scene.compare(row.event, nth, cell, &at);
                            compared += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(compared > 2000, "{compared}");
}

/// A row that was taken out of the table would not be missed otherwise.
#[test]
fn the_table_has_every_call_and_every_fault() {
    let rows = table(&HEADING);
    let has = |event: &str| rows.iter().any(|row| row.event.contains(event));
    for event in [
        "`send`",
        "`send_prepared`",
        "`send_batch`",
        "`send_fragment`",
        "`ping`",
        "`pong`",
        "`close`",
        "a message",
        "a fragment",
        "a Ping",
        "a Pong",
        "a Close",
        "the input ends",
        "ping_interval",
        "pong_timeout",
        "idle_timeout",
        "close_timeout",
    ] {
        assert!(has(event), "{event}");
    }
    for (fault, _) in faults(Role::Server) {
        let code = format!("answered with {}", fault.close_code().get());
        assert!(has(&code), "{code}");
    }
}

/// What may be unfinished when this happens at this end.
fn before(event: &str, role: Role) -> Vec<Unfinished> {
    use Unfinished::{Nothing, Receiving, Sending};
    match event {
        "`close` with 1010, by a client" if role == Role::Server => vec![],
        "`close` with 1010, by a server" if role == Role::Client => vec![],
        "`send` between fragments" | "`send_fragment` that ends a message" => vec![Sending],
        "a fragment comes that ends a message" => vec![Receiving],
        "`send`"
        | "`send_prepared`"
        | "`send_batch`"
        | "`send_fragment` that begins a message"
        | "`send_fragment` that goes on with no message" => vec![Nothing, Receiving],
        _ if event.starts_with("a [`ProtocolError`]") => vec![Nothing, Sending],
        "a message comes" | "a fragment comes that begins a message" => vec![Nothing, Sending],
        _ => vec![Nothing, Receiving, Sending],
    }
}

/// The faults that a row is about; one of no matter what for another row.
fn variants(event: &str, role: Role) -> Vec<(ProtocolError, Vec<u8>)> {
    let mut faults = faults(role);
    match event.rsplit_once(" answered with ") {
        Some((_, code)) => faults.retain(|(fault, _)| fault.close_code().get().to_string() == code),
        None => faults.truncate(1),
    }
    assert!(!faults.is_empty());
    faults
}

/// Each fault, and frames that have it.
fn faults(role: Role) -> Vec<(ProtocolError, Vec<u8>)> {
    use ProtocolError as E;
    let frame = |first, payload: &[u8]| frame_to(role, first, payload);
    let (peer, mask_bit, unmasked) = match role {
        Role::Client => (Role::Server, 0, E::MaskedByServer),
        Role::Server => (Role::Client, 0x80, E::UnmaskedByClient),
    };
    let fragments = [&frame(0x02, b"")[..], &frame(0x00, b"").repeat(8)].concat();
    let too_long = [&frame(0x02, &[0; 600])[..], &frame(0x80, &[0; 600])].concat();
    vec![
        (E::ReservedBits, frame(0x91, b"x")),
        (E::ReservedOpCode, frame(0x83, b"x")),
        (E::FragmentedControlFrame, frame(0x09, b"x")),
        (E::UnexpectedContinuation, frame(0x80, b"x")),
        (
            E::ExpectedContinuation,
            [frame(0x01, b"x"), frame(0x81, b"x")].concat(),
        ),
        (unmasked, frame_to(peer, 0x81, b"x")),
        (E::ControlFrameTooLong, frame(0x89, &[0; 126])),
        (E::LengthNotMinimal, vec![0x81, mask_bit | 126, 0, 1]),
        (
            E::LengthOverflow,
            [0x81, mask_bit | 127]
                .into_iter()
                .chain([0xff; 8])
                .collect(),
        ),
        (E::CloseBodyTooShort, frame(0x88, b"x")),
        (
            E::InvalidCloseCode(CloseCode::NO_STATUS),
            frame(0x88, &1005_u16.to_be_bytes()),
        ),
        (E::InvalidCloseReason, frame(0x88, b"\x03\xe8\xff")),
        (E::InvalidUtf8, frame(0x81, b"\xff")),
        (E::TooManyFragments, fragments),
        (E::FrameTooLarge, frame(0x82, &[0; 801])),
        (E::MessageTooLarge, too_long),
    ]
}

impl Scene {
    fn new(event: &str, role: Role, way: Way) -> Self {
        let mut config = Config::default()
            .max_message_size(1000)
            .max_frame_size(800)
            .max_fragments(8)
            .close_timeout(Duration::from_secs(1000));
        if way == Way::Overdue || event.contains("close_timeout") {
            config = config.close_timeout(Duration::from_secs(10));
        }
        // Only one of the deadlines of a peer that is silent.
        let is_silence = way == Way::IdleTimeout || event.contains("idle_timeout");
        if is_silence && way != Way::PongTimeout {
            config = config.ping_interval(None);
        } else {
            config = config.idle_timeout(None);
        }
        let mut scene = Self {
            connection: Connection::new(role, Agreed::default(), config),
            now: Instant::now(),
        };
        scene.connection.handle_timeout(scene.now);
        scene
    }

    /// What comes before the event, while the connection is open.
    fn begin(&mut self, event: &str, unfinished: Unfinished) {
        self.connection.send("waits").unwrap();
        match unfinished {
            Unfinished::Nothing => {}
            Unfinished::Receiving => {
                let frame = frame_to(self.connection.role(), 0x01, "é".as_bytes());
                assert!(self.receive(frame).is_empty());
            }
            Unfinished::Sending => {
                let first = fragment(OpCode::Text, false);
                self.connection.send_fragment(&first).unwrap();
            }
        }
        // That the peer was heard counts as of the next timeout.
        self.pass(Duration::ZERO);
        if event.contains("pong_timeout") {
            self.pass(Duration::from_secs(20));
            assert!(self.connection.output_len() > 0);
        }
    }

    fn go(&mut self, way: Way) {
        let role = self.connection.role();
        let close = || frame_to(role, 0x88, b"\x0f\xa0");
        let fault = || frame_to(role, 0x83, b"");
        let ours = matches!(
            way,
            Way::ClosingWith1000
                | Way::ClosedAfterOurs
                | Way::FailedAfterOurs
                | Way::LostAfterOurs
                | Way::Overdue
        );
        if ours {
            let frame = CloseFrame::from(CloseCode::NORMAL);
            self.connection.close(frame).unwrap();
        }
        match way {
            Way::Opened | Way::ClosingWith1000 => {}
            Way::ClosingWithNothing => self.connection.close(None).unwrap(),
            Way::ClosedByPeer | Way::ClosedAfterOurs => drop(self.receive(close())),
            Way::Failed | Way::FailedAfterOurs => drop(self.receive(fault())),
            Way::Lost | Way::LostAfterOurs => self.connection.receive_eof(),
            Way::Overdue => {
                self.pass(Duration::ZERO);
                self.pass(Duration::from_secs(10));
            }
            Way::PongTimeout => {
                self.pass(Duration::from_secs(20));
                self.pass(Duration::from_secs(20));
            }
            Way::IdleTimeout => self.pass(Duration::from_secs(120)),
        }
        self.pass(Duration::ZERO);
        assert_eq!(self.connection.state(), way.state());
        let info = self.connection.close_info();
        assert_eq!(info.is_some(), way.state() == State::Closed);
        assert_eq!(self.connection.is_overdue(), way == Way::Overdue);
    }

    fn compare(&mut self, event: &str, nth: usize, cell: &str, at: &str) {
        let (state, was_overdue) = (self.connection.state(), self.connection.is_overdue());
        let before = self.connection.output_len();
        let mut said = self.act(event, nth);
        let after = self.connection.output_len();
        let is_dropped = after < before;
        if is_dropped {
            said.push("- output".into());
            assert_eq!(after, 0, "{at}");
        } else {
            let wire = written(&mut self.connection);
            said.extend(frames(&wire[before..], self.connection.role()));
        }
        let has_ended = state != State::Closed && self.connection.is_closed();
        let is_overdue = self.connection.is_overdue() && !was_overdue;
        let now = self.connection.state();
        if has_ended {
            said.push(format!("→ Closed {}", self.ending(is_overdue)));
        } else if now != state {
            said.push(format!("→ {now:?}"));
        } else if is_overdue {
            said.push("(overdue)".into());
        }
        // Where nothing waits, nothing is dropped; and a deadline passes once.
        let mut expected = cell.to_owned();
        if before == 0 {
            expected = expected.replace("- output, ", "");
        }
        if was_overdue {
            expected = expected.replace("(overdue)", "");
        }
        assert_eq!(said.join(", "), expected, "{at}");
    }

    fn ending(&self, is_overdue: bool) -> String {
        let info = self.connection.close_info().unwrap();
        let cause = match info.cause {
            CloseCause::Protocol(_) => "Protocol".into(),
            cause => format!("{cause:?}"),
        };
        let received = info
            .received
            .as_ref()
            .map_or(1006, |frame| frame.code.get());
        assert_eq!(info.code().get(), received);
        match (info.is_clean(), is_overdue) {
            (true, _) => format!("({cause}, clean)"),
            (_, true) => format!("({cause}, overdue)"),
            _ => format!("({cause})"),
        }
    }

    /// Has it happen; gives what comes of the call.
    fn act(&mut self, event: &str, nth: usize) -> Vec<String> {
        let role = self.connection.role();
        let frame = |first, payload: &[u8]| frame_to(role, first, payload);
        let connection = &mut self.connection;
        let mut close = |code, reason: &str| {
            said(connection.close(CloseFrame::new(CloseCode::new(code), reason)))
        };
        match event {
            "`close` with 1000" => close(1000, ""),
            "`close` with 1010, by a client" | "`close` with 1010, by a server" => close(1010, ""),
            "`close` with 1005" => close(1005, ""),
            "`close` with a reason of 124 bytes" => close(1000, &"x".repeat(124)),
            "`close` with nothing" => said(connection.close(None)),
            "`send`" | "`send` between fragments" => said(connection.send("x")),
            "`send_prepared`" => said(connection.send_prepared(&PreparedMessage::new("x"))),
            "`send_batch`" => said(connection.send_batch(&PreparedBatch::new(["x", "x"]))),
            "`send_fragment` that begins a message" => {
                said(connection.send_fragment(&fragment(OpCode::Text, false)))
            }
            "`send_fragment` that ends a message"
            | "`send_fragment` that goes on with no message" => {
                said(connection.send_fragment(&fragment(OpCode::Continuation, true)))
            }
            "`ping`" => said(connection.ping(b"x")),
            "`ping` with 126 bytes" => said(connection.ping(&[0; 126])),
            "`pong`" => said(connection.pong(b"x")),
            "a message comes" => self.receive(frame(0x81, b"x")),
            "a fragment comes that begins a message" => self.receive(frame(0x01, b"x")),
            "a fragment comes that ends a message" => self.receive(frame(0x80, b"x")),
            "a Ping comes" => self.receive(frame(0x89, b"x")),
            "a Pong comes" => self.receive(frame(0x8a, b"x")),
            "a Close with 1001 comes" => self.receive(frame(0x88, b"\x03\xe9bye")),
            "a Close with nothing comes" => self.receive(frame(0x88, b"")),
            "the input ends" => {
                connection.receive_eof();
                vec![]
            }
            "no deadline has passed" => self.pass_silently(1),
            "[`ping_interval`](Config::ping_interval) has passed"
            | "[`pong_timeout`](Config::pong_timeout) has passed" => self.pass_silently(20),
            "[`idle_timeout`](Config::idle_timeout) has passed" => self.pass_silently(120),
            "[`close_timeout`](Config::close_timeout) has passed" => self.pass_silently(10),
            _ => {
                let (fault, frames) = variants(event, role).swap_remove(nth);
                let said = self.receive(frames);
                let info = self.connection.close_info().unwrap();
                if !said.is_empty() {
                    assert_eq!(info.cause, CloseCause::Protocol(fault));
                }
                said
            }
        }
    }

    /// What comes of these bytes, and no byte behind the end is left.
    fn receive(&mut self, mut bytes: Vec<u8>) -> Vec<String> {
        let mut input = &mut bytes[..];
        let mut said = Vec::new();
        loop {
            said.push(match self.connection.receive(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Text(_))) => "Text".into(),
                Ok(Some(Event::Ping(_))) => "Ping".into(),
                Ok(Some(Event::Pong { .. })) => "Pong".into(),
                Ok(Some(Event::Close(frame))) => format!("Close {}", frame.code.get()),
                Ok(Some(event)) => panic!("{event:?}"),
                Err(_) => "Err".into(),
            });
        }
        assert!(input.is_empty());
        said
    }

    fn pass_silently(&mut self, seconds: u64) -> Vec<String> {
        self.pass(Duration::from_secs(seconds));
        vec![]
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.connection.handle_timeout(self.now);
    }
}

fn said(result: Result<(), SendError>) -> Vec<String> {
    vec![match result {
        Ok(()) => "Ok".into(),
        Err(error) => format!("Err({error:?})"),
    }]
}

fn fragment(opcode: OpCode, fin: bool) -> Fragment {
    Fragment {
        opcode,
        fin,
        payload: Bytes::from_static(b"x"),
    }
}

/// The frames that were put into the output.
fn frames(mut wire: &[u8], role: Role) -> Vec<String> {
    let mut frames = Vec::new();
    while let Some((header, len)) = FrameHeader::parse(wire).unwrap() {
        assert_eq!(header.mask.is_some(), role == Role::Client);
        let (payload, rest) = wire[len..].split_at(header.payload_len as usize);
        let mut payload = payload.to_vec();
        header.mask.unwrap_or_default().apply(&mut payload);
        let more = if header.fin { "" } else { "…" };
        frames.push(match (header.opcode, &payload[..]) {
            (OpCode::Close, [high, low, ..]) => {
                format!("+ Close {}", u16::from_be_bytes([*high, *low]))
            }
            (opcode, _) => format!("+ {opcode:?}{more}"),
        });
        wire = rest;
    }
    assert!(wire.is_empty());
    frames
}
