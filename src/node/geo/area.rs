//! Searches: which cells may hold what lies in a shape, and what of it does.

use super::cell::{Bounds, Cell};
use super::{EARTH_RADIUS, Point, Unit, latitude_distance};

/// What is searched, in some unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::node) enum Shape {
    /// What is not farther away than this.
    Circle {
        /// Its radius.
        radius: f64,
    },
    /// A box along the axes.
    Box {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
}

/// A shape around a place.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Area {
    /// Its middle.
    pub(in crate::node) center: Point,
    /// How far it reaches.
    pub(in crate::node) shape: Shape,
    /// What the shape's measures are in.
    pub(in crate::node) unit: Unit,
}

impl Area {
    /// How far a place is from the middle, in metres, if it lies in the shape.
    pub(in crate::node) fn distance_within(&self, point: Point) -> Option<f64> {
        let metres = self.unit.metres;
        match self.shape {
            Shape::Circle { radius } => {
                let distance = self.center.distance(point);
                (distance <= radius * metres).then_some(distance)
            }
            Shape::Box { width, height } => {
                let northwards = latitude_distance(point.latitude, self.center.latitude);
                if northwards > height * metres / 2.0 {
                    return None;
                }
                // At the latitude of the place: a box is narrower towards the poles, in degrees.
                let beside = Point { latitude: point.latitude, ..self.center };
                let eastwards = point.distance(beside);
                (eastwards <= width * metres / 2.0).then(|| self.center.distance(point))
            }
        }
    }

    /// The cells to look through: together they hold all of the shape, and none comes twice.
    pub(in crate::node) fn cells(&self) -> Vec<Cell> {
        let around = self.bounds();
        let mut depth = self.depth();
        let mut middle = Cell::around(self.center, depth);
        let reaches = |middle: Cell| {
            let north = middle.neighbour(0, 1).bounds().north;
            let south = middle.neighbour(0, -1).bounds().south;
            let east = middle.neighbour(1, 0).bounds().east;
            let west = middle.neighbour(-1, 0).bounds().west;
            north >= around.north
                && south <= around.south
                && east >= around.east
                && west <= around.west
        };
        // The middle may lie so close to the edge of its cell that the next one is too small.
        if depth > 1 && !reaches(middle) {
            depth -= 1;
            middle = Cell::around(self.center, depth);
        }
        let own = middle.bounds();
        // In the coarsest steps a neighbour is one on the other side as well.
        let needed = |east: i32, north: i32| {
            depth < 2
                || !(north < 0 && own.south < around.south
                    || north > 0 && own.north > around.north
                    || east < 0 && own.west < around.west
                    || east > 0 && own.east > around.east)
        };
        const AROUND: [(i32, i32); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let wanted = AROUND.into_iter().filter(|&(east, north)| needed(east, north));
        let mut cells: Vec<Cell> =
            wanted.map(|(east, north)| middle.neighbour(east, north)).collect();
        cells.dedup();
        cells
    }

    /// The degrees that the shape reaches to.
    fn bounds(&self) -> Bounds {
        let metres = self.unit.metres;
        let (height, width) = match self.shape {
            Shape::Circle { radius } => (metres * radius, metres * radius),
            Shape::Box { width, height } => (metres * (height / 2.0), metres * (width / 2.0)),
        };
        let Point { longitude, latitude } = self.center;
        let northwards = degrees(height / EARTH_RADIUS);
        // A degree of longitude is shortest at the end that is nearer to a pole.
        let edge = if latitude < 0.0 { latitude - northwards } else { latitude + northwards };
        let eastwards = degrees(width / EARTH_RADIUS / edge.to_radians().cos());
        Bounds {
            west: longitude - eastwards,
            east: longitude + eastwards,
            south: latitude - northwards,
            north: latitude + northwards,
        }
    }

    /// How deep cells are of which three by three hold the shape, in most places.
    fn depth(&self) -> u32 {
        /// Half of the equator on the map.
        const MERCATOR_MAX: f64 = 20_037_726.37;
        let mut reach = self.unit.metres
            * match self.shape {
                Shape::Circle { radius } => radius,
                Shape::Box { width, height } => {
                    ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
                }
            };
        if reach == 0.0 {
            return Cell::DEPTH_MAX;
        }
        let mut depth = 1_i32;
        while reach < MERCATOR_MAX {
            reach *= 2.0;
            depth += 1;
        }
        depth -= 2;
        // Cells become narrow towards the poles.
        let latitude = self.center.latitude.abs();
        depth -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        depth.clamp(1, Cell::DEPTH_MAX as i32) as u32
    }
}

/// Not `to_degrees`, which multiplies and rounds otherwise.
fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Towards the poles the estimate is coarse, in Redis as well.
        #[test]
        fn whatever_lies_in_the_shape_lies_in_the_cells(
            longitude in -170.0..170.0_f64,
            latitude in -65.0..65.0_f64,
            radius in 0.0..500.0_f64,
            angle in 0.0..std::f64::consts::TAU,
            part in 0.0..0.999_f64,
        ) {
            let center = Point { longitude, latitude };
            let area = Area { center, shape: Shape::Circle { radius }, unit: Unit { metres: 1000.0 } };
            let away = (radius * part * 1000.0 / EARTH_RADIUS).to_degrees();
            let point = Point {
                longitude: longitude + away * angle.cos() / latitude.to_radians().cos(),
                latitude: latitude + away * angle.sin(),
            };
            let score = point.score() as f64;
            if area.distance_within(Point::of_score(score)).is_some() {
                prop_assert!(area.cells().iter().any(|cell| cell.scores().contains(&score)));
            }
        }
    }
}
