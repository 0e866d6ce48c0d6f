//! What the commands do: a file per group, as in the command table, each with its own list.

mod bitfield;
mod bitmaps;
mod blocking;
mod clients;
mod cluster;
mod config;
mod connection;
mod debug;
mod debug_bus;
mod dump;
mod expiry;
mod geo;
mod geo_search;
mod hashes;
mod hyperloglogs;
mod introspection;
mod keys;
mod lcs;
mod lists;
mod memory;
mod migrate;
mod persistence;
mod pubsub;
mod replication;
mod scan;
mod scripts;
mod server;
mod set_algebra;
mod set_options;
mod sets;
mod sort;
mod sorted_set_algebra;
mod sorted_set_pops;
mod sorted_set_ranges;
mod sorted_sets;
mod stream_args;
mod stream_claims;
mod stream_feed;
mod stream_groups;
mod stream_info;
mod stream_reads;
mod streams;
mod strings;
mod transactions;
mod wait;

pub(super) use persistence::{prepare_end, save_now};

use super::call::{Ctx, Handler, Handlers};
use super::error::CommandError;
use crate::command::{self, Spec};
use crate::resp::{Encoder, Request};
use crate::store::Item;

/// Every command that the node runs.
const GROUPS: &[Handlers] = &[
    bitfield::HANDLERS,
    bitmaps::HANDLERS,
    blocking::HANDLERS,
    clients::HANDLERS,
    cluster::HANDLERS,
    config::HANDLERS,
    connection::HANDLERS,
    expiry::HANDLERS,
    geo::HANDLERS,
    geo_search::HANDLERS,
    hashes::HANDLERS,
    hyperloglogs::HANDLERS,
    keys::HANDLERS,
    lcs::HANDLERS,
    lists::HANDLERS,
    memory::HANDLERS,
    migrate::HANDLERS,
    persistence::HANDLERS,
    pubsub::HANDLERS,
    replication::HANDLERS,
    scan::HANDLERS,
    debug::HANDLERS,
    dump::HANDLERS,
    introspection::HANDLERS,
    scripts::HANDLERS,
    server::HANDLERS,
    set_algebra::HANDLERS,
    sets::HANDLERS,
    sort::HANDLERS,
    sorted_set_algebra::HANDLERS,
    sorted_set_pops::HANDLERS,
    sorted_set_ranges::HANDLERS,
    sorted_sets::HANDLERS,
    stream_claims::HANDLERS,
    stream_groups::HANDLERS,
    stream_info::HANDLERS,
    stream_reads::HANDLERS,
    streams::HANDLERS,
    strings::HANDLERS,
    transactions::HANDLERS,
    wait::HANDLERS,
];

/// The handlers, by [`Spec::id`]; none for what the node does not run.
pub(super) fn handlers() -> Box<[Option<Handler>]> {
    let mut handlers = vec![None; command::COUNT];
    for (name, handler) in GROUPS.iter().copied().flatten() {
        let spec = command::lookup_full_name(name.as_bytes());
        handlers[spec.expect("the table has every command that is run").id()] = Some(*handler);
    }
    handlers.into()
}

/// Whether the node runs this command; a container, if it runs any of its subcommands.
pub fn runs(spec: &Spec) -> bool {
    let named = |name: &str| GROUPS.iter().copied().flatten().any(|(known, _)| *known == name);
    named(spec.name) || spec.subcommands().iter().any(|sub| named(sub.name))
}

/// An element of a collection, as a bulk string.
fn write_item(out: &mut Encoder<'_>, item: Item<'_>) {
    match item {
        Item::Int(number) => out.bulk_integer(number),
        Item::Bytes(bytes) => out.bulk(bytes),
    }
}

/// An element of a collection, or nothing.
fn write_optional(out: &mut Encoder<'_>, item: Option<Item<'_>>) {
    match item {
        Some(item) => write_item(out, item),
        None => out.null(),
    }
}

/// HELP of any container: what the table says of the subcommands that the node runs.
pub(super) fn help(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let spec = command::lookup_request(request).expect("it is what runs");
    let handlers = &ctx.server.handlers;
    command::describe::help(&mut ctx.out, spec, &mut |sub| handlers[sub.id()].is_some());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_is_listed_twice() {
        let mut names: Vec<&str> =
            GROUPS.iter().copied().flatten().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(handlers().iter().flatten().count(), count);
    }
}
