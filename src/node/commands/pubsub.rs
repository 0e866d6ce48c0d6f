//! Publish/subscribe.

use super::help;
use crate::bus::Broadcast;
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::node::output::Output;
use crate::node::propagate::Audience;
use crate::node::pubsub::{self, Kind, Post};
use crate::resp::Request;

pub(super) const HANDLERS: Handlers = &[
    ("psubscribe", |ctx, request| subscribe(ctx, request, Kind::Pattern)),
    ("publish", publish),
    ("pubsub|channels", |ctx, request| names(ctx, request, Kind::Channel)),
    ("pubsub|help", help),
    ("pubsub|numpat", numpat),
    ("pubsub|numsub", |ctx, request| counts(ctx, request, Kind::Channel)),
    ("pubsub|shardchannels", |ctx, request| names(ctx, request, Kind::Shard)),
    ("pubsub|shardnumsub", |ctx, request| counts(ctx, request, Kind::Shard)),
    ("punsubscribe", |ctx, request| unsubscribe(ctx, request, Kind::Pattern)),
    ("spublish", spublish),
    ("ssubscribe", |ctx, request| subscribe(ctx, request, Kind::Shard)),
    ("subscribe", |ctx, request| subscribe(ctx, request, Kind::Channel)),
    ("sunsubscribe", |ctx, request| unsubscribe(ctx, request, Kind::Shard)),
    ("unsubscribe", |ctx, request| unsubscribe(ctx, request, Kind::Channel)),
];

type Done = Result<(), CommandError>;

/// Within EXEC, where there is no time to go elsewhere, shards are not subscribed to.
fn subscribe(ctx: &mut Ctx<'_>, request: &Request<'_>, kind: Kind) -> Done {
    if kind == Kind::Shard && ctx.in_transaction {
        const REFUSED: CommandError =
            CommandError::line("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
        return Err(REFUSED);
    }
    request.args_from(1).for_each(|name| pubsub::subscribe(ctx, kind, name));
    Ok(())
}

fn unsubscribe(ctx: &mut Ctx<'_>, request: &Request<'_>, kind: Kind) -> Done {
    if request.len() == 1 {
        pubsub::unsubscribe_all(ctx, kind);
    }
    request.args_from(1).for_each(|name| pubsub::unsubscribe(ctx, kind, name));
    Ok(())
}

/// The reply counts the listeners of this node; those of other nodes are told by the bus.
fn publish(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (channel, message) = (request.arg(1), request.arg(2));
    let told = ctx.post().publish(channel, message);
    ctx.broadcast(|channel, message| Broadcast::Publish { channel, message }, channel, message);
    ctx.out.integer(told as i64);
    Ok(())
}

fn spublish(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Done {
    let (channel, message) = (request.arg(1), request.arg(2));
    let told = ctx.post().publish_to_shard(channel, message);
    let broadcast = |channel, message| Broadcast::PublishShard { channel, message };
    ctx.broadcast(broadcast, channel, message);
    ctx.out.integer(told as i64);
    Ok(())
}

fn names(ctx: &mut Ctx<'_>, request: &Request<'_>, kind: Kind) -> Done {
    if request.len() > 3 {
        return Err(CommandError::subcommand("PUBSUB", request.arg(1)));
    }
    let names = ctx.server.pubsub.names(kind, request.get(2));
    ctx.out.array(names.len());
    names.iter().for_each(|name| ctx.out.bulk(name));
    Ok(())
}

fn counts(ctx: &mut Ctx<'_>, request: &Request<'_>, kind: Kind) -> Done {
    ctx.out.array((request.len() - 2) * 2);
    for name in request.args_from(2) {
        ctx.out.bulk(name);
        ctx.out.integer(ctx.server.pubsub.listeners(kind, name) as i64);
    }
    Ok(())
}

fn numpat(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Done {
    ctx.out.integer(ctx.server.pubsub.counts().1 as i64);
    Ok(())
}

impl Ctx<'_> {
    /// Where messages go.
    pub(in crate::node) fn post(&mut self) -> Post<'_> {
        Post { server: self.server, running: Some(self.session) }
    }

    /// Passes a message on to the other nodes of the cluster, if this is one of them, or to its
    /// replicas.
    fn broadcast(
        &mut self,
        broadcast: fn(bytes::Bytes, bytes::Bytes) -> Broadcast,
        channel: &[u8],
        message: &[u8],
    ) {
        if let Some(member) = &mut self.server.cluster {
            let copy = bytes::Bytes::copy_from_slice;
            member.publish(broadcast(copy(channel), copy(message)));
            self.server.outputs.push_back(Output::Bus);
        } else {
            self.propagate_always(Audience::REPLICAS);
        }
    }
}
