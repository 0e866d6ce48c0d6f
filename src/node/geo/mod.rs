//! Places on the earth as scores of a sorted set: where a score lies, how far two places are
//! apart, and which ranges of scores can hold what lies near another place.
//!
//! Each computation is done in the order in which Redis does it: the digits of a distance, and
//! which member is the first of a search, are visible to clients.

mod area;
mod cell;

pub(super) use area::{Area, Shape};
pub(super) use cell::Cell;

/// The radius of a sphere about as large as the earth, in metres.
const EARTH_RADIUS: f64 = 6_372_797.560856;

/// The largest longitude; the smallest is its negative.
const LONGITUDE_MAX: f64 = 180.0;
/// The largest latitude of the Mercator projection in squares; the smallest is its negative.
const LATITUDE_MAX: f64 = 85.05112878;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Eastwards from Greenwich.
    pub(super) longitude: f64,
    /// Northwards from the equator.
    pub(super) latitude: f64,
}

impl Point {
    /// A place that can be a score.
    pub(super) fn new(longitude: f64, latitude: f64) -> Option<Self> {
        let fits = longitude.abs() <= LONGITUDE_MAX && latitude.abs() <= LATITUDE_MAX;
        fits.then_some(Self { longitude, latitude })
    }

    /// Where a score lies: in the middle of its cell.
    pub(super) fn of_score(score: f64) -> Self {
        // A score that no place has is cut to 64 bits as C does it on x86-64.
        const HALF: f64 = (1_u64 << 63) as f64;
        let bits = match score {
            _ if score < HALF => score as i64 as u64,
            _ if score < 2.0 * HALF => score as u64,
            _ => 0,
        };
        Cell::of_score(bits).middle()
    }

    /// The cell that is the score of this place.
    pub(super) fn score(self) -> u64 {
        Cell::around(self, Cell::DEPTH_MAX).bits()
    }

    /// The place as eleven characters, as geohash.org writes it. Its latitudes go up to 90 degrees.
    pub(super) fn geohash(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        const BITS: usize = 52;
        let bits = Cell::between(self, 90.0, Cell::DEPTH_MAX).bits();
        std::array::from_fn(|at| {
            let used = (at + 1) * 5;
            // There are no bits for the last character.
            let digit = if used <= BITS { bits >> (BITS - used) & 31 } else { 0 };
            ALPHABET[digit as usize]
        })
    }

    /// Metres between two places, along a great circle.
    pub(super) fn distance(self, other: Self) -> f64 {
        let longitude = other.longitude.to_radians() - self.longitude.to_radians();
        let v = (longitude / 2.0).sin();
        if v == 0.0 {
            return latitude_distance(self.latitude, other.latitude);
        }
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let u = ((to - from) / 2.0).sin();
        let a = u * u + from.cos() * to.cos() * v * v;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }
}

/// Metres between two places on one meridian.
fn latitude_distance(from: f64, to: f64) -> f64 {
    EARTH_RADIUS * (to.to_radians() - from.to_radians()).abs()
}

/// What a distance is given in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unit {
    /// Metres of one of it.
    pub(super) metres: f64,
}

impl Unit {
    /// Metres.
    pub(super) const METRE: Self = Self { metres: 1.0 };

    /// The unit of this name.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let metres = match name.to_ascii_lowercase().as_slice() {
            b"m" => 1.0,
            b"km" => 1000.0,
            b"ft" => 0.3048,
            b"mi" => 1609.34,
            _ => return None,
        };
        Some(Self { metres })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of Redis 7.0.15.
    #[test]
    fn places_become_the_scores_and_texts_that_redis_gives_them() {
        for (longitude, latitude, score, text) in [
            (13.361389, 38.115556, 3_479_099_956_230_698, "sqc8b49rny0"),
            (15.087269, 37.502669, 3_479_447_370_796_909, "sqdtr74hyu0"),
            (0.0, 0.0, 3_377_699_720_527_872, "s0000000000"),
            (180.0, 0.0, 10_133_099_161_583_616, "80000000000"),
            (180.0, 85.05112878, 13_510_798_882_111_488, "bp05b5048p0"),
            (-180.0, -85.05112878, 0, "00bh0hbj200"),
        ] {
            let point = Point::new(longitude, latitude).expect("in range");
            assert_eq!(point.score(), score, "{longitude} {latitude}");
            let shown = Point::of_score(score as f64).geohash();
            assert_eq!(String::from_utf8_lossy(&shown), text, "{longitude} {latitude}");
        }
    }

    #[test]
    fn distances_are_those_of_redis() {
        let [palermo, catania] =
            [3_479_099_956_230_698_u64, 3_479_447_370_796_909].map(|n| Point::of_score(n as f64));
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
        assert_eq!(palermo.distance(palermo), 0.0);
    }

    #[test]
    fn places_beyond_the_map_are_refused() {
        for (longitude, latitude) in
            [(180.1, 0.0), (0.0, 85.06), (-180.1, 0.0), (f64::INFINITY, 0.0), (0.0, f64::NAN)]
        {
            assert_eq!(Point::new(longitude, latitude), None, "{longitude} {latitude}");
        }
    }
}
