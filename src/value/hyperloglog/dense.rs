//! Registers of six bits each, the lowest bits of a byte first.

use super::REGISTERS;

const BITS: usize = 6;
const MASK: u16 = (1 << BITS) - 1;

/// Bytes of all registers.
pub(super) const BYTES: usize = REGISTERS * BITS / 8;

fn get(registers: &[u8], index: usize) -> u8 {
    let (at, shift) = (index * BITS / 8, index * BITS % 8);
    let high = registers.get(at + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([registers[at], high]) >> shift & MASK) as u8
}

fn set(registers: &mut [u8], index: usize, value: u8) {
    let (at, shift) = (index * BITS / 8, index * BITS % 8);
    let high = registers.get(at + 1).copied().unwrap_or(0);
    let both = u16::from_le_bytes([registers[at], high]);
    let both = both & !(MASK << shift) | u16::from(value) << shift;
    let [low, high] = both.to_le_bytes();
    registers[at] = low;
    if let Some(byte) = registers.get_mut(at + 1) {
        *byte = high;
    }
}

/// Makes a register hold at least `value`; true if that changed it.
pub(super) fn raise(registers: &mut [u8], index: usize, value: u8) -> bool {
    let rises = get(registers, index) < value;
    if rises {
        set(registers, index, value);
    }
    rises
}

/// Every register with its value.
pub(super) fn each(registers: &[u8], mut visit: impl FnMut(usize, u8)) {
    for index in 0..REGISTERS {
        visit(index, get(registers, index));
    }
}
