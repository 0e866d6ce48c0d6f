//! When keys expire.

use super::set_options::TimeUnit;
use crate::node::args::{integer, is};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::events::Class;
use crate::node::propagate::removal;
use crate::resp::Request;
use crate::store::{Entry, Expiry};

pub(super) const HANDLERS: Handlers = &[
    ("expire", |ctx, request| expire(ctx, request, TimeUnit::EX, "expire")),
    ("expireat", |ctx, request| expire(ctx, request, TimeUnit::EXAT, "expireat")),
    ("expiretime", |ctx, request| ttl(ctx, request, |at, _| (at + 500) / 1000)),
    ("persist", persist),
    ("pexpire", |ctx, request| expire(ctx, request, TimeUnit::PX, "pexpire")),
    ("pexpireat", |ctx, request| expire(ctx, request, TimeUnit::PXAT, "pexpireat")),
    ("pexpiretime", |ctx, request| ttl(ctx, request, |at, _| at)),
    ("pttl", |ctx, request| ttl(ctx, request, |at, now| at.saturating_sub(now))),
    ("ttl", |ctx, request| ttl(ctx, request, |at, now| (at.saturating_sub(now) + 500) / 1000)),
];

/// Which changes of an expiry are wanted: all of those named.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    /// Only a key without one.
    nx: bool,
    /// Only a key with one.
    xx: bool,
    /// Only to a later time; a key without one counts as infinite.
    gt: bool,
    /// Only to an earlier time.
    lt: bool,
}

impl Conditions {
    fn parse(request: &Request<'_>) -> Result<Self, CommandError> {
        let mut conditions = Self::default();
        for word in request.args_from(3) {
            let flag = match () {
                () if is(word, "nx") => &mut conditions.nx,
                () if is(word, "xx") => &mut conditions.xx,
                () if is(word, "gt") => &mut conditions.gt,
                () if is(word, "lt") => &mut conditions.lt,
                () => {
                    let word = String::from_utf8_lossy(word);
                    return Err(CommandError::err(format_args!("Unsupported option {word}")));
                }
            };
            *flag = true;
        }
        let Self { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err(CommandError::line(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if gt && lt {
            return Err(CommandError::line(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    fn allow(self, before: Option<i64>, at: i64) -> bool {
        !(self.nx && before.is_some()
            || self.xx && before.is_none()
            || self.gt && before.is_none_or(|before| at <= before)
            || self.lt && before.is_some_and(|before| at >= before))
    }
}

fn expire(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    unit: TimeUnit,
    command: &'static str,
) -> Result<(), CommandError> {
    let key = request.arg(1);
    let conditions = Conditions::parse(request)?;
    let now_ms = ctx.now.unix_ms;
    let at = unit.milliseconds(integer(request.arg(2))?, now_ms, command)?;
    let over = u64::try_from(at).is_ok_and(|at| ctx.has_passed(at));
    let mut db = ctx.db();
    let before = db.write(key).map(|entry| entry.expires_at());
    let allowed = before.is_some_and(|before| conditions.allow(before.map(|at| at as i64), at));
    if allowed {
        // A time that has passed removes the key here and now.
        let event = match u64::try_from(at) {
            Ok(at) if !over => {
                db.set_expiry(key, Expiry::At(at));
                if ctx.propagates() {
                    let mut at_text = itoa::Buffer::new();
                    let mut args: Vec<&[u8]> =
                        vec![b"PEXPIREAT", key, at_text.format(at).as_bytes()];
                    args.extend(request.args_from(3));
                    ctx.propagate_as(&args);
                }
                "expire"
            }
            _ => {
                db.remove(key);
                ctx.propagate_as(&[removal(ctx.server.settings.lazy_expire), key]);
                "del"
            }
        };
        ctx.modified(key);
        ctx.notify(Class::Generic, event, key);
    }
    ctx.out.integer(i64::from(allowed));
    Ok(())
}

fn persist(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let key = request.arg(1);
    let mut db = ctx.db();
    let expires = db.write(key).is_some_and(|entry| entry.expires_at().is_some());
    if expires {
        db.set_expiry(key, Expiry::Clear);
        ctx.modified(key);
        ctx.notify(Class::Generic, "persist", key);
    }
    ctx.out.integer(i64::from(expires));
    Ok(())
}

/// TTL and its relatives: what `show` makes of the expiry and the time; -1 without an expiry, -2
/// without the key.
fn ttl(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    show: fn(u64, u64) -> u64,
) -> Result<(), CommandError> {
    let (mut db, out) = ctx.data();
    let now_ms = db.now_ms();
    out.integer(match db.peek_counted(request.arg(1)).map(Entry::expires_at) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => show(at, now_ms) as i64,
    });
    Ok(())
}
