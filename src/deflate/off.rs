//! What stands for compression where it is not compiled in: types without a value.

/// The parameters of a compression that cannot have been agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeflateParams {}

/// What a side could ask for about compression: nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deflate {}

impl Deflate {
    pub(crate) const fn offers(&self) -> String {
        match *self {}
    }

    pub(crate) const fn accept<'a>(
        &self,
        _name: &str,
        _params: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Option<(String, DeflateParams)> {
        match *self {}
    }

    pub(crate) const fn verify<'a>(
        &self,
        _name: &str,
        _params: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Option<DeflateParams> {
        match *self {}
    }
}
