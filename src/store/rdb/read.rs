//! A whole file on its way in: fed in chunks of any size, it gives what the file says, in order.
//!
//! It holds what has come and is not read yet, which is at most one element of a collection, or
//! one string; a collection grows element by element.

use super::builder::{Builder, Loaded, ValueLimits};
use super::crc64::Crc64;
use super::error::RdbError;
use super::input::{Input, Read, Stop};
use super::write::KeyUse;
use super::{READ_MAX, VALKEY, opcode};
use crate::cluster::Slot;
use crate::store::entry::Entry;

/// What a file says.
#[derive(Debug)]
pub enum RdbEvent {
    /// A named fact.
    Aux {
        /// Its name: `redis-ver`, `repl-id`, …
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// The keys that follow are of this database.
    Database(u64),
    /// So many keys come in this database, and so many of them expire: a hint that may lie.
    Sizes {
        /// Keys.
        keys: u64,
        /// Those that expire.
        expiring: u64,
    },
    /// The code of a library of functions.
    Function(Vec<u8>),
    /// A key. Nobody has looked whether it has expired.
    Key {
        /// The key, its value and its expiry.
        entry: Entry,
        /// Its use, if the file says so.
        used: Option<KeyUse>,
    },
    /// A key whose collection has no elements: to be left out, as Redis leaves it out.
    Empty {
        /// The key.
        key: Vec<u8>,
    },
    /// The end. Bytes behind it are not of the file: [`RdbReader::take_rest`].
    End,
}

#[derive(Debug)]
enum State {
    /// Before the magic.
    Start,
    /// Between keys.
    Between,
    /// In a key's value.
    Value {
        key: Vec<u8>,
        builder: Builder,
    },
    /// In a module's own data, between two parts.
    ModuleParts,
    /// Before the checksum.
    Sum,
    Done,
}

/// What has been said of the next key.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    expires_at: Option<u64>,
    used: Option<KeyUse>,
}

/// Reads a file: [`RdbReader::feed`] it bytes, and take events until there are none.
#[derive(Debug)]
pub struct RdbReader {
    limits: ValueLimits,
    version: u32,
    state: State,
    ahead: Ahead,
    crc: Crc64,
    /// Bytes that have come; those before `read` are done with.
    bytes: Vec<u8>,
    read: usize,
    /// How many bytes must be there before it is worth looking again.
    wanted: usize,
    /// Bytes that are done with and no longer held.
    passed: u64,
}

/// `REDIS` and four digits, or `VALKEY` and three.
const MAGIC: usize = 9;

/// How many ranges of slots an import may have: each has one slot at least.
const SLOT_RANGES_MAX: u64 = Slot::COUNT as u64;

impl RdbReader {
    /// A reader at the start of a file.
    pub fn new(limits: ValueLimits) -> Self {
        Self {
            limits,
            version: 0,
            state: State::Start,
            ahead: Ahead::default(),
            crc: Crc64::default(),
            bytes: Vec::new(),
            read: 0,
            wanted: 0,
            passed: 0,
        }
    }

    /// Takes the next bytes of the file. Call [`RdbReader::next`] until it gives nothing before
    /// feeding more: what was fed and not taken is held.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.passed += self.read as u64;
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event: none if it takes more bytes to tell, or the file has ended.
    ///
    /// # Errors
    /// The file cannot be read on from here.
    #[allow(clippy::should_implement_trait, reason = "it may give something after nothing")]
    pub fn next(&mut self) -> Result<Option<RdbEvent>, RdbError> {
        loop {
            if matches!(self.state, State::Done) || self.bytes.len() - self.read < self.wanted {
                return Ok(None);
            }
            let bytes = std::mem::take(&mut self.bytes);
            let mut input = Input::new(&bytes[self.read..]);
            let sums = !matches!(self.state, State::Sum);
            let outcome = self.advance(&mut input);
            let taken = input.at();
            if sums {
                self.crc.update(&bytes[self.read..self.read + taken]);
            }
            self.read += taken;
            self.bytes = bytes;
            self.wanted = 0;
            match outcome {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => {}
                Err(Stop::More(missing)) => {
                    self.wanted = self.bytes.len() - self.read + missing;
                    return Ok(None);
                }
                Err(Stop::Bad(error)) => return Err(error),
            }
        }
    }

    /// Whether the file has ended, its checksum included.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many bytes of the file are read.
    pub fn position(&self) -> u64 {
        self.passed + self.read as u64
    }

    /// The bytes that came behind the end of the file.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.read);
        self.bytes.clear();
        self.passed += self.read as u64;
        self.read = 0;
        rest
    }

    /// Takes one token more, or some of a value. After [`Stop::More`] `input` is where what is
    /// missing begins.
    fn advance(&mut self, input: &mut Input<'_>) -> Read<Option<RdbEvent>> {
        let start = input.at();
        let outcome = match &mut self.state {
            // It goes back to the end of its last element by itself.
            State::Value { builder, .. } => {
                let loaded = builder.step(input)?;
                return Ok(self.finish_key(loaded));
            }
            State::Start => self.magic(input),
            State::Between => self.between(input),
            // Part by part: however many there are, none is held, or looked at twice.
            State::ModuleParts => input.skip_module_part().map(|more| {
                if !more {
                    self.state = State::Between;
                }
                None
            }),
            State::Sum => self.check_sum(input),
            State::Done => Ok(None),
        };
        if matches!(outcome, Err(Stop::More(_))) {
            input.back_to(start);
        }
        outcome
    }

    fn magic(&mut self, input: &mut Input<'_>) -> Read<Option<RdbEvent>> {
        let magic = input.take(MAGIC)?;
        let (digits, known): (&[u8], fn(u32) -> bool) = match magic {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => {
                (digits, |v| (1..=READ_MAX).contains(&v))
            }
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (digits, |v| v == VALKEY),
            _ => return Err(RdbError::Signature.into()),
        };
        let version = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        self.version = version.unwrap_or(0);
        if !known(self.version) {
            return Err(RdbError::Version(self.version).into());
        }
        self.state = State::Between;
        Ok(None)
    }

    fn between(&mut self, input: &mut Input<'_>) -> Read<Option<RdbEvent>> {
        /// The first version with a checksum.
        const SUMMED_FROM: u32 = 5;
        match input.byte()? {
            opcode::END if self.version >= SUMMED_FROM => {
                self.state = State::Sum;
                Ok(None)
            }
            opcode::END => {
                self.state = State::Done;
                Ok(Some(RdbEvent::End))
            }
            opcode::SELECT_DB => Ok(Some(RdbEvent::Database(input.length()?))),
            opcode::RESIZE_DB => {
                let (keys, expiring) = (input.length()?, input.length()?);
                Ok(Some(RdbEvent::Sizes { keys, expiring }))
            }
            opcode::AUX => {
                let (name, value) = (input.string()?.into_owned(), input.string()?.into_owned());
                Ok(Some(RdbEvent::Aux { name, value }))
            }
            opcode::FUNCTION => Ok(Some(RdbEvent::Function(input.string()?.into_owned()))),
            opcode::EXPIRE_SECONDS => {
                let seconds = u64::try_from(i32::from_le_bytes(input.array()?)).unwrap_or(0);
                self.ahead.expires_at = Some(seconds * 1000);
                Ok(None)
            }
            opcode::EXPIRE_MS => {
                let at = u64::try_from(i64::from_le_bytes(input.array()?)).unwrap_or(0);
                self.ahead.expires_at = Some(at);
                Ok(None)
            }
            opcode::IDLE => {
                self.ahead.used = Some(KeyUse::Idle(input.length()?));
                Ok(None)
            }
            opcode::FREQ => {
                self.ahead.used = Some(KeyUse::Frequency(input.byte()?));
                Ok(None)
            }
            // What Valkey says of slots is told by the cluster, too.
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    input.length()?;
                }
                Ok(None)
            }
            opcode::SLOT_IMPORT => {
                input.string()?;
                let ranges = input.length()?;
                if ranges > SLOT_RANGES_MAX {
                    return Err(
                        RdbError::Corrupt("more ranges of slots than there are slots").into()
                    );
                }
                for _ in 0..ranges * 2 {
                    input.length()?;
                }
                Ok(None)
            }
            opcode::MODULE_AUX => {
                for _ in 0..3 {
                    input.length()?;
                }
                self.state = State::ModuleParts;
                Ok(None)
            }
            opcode::FUNCTION_EARLY => {
                Err(RdbError::Unsupported("a function of a preview of Redis 7").into())
            }
            kind => {
                let key = input.string()?.into_owned();
                let builder = Builder::new(kind, self.limits)?;
                self.state = State::Value { key, builder };
                Ok(None)
            }
        }
    }

    fn check_sum(&mut self, input: &mut Input<'_>) -> Read<Option<RdbEvent>> {
        let found = u64::from_le_bytes(input.array()?);
        let expected = self.crc.value();
        // Zero stands for no checksum.
        if found != 0 && found != expected {
            return Err(RdbError::Checksum { expected, found }.into());
        }
        self.state = State::Done;
        Ok(Some(RdbEvent::End))
    }

    fn finish_key(&mut self, loaded: Option<Loaded>) -> Option<RdbEvent> {
        let State::Value { key, .. } = std::mem::replace(&mut self.state, State::Between) else {
            return None;
        };
        let Ahead { expires_at, used } = std::mem::take(&mut self.ahead);
        Some(match loaded {
            Some(loaded) => RdbEvent::Key { entry: loaded.into_entry(&key, expires_at), used },
            None => RdbEvent::Empty { key },
        })
    }
}
