//! What stands for [AMX](https://en.wikipedia.org/wiki/Advanced_Matrix_Extensions) on platforms that have none: no value
//! of [`Tiles`] exists.

use burn_std::bf16;

/// Whether this process may multiply with tiles: never.
pub(crate) const fn available() -> bool {
    false
}

/// Whether the tests emulate tiles: not here.
#[cfg(test)]
pub(crate) const fn emulated() -> bool {
    false
}

/// Tile registers, of which there are none.
pub(crate) enum Tiles {}

impl Tiles {
    /// None.
    pub const fn configure() -> Option<Self> {
        None
    }

    /// Cannot be called.
    pub fn multiply(&self, _: [&[bf16]; 2], _: [&[bf16]; 2], _: &mut [f32], _: bool) {
        match *self {}
    }
}
