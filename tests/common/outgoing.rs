//! What comes out of an outbox.

use wsroom::outbox::Outgoing;

pub(crate) fn text(outgoing: &Outgoing) -> String {
    let bytes = match outgoing {
        Outgoing::Message(message) => message.as_bytes(),
        Outgoing::Prepared(message) => message.payload(),
        other => panic!("{other:?}"),
    };
    String::from_utf8(bytes.to_vec()).unwrap()
}
