//! What stands for AMX on platforms that have none: no value of [`Tiles`] is ever made.

use burn_std::bf16;

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
pub(crate) struct Tiles(());

impl Tiles {
    /// None.
    pub const fn configure() -> Option<Self> {
        None
    }

    /// Never called: there are no `Tiles`.
    pub fn multiply(&self, _: [&[bf16]; 2], _: [&[bf16]; 2], _: &mut [f32], _: bool) {
        let () = self.0;
        unreachable!("no value of this type is made");
    }
}
