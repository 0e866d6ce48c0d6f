//! The one reply that those of all parts become.

use super::{Gather, Kind, Verdict};
use crate::proxy::keyspaces::sum_of_keyspaces;
use crate::resp::{Encoder, Protocol, Request};

impl Gather {
    /// Writes the reply of the whole, once no part is pending.
    pub(in crate::proxy) fn finish(
        &self,
        request: &Request<'_>,
        protocol: Protocol,
        out: &mut Vec<u8>,
    ) {
        let mut reply = Encoder::new(out, protocol);
        match self.verdict() {
            Verdict::InDoubt => {
                let why = match (&self.outcome.in_doubt, &self.outcome.error) {
                    (Some(line), _) => line.strip_prefix("INDOUBT ").unwrap_or(line).to_owned(),
                    (None, Some((_, error))) => String::from_utf8_lossy(error).into_owned(),
                    (None, None) => String::new(),
                };
                return if self.outcome.ran {
                    reply.error(format!("INDOUBT part of this command ran, part did not: {why}"));
                } else {
                    reply.error(format!("INDOUBT {why}"));
                };
            }
            Verdict::Error => {
                if let (Kind::Sets(sets), Some((key, _))) = (&self.kind, &self.outcome.error)
                    && let Some(earlier) = sets.error_before(*key)
                {
                    return reply.error(earlier);
                }
                let line = self.outcome.error.as_ref().map(|(_, line)| line.as_slice());
                return reply.error(line.unwrap_or(b"ERR no reply"));
            }
            Verdict::Ok => {}
        }
        match &self.kind {
            Kind::Values => {
                reply.array(request.len() - 1);
                for value in &self.values[1..] {
                    let value = &self.bytes[value.start as usize..value.end as usize];
                    reply.buffer().extend_from_slice(value);
                }
            }
            Kind::SumOfKeys | Kind::Sum | Kind::Min | Kind::Max | Kind::Publication(_) => {
                reply.integer(self.sum);
            }
            Kind::Pairs => reply.ok(),
            Kind::AllSucceeded | Kind::OneSucceeded => {
                reply.buffer().extend_from_slice(&self.bytes);
            }
            Kind::Concat => {
                reply.array(self.sum as usize);
                reply.buffer().extend_from_slice(&self.bytes);
            }
            Kind::LogicalAnd => {
                reply.array(self.flags.len());
                for &flag in &self.flags {
                    reply.integer(i64::from(flag));
                }
            }
            Kind::OneOf { .. } if self.values.is_empty() => reply.null(),
            Kind::OneOf { choice } => {
                let value = &self.values[choice % self.values.len()];
                let value = &self.bytes[value.start as usize..value.end as usize];
                reply.buffer().extend_from_slice(value);
            }
            Kind::Scan(position) => {
                reply.array(2);
                reply.bulk(position.client_cursor().to_string());
                reply.array(self.sum as usize);
                reply.buffer().extend_from_slice(&self.bytes);
            }
            Kind::Census(census) => census.write(request, &mut reply),
            Kind::Sets(sets) => sets.write(&mut reply),
            Kind::Streams(streams) => {
                let parts = self.parts.iter().zip(&self.values).map(|(part, value)| {
                    let keys = &self.keys[part.keys.start as usize..part.keys.end as usize];
                    (keys, &self.bytes[value.start as usize..value.end as usize])
                });
                streams.write(parts, request, &mut reply);
            }
            Kind::Info { before } => {
                let keyspace = sum_of_keyspaces(&String::from_utf8_lossy(&self.bytes));
                let between = if before.is_empty() { "" } else { "\r\n" };
                reply.verbatim(format!("{before}{between}# Keyspace\r\n{keyspace}"));
            }
        }
    }
}
