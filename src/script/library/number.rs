//! Numbers as C's `%g` prints them.

use std::io::Write;

/// Appends a finite number with at most so many significant digits (1 to 17), without zeros at
/// the end: `%.{digits}g`.
pub(in crate::script) fn write_general(out: &mut Vec<u8>, number: f64, digits: usize) {
    if number.fract() == 0.0 && number.abs() < 1e9 && digits >= 9 && number.to_bits() != 1 << 63 {
        write!(out, "{}", number as i64).expect("a vector takes everything");
        return;
    }
    let scientific = format!("{:.*e}", digits - 1, number.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("it has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    let mut figures: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    while figures.len() > 1 && figures.last() == Some(&b'0') {
        figures.pop();
    }
    if number.is_sign_negative() {
        out.push(b'-');
    }
    if (-4..0).contains(&exponent) {
        out.extend_from_slice(b"0.");
        out.extend_from_slice(&b"000"[..(-exponent - 1) as usize]);
        out.extend_from_slice(&figures);
    } else if (0..digits as i32).contains(&exponent) {
        let whole = exponent as usize + 1;
        while figures.len() < whole {
            figures.push(b'0');
        }
        out.extend_from_slice(&figures[..whole]);
        if figures.len() > whole {
            out.push(b'.');
            out.extend_from_slice(&figures[whole..]);
        }
    } else {
        out.push(figures[0]);
        if figures.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&figures[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", exponent.abs()).expect("a vector takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlua::{Function, Lua};
    use proptest::prelude::*;

    fn printed(number: f64, digits: usize) -> String {
        let mut out = Vec::new();
        write_general(&mut out, number, digits);
        String::from_utf8(out).expect("ASCII")
    }

    proptest! {
        /// Lua's own `string.format` is C's.
        #[test]
        fn numbers_are_printed_as_c_prints_them(
            bits: u64, whole in -1_000_000_000_000_000i64..1_000_000_000_000_000,
            halves in -40_000_000_000_000i64..40_000_000_000_000, digits in 1..=17usize,
        ) {
            let lua = Lua::new();
            let format: Function = lua.load("return string.format").eval().expect("it is there");
            for number in [f64::from_bits(bits), whole as f64, halves as f64 / 2.0, whole as f64 / 1e9] {
                if number.is_finite() {
                    let expected: String =
                        format.call((format!("%.{digits}g"), number)).expect("it prints");
                    prop_assert_eq!(printed(number, digits), expected);
                }
            }
        }
    }
}
