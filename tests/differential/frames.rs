//! §5 to §7: streams of frames, legal and not.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wsroom::{Agreed, Connection, ProtocolError, Role};

use super::common::events::OwnedEvent;
use super::common::streams::{Outcome, Plan, outcome};
use super::peers::{End, Peer, Verdict};
use super::{SAME, Tally, bytes_of, count};

/// One stream, and what this crate made of it.
struct Case {
    plan: Plan,
    bytes: Vec<u8>,
    ours: Verdict,
    fault: Option<ProtocolError>,
}

#[test]
fn other_implementations_read_the_same_in_a_stream_of_frames() {
    let mut tallies = [Tally::default(), Tally::default()];
    for seed in 0..count(6_000) {
        let case = Case::new(seed);
        for (peer, tally) in Peer::ALL.into_iter().zip(&mut tallies) {
            let theirs = peer.verdict(case.plan, &case.bytes);
            let name = case.judge(peer, &theirs).unwrap_or_else(|| {
                panic!(
                    "seed {seed}, {:?}, {:02x?}\nours {:?} {:?}\n{peer:?} {theirs:?}",
                    case.plan, case.bytes, case.ours, case.fault,
                )
            });
            tally.add(name);
        }
    }
    for (peer, tally) in Peer::ALL.into_iter().zip(&tallies) {
        tally.print(&format!("{peer:?}"));
        assert!(tally.of(SAME) > count(6_000) / 2, "most are read alike");
    }
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let plan = Plan {
            role: [Role::Client, Role::Server][random.random_range(0..2)],
            small_limits: random.random_range(0..4) == 0,
            takes_over: None,
            faults: [0, 5, 20][random.random_range(0..3)],
        };
        let bytes = bytes_of::stream(plan, &mut random);
        let (ours, fault) = ours(plan, &bytes);
        Self {
            plan,
            bytes,
            ours,
            fault,
        }
    }

    /// The name of what is different, or [`SAME`]; none if it is not known.
    fn judge(&self, peer: Peer, theirs: &Verdict) -> Option<&'static str> {
        if self.ours == *theirs {
            return Some(SAME);
        }
        self.name(peer, theirs).or_else(|| {
            let is_later = theirs.end == End::Waiting && self.differs_in_time(peer);
            is_later.then_some("§7.1.7: fails when it is certain, or when the frame is whole")
        })
    }

    /// Whether the other implementation fails too when more has come.
    fn differs_in_time(&self, peer: Peer) -> bool {
        [1000, 1_200_000].into_iter().any(|more| {
            let bytes = [&self.bytes[..], &vec![0; more]].concat();
            let theirs = peer.verdict(self.plan, &bytes);
            theirs == self.ours || self.name(peer, &theirs).is_some()
        })
    }

    fn name(&self, peer: Peer, theirs: &Verdict) -> Option<&'static str> {
        use ProtocolError as E;

        if peer == Peer::Tungstenite && self.is_bad_gateway_refused(theirs) {
            return Some("IANA has 1014 among the codes of §7.4");
        }
        // Nowhere is this crate the laxer one: what follows needs a fault that it found.
        let fault = self.fault?;
        let more = theirs.events.strip_prefix(&self.ours.events[..])?;
        match (fault, peer, theirs.end) {
            (E::LengthNotMinimal, Peer::Tungstenite, _) => {
                Some("§5.2: a length MUST have its shortest form")
            }
            (E::ControlFrameTooLong, Peer::Tungstenite, _)
                if more.first().is_none_or(is_control) =>
            {
                Some("§5.2 and §5.5: the length of a control frame has the short form only")
            }
            (E::TooManyFragments, ..) => {
                Some("§10.4: there is no limit to the number of fragments")
            }
            (E::FrameTooLarge, Peer::TokioWebsockets, _) if self.plan.small_limits => {
                Some("§10.4: there is no limit to a frame but that of a message")
            }
            (E::InvalidCloseCode(_), Peer::Tungstenite, End::Closed) if is_refusal(more) => {
                Some("§7.4: a wrong code is answered with 1002, and given out as that")
            }
            // The message never comes out.
            (E::InvalidUtf8, Peer::Tungstenite, _) if more.iter().all(is_control) => {
                Some("§8.1: text fails at the byte that is wrong, or at its end")
            }
            (E::InvalidUtf8, Peer::TokioWebsockets, _) if more.first().is_some_and(is_no_text) => {
                Some("§8.1: text may not end inside a character, even if its last frame is empty")
            }
            _ if !more.is_empty() => None,
            (E::LengthOverflow, _, End::Fault(1009)) => {
                Some("§5.2: the first bit of a length MUST be 0, or it is too large")
            }
            (E::InvalidCloseCode(_), Peer::Tungstenite, End::Fault(1007)) => {
                Some("two faults in one Close: of its code or of its reason")
            }
            (E::MessageTooLarge | E::FrameTooLarge, _, End::Fault(1007)) => {
                Some("§10.4: a length is judged before what has it")
            }
            // §7.1.7 does not say which of several faults counts.
            (_, Peer::Tungstenite, End::Fault(1009)) if self.ours.end == End::Fault(1002) => {
                Some("two faults in one header: of framing or of size")
            }
            _ => None,
        }
    }

    fn is_bad_gateway_refused(&self, theirs: &Verdict) -> bool {
        let (Some((ours, before)), Some((last, theirs))) =
            (self.ours.events.split_last(), theirs.events.split_last())
        else {
            return false;
        };
        matches!(ours, OwnedEvent::Close(1014, _))
            && is_refusal(std::slice::from_ref(last))
            && before == theirs
    }
}

/// How tungstenite gives out a Close with a code that it refuses.
fn is_refusal(events: &[OwnedEvent]) -> bool {
    matches!(events, [OwnedEvent::Close(1002, reason)] if reason == "Protocol violation")
}

/// What comes out as text and is none: it ends inside a character.
fn is_no_text(event: &OwnedEvent) -> bool {
    matches!(event, OwnedEvent::Text(text) if text.ends_with(char::REPLACEMENT_CHARACTER))
}

fn is_control(event: &OwnedEvent) -> bool {
    !matches!(event, OwnedEvent::Text(_) | OwnedEvent::Binary(_))
}

fn ours(plan: Plan, bytes: &[u8]) -> (Verdict, Option<ProtocolError>) {
    let mut connection = Connection::new(plan.role, Agreed::default(), plan.config());
    let Outcome { events, fault, .. } = outcome(&mut connection, [bytes]);
    let end = match (fault, events.last()) {
        (Some(fault), _) => End::Fault(fault.close_code().get()),
        (None, Some(OwnedEvent::Close(..))) => End::Closed,
        _ => End::Waiting,
    };
    (Verdict { events, end }, fault)
}
