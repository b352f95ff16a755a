//! The examples of §7.2.3, faults, and the states that are lent.

use std::cell::Cell;

use super::*;

thread_local! {
    /// How often something was deflated.
    pub(super) static CALLS: Cell<usize> = const { Cell::new(0) };
    /// How often a window was loaded.
    pub(super) static LOADS: Cell<usize> = const { Cell::new(0) };
}

const PARAMS: DeflateParams = DeflateParams {
    server_no_context_takeover: false,
    client_no_context_takeover: true,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};
const EFFORT: Effort = Effort {
    level: 6,
    threshold: Some(0),
    history: 4 << 10,
};

/// Inflates messages one after the other, whole and in single bytes, which must agree.
fn inflate(from_client: bool, messages: &[&[u8]]) -> Result<Vec<Vec<u8>>, InvalidDeflate> {
    let [whole, single] = [usize::MAX, 1].map(|step| {
        let mut inflater = Inflater::new(PARAMS, from_client);
        let inflate = |payload: &&[u8]| {
            let mut message = Vec::new();
            for mut chunk in payload.chunks(step) {
                loop {
                    let inflated = inflater.inflate(chunk, usize::MAX)?;
                    message.extend_from_slice(inflated.piece);
                    chunk = &chunk[inflated.used..];
                    if chunk.is_empty() && !inflated.pending {
                        break;
                    }
                }
            }
            inflater.finish()?;
            Ok(message)
        };
        messages.iter().map(inflate).collect()
    });
    assert_eq!(whole, single);
    whole
}

/// E8, §7.2.3.1, §7.2.3.3, §7.2.3.4, §7.2.3.5, §7.2.3.6.
#[test]
fn the_examples_of_one_message_are_inflated() {
    for (payload, message) in [
        (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], &b"Hello"[..]),
        (b"\x00\x05\x00\xfa\xffHello\x00", b"Hello"),
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
        (
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            b"Hello",
        ),
        (b"\x00", b""),
    ] {
        for from_client in [true, false] {
            let messages = inflate(from_client, &[payload, payload]);
            assert_eq!(messages, Ok(vec![message.into(), message.into()]));
        }
    }
}

/// E9, §7.2.3.2: the second message refers to the first, if that was agreed on.
#[test]
fn the_example_of_a_shared_window_is_inflated() {
    let messages: [&[u8]; 2] = [b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00"];
    assert_eq!(inflate(false, &messages), Ok(vec![b"Hello".into(); 2]));
    assert_eq!(inflate(true, &messages), Err(InvalidDeflate));
}

/// E10.
#[test]
fn the_examples_are_deflated() {
    let mut deflater = Deflater::new(PARAMS, false, EFFORT).unwrap();
    let mut hello = || deflater.message(b"Hello").unwrap().to_vec();
    assert_eq!(hello(), b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    assert_eq!(hello(), b"\xf2\x00\x11\x00\x00");
    let mut deflater = Deflater::new(PARAMS, true, EFFORT).unwrap();
    assert_eq!(
        *deflater.piece(b"Hello", true),
        *b"\xf2\x48\xcd\xc9\xc9\x07\x00"
    );
    assert_eq!(*deflater.piece(b"", true), [0]);
    assert!(
        deflater.message(b"Hello").is_none(),
        "it is shorter as it is"
    );
}

/// E11, §7.2.2: the tail must end a block, and give nothing.
#[test]
fn a_message_that_the_tail_does_not_complete_is_invalid() {
    for payload in [
        // Inside a block of fixed codes, of all lengths.
        &b"\xf2"[..],
        b"\xf2\x48",
        b"\xf2\x48\xcd\xc9\xc9",
        b"\xf2\x48\xcd\xc9\xc9\x07",
        // The tail was not taken off, or in part.
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff",
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff",
        // The tail would be the data of a stored block, or a part of its length.
        b"\x00\x04\x00\xfb\xff",
        b"\x00\xff",
        // Inside the lengths of a dynamic block.
        b"\x04",
    ] {
        assert_eq!(
            inflate(true, &[payload]),
            Err(InvalidDeflate),
            "{payload:x?}"
        );
    }
}

/// §7.2.2: a header that the tail goes on with, so that its last byte ends a block and begins
/// another.
#[test]
fn a_message_whose_tail_ends_a_block_inside_a_byte_is_invalid() {
    let mut bits = Vec::new();
    let mut put = |value: u32, count: u32| bits.extend((0..count).map(|i| value >> i & 1));
    // A dynamic block with 286 and 7 codes.
    put(0b100, 3);
    put(286 - 257, 5);
    put(7 - 1, 5);
    put(18 - 4, 4);
    // In it 0 means the length 0, 01 the length 1, and 11 with three bits 3 to 10 zeros.
    let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1];
    for symbol in order {
        let len = match symbol {
            0 => 1,
            1 | 17 => 2,
            _ => 0,
        };
        put(len, 3);
    }
    put(0b01, 2);
    (0..18).for_each(|_| put(0b11111, 5));
    (0..75).for_each(|_| put(0, 1));
    put(0b01, 2);
    // What is left are 36 zeros: 16 bits of the tail that are 0, 10 that are 1, and one more,
    // which means that the block ends.
    assert_eq!(bits.len() % 8, 0);
    let byte = |bits: &[u32]| {
        bits.iter()
            .rev()
            .fold(0, |byte, &bit| byte << 1 | bit as u8)
    };
    let payload: Vec<u8> = bits.chunks(8).map(byte).collect();
    let mut inflater = Inflate::new(false, 15);
    let input = [&payload[..], &TAIL].concat();
    let result = inflater.decompress(&input, &mut [0], InflateFlush::Block);
    assert_eq!(result, Ok(Status::Ok));
    assert_eq!(inflater.total_in() as usize, input.len());
    assert_eq!(inflate(false, &[&payload]), Err(InvalidDeflate));
}

/// §7.2.3.4: final blocks, each with the window that is there.
#[test]
fn a_message_of_final_blocks_refers_to_its_beginning() {
    let mut payload = b"\x00\x05\x00\xfa\xffHello".to_vec();
    for _ in 0..FINAL_BLOCKS {
        payload.extend(b"\x03\x00");
    }
    payload.extend(b"\xf3\x00\x11\x00\x00");
    assert_eq!(inflate(true, &[&payload]), Ok(vec![b"HelloHello".into()]));
}

/// §7.2.3.2, §7.2.3.4: the end of the message before, and a final block.
#[test]
fn a_final_block_leaves_what_was_before_the_message() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let messages: [&[u8]; 2] = [hello, b"\x03\x00\xf2\x00\x11\x00\x00"];
    assert_eq!(inflate(false, &messages), Ok(vec![b"Hello".into(); 2]));
    assert_eq!(inflate(true, &messages), Err(InvalidDeflate));
}

#[test]
fn a_message_may_have_only_so_many_final_blocks_for_its_length() {
    let blocks = |count| b"\x03\x00".repeat(count);
    let stored = [&b"\x00\x40\x00\xbf\xff"[..], &[7; 64]].concat();
    let slow = [stored.repeat(100), blocks(FINAL_BLOCKS + 100)].concat();
    assert!(inflate(true, &[&blocks(FINAL_BLOCKS), &slow]).is_ok());
    assert!(inflate(true, &[&blocks(FINAL_BLOCKS + 100)]).is_err());
    assert!(inflate(true, &[&slow, &blocks(FINAL_BLOCKS + 100)]).is_err());
}

/// Blocks without number that hold nothing cost no more loads of the window than their length
/// allows.
#[test]
fn a_flood_of_final_blocks_is_linear_work() {
    let flood = b"\x03\x00".repeat(1 << 19);
    let mut inflater = Inflater::new(PARAMS, false);
    let before = LOADS.get();
    assert!(inflater.inflate(&flood, 9).is_ok_and(|it| it.pending));
    assert_eq!(inflater.inflate(&flood, 9).err(), Some(InvalidDeflate));
    assert!(LOADS.get() - before <= 3 * FINAL_BLOCKS);
}

/// A state of another connection, of another thread, or of before a prepared message.
#[test]
fn a_state_goes_on_only_where_it_was_left() {
    let text = |i: usize| format!("message {} of {} for all", i * i, i % 3).repeat(20);
    for window_bits in [9, 12, 15] {
        let params = DeflateParams {
            server_max_window_bits: window_bits,
            ..PARAMS
        };
        let mut pairs: Vec<_> = (0..7)
            .map(|_| {
                let deflater = Deflater::new(params, false, EFFORT).unwrap();
                (deflater, Inflater::new(params, false))
            })
            .collect();
        for i in 0..300 {
            let count = if i < 100 { 2 } else { pairs.len() };
            let (deflater, inflater) = &mut pairs[(i * 5 + i / 10) % count];
            let message = text(i);
            let mut deflate = || deflater.message(message.as_bytes()).unwrap().to_vec();
            let deflated = if i % 7 == 0 {
                std::thread::scope(|scope| scope.spawn(deflate).join().unwrap())
            } else {
                deflate()
            };
            let inflated = inflater.inflate(&deflated, usize::MAX).unwrap();
            assert!(inflated.piece == message.as_bytes());
            inflater.finish().unwrap();
            if i % 11 == 0 {
                deflater.forget();
            }
        }
    }
}

/// Whatever the thread keeps of others that are gone.
#[test]
fn the_few_connections_that_are_busy_load_no_window() {
    for window_bits in [9, 15] {
        let params = DeflateParams {
            server_max_window_bits: window_bits,
            ..PARAMS
        };
        for (count, are_few) in [(1, true), (4, true), (5, false)] {
            let new = || {
                let deflater = Deflater::new(params, false, EFFORT).unwrap();
                (deflater, Inflater::new(params, false))
            };
            let mut pairs: Vec<_> = std::iter::repeat_with(new).take(count).collect();
            let mut loads = [0; 2];
            for _ in 0..100 {
                for (deflater, inflater) in &mut pairs {
                    let before = LOADS.get();
                    let message = deflater.message(b"said again and again").unwrap();
                    let between = LOADS.get();
                    inflater.inflate(&message, usize::MAX).unwrap();
                    inflater.finish().unwrap();
                    loads[0] += between - before;
                    loads[1] += LOADS.get() - between;
                }
            }
            assert_eq!(loads[0] <= 100, are_few, "{count} of {window_bits} bits");
            // A smaller window is always loaded, since a state follows distances beyond it.
            if window_bits == 15 {
                assert_eq!(loads[1] <= 100, are_few, "{count}");
            } else {
                assert!(loads[1] >= 100 * count);
            }
        }
    }
}

/// With the state that it left, or with another, a connection sends about as much.
#[test]
fn a_loaded_window_compresses_as_well_as_the_state_that_saw_it() {
    let text = |i: usize| format!("{{\"id\":{},\"room\":{},\"said\":\"hello\"}}", i * i, i % 7);
    for window_bits in [9, 12, 15] {
        let params = DeflateParams {
            server_max_window_bits: window_bits,
            ..PARAMS
        };
        let [alone, crowded] = [1, 9].map(|count| {
            let new = || Deflater::new(params, false, EFFORT).unwrap();
            let mut deflaters: Vec<_> = std::iter::repeat_with(new).take(count).collect();
            let mut sent = 0;
            for i in 0..200 {
                for deflater in &mut deflaters {
                    sent += deflater.message(text(i).as_bytes()).unwrap().len();
                }
            }
            sent / count
        });
        assert!(
            crowded <= alone + alone / 50,
            "{window_bits}: {crowded} of {alone}"
        );
    }
}

/// Members with two window sizes, some of which want no message of this length.
#[test]
fn variants_are_deflated_once_for_each_window_size_and_only_if_wanted() {
    let variants = Variants::default();
    let long = vec![7; 1000];
    let noise: Vec<u8> = (0..200_u32).map(|i| ((i * i * 7919) >> 5) as u8).collect();
    let noisy = Variants::default();
    let before = CALLS.get();
    for i in 0..100 {
        let window_bits = [9, 15][i % 2];
        let params = DeflateParams {
            server_no_context_takeover: i % 3 == 0,
            server_max_window_bits: window_bits,
            ..PARAMS
        };
        let deflater = Deflater::new(params, false, EFFORT).unwrap();
        let variant: Option<&usize> = variants.get_or_make(&deflater, &long, <[u8]>::len);
        assert!(variant.is_some_and(|&len| len < 30));
        assert_eq!(noisy.get_or_make(&deflater, &noise, <[u8]>::len), None);
    }
    assert_eq!(CALLS.get() - before, 4);
}
