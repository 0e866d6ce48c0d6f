//! What is kept of each part's answer.

use super::{Gather, Kind};
use crate::cluster::View;
use crate::proxy::elements::{Malformed, array, bulk_text, element_len, integer};
use crate::resp::parse_reply;
use bytes::Bytes;

impl Gather {
    /// A part has its node's answer: true when it was the last.
    ///
    /// # Errors
    /// The answer is not of the command's kind: the node's connection cannot be trusted.
    pub(in crate::proxy) fn answered(
        &mut self,
        part: usize,
        reply: &[u8],
    ) -> Result<bool, Malformed> {
        if let Some(line) = reply.strip_prefix(b"-") {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            self.note_error(part, line.to_vec());
            return Ok(self.done(part));
        }
        self.outcome.ran = true;
        let held = self.bytes.len() + self.held;
        if held + reply.len() > self.bytes_max {
            let line = b"ERR the gathered reply exceeds the proxy's gather_bytes";
            self.note_error(part, line.to_vec());
            return Ok(self.done(part));
        }
        match &mut self.kind {
            Kind::Values => self.keep_values(part, reply)?,
            Kind::SumOfKeys | Kind::Sum => self.sum += integer(reply)?,
            Kind::Min => {
                let number = integer(reply)?;
                self.sum = if self.flags.is_empty() { number } else { self.sum.min(number) };
                self.flags.push(true);
            }
            Kind::Max => {
                let number = integer(reply)?;
                self.sum = if self.flags.is_empty() { number } else { self.sum.max(number) };
                self.flags.push(true);
            }
            Kind::Pairs => {}
            Kind::AllSucceeded | Kind::OneSucceeded => {
                if self.bytes.is_empty() {
                    self.bytes.extend_from_slice(reply);
                }
            }
            Kind::Concat => {
                let (count, body) = array(reply)?;
                self.sum += count;
                self.bytes.extend_from_slice(body);
            }
            Kind::LogicalAnd => {
                let reply =
                    parse_reply(&Bytes::copy_from_slice(reply), 2).map_err(|_| Malformed)?;
                let items = reply.as_array().ok_or(Malformed)?;
                self.flags.resize(items.len(), true);
                for (flag, item) in self.flags.iter_mut().zip(items) {
                    *flag &= item.as_integer().ok_or(Malformed)? != 0;
                }
            }
            Kind::OneOf { .. } => {
                if !matches!(reply, b"$-1\r\n" | b"_\r\n") {
                    let at = self.bytes.len() as u32;
                    self.bytes.extend_from_slice(reply);
                    self.values.push(at..self.bytes.len() as u32);
                }
            }
            Kind::Scan(position) if !position.is_page(part) => {
                let reply =
                    parse_reply(&Bytes::copy_from_slice(reply), 2).map_err(|_| Malformed)?;
                let view = View::parse(reply.as_str().ok_or(Malformed)?, "");
                let nodes = view.map_err(|_| Malformed)?.nodes;
                position.told.extend(nodes.into_iter().find(|node| node.myself));
            }
            Kind::Scan(position) => {
                // `*2`, the cursor as a bulk string, then the page, which is passed on as it is.
                let body = reply.strip_prefix(b"*2\r\n").ok_or(Malformed)?;
                let len = element_len(body).ok_or(Malformed)?;
                let cursor = bulk_text(&body[..len]).ok_or(Malformed)?;
                position.answered(cursor).ok_or(Malformed)?;
                let (count, keys) = array(&body[len..])?;
                self.sum += count;
                self.bytes.extend_from_slice(keys);
            }
            Kind::Streams(_) => {
                let at = self.bytes.len() as u32;
                self.bytes.extend_from_slice(reply);
                self.values.resize(self.parts.len(), 0..0);
                self.values[part] = at..self.bytes.len() as u32;
            }
            Kind::Census(census) => census.add(reply)?,
            Kind::Publication(publication) => self.sum = publication.receivers(integer(reply)?),
            Kind::Sets(sets) => self.held += sets.add(part, reply)?,
            Kind::Info { .. } => {
                let reply =
                    parse_reply(&Bytes::copy_from_slice(reply), 2).map_err(|_| Malformed)?;
                self.bytes.extend_from_slice(reply.as_bytes().ok_or(Malformed)?);
                self.bytes.push(b'\n');
            }
        }
        Ok(self.done(part))
    }

    fn keep_values(&mut self, part: usize, reply: &[u8]) -> Result<(), Malformed> {
        let keys = self.parts[part].keys.clone();
        let (count, mut body) = array(reply)?;
        if count != i64::from(keys.end - keys.start) {
            return Err(Malformed);
        }
        for at in keys {
            let len = element_len(body).ok_or(Malformed)?;
            let from = self.bytes.len() as u32;
            self.bytes.extend_from_slice(&body[..len]);
            let place = self.keys[at as usize] as usize;
            self.values[place] = from..self.bytes.len() as u32;
            body = &body[len..];
        }
        Ok(())
    }
}
