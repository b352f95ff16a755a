//! What stands for compression where it is not compiled in: types without a value.

/// The parameters of a compression that cannot have been agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeflateParams {}
