//! Places as members of sorted sets: to add, to show, to measure.

use super::sorted_sets;
use crate::node::args::is;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::geo::{Point, Unit};
use crate::resp::{Encoder, OwnedRequest, Request};
use crate::value::parse_double;
use std::borrow::Cow;

pub(super) const HANDLERS: Handlers =
    &[("geoadd", geoadd), ("geodist", geodist), ("geohash", geohash), ("geopos", geopos)];

type Done = Result<(), CommandError>;

/// A longitude and a latitude.
pub(super) fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, CommandError> {
    let number = |arg: &[u8]| parse_double(arg).ok_or(CommandError::NotFloat);
    let (longitude, latitude) = (number(longitude)?, number(latitude)?);
    Point::new(longitude, latitude).ok_or_else(|| {
        CommandError::err(format_args!(
            "invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        ))
    })
}

pub(super) fn unit(arg: &[u8]) -> Result<Unit, CommandError> {
    Unit::parse(arg)
        .ok_or(CommandError::line("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

pub(super) fn write_distance(out: &mut Encoder<'_>, distance: f64) {
    out.bulk(format!("{distance:.4}"));
}

pub(super) fn write_point(out: &mut Encoder<'_>, point: Point) {
    out.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        out.double_text(if text == "-0" { "0" } else { text });
    }
}

/// GEOADD is ZADD with the scores of places.
fn geoadd(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut first, mut missing, mut present) = (2, false, false);
    while let Some(word) = request.get(first) {
        match word {
            _ if is(word, "nx") => missing = true,
            _ if is(word, "xx") => present = true,
            _ if is(word, "ch") => {}
            _ => break,
        }
        first += 1;
    }
    let rest = request.len() - first;
    if !rest.is_multiple_of(3) || (missing && present) {
        return Err(CommandError::Syntax);
    }
    let mut zadd = vec![Cow::Borrowed(&b"ZADD"[..])];
    zadd.extend(request.args_from(1).take(first - 1).map(Cow::Borrowed));
    for at in (first..request.len()).step_by(3) {
        let score = point(request.arg(at), request.arg(at + 1))?.score();
        zadd.push(Cow::Owned(score.to_string().into_bytes()));
        zadd.push(Cow::Borrowed(request.arg(at + 2)));
    }
    sorted_sets::zadd(ctx, &OwnedRequest::from_args(&zadd).as_request())
}

fn geopos(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let set = db.sorted_set(request.arg(1))?;
    out.array(request.len() - 2);
    for member in request.args_from(2) {
        match set.and_then(|set| set.score(member)) {
            Some(score) => write_point(out, Point::of_score(score)),
            None => out.null_array(),
        }
    }
    Ok(())
}

fn geohash(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (mut db, out) = ctx.data();
    let set = db.sorted_set(request.arg(1))?;
    out.array(request.len() - 2);
    for member in request.args_from(2) {
        match set.and_then(|set| set.score(member)) {
            Some(score) => out.bulk(Point::of_score(score).geohash()),
            None => out.null(),
        }
    }
    Ok(())
}

fn geodist(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let unit = match request.get(4) {
        None => Unit::METRE,
        Some(name) if request.len() == 5 => unit(name)?,
        Some(_) => return Err(CommandError::Syntax),
    };
    let (mut db, out) = ctx.data();
    let set = db.sorted_set(request.arg(1))?;
    let place = |at: usize| set?.score(request.arg(at)).map(Point::of_score);
    match (place(2), place(3)) {
        (Some(from), Some(to)) => write_distance(out, from.distance(to) / unit.metres),
        _ => out.null(),
    }
    Ok(())
}
