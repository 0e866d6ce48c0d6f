//! DEBUG CLUSTERLINK and DROP-CLUSTER-PACKET-FILTER: trouble on the bus, for tests.

use crate::bus::{Drops, Ends};
use crate::cluster::NodeId;
use crate::node::args::{integer, is};
use crate::node::call::Ctx;
use crate::node::error::CommandError;
use crate::node::output::Output;
use crate::resp::Request;

/// `DROP-CLUSTER-PACKET-FILTER <kind>`: -1 for nothing, -2 for everything.
pub(super) fn drop_packets(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let which = match integer(request.arg(2))? {
        -2 => Drops::Everything,
        kind => u16::try_from(kind).map_or(Drops::Nothing, Drops::Kind),
    };
    // Outside of a cluster there is nothing to drop, and nothing wrong with saying so.
    if let Some(member) = &mut ctx.server.cluster {
        member.drop_packets(which);
    }
    ctx.out.ok();
    Ok(())
}

/// `CLUSTERLINK KILL <TO|FROM|ALL> <node-id>`
pub(super) fn kill_links(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<(), CommandError> {
    let Some(member) = &mut ctx.server.cluster else {
        return Err(CommandError::line(
            "ERR Debug option only available for cluster mode enabled setup!",
        ));
    };
    let ends = match request.arg(3) {
        end if is(end, "TO") => Ends::To,
        end if is(end, "FROM") => Ends::From,
        end if is(end, "ALL") => Ends::Both,
        _ => return Err(CommandError::Syntax),
    };
    let name = String::from_utf8_lossy(request.arg(4));
    let known = is(request.arg(2), "KILL")
        && NodeId::parse(name.as_bytes()).is_ok_and(|id| member.close_links(&id, ends));
    if !known {
        return Err(CommandError::err(format!("Unknown node {name}")));
    }
    ctx.server.outputs.push_back(Output::Bus);
    ctx.out.ok();
    Ok(())
}
