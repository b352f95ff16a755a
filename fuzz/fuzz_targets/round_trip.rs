//! What is sent is what comes out at the other end; a prepared message is the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsroom::frame::MaskKey;
use wsroom::{Config, Event, Message, Role};
use wsroom_fuzz::{Cuts, connection, pair::AnyMessage, written};

fuzz_target!(|input: (bool, [u8; 4], Cuts, Vec<AnyMessage>)| {
    let (from_client, key, cuts, messages) = input;
    let mut roles = [Role::Server, Role::Client];
    roles.rotate_left(usize::from(from_client));
    let [mut sender, mut receiver] = roles.map(|role| connection(role, Config::default()));
    let mut preparer = connection(roles[0], Config::default());
    sender.fix_mask_key(MaskKey::new(key));
    preparer.fix_mask_key(MaskKey::new(key));
    let messages: Vec<Message> = messages.iter().map(AnyMessage::make).collect();
    for message in &messages {
        sender.send(message.clone()).expect("it is open");
        let prepared = message.clone().into();
        preparer.send_prepared(&prepared).expect("it is open");
    }
    let wire = written(&mut sender);
    assert!(wire == written(&mut preparer), "the same bytes");
    let mut received = Vec::new();
    for mut piece in cuts.cut(&wire) {
        let mut rest = &mut piece[..];
        while let Some(event) = receiver.receive(&mut rest).expect("legal bytes") {
            received.push(match event {
                Event::Text(text) => Message::from(text),
                Event::Binary(payload) => Message::from(payload),
                event => panic!("nobody sent {event:?}"),
            });
        }
    }
    assert!(received == messages, "what was sent arrives");
});
