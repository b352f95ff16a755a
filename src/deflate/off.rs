//! What stands for compression where it is not compiled in: types without a value.

use std::marker::PhantomData;
use std::ops::Deref;

use super::{Effort, Inflated, InvalidDeflate};

/// The parameters of a compression that cannot have been agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeflateParams {}

/// What a side could ask for about compression: nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deflate {}

impl Deflate {
    pub(crate) const fn offers(&self) -> String {
        match *self {}
    }

    pub(crate) const fn accept<'a>(
        &self,
        _params: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Option<(String, DeflateParams)> {
        match *self {}
    }

    pub(crate) const fn verify<'a>(
        &self,
        _params: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Option<DeflateParams> {
        match *self {}
    }
}

pub(crate) enum Inflater {}

pub(crate) enum Deflater {}

pub(crate) struct Deflated;

pub(crate) struct Variants<T>(PhantomData<T>);

impl Inflater {
    pub(crate) const fn new(params: DeflateParams, _from_client: bool) -> Self {
        match params {}
    }

    pub(crate) const fn inflate(
        &mut self,
        _input: &[u8],
        _limit: usize,
    ) -> Result<Inflated<'_>, InvalidDeflate> {
        match *self {}
    }

    pub(crate) const fn finish(&mut self) -> Result<(), InvalidDeflate> {
        match *self {}
    }
}

impl Deflater {
    pub(crate) const fn new(
        params: DeflateParams,
        _from_client: bool,
        _effort: Effort,
    ) -> Option<Self> {
        match params {}
    }

    pub(crate) const fn wants(&self, _len: usize) -> bool {
        match *self {}
    }

    pub(crate) const fn message(&mut self, _payload: &[u8]) -> Option<Deflated> {
        match *self {}
    }

    pub(crate) const fn piece(&mut self, _payload: &[u8], _is_last: bool) -> Deflated {
        match *self {}
    }

    pub(crate) const fn forget(&mut self) {
        match *self {}
    }
}

impl<T> Variants<T> {
    pub(crate) fn get_or_make(
        &self,
        deflater: &Deflater,
        _payload: &[u8],
        _make: impl FnOnce(&[u8]) -> T,
    ) -> Option<&T> {
        match *deflater {}
    }
}

impl<T> Default for Variants<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl Deref for Deflated {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &[]
    }
}
