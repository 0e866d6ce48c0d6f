//! What is sent for each part.

use super::{Gather, Kind};
use crate::resp::{Request, encode_request};

impl Gather {
    /// Writes the frame of a part.
    pub(in crate::proxy) fn write_part(
        &self,
        part: usize,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) {
        let keys = &self.parts[part].keys;
        let keys = &self.keys[keys.start as usize..keys.end as usize];
        match &self.kind {
            Kind::Values | Kind::SumOfKeys => {
                header(out, b'*', keys.len() + 1);
                bulk(out, request.name());
                for &key in keys {
                    bulk(out, request.arg(key as usize));
                }
            }
            Kind::Pairs => {
                header(out, b'*', keys.len() * 2 + 1);
                bulk(out, request.name());
                for &key in keys {
                    bulk(out, request.arg(key as usize));
                    bulk(out, request.arg(key as usize + 1));
                }
            }
            Kind::Scan(position) if !position.is_page(part) => {
                encode_request(out, &["CLUSTER", "NODES"]);
            }
            Kind::Scan(position) => {
                let cursor = position.node_cursor().to_string();
                header(out, b'*', request.len());
                bulk(out, request.name());
                bulk(out, cursor.as_bytes());
                for arg in request.args_from(2) {
                    bulk(out, arg);
                }
            }
            Kind::Info { .. } => encode_request(out, &["INFO", "keyspace"]),
            Kind::Sets(sets) => {
                sets.write_fetch(request.arg(keys[0] as usize), out);
            }
            Kind::Streams(streams) => streams.write_part(keys, request, out),
            Kind::Sum
            | Kind::AllSucceeded
            | Kind::OneSucceeded
            | Kind::Concat
            | Kind::LogicalAnd
            | Kind::Min
            | Kind::Max
            | Kind::Census(_)
            | Kind::Publication(_)
            | Kind::OneOf { .. } => out.extend_from_slice(request.frame()),
        }
    }
}

fn header(out: &mut Vec<u8>, prefix: u8, number: usize) {
    out.push(prefix);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}
