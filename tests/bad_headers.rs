//! The first two bytes of a frame, all there are, in each state and with each kind of compression,
//! against a model that shares no code with the crate.

mod common {
    pub(crate) mod answers;
    #[cfg(feature = "deflate")]
    pub(crate) mod deflate;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod model;
    pub(crate) mod output;
    pub(crate) mod reference;
}

use common::events::receive;
use common::frames::frame_to;
use common::model::Model;
use common::output::written;
use wsroom::{Config, Connection, Role};

/// What was received before, and whether we have sent our Close.
struct State {
    first: Option<u8>,
    has_closed: bool,
}

const OUTSIDE: State = State {
    first: None,
    has_closed: false,
};

const IN_TEXT: State = State {
    first: Some(0x01),
    has_closed: false,
};

const IN_BINARY: State = State {
    first: Some(0x02),
    has_closed: false,
};

const CLOSING: State = State {
    first: Some(0x02),
    has_closed: true,
};

/// F1 to F4, F11, F12, G2, G3.
#[test]
fn all_first_bytes_are_judged_as_the_model_does() {
    for state in [OUTSIDE, IN_TEXT, IN_BINARY, CLOSING] {
        judge(&state, None, |role| {
            common::answers::connection_with(role, Config::default())
        });
    }
}

/// E6: RSV1 is a bit of the first frame of a message, and of no other.
#[cfg(feature = "deflate")]
#[test]
fn all_first_bytes_are_judged_as_the_model_does_with_compression() {
    const IN_COMPRESSED: State = State {
        first: Some(0x42),
        has_closed: false,
    };
    for takes_over in [true, false] {
        for state in [OUTSIDE, IN_BINARY, IN_COMPRESSED] {
            judge(&state, Some(takes_over), |role| {
                let params = common::deflate::params(15, takes_over);
                common::deflate::connection(role, params, Config::default())
            });
        }
    }
}

fn judge(state: &State, takes_over: Option<bool>, connect: impl Fn(Role) -> Connection) {
    for role in [Role::Client, Role::Server] {
        let model = Model {
            role,
            takes_over,
            has_closed: state.has_closed,
        };
        // Compressed or not, one byte that a message may begin with.
        let before = state.first.map(|first| frame_to(role, first, b"\0"));
        let before = before.unwrap_or_default();
        for bytes in (0..=u16::MAX).map(u16::to_be_bytes) {
            let mut connection = connect(role);
            if state.has_closed {
                connection.close(None).unwrap();
                written(&mut connection);
            }
            let mut stream = [&before[..], &bytes].concat();
            let mut outcomes = receive(&mut connection, [&stream[..]]);
            let mut verdict = model.receive(&stream);
            // Zeros are a key, any payload, and a close code that is none.
            if verdict.is_open() && bytes[1] & 0x7f <= 125 {
                let key = if bytes[1] & 0x80 != 0 { 4 } else { 0 };
                let rest = vec![0; key + usize::from(bytes[1] & 0x7f)];
                outcomes.extend(receive(&mut connection, [&rest[..]]));
                stream.extend(rest);
                verdict = model.receive(&stream);
            }
            let wire = written(&mut connection);
            if let Err(fault) = verdict.check(&outcomes, &wire) {
                panic!("{fault}: {bytes:02x?} behind {before:02x?} to {role:?}");
            }
        }
    }
}
