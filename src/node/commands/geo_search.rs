//! Searches for places: GEOSEARCH, and GEORADIUS, its older form.

use super::geo::{point, unit, write_distance, write_point};
use super::sorted_set_ranges::store;
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::geo::{Area, Point, Shape, Unit};
use crate::resp::Request;
use crate::store::SortedSet;
use crate::value::parse_double;

pub(super) const HANDLERS: Handlers = &[
    ("georadius", |ctx, request| search(ctx, request, Form::Radius { stores: true })),
    ("georadius_ro", |ctx, request| search(ctx, request, Form::Radius { stores: false })),
    ("georadiusbymember", |ctx, request| search(ctx, request, Form::ByMember { stores: true })),
    ("georadiusbymember_ro", |ctx, request| search(ctx, request, Form::ByMember { stores: false })),
    ("geosearch", |ctx, request| search(ctx, request, Form::Search)),
    ("geosearchstore", |ctx, request| search(ctx, request, Form::SearchStore)),
];

type Done = Result<(), CommandError>;

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `key longitude latitude radius unit`; it may take STORE and STOREDIST.
    Radius { stores: bool },
    /// `key member radius unit`; the same.
    ByMember { stores: bool },
    /// `key` and options.
    Search,
    /// `destination key` and options.
    SearchStore,
}

impl Form {
    /// GEOSEARCH and GEOSEARCHSTORE name what they search in options.
    fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    fn takes_store(self) -> bool {
        matches!(self, Self::Radius { stores: true } | Self::ByMember { stores: true })
    }

    /// The source key, and the first option.
    fn places(self) -> (usize, usize) {
        match self {
            Self::Radius { .. } => (1, 6),
            Self::ByMember { .. } => (1, 5),
            Self::Search => (1, 2),
            Self::SearchStore => (2, 3),
        }
    }
}

/// What a search is told. Of a word that comes again, the last holds.
#[derive(Default)]
struct Options<'a> {
    /// From where. A member whose key is not there is from nowhere.
    center: Option<Option<Point>>,
    /// Whether that is a member's place.
    from_member: bool,
    shape: Option<(Shape, Unit)>,
    with_distance: bool,
    with_hash: bool,
    with_point: bool,
    sort: Option<Sort>,
    /// No limit if zero.
    count: usize,
    any: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Ascending,
    Descending,
}

/// Where a member lies; nowhere without a set.
fn member(set: Option<&SortedSet>, member: &[u8]) -> Result<Option<Point>, CommandError> {
    let Some(set) = set else { return Ok(None) };
    let score = set.score(member);
    let score = score.ok_or(CommandError::line("ERR could not decode requested zset member"))?;
    Ok(Some(Point::of_score(score)))
}

fn measure(arg: &[u8], error: &'static str) -> Result<f64, CommandError> {
    parse_double(arg).ok_or(CommandError::line(error))
}

/// `radius unit`
fn circle(request: &Request<'_>, at: usize) -> Result<(Shape, Unit), CommandError> {
    let radius = measure(request.arg(at), "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(CommandError::line("ERR radius cannot be negative"));
    }
    Ok((Shape::Circle { radius }, unit(request.arg(at + 1))?))
}

/// `width height unit`
fn rectangle(request: &Request<'_>, at: usize) -> Result<(Shape, Unit), CommandError> {
    let width = measure(request.arg(at), "ERR need numeric width")?;
    let height = measure(request.arg(at + 1), "ERR need numeric height")?;
    if height < 0.0 || width < 0.0 {
        return Err(CommandError::line("ERR height or width cannot be negative"));
    }
    Ok((Shape::Box { width, height }, unit(request.arg(at + 2))?))
}

impl<'a> Options<'a> {
    fn parse(
        request: &Request<'a>,
        form: Form,
        set: Option<&SortedSet>,
    ) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let (_, first) = form.places();
        match form {
            Form::Radius { .. } => {
                options.center = Some(Some(point(request.arg(2), request.arg(3))?));
                options.shape = Some(circle(request, 4)?);
            }
            // Without a key even a wrong radius is let through.
            Form::ByMember { .. } if set.is_some() => {
                options.center = Some(member(set, request.arg(2))?);
                options.shape = Some(circle(request, 3)?);
            }
            Form::ByMember { .. } | Form::Search => {}
            Form::SearchStore => options.store = Some(request.arg(1)),
        }
        let mut at = first;
        while let Some(word) = request.get(at) {
            at += 1 + options.word(request, form, set, word, at)?;
        }
        options.check(request, form)?;
        Ok(options)
    }

    /// Reads one option; returns how many arguments belong to it.
    fn word(
        &mut self,
        request: &Request<'a>,
        form: Form,
        set: Option<&SortedSet>,
        word: &[u8],
        at: usize,
    ) -> Result<usize, CommandError> {
        let behind = request.len() - at - 1;
        // A search has one kind of centre and one kind of shape, each as often as one likes.
        let center =
            |member| form.is_search() && (self.center.is_none() || self.from_member == member);
        let shape = |is_circle| {
            let same = |(shape, _)| matches!(shape, Shape::Circle { .. }) == is_circle;
            form.is_search() && self.shape.is_none_or(same)
        };
        match word {
            _ if is(word, "withdist") => self.with_distance = true,
            _ if is(word, "withhash") => self.with_hash = true,
            _ if is(word, "withcoord") => self.with_point = true,
            _ if is(word, "any") => self.any = true,
            _ if is(word, "asc") => self.sort = Some(Sort::Ascending),
            _ if is(word, "desc") => self.sort = Some(Sort::Descending),
            _ if is(word, "count") && behind >= 1 => {
                let count = usize::try_from(integer(request.arg(at + 1))?).ok();
                let count = count.filter(|&count| count > 0);
                self.count = count.ok_or(CommandError::line("ERR COUNT must be > 0"))?;
                return Ok(1);
            }
            _ if is(word, "store") && behind >= 1 && form.takes_store() => {
                self.store = Some(request.arg(at + 1));
                self.store_distance = false;
                return Ok(1);
            }
            _ if is(word, "storedist") && behind >= 1 && form.takes_store() => {
                self.store = Some(request.arg(at + 1));
                self.store_distance = true;
                return Ok(1);
            }
            _ if is(word, "storedist") && form == Form::SearchStore => self.store_distance = true,
            _ if is(word, "frommember") && behind >= 1 && center(true) => {
                self.from_member = true;
                self.center = Some(member(set, request.arg(at + 1))?);
                return Ok(1);
            }
            _ if is(word, "fromlonlat") && behind >= 2 && center(false) => {
                self.center = Some(Some(point(request.arg(at + 1), request.arg(at + 2))?));
                return Ok(2);
            }
            _ if is(word, "byradius") && behind >= 2 && shape(true) => {
                self.shape = Some(circle(request, at + 1)?);
                return Ok(2);
            }
            _ if is(word, "bybox") && behind >= 3 && shape(false) => {
                self.shape = Some(rectangle(request, at + 1)?);
                return Ok(3);
            }
            _ => return Err(CommandError::Syntax),
        }
        Ok(0)
    }

    fn check(&self, request: &Request<'_>, form: Form) -> Done {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_point) {
            let what = match form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(CommandError::err(format_args!(
                "{what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        // The command as the client writes it.
        let name = || String::from_utf8_lossy(request.name());
        if form.is_search() && self.center.is_none() {
            return Err(CommandError::err(format_args!(
                "exactly one of FROMMEMBER or FROMLONLAT can be specified for {}",
                name()
            )));
        }
        if form.is_search() && self.shape.is_none() {
            return Err(CommandError::err(format_args!(
                "exactly one of BYRADIUS and BYBOX can be specified for {}",
                name()
            )));
        }
        if self.any && self.count == 0 {
            return Err(CommandError::line("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }
}

/// A place that was found.
struct Found {
    member: Box<[u8]>,
    score: f64,
    point: Point,
    /// In metres.
    distance: f64,
}

/// What lies in an area, cell by cell; the first `max` of it.
fn find(set: &SortedSet, area: &Area, max: usize) -> Vec<Found> {
    let mut found = Vec::new();
    let mut buffer = itoa::Buffer::new();
    for cell in area.cells() {
        let scores = cell.scores();
        let first = set.count_before(|score, _| score < scores.start);
        let members = set.iter_from(first, false);
        for (member, score) in members.take_while(|(_, score)| *score < scores.end) {
            if found.len() == max {
                return found;
            }
            let point = Point::of_score(score);
            if let Some(distance) = area.distance_within(point) {
                let member = member.bytes(&mut buffer).into();
                found.push(Found { member, score, point, distance });
            }
        }
    }
    found
}

fn search(ctx: &mut Ctx<'_>, request: &Request<'_>, form: Form) -> Done {
    let (source, _) = form.places();
    let (mut db, out) = ctx.data();
    let set = db.sorted_set(request.arg(source))?;
    let options = Options::parse(request, form, set)?;
    let mut found = Vec::new();
    let mut unit = Unit::METRE;
    // A place and a shape are missing only where the set is.
    if let (Some(set), Some(Some(center)), Some((shape, given))) =
        (set, options.center, options.shape)
    {
        unit = given;
        let max = if options.any { options.count } else { usize::MAX };
        found = find(set, &Area { center, shape, unit }, max);
    }
    // The first few of them are the nearest, unless any will do.
    let nearest = options.count > 0 && !options.any;
    match options.sort.or(nearest.then_some(Sort::Ascending)) {
        None => {}
        Some(Sort::Ascending) => found.sort_by(|a, b| a.distance.total_cmp(&b.distance)),
        Some(Sort::Descending) => found.sort_by(|a, b| b.distance.total_cmp(&a.distance)),
    }
    if options.count > 0 {
        found.truncate(options.count);
    }
    if let Some(target) = options.store {
        let score = |place: &Found| match options.store_distance {
            true => place.distance / unit.metres,
            false => place.score,
        };
        let members: Vec<(Box<[u8]>, f64)> = found
            .into_iter()
            .map(|place| {
                let score = score(&place);
                (place.member, score)
            })
            .collect();
        let longest = members.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
        let event = if form.is_search() { "geosearchstore" } else { "georadiusstore" };
        return store(ctx, target, &members, longest, event);
    }
    let Options { with_distance, with_hash, with_point, .. } = options;
    let extras = usize::from(with_distance) + usize::from(with_hash) + usize::from(with_point);
    out.array(found.len());
    for place in &found {
        if extras > 0 {
            out.array(1 + extras);
        }
        out.bulk(&place.member);
        if with_distance {
            write_distance(out, place.distance / unit.metres);
        }
        if with_hash {
            out.integer(place.score as i64);
        }
        if with_point {
            write_point(out, place.point);
        }
    }
    Ok(())
}
