//! What comes out of an outbox.

use wsroom::outbox::Outgoing;

/// Those of a batch have a comma between them.
pub(crate) fn text(outgoing: &Outgoing) -> String {
    let bytes = match outgoing {
        Outgoing::Message(message) => message.as_bytes().to_vec(),
        Outgoing::Prepared(message) => message.payload().to_vec(),
        Outgoing::Batch(batch) => {
            let messages = batch.messages().iter().map(|message| message.payload());
            messages.collect::<Vec<_>>().join(&b","[..])
        }
        other => panic!("{other:?}"),
    };
    String::from_utf8(bytes).unwrap()
}
