//! What stands for AMX on platforms that have none: a type [`Tiles`] without values.

use std::convert::Infallible;

use half::bf16;

/// Whether this process may multiply with tiles: never.
#[cfg(target_arch = "x86_64")]
pub(crate) const fn available() -> bool {
    false
}

/// Whether the tests emulate tiles: not here.
#[cfg(test)]
pub(crate) const fn emulated() -> bool {
    false
}

/// Tile registers, of which there are none.
pub(crate) struct Tiles(Infallible);

impl Tiles {
    /// None.
    pub const fn configure() -> Option<Self> {
        None
    }

    /// Cannot be called: there are no `Tiles`.
    pub fn multiply(&self, _: [&[bf16]; 2], _: [&[bf16]; 2], _: &mut [f32], _: bool) {
        match self.0 {}
    }
}
