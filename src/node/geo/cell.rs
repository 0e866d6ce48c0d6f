//! The map cut into cells: two bits per step, one of the longitude and one of the latitude, so that
//! cells of a larger cell have numbers next to each other.

use super::{LATITUDE_MAX, LONGITUDE_MAX, Point};
use std::ops::Range;

/// A cell of the map after some halvings of both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) struct Cell {
    /// Counted from the west. On the eastern edge of the map it is one too many, as in Redis.
    column: u32,
    /// Counted from the south.
    row: u32,
    depth: u32,
}

/// The ends of a cell, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) west: f64,
    pub(super) east: f64,
    pub(super) south: f64,
    pub(super) north: f64,
}

impl Cell {
    /// How often the axes of a score's cell are halved: 52 bits fit into a double.
    pub(super) const DEPTH_MAX: u32 = 26;

    /// The cell of a score.
    pub(super) fn of_score(bits: u64) -> Self {
        Self { column: gather(bits >> 1), row: gather(bits), depth: Self::DEPTH_MAX }
    }

    /// The cell of this depth that a place is in.
    pub(super) fn around(point: Point, depth: u32) -> Self {
        Self::between(point, LATITUDE_MAX, depth)
    }

    /// The same on a map that ends at another latitude.
    pub(super) fn between(point: Point, latitude_max: f64, depth: u32) -> Self {
        let index = |degrees: f64, max: f64| {
            let part = (degrees - -max) / (max - -max);
            (part * f64::from(1_u32 << depth)) as u32
        };
        let column = index(point.longitude, LONGITUDE_MAX);
        Self { column, row: index(point.latitude, latitude_max), depth }
    }

    /// Its number.
    pub(super) fn bits(self) -> u64 {
        spread(self.row) | spread(self.column) << 1
    }

    /// The scores that lie in it.
    pub(in crate::node) fn scores(self) -> Range<f64> {
        let unused = 2 * (Self::DEPTH_MAX - self.depth);
        (self.bits() << unused) as f64..((self.bits() + 1) << unused) as f64
    }

    /// Where it ends. A score that no place has may be a cell outside of the map.
    pub(super) fn bounds(self) -> Bounds {
        let cells = f64::from(1_u32 << self.depth);
        let at = |index: u32, max: f64| -max + (f64::from(index) / cells) * (max - -max);
        Bounds {
            west: at(self.column, LONGITUDE_MAX),
            east: at(self.column.wrapping_add(1), LONGITUDE_MAX),
            south: at(self.row, LATITUDE_MAX),
            north: at(self.row.wrapping_add(1), LATITUDE_MAX),
        }
    }

    pub(super) fn middle(self) -> Point {
        let Bounds { west, east, south, north } = self.bounds();
        Point {
            longitude: ((west + east) / 2.0).clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: ((south + north) / 2.0).clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }

    /// The cell so many columns to the east and rows to the north, around the map.
    pub(super) fn neighbour(self, east: i32, north: i32) -> Self {
        let step = |index: u32, by: i32| match by {
            0 => index,
            by => index.wrapping_add_signed(by) & ((1 << self.depth) - 1),
        };
        Self { column: step(self.column, east), row: step(self.row, north), depth: self.depth }
    }
}

/// The bits of a number, each followed upwards by a zero.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Every other bit of a number, from the lowest on: what [`spread`] was given.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spread_and_gather_are_opposites(number: u32) {
            prop_assert_eq!(gather(spread(number)), number);
            prop_assert_eq!(gather(spread(number) << 1), 0);
        }

        #[test]
        fn a_place_lies_in_its_cell(
            longitude in -180.0..179.9999_f64,
            latitude in -85.0..85.0_f64,
            depth in 1..=Cell::DEPTH_MAX,
        ) {
            let point = Point { longitude, latitude };
            let cell = Cell::around(point, depth);
            let Bounds { west, east, south, north } = cell.bounds();
            let inside = west <= longitude && longitude <= east && south <= latitude && latitude <= north;
            prop_assert!(inside);
            prop_assert!(cell.scores().contains(&(point.score() as f64)));
            prop_assert_eq!(cell.neighbour(1, -1).neighbour(-1, 1), cell);
        }
    }
}
