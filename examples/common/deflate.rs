//! What `--deflate` means to the examples.

use wsroom::Upgrade;

/// Compresses for every client that offers it.
#[cfg(feature = "deflate")]
pub(crate) fn allow_deflate(upgrade: Upgrade) -> Result<Upgrade, &'static str> {
    Ok(upgrade.deflate(wsroom::deflate::Deflate::default()))
}

#[cfg(not(feature = "deflate"))]
pub(crate) fn allow_deflate(_: Upgrade) -> Result<Upgrade, &'static str> {
    Err("built without the feature deflate: add --features deflate")
}
