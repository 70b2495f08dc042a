//! The tile instructions in plain Rust, for tests on processors without them.
//!
//! Such a processor raises SIGILL at a tile instruction. The handler decodes the instruction, does its work on memory and
//! on tiles of its own, and goes on behind it. So the tests run the assembly itself: its addresses, its registers and
//! the layout of its operands. Only the encodings that [`super::Tiles`] uses are decoded; any other illegal instruction
//! ends the process, as it would without the handler.
//!
//! Encodings are from Intel's manual, volume 2. The sums are added term by term, so their last bits may differ from a
//! processor's.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::OnceLock;

use libc::{
    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP,
    REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP, siginfo_t, ucontext_t,
};

/// A tile: 16 rows of 16 words. A word is a float32 or two bfloat16 values.
type Tile = [[u32; 16]; 16];

/// The eight tiles of a thread, and whether they are configured.
struct Registers {
    configured: bool,
    tiles: [Tile; 8],
}

thread_local! {
    // Constant and without a destructor, so that a signal handler may use it.
    static REGISTERS: UnsafeCell<Registers> = const {
        UnsafeCell::new(Registers { configured: false, tiles: [[[0; 16]; 16]; 8] })
    };
}

/// Installs the handler, once a process. Returns whether it is installed.
pub(super) fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        // SAFETY: the handler has the signature that SA_SIGINFO asks for, and an empty mask is valid.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = on_illegal_instruction as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &raw const action, null_mut()) == 0
        }
    })
}

extern "C" fn on_illegal_instruction(signal: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the context of the interrupted thread, which only this handler uses now. The
    // thread-local tiles are used by nothing else.
    unsafe {
        let general = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        let done = REGISTERS.with(|registers| emulate(general, &mut *registers.get()));
        match done {
            Some(bytes) => general[REG_RIP as usize] += bytes as i64,
            // Run again, without a handler.
            None => {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

/// Does what the instruction at RIP does, and returns its length. `None` if it is not a tile instruction of ours.
///
/// # Safety
/// RIP points at an instruction whose memory operands are valid.
unsafe fn emulate(general: &[i64; 23], registers: &mut Registers) -> Option<usize> {
    const PREFIXES: [&str; 4] = ["none", "66", "f3", "f2"];
    // SAFETY: the caller's promise; an instruction that starts with these bytes has at least five.
    unsafe {
        let code = general[REG_RIP as usize] as *const u8;
        let [first, second, third] = [0, 1, 2].map(|i| code.add(i).read());
        // VEX, three bytes, opcode map 0F 38, W and L zero.
        if first != 0xc4 || second & 0x1f != 2 || third & 0x84 != 0 {
            return None;
        }
        let prefix = PREFIXES[usize::from(third & 3)];
        let operand = Operand::decode(general, code, second)?;
        let tile = usize::from(operand.register);
        match (prefix, code.add(3).read(), operand.memory) {
            ("none", 0x49, Some((configuration, _))) => {
                // Palette 1; eight tiles of 64 bytes a row and sixteen rows; all else is reserved, or of more tiles.
                let mut whole = [0u8; 64];
                whole[0] = 1;
                for tile in 0..8 {
                    (whole[16 + 2 * tile], whole[48 + tile]) = (64, 16);
                }
                if configuration.cast::<[u8; 64]>().read_unaligned() != whole {
                    return None;
                }
                registers.configured = true;
                registers.tiles = [[[0; 16]; 16]; 8];
            }
            ("none", 0x49, None) => registers.configured = false,
            _ if !registers.configured => return None,
            ("f2", 0x49, None) => registers.tiles[tile] = [[0; 16]; 16],
            ("f2", 0x4b, Some((start, stride))) if operand.rm == 4 => {
                for (row, to) in registers.tiles[tile].iter_mut().enumerate() {
                    let from = start.offset(row as isize * stride).cast::<[u32; 16]>();
                    *to = from.read_unaligned();
                }
            }
            ("f3", 0x4b, Some((start, stride))) if operand.rm == 4 => {
                for (row, from) in registers.tiles[tile].iter().enumerate() {
                    let to = start.offset(row as isize * stride).cast::<[u32; 16]>();
                    to.cast_mut().write_unaligned(*from);
                }
            }
            ("f3", 0x5c, None) => {
                let (left, right) = (operand.rm, !(third >> 3) & 0xf);
                if left == right || [left, right].contains(&operand.register) {
                    return None;
                }
                let [left, right] = [left, right].map(|i| registers.tiles[usize::from(i) & 7]);
                multiply(&mut registers.tiles[tile], &left, &right);
            }
            _ => return None,
        }
        Some(operand.length)
    }
}

/// `sums[i][j] += sum over the pairs k of left[i][k] . right[k][j]`
fn multiply(sums: &mut Tile, left: &Tile, right: &Tile) {
    let halves = |pair: u32| {
        [
            f32::from_bits(pair << 16),
            f32::from_bits(pair & 0xffff_0000),
        ]
    };
    for (sums, left) in sums.iter_mut().zip(left) {
        for (left, right) in left.iter().zip(right) {
            let [a, b] = halves(*left);
            for (sum, right) in sums.iter_mut().zip(right) {
                let [c, d] = halves(*right);
                *sum = (f32::from_bits(*sum) + a * c + b * d).to_bits();
            }
        }
    }
}

/// The operands of an instruction, without that of the VEX prefix.
struct Operand {
    register: u8,
    rm: u8,
    /// Start, and bytes from row to row; `None` if `rm` is a register.
    memory: Option<(*const u8, isize)>,
    /// Bytes of the whole instruction.
    length: usize,
}

impl Operand {
    /// Decodes ModRM, SIB and displacement. `second` is the prefix's second byte, with the inverted upper bits of the
    /// registers' numbers.
    ///
    /// # Safety
    /// `code` points at an instruction.
    unsafe fn decode(general: &[i64; 23], code: *const u8, second: u8) -> Option<Self> {
        const NAMES: [c_int; 16] = [
            REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
            REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
        ];
        let upper = |bit: u8| u8::from(second & bit == 0) << 3;
        let value = |number: u8| general[NAMES[usize::from(number)] as usize] as isize;
        // SAFETY: the caller's promise.
        unsafe {
            let modrm = code.add(4).read();
            let (mode, register, rm) = (modrm >> 6, modrm >> 3 & 7, modrm & 7);
            let of = |memory, length| Self {
                register,
                rm,
                memory,
                length,
            };
            if mode == 3 {
                return Some(of(None, 5));
            }
            // With base 5 and mode 0 an address has no base; the compiler has no use for it here.
            let sib = code.add(5).read();
            let (base, stride, at) = match rm {
                4 => {
                    let (scale, index) = (sib >> 6, sib >> 3 & 7 | upper(0x40));
                    let stride = if index == 4 { 0 } else { value(index) << scale };
                    (sib & 7, stride, 6)
                }
                _ => (rm, 0, 5),
            };
            let (offset, length) = match mode {
                0 if base == 5 => return None,
                0 => (0, at),
                1 => (code.add(at).cast::<i8>().read().into(), at + 1),
                _ => {
                    let offset = code.add(at).cast::<i32>().read_unaligned();
                    (offset as isize, at + 4)
                }
            };
            let start = (value(base | upper(0x20)) + offset) as *const u8;
            Some(of(Some((start, stride)), length))
        }
    }
}
