//! COMMAND: what the table says of the commands that this node runs.

use crate::command::{self, describe};
use crate::node::call::{Ctx, Handlers};
use crate::node::error::CommandError;
use crate::resp::Request;

pub(super) const HANDLERS: Handlers = &[
    ("command", answer),
    ("command|count", answer),
    ("command|docs", answer),
    ("command|getkeys", answer),
    ("command|getkeysandflags", answer),
    ("command|help", answer),
    ("command|info", answer),
    ("command|list", answer),
];

fn answer(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let spec = command::lookup_request(request).expect("it was looked up before the call");
    let handlers = &ctx.server.handlers;
    let runs = |spec: &command::Spec| {
        let subcommands = spec.subcommands();
        handlers[spec.id()].is_some() || subcommands.iter().any(|sub| handlers[sub.id()].is_some())
    };
    describe::answer(&mut ctx.out, spec, request, &mut { runs });
    Ok(())
}
