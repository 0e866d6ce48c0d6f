//! From registers to a count: the improved raw estimator of Otmar Ertl, "New cardinality estimation
//! algorithms for HyperLogLog sketches" (2017), algorithm 6. It needs no table and no bias
//! correction. Each step is done in the order in which Redis does it, so that the last digit agrees.

use super::{REGISTERS, VALUE_BITS};

/// How many registers hold each value. A register has six bits, and can hold more than is possible.
pub(super) type Histogram = [u32; 64];

/// 1 / (2 ln 2)
const ALPHA: f64 = 0.721_347_520_444_481_7;

pub(super) fn count(histogram: &Histogram) -> u64 {
    let m = REGISTERS as f64;
    let q = VALUE_BITS as usize;
    let mut z = m * tau((m - f64::from(histogram[q + 1])) / m);
    for &registers in histogram[1..=q].iter().rev() {
        z = (z + f64::from(registers)) * 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    (ALPHA * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
