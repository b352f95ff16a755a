//! permessage-deflate (RFC 7692): its parameters and its codec.
//!
//! `protocol` decides what is compressed and what a fault means; here are §7.2.1 (compression),
//! §7.2.2 (decompression) and the memory of both. A message borrows its state from the thread for
//! as long as it takes, so that an idle connection holds none; with context takeover a connection
//! keeps the windows that messages may refer to.
//!
//! Without the feature `deflate` the same names stand here for types that have no value, so that
//! nothing above needs to know; none of them can be seen from outside then.

#[cfg(feature = "deflate")]
mod codec;
#[cfg(feature = "deflate")]
mod context;
#[cfg(not(feature = "deflate"))]
mod off;
#[cfg(feature = "deflate")]
mod params;
#[cfg(feature = "deflate")]
mod pool;
#[cfg(feature = "deflate")]
mod ring;

#[cfg(feature = "deflate")]
pub(crate) use codec::{Deflater, Inflater, Variants};
#[cfg(not(feature = "deflate"))]
pub(crate) use off::{Deflate, DeflateParams, Deflater, Inflater, Variants};
#[cfg(feature = "deflate")]
pub use params::{Deflate, DeflateParams};

/// The name of the extension (RFC 7692 §7).
pub(crate) const PERMESSAGE_DEFLATE: &str = "permessage-deflate";

/// How this side compresses what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    /// 1 to 9.
    pub(crate) level: u8,
    /// A shorter message is not compressed, if the application has said so.
    pub(crate) threshold: Option<usize>,
    /// How much is kept of what was sent.
    pub(crate) history: usize,
}

/// A piece of a message, inflated.
pub(crate) struct Inflated<'a> {
    /// How many bytes of the input were used.
    pub(crate) used: usize,
    pub(crate) piece: &'a [u8],
    /// Whether more may come of the bytes that were used: the output, or a fault.
    pub(crate) pending: bool,
}

/// Bytes that are not what §7.2.2 expects: not DEFLATE, cut inside a block, or a distance that
/// leads beyond the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidDeflate;
