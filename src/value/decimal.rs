//! Whole numbers without limit, as far as reading and printing of floating-point numbers needs
//! them: add a digit, shift, multiply and divide by powers of ten.

/// A whole number: 32 bits a limb, the lowest first, no zero limb at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decimal {
    limbs: Vec<u32>,
}

/// Ten to the ninth: the largest power that fits a limb.
const CHUNK: u32 = 1_000_000_000;
const CHUNK_DIGITS: u32 = 9;

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        let mut decimal = Self { limbs: vec![number as u32, (number >> 32) as u32] };
        decimal.trim();
        decimal
    }
}

impl Decimal {
    pub(super) fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn bits(&self) -> u32 {
        let top = self.limbs.last().map_or(0, |limb| 32 - limb.leading_zeros());
        (self.limbs.len().saturating_sub(1) * 32) as u32 + top
    }

    /// `self * 10 + digit`
    pub(super) fn push_digit(&mut self, digit: u8) {
        self.multiply_add(10, u32::from(digit));
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.limbs {
            let wide = u64::from(*limb) * u64::from(factor) + carry;
            *limb = wide as u32;
            carry = wide >> 32;
        }
        if carry > 0 {
            self.limbs.push(carry as u32);
        }
    }

    /// Divides, and returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0u64;
        for limb in self.limbs.iter_mut().rev() {
            let wide = rest << 32 | u64::from(*limb);
            *limb = (wide / u64::from(divisor)) as u32;
            rest = wide % u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    /// `self * 2^bits`
    pub(super) fn shifted_left(mut self, bits: u32) -> Self {
        if self.is_zero() {
            return self;
        }
        self.multiply_add(1 << (bits % 32), 0);
        let zeros = std::iter::repeat_n(0, (bits / 32) as usize);
        self.limbs.splice(0..0, zeros);
        self
    }

    /// The top bits of `self * 10^power`: a value, the power of two to multiply it with, and
    /// whether there was more beneath it. The value has at least 66 bits, so that it can be
    /// rounded to 64 (or it is exact).
    pub(super) fn scaled(mut self, power: i32) -> (u128, i32, bool) {
        let mut exponent = 0;
        let mut rest = false;
        let mut left = power.unsigned_abs();
        if power < 0 {
            // Ten is below 2^3.33: the quotient keeps at least 66 bits.
            let shift = left * 10 / 3 + 70;
            self = self.shifted_left(shift);
            exponent -= shift as i32;
        }
        while left > 0 {
            let digits = left.min(CHUNK_DIGITS);
            let factor = 10u32.pow(digits);
            if power < 0 {
                rest |= self.divide(factor) != 0;
            } else {
                self.multiply_add(factor, 0);
            }
            left -= digits;
        }
        // The top 127 bits or fewer.
        let drop = self.bits().saturating_sub(127);
        let (words, bits) = ((drop / 32) as usize, drop % 32);
        rest |= self.limbs[..words].iter().any(|&limb| limb != 0);
        let mut value = 0u128;
        let mut place = 0;
        for &limb in &self.limbs[words..] {
            let limb = u128::from(limb);
            if place < bits && place == 0 && bits > 0 {
                rest |= limb & ((1 << bits) - 1) != 0;
                value |= limb >> bits;
                place = 32 - bits;
            } else {
                value |= limb << place;
                place += 32;
            }
        }
        (value, exponent + drop as i32, rest)
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut number = self.clone();
        let mut chunks = Vec::new();
        while !number.is_zero() {
            chunks.push(number.divide(CHUNK));
        }
        write!(f, "{}", chunks.pop().unwrap_or(0))?;
        chunks.iter().rev().try_for_each(|chunk| write!(f, "{chunk:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_beyond_any_word() {
        let mut number = Decimal::default();
        assert_eq!(number.to_string(), "0");
        let text = "123456789012345678901234567890123456789012345678901234567890";
        text.bytes().for_each(|digit| number.push_digit(digit - b'0'));
        assert_eq!(number.to_string(), text);
        assert_eq!(Decimal::from(1).shifted_left(100).to_string(), (1u128 << 100).to_string());
    }

    #[test]
    fn scaling_keeps_the_top_bits_and_says_what_it_lost() {
        assert_eq!(Decimal::from(5).scaled(0), (5, 0, false));
        assert_eq!(Decimal::from(5).scaled(3), (5000, 0, false));
        let (value, exponent, rest) = Decimal::from(1).scaled(-1);
        assert!(rest && value >> 66 != 0);
        let tenth = value as f64 * 2f64.powi(exponent);
        assert!((tenth - 0.1).abs() < 1e-16);
        // 1e40 has 133 bits, of which the lowest 40 are zero: nothing is lost.
        let (value, exponent, rest) = Decimal::from(1).scaled(40);
        assert_eq!((value as f64 * 2f64.powi(exponent), rest), (1e40, false));
    }
}
