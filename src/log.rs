//! Log events: those of `tracing` with the feature of that name, nothing without it.
//!
//! An event has fields in the form `name = %value` and then a literal, so that both forms take it.
//! What a peer sent never goes into one, but for the reason of a Close, which is escaped by the
//! `Display` of [`CloseFrame`](crate::CloseFrame).

#[cfg(not(feature = "tracing"))]
pub(crate) use off::{debug, warn};
#[cfg(feature = "tracing")]
pub(crate) use tracing::{debug, warn};

#[cfg(not(feature = "tracing"))]
mod off {
    /// Uses the values without evaluating them.
    macro_rules! nothing {
        ($($name:ident = %$value:expr,)* $message:literal) => {{
            let _ = || { $(let _ = &$value;)* };
        }};
    }

    pub(crate) use nothing as debug;
    pub(crate) use nothing as warn;
}
