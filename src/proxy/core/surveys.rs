//! Where a SCAN goes on within one request: to the next node, while there are too few keys; and the
//! end of a round: every owner of slots is asked what it owns and which slots are open,
//! after the last page of the round was answered and before the client is told that it is over.
//!
//! The nodes are asked themselves, and not the map: it may be behind, and only the source and the
//! target of a slot know that it is open.

use super::{Core, SessionId};
use crate::cluster::{Endpoint, Slot};
use crate::proxy::gather::{Gather, PartState, Verdict};
use crate::proxy::lanes::Lane;
use crate::proxy::link::{Expect, ExpectKind};
use crate::proxy::route::add_survey;
use crate::proxy::walks::{self, Began};
use crate::resp::{RequestDecoder, encode_request};
use std::time::Instant;

impl Core {
    /// Judges a SCAN all of whose parts have their outcomes: true if others had to be sent.
    pub(super) fn round_goes_on(&mut self, id: SessionId, seq: u64, now: Instant) -> bool {
        let session = &mut self.sessions[id.index()];
        let Some(entry) = session.pipeline.get_mut(seq) else { return false };
        let Some(gather) = entry.work.as_mut().and_then(|work| work.gather.as_mut()) else {
            return false;
        };
        if let Some(slot) = gather.next_page() {
            self.send_page(id, seq, slot, now);
            return true;
        }
        if gather.wants_survey() {
            self.send_survey(id, seq, now);
            return true;
        }
        let told = gather.verdict() == Verdict::Ok;
        let position = gather.scan_position().filter(|position| told && position.is_round_over());
        let Some(position) = position else { return false };
        let map = &self.shared.map;
        map.survey(&position.told, now);
        let unit = walks::unit((self.outside.unix_us)());
        let topology = map.current().load();
        if let Some(next) = map.changes().next_round(&topology, position.began, unit) {
            position.go_on(next);
        }
        false
    }

    /// The node without slots that a page of this slot is asked of.
    pub(super) fn guest(&self, began: Began, slot: Slot) -> Option<Endpoint> {
        if !began.again {
            return None;
        }
        self.shared.map.changes().guest(self.backends.topology(), began, slot)
    }

    /// The same, of a part of a request.
    pub(super) fn guest_of(&self, gather: &mut Gather, part: usize) -> Option<Endpoint> {
        let slot = gather.parts.get(part)?.slot;
        let position = gather.scan_position().filter(|position| position.is_page(part))?;
        let began = position.began;
        self.guest(began, slot)
    }

    /// The same, of a part that is sent again.
    pub(super) fn guest_at(&mut self, id: SessionId, seq: u64, part: u32) -> Option<Endpoint> {
        let entry = self.sessions[id.index()].pipeline.get_mut(seq)?;
        let gather = entry.work.as_mut()?.gather.as_mut()?;
        let slot = gather.parts.get(part as usize)?.slot;
        let position = gather.scan_position().filter(|position| position.is_page(part as usize))?;
        let began = position.began;
        self.guest(began, slot)
    }

    /// Asks the next node of a round for its keys.
    fn send_page(&mut self, id: SessionId, seq: u64, slot: Slot, now: Instant) {
        let entry = self.sessions[id.index()].pipeline.get(seq).expect("it is being judged");
        let spec = entry.spec;
        let lane = Lane { id: self.sessions[id.index()].lane, large: false };
        let entry = self.sessions[id.index()].pipeline.get_mut(seq).expect("it is being judged");
        let gather = entry.work.as_mut().and_then(|work| work.gather.as_mut());
        let began = gather.and_then(|gather| gather.scan_position()).map(|position| position.began);
        let guest = began.and_then(|began| self.guest(began, slot));
        let route = match guest {
            Some(guest) => self.backends.route_to(&guest, lane, now),
            None => self.route_to_slot(spec, slot, lane, now),
        };
        {
            let changes = &mut *self.shared.map.changes();
            let topology = self.backends.topology();
            let entry = self.sessions[id.index()].pipeline.get_mut(seq);
            let work = entry.and_then(|entry| entry.work.as_mut()).expect("it has parts");
            let gather = work.gather.as_mut().expect("it has parts");
            let position = gather.scan_position().expect("it is a SCAN");
            let stops = changes.stops(topology, position.began);
            position.visits_then(&stops);
        }
        let link = match route {
            Ok(link) => link,
            Err(no_route) => {
                self.shared.map.want_refresh();
                return self.later(id, seq, 0, &no_route.to_string(), now);
            }
        };
        let session = &mut self.sessions[id.index()];
        let expect = Expect {
            session: id.0,
            incarnation: session.incarnation,
            seq,
            part: 0,
            kind: ExpectKind::Request,
            end: 0,
            queued: now,
        };
        let entry = session.pipeline.get_mut(seq).expect("it is being judged");
        let work = entry.work.as_mut().expect("it has parts");
        let frame = match &work.frame {
            Some(frame) => frame,
            None => session.input.slice(entry.frame_at, entry.frame_len),
        };
        let mut decoder = RequestDecoder::default();
        let used = decoder.decode(frame, &self.options.limits).ok().flatten().unwrap_or(0);
        let request = decoder.request(frame, used).expect("it was decoded before");
        let gather = work.gather.as_mut().expect("it has parts");
        gather.parts[0].link = link;
        gather.parts[0].state = PartState::InFlight;
        let gather = &*gather;
        self.backends.send(link, expect, |out| gather.write_part(0, &request, out));
    }

    fn send_survey(&mut self, id: SessionId, seq: u64, now: Instant) {
        let session = &mut self.sessions[id.index()];
        let lane = Lane { id: session.lane, large: false };
        let incarnation = session.incarnation;
        let entry = session.pipeline.get_mut(seq).expect("it is being judged");
        let gather = entry.work.as_mut().and_then(|work| work.gather.as_mut());
        let gather = gather.expect("it is being judged");
        let first = gather.parts.len();
        add_survey(gather, self.backends.topology());
        let mut not_sent = Vec::new();
        for (number, part) in gather.parts.iter_mut().enumerate().skip(first) {
            match self.backends.route(part.slot, lane, now) {
                Ok(link) => {
                    part.link = link;
                    part.state = PartState::InFlight;
                    let expect = Expect {
                        session: id.0,
                        incarnation,
                        seq,
                        part: number as u32,
                        kind: ExpectKind::Request,
                        end: 0,
                        queued: now,
                    };
                    self.backends.send(link, expect, |out| {
                        encode_request(out, &["CLUSTER", "NODES"]);
                    });
                }
                Err(no_route) => not_sent.push((number, no_route)),
            }
        }
        for (part, no_route) in not_sent {
            self.shared.map.want_refresh();
            self.later(id, seq, part as u32, &no_route.to_string(), now);
        }
    }
}
