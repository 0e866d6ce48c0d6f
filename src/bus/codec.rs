//! Packets ⇄ bytes (bus protocol version 1, all integers big-endian).
//!
//! Whatever a peer says of lengths and counts is checked against the bytes that are there before
//! any of them is used, and a packet must be exactly as long as its parts: the holes of this
//! family were all a length believed. [`decode`] takes any bytes and is what the fuzzer drives.

use super::packet::{
    Body, Broadcast, Extension, Gossip, GossipEntry, Header, Kind, Packet, Update,
};
use crate::cluster::{Epoch, NodeFlags, NodeId, SlotSet, is_hostname, is_human_name};
use bytes::{Buf, Bytes, BytesMut};
use std::net::IpAddr;

/// What every packet starts with.
const SIGNATURE: &[u8; 4] = b"RCmb";
const VERSION: u16 = 1;
/// Set in the kind of a packet with Valkey's light header.
const LIGHT: u16 = 0x8000;
/// Bytes of a full header.
pub const HEADER_LEN: usize = 2256;
/// Bytes of a light header.
pub const LIGHT_HEADER_LEN: usize = 16;
const GOSSIP_LEN: usize = 104;
const IP_LEN: usize = 46;
/// Most bytes that the extensions of one PING may take.
const EXTENSIONS_MAX: usize = 64 * 1024;
/// Most gossip entries of one PING: more than any cluster has nodes.
const GOSSIP_MAX: usize = 16_384;
/// Most bytes of a packet from a node that is known: a PUBLISH may be large.
pub const PACKET_MAX: usize = 64 * 1024 * 1024;
/// Most bytes of a packet from a stranger: a MEET with everybody in it.
pub const STRANGER_PACKET_MAX: usize = 2 * 1024 * 1024;
const _: () = assert!(HEADER_LEN + GOSSIP_MAX * GOSSIP_LEN + EXTENSIONS_MAX < STRANGER_PACKET_MAX);

/// Why bytes are no packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Not of this protocol at all: there is no way to find the next packet.
    #[error("Bad message length or signature received on the Cluster bus")]
    Signature,
    /// Longer than its sender may send, or shorter than a header.
    #[error("a packet of {0} bytes")]
    Length(usize),
    /// Of another version of the protocol.
    #[error("protocol version {0}, where 1 was expected")]
    Version(u16),
    /// Of a kind that nobody knows.
    #[error("a packet of unknown kind {0}")]
    Kind(u16),
    /// Its parts do not add up to its length.
    #[error("a {kind:?} whose parts do not add up to its {len} bytes")]
    Parts {
        /// What it says it is.
        kind: Kind,
        /// How long it is.
        len: usize,
    },
    /// A name that is not 40 hex digits.
    #[error("an invalid node id")]
    NodeId,
    /// An extension that breaks its own rules.
    #[error("a malformed ping extension of type {0}")]
    Extension(u16),
}

impl PacketError {
    /// Whether the next packet on the link can be found nevertheless.
    pub fn is_recoverable(&self) -> bool {
        !matches!(self, Self::Signature | Self::Length(_))
    }
}

/// Cuts the next whole packet off `buffer`; `Ok(None)` when more bytes are needed.
///
/// # Errors
/// [`PacketError::Signature`] or [`PacketError::Length`] as soon as they can be seen: before
/// memory is taken for a packet longer than `max` bytes.
pub fn next_frame(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, PacketError> {
    let seen = buffer.len().min(SIGNATURE.len());
    if buffer[..seen] != SIGNATURE[..seen] {
        return Err(PacketError::Signature);
    }
    if buffer.len() < 8 {
        return Ok(None);
    }
    let len = (&buffer[4..8]).get_u32() as usize;
    if !(LIGHT_HEADER_LEN..=max).contains(&len) {
        return Err(PacketError::Length(len));
    }
    if buffer.len() < len {
        buffer.reserve(len - buffer.len());
        return Ok(None);
    }
    Ok(Some(buffer.split_to(len).freeze()))
}

/// Reads one packet, which must be exactly `frame`.
///
/// # Errors
/// Anything that is not a packet of this protocol, to the byte.
pub fn decode(frame: &Bytes) -> Result<Packet, PacketError> {
    let len = frame.len();
    if !(LIGHT_HEADER_LEN..=PACKET_MAX).contains(&len) {
        return Err(PacketError::Length(len));
    }
    if &frame[..4] != SIGNATURE {
        return Err(PacketError::Signature);
    }
    if u32_at(frame, 4) as usize != len {
        return Err(PacketError::Length(u32_at(frame, 4) as usize));
    }
    let version = u16_at(frame, 8);
    if version != VERSION {
        return Err(PacketError::Version(version));
    }
    let number = u16_at(frame, 12);
    let known = Kind::ALL.get(usize::from(number & !LIGHT));
    let kind = *known.ok_or(PacketError::Kind(number))?;
    let light = number & LIGHT != 0;
    let header_len = if light { LIGHT_HEADER_LEN } else { HEADER_LEN };
    let parts = PacketError::Parts { kind, len };
    if len < header_len {
        return Err(parts);
    }
    let payload = frame.slice(header_len..);
    if light {
        let light_kind = matches!(kind, Kind::Publish | Kind::PublishShard | Kind::Module);
        let broadcast = light_kind.then(|| broadcast(kind, &payload)).flatten();
        return broadcast.map(Packet::Light).ok_or(parts);
    }
    let header = Box::new(header(frame)?);
    let empty = |body: Body| if payload.is_empty() { Ok(body) } else { Err(parts.clone()) };
    let body = match kind {
        Kind::Ping => Body::Ping(gossip(frame, &payload, kind)?),
        Kind::Pong => Body::Pong(gossip(frame, &payload, kind)?),
        Kind::Meet => Body::Meet(gossip(frame, &payload, kind)?),
        Kind::Fail if payload.len() == NodeId::LEN => Body::Fail(id_at(&payload, 0)?),
        Kind::Fail => return Err(parts),
        Kind::Publish | Kind::PublishShard | Kind::Module => {
            Body::Broadcast(broadcast(kind, &payload).ok_or(parts)?)
        }
        Kind::VoteRequest => empty(Body::VoteRequest)?,
        Kind::VoteGranted => empty(Body::VoteGranted)?,
        Kind::ManualFailoverStart => empty(Body::ManualFailoverStart)?,
        Kind::Update if payload.len() == 8 + NodeId::LEN + SlotSet::BYTES => Body::Update(Update {
            config_epoch: Epoch(u64_at(&payload, 0)),
            node: id_at(&payload, 8)?,
            slots: slots_at(&payload, 48),
        }),
        Kind::Update => return Err(parts),
    };
    Ok(Packet::Full { header, body })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    (&bytes[at..at + 2]).get_u16()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    (&bytes[at..at + 4]).get_u32()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    (&bytes[at..at + 8]).get_u64()
}

fn id_at(bytes: &[u8], at: usize) -> Result<NodeId, PacketError> {
    NodeId::parse(&bytes[at..at + NodeId::LEN]).map_err(|_| PacketError::NodeId)
}

fn slots_at(bytes: &[u8], at: usize) -> SlotSet {
    let bits: &[u8; SlotSet::BYTES] =
        bytes[at..at + SlotSet::BYTES].try_into().expect("a slice of just this length");
    SlotSet::from_bits(bits)
}

/// An address, NUL-padded. What is none (a host name in `cluster-announce-ip`) counts as not
/// announced: the address that the packet came from is used instead.
fn ip_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let field = &bytes[at..at + IP_LEN];
    let end = memchr::memchr(0, field).unwrap_or(IP_LEN);
    std::str::from_utf8(&field[..end]).ok()?.parse().ok()
}

fn header(frame: &[u8]) -> Result<Header, PacketError> {
    let primary = &frame[2128..2128 + NodeId::LEN];
    let replica_of = if primary.iter().all(|&b| b == 0) { None } else { Some(id_at(frame, 2128)?) };
    let mflags = frame[2253];
    Ok(Header {
        port: u16_at(frame, 10),
        current_epoch: Epoch(u64_at(frame, 16)),
        config_epoch: Epoch(u64_at(frame, 24)),
        offset: u64_at(frame, 32),
        sender: id_at(frame, 40)?,
        slots: slots_at(frame, 80),
        replica_of,
        ip: ip_at(frame, 2168),
        secondary_port: u16_at(frame, 2246),
        bus_port: u16_at(frame, 2248),
        flags: NodeFlags::from_bits(u16_at(frame, 2250)),
        state_ok: frame[2252] == 0,
        paused: mflags & 1 != 0,
        force_ack: mflags & 2 != 0,
        extensions: mflags & 4 != 0,
    })
}

fn gossip(frame: &[u8], payload: &[u8], kind: Kind) -> Result<Gossip, PacketError> {
    let parts = PacketError::Parts { kind, len: frame.len() };
    let count = usize::from(u16_at(frame, 14));
    let extensions = usize::from(u16_at(frame, 2214));
    if count > GOSSIP_MAX || payload.len() < count * GOSSIP_LEN {
        return Err(parts);
    }
    let (entries, mut rest) = payload.split_at(count * GOSSIP_LEN);
    // Each extension has a head of eight bytes, so the count cannot lie by more than that.
    if rest.len() > EXTENSIONS_MAX || extensions > rest.len() / 8 {
        return Err(parts);
    }
    let mut gossip =
        Gossip { entries: Vec::with_capacity(count), extensions: Vec::with_capacity(extensions) };
    for entry in entries.chunks_exact(GOSSIP_LEN) {
        gossip.entries.push(GossipEntry {
            id: id_at(entry, 0)?,
            ping_sent: u32_at(entry, 40),
            pong_received: u32_at(entry, 44),
            ip: ip_at(entry, 48),
            port: u16_at(entry, 94),
            bus_port: u16_at(entry, 96),
            flags: NodeFlags::from_bits(u16_at(entry, 98)),
            secondary_port: u16_at(entry, 100),
        });
    }
    for _ in 0..extensions {
        if rest.len() < 8 {
            return Err(parts);
        }
        let len = u32_at(rest, 0) as usize;
        let number = u16_at(rest, 4);
        if len < 8 || !len.is_multiple_of(8) || len > rest.len() {
            return Err(PacketError::Extension(number));
        }
        gossip.extensions.extend(extension(number, &rest[8..len])?);
        rest = &rest[len..];
    }
    if rest.is_empty() { Ok(gossip) } else { Err(parts) }
}

/// An extension; `None` for a kind that is not known.
fn extension(number: u16, data: &[u8]) -> Result<Option<Extension>, PacketError> {
    let malformed = || PacketError::Extension(number);
    let text = |is_valid: fn(&str) -> bool| -> Result<String, PacketError> {
        let end = memchr::memchr(0, data).ok_or_else(malformed)?;
        let text = std::str::from_utf8(&data[..end]).map_err(|_| malformed())?;
        let valid = text.is_empty() || is_valid(text);
        if valid { Ok(text.to_owned()) } else { Err(malformed()) }
    };
    let id = || NodeId::parse(&data[..NodeId::LEN]).map_err(|_| malformed());
    Ok(Some(match number {
        0 => Extension::Hostname(text(is_hostname)?),
        // A name that Valkey would not take is for nobody's eyes; the packet is as good without.
        1 if data.contains(&0) => return Ok(text(is_human_name).ok().map(Extension::HumanName)),
        2 if data.len() == NodeId::LEN + 8 => {
            Extension::ForgottenNode { node: id()?, ttl_secs: u64_at(data, NodeId::LEN) }
        }
        3 if data.len() == NodeId::LEN => Extension::ShardId(id()?),
        1..=3 => return Err(malformed()),
        // 4 is a client address for Valkey and a secret for Redis 8: none of ours.
        _ => return Ok(None),
    }))
}

fn broadcast(kind: Kind, payload: &Bytes) -> Option<Broadcast> {
    if kind == Kind::Module {
        if payload.len() < 13 || payload.len() - 13 != u32_at(payload, 8) as usize {
            return None;
        }
        let (module, kind) = (u64_at(payload, 0), payload[12]);
        return Some(Broadcast::Module { module, kind, payload: payload.slice(13..) });
    }
    if payload.len() < 8 {
        return None;
    }
    let (first, second) = (u32_at(payload, 0) as usize, u32_at(payload, 4) as usize);
    let parts = payload.slice(8..);
    if first.checked_add(second)? != parts.len() {
        return None;
    }
    let (channel, message) = (parts.slice(..first), parts.slice(first..));
    Some(match kind {
        Kind::PublishShard => Broadcast::PublishShard { channel, message },
        _ => Broadcast::Publish { channel, message },
    })
}

/// Appends a packet to `out`.
pub fn encode(packet: &Packet, out: &mut Vec<u8>) {
    let start = out.len();
    match packet {
        Packet::Full { header, body } => {
            put_header(header, body, out);
            match body {
                Body::Ping(gossip) | Body::Pong(gossip) | Body::Meet(gossip) => {
                    put_gossip(gossip, out);
                }
                Body::Fail(node) => out.extend_from_slice(node.as_bytes()),
                Body::Broadcast(broadcast) => put_broadcast(broadcast, out),
                Body::Update(update) => {
                    out.extend_from_slice(&update.config_epoch.0.to_be_bytes());
                    out.extend_from_slice(update.node.as_bytes());
                    out.extend_from_slice(update.slots.as_bits());
                }
                Body::VoteRequest | Body::VoteGranted | Body::ManualFailoverStart => {}
            }
        }
        Packet::Light(broadcast) => {
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&VERSION.to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&(packet.kind() as u16 | LIGHT).to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            put_broadcast(broadcast, out);
        }
    }
    let len = (out.len() - start) as u32;
    out[start + 4..start + 8].copy_from_slice(&len.to_be_bytes());
}

/// Text in a field of `len` bytes, NUL-padded.
fn put_padded(text: &str, len: usize, out: &mut Vec<u8>) {
    debug_assert!(text.len() < len, "fields leave room for what goes into them");
    out.extend_from_slice(text.as_bytes());
    out.resize(out.len() + len - text.len(), 0);
}

fn put_ip(ip: Option<IpAddr>, out: &mut Vec<u8>) {
    put_padded(&ip.map(|ip| ip.to_string()).unwrap_or_default(), IP_LEN, out);
}

fn put_header(header: &Header, body: &Body, out: &mut Vec<u8>) {
    let (count, extensions) = match body {
        Body::Ping(gossip) | Body::Pong(gossip) | Body::Meet(gossip) => {
            (gossip.entries.len(), gossip.extensions.len())
        }
        _ => (0, 0),
    };
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&header.port.to_be_bytes());
    out.extend_from_slice(&(body.kind() as u16).to_be_bytes());
    out.extend_from_slice(&(count as u16).to_be_bytes());
    out.extend_from_slice(&header.current_epoch.0.to_be_bytes());
    out.extend_from_slice(&header.config_epoch.0.to_be_bytes());
    out.extend_from_slice(&header.offset.to_be_bytes());
    out.extend_from_slice(header.sender.as_bytes());
    out.extend_from_slice(header.slots.as_bits());
    match &header.replica_of {
        Some(primary) => out.extend_from_slice(primary.as_bytes()),
        None => out.extend_from_slice(&[0; NodeId::LEN]),
    }
    put_ip(header.ip, out);
    out.extend_from_slice(&(extensions as u16).to_be_bytes());
    out.extend_from_slice(&[0; 30]);
    out.extend_from_slice(&header.secondary_port.to_be_bytes());
    out.extend_from_slice(&header.bus_port.to_be_bytes());
    out.extend_from_slice(&header.flags.bits().to_be_bytes());
    out.push(u8::from(!header.state_ok));
    let bits = [header.paused, header.force_ack, header.extensions];
    let mflags = bits.iter().enumerate().map(|(bit, &set)| u8::from(set) << bit).sum();
    out.extend_from_slice(&[mflags, 0, 0]);
}

fn put_gossip(gossip: &Gossip, out: &mut Vec<u8>) {
    debug_assert!(gossip.entries.len() <= GOSSIP_MAX, "a view is smaller than this");
    for entry in &gossip.entries {
        out.extend_from_slice(entry.id.as_bytes());
        out.extend_from_slice(&entry.ping_sent.to_be_bytes());
        out.extend_from_slice(&entry.pong_received.to_be_bytes());
        put_ip(entry.ip, out);
        for field in [entry.port, entry.bus_port, entry.flags.bits(), entry.secondary_port, 0] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
    for extension in &gossip.extensions {
        let (number, mut data) = match extension {
            Extension::Hostname(name) => (0u16, [name.as_bytes(), &[0]].concat()),
            Extension::HumanName(name) => (1, [name.as_bytes(), &[0]].concat()),
            Extension::ForgottenNode { node, ttl_secs } => {
                (2, [&node.as_bytes()[..], &ttl_secs.to_be_bytes()].concat())
            }
            Extension::ShardId(id) => (3, id.as_bytes().to_vec()),
        };
        data.resize(data.len().next_multiple_of(8), 0);
        out.extend_from_slice(&(data.len() as u32 + 8).to_be_bytes());
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&data);
    }
}

fn put_broadcast(broadcast: &Broadcast, out: &mut Vec<u8>) {
    match broadcast {
        Broadcast::Publish { channel, message } | Broadcast::PublishShard { channel, message } => {
            out.extend_from_slice(&(channel.len() as u32).to_be_bytes());
            out.extend_from_slice(&(message.len() as u32).to_be_bytes());
            out.extend_from_slice(channel);
            out.extend_from_slice(message);
        }
        Broadcast::Module { module, kind, payload } => {
            out.extend_from_slice(&module.to_be_bytes());
            out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            out.push(*kind);
            out.extend_from_slice(payload);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
