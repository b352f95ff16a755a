//! permessage-deflate (RFC 7692): its parameters and its codec.
//!
//! Without the feature `deflate` the same names stand here for types that have no value, so that
//! nothing above needs to know.

#[cfg(not(feature = "deflate"))]
mod off;
#[cfg(feature = "deflate")]
mod params;

#[cfg(not(feature = "deflate"))]
pub use off::{Deflate, DeflateParams};
#[cfg(feature = "deflate")]
pub use params::{Deflate, DeflateParams};
