//! Bytes in pieces, and messages in fragments, cut where a property says.

use bytes::Bytes;
use proptest::sample::Index;
use wsroom::frame::OpCode;
use wsroom::protocol::Fragment;

pub(crate) fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter()
        .map(|end| &bytes[std::mem::replace(&mut start, end)..end])
        .collect()
}

pub(crate) fn fragments(opcode: OpCode, message: &[u8], cuts: &[Index]) -> Vec<Fragment> {
    let pieces = cut(message, cuts).into_iter().enumerate();
    pieces
        .map(|(i, piece)| Fragment {
            opcode: if i == 0 { opcode } else { OpCode::Continuation },
            fin: i == cuts.len(),
            payload: Bytes::copy_from_slice(piece),
        })
        .collect()
}
