//! The grammar, a group at a time. To add a command, add a line.

/// Commands that are drawn together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    /// How many connections take turns.
    pub(super) clients: usize,
    pub(super) lines: &'static [&'static str],
}

macro_rules! group {
    ($name:literal, $clients:literal, [$($line:literal),* $(,)?]) => {
        Group { name: $name, clients: $clients, lines: &[$($line),*] }
    };
}

pub(super) const STRINGS: Group = group!(
    "strings",
    1,
    [
        "GET key",
        "GET key",
        "SET key value [ NX | XX ] [ GET ] [ EX seconds | PX milliseconds | EXAT at-seconds | PXAT at-milliseconds | KEEPTTL ]",
        "SET key value",
        "SET key integer",
        "SETNX key value",
        "SETEX key seconds value",
        "PSETEX key milliseconds value",
        "GETSET key value",
        "GETDEL key",
        "GETEX key [ EX seconds | PX milliseconds | EXAT at-seconds | PXAT at-milliseconds | PERSIST ]",
        "INCR key",
        "DECR key",
        "INCRBY key integer",
        "DECRBY key integer",
        "INCRBYFLOAT key float",
        "APPEND key value",
        "STRLEN key",
        "GETRANGE key index index",
        "SUBSTR key index index",
        "SETRANGE key offset value",
        "MGET key+",
        "MSET ( key value )+",
        "MSETNX ( key value )+",
        "LCS key key [ LEN | IDX ] [ MINMATCHLEN count ] [ WITHMATCHLEN ]",
        "MSET key text key text",
        "OBJECT ENCODING key",
        "HSET key field value",
        "DEL key",
        "PTTL key => time",
    ]
);

pub(super) const KEYS: Group = group!(
    "keys",
    1,
    [
        "SET key value",
        "SET key value EX seconds",
        "HSET key field value",
        "DEL key+",
        "UNLINK key+",
        "EXISTS key+",
        "TOUCH key+",
        "TYPE key",
        "EXPIRE key seconds [ NX | XX | GT | LT ]",
        "PEXPIRE key milliseconds [ NX | XX | GT | LT ]",
        "EXPIREAT key at-seconds [ NX | XX | GT | LT ]",
        "PEXPIREAT key at-milliseconds [ NX | XX | GT | LT ]",
        "EXPIRE key seconds ( NX | XX | GT | LT ) ( NX | XX | GT | LT )",
        "TTL key => time",
        "PTTL key => time",
        "EXPIRETIME key => time",
        "PEXPIRETIME key => time",
        "PERSIST key",
        "RENAME key key",
        "RENAMENX key key",
        "COPY key key [ DB database ] [ REPLACE ]",
        "MOVE key database",
        "SELECT database",
        "SWAPDB database database",
        "DBSIZE",
        "KEYS pattern => set",
        "RANDOMKEY => shape",
        "OBJECT ENCODING key",
        "OBJECT REFCOUNT key => shape",
        "OBJECT FREQ key => refused",
        "FLUSHDB [ SYNC | ASYNC ]",
        "DEBUG DIGEST-VALUE key+",
        "DEBUG DIGEST",
    ]
);

pub(super) const HASHES: Group = group!(
    "hashes",
    1,
    [
        "HSET key ( field value )+",
        "HSET key ( field value )+",
        "HSET key ( field integer )+",
        "HMSET key ( field value )+",
        "HSETNX key field value",
        "HGET key field",
        "HMGET key field+",
        "HGETALL key => pairs",
        "HKEYS key => set",
        "HVALS key => set",
        "HLEN key",
        "HEXISTS key field",
        "HSTRLEN key field",
        "HDEL key field+",
        "HINCRBY key field integer",
        "HINCRBYFLOAT key field float",
        "HRANDFIELD key => shape",
        "HRANDFIELD key few WITHVALUES WITHVALUES => refused",
        "HRANDFIELD key text => refused",
        "HRANDFIELD key 9223372036854775807 WITHVALUES => refused",
        "HRANDFIELD key -9223372036854775808 WITHVALUES => refused",
        "HRANDFIELD key few [ WITHVALUES ] => shape",
        "HSCAN key cursor [ MATCH pattern ] [ COUNT count ] => walk",
        "HSCAN key cursor => walk",
        "OBJECT ENCODING key",
        "COPY key key REPLACE",
        "RENAME key key",
        "SET key value",
        "DEL key",
        "DEBUG DIGEST-VALUE key",
    ]
);

pub(super) const TRANSACTIONS: Group = group!(
    "transactions",
    3,
    [
        "MULTI",
        "MULTI",
        "EXEC",
        "EXEC",
        "DISCARD",
        "WATCH key+",
        "UNWATCH",
        "SET key value",
        "GET key",
        "INCR key",
        "APPEND key value",
        "HSET key field value",
        "HGET key field",
        "HINCRBY key field integer",
        "DEL key",
        "RENAME key key",
        "EXPIRE key seconds",
        "EXISTS key",
        "MGET key+",
        "TYPE key",
        "PERSIST key",
        "FLUSHDB",
        "NOSUCHCOMMAND key => refused",
        "PING",
    ]
);

pub(super) const SCAN: Group = group!(
    "scan",
    1,
    [
        "MSET ( key value )+",
        "MSET ( field value )+",
        "SET field value EX seconds",
        "HSET key ( field value )+",
        "DEL key+",
        "SCAN cursor => walk",
        "SCAN cursor [ MATCH pattern ] [ COUNT count ] [ TYPE type ] => walk",
        "HSCAN key cursor [ MATCH pattern ] [ COUNT count ] => walk",
        "KEYS pattern => set",
        "DBSIZE",
        "RANDOMKEY => shape",
    ]
);

pub(super) const CONNECTION: Group = group!(
    "connection",
    3,
    [
        "PING",
        "PING value",
        "ECHO value",
        "SELECT database",
        "SET key value",
        "GET key",
        "HELLO [ 2 | 3 ] [ AUTH DEFAULT value ] => hello",
        "CLIENT SETNAME name",
        "CLIENT GETNAME",
        "CLIENT ID => shape",
        "CLIENT NO-EVICT ( ON | OFF )",
        "CLIENT REPLY ON",
        "CLIENT UNPAUSE",
        "CLIENT GETREDIR",
        "CLIENT UNBLOCK integer",
        "AUTH DEFAULT value",
        "AUTH value",
        "RESET",
        "MULTI",
        "EXEC => hello",
        "DISCARD",
        "TIME => shape",
        "DBSIZE",
        "COMMAND COUNT => shape",
        "COMMAND GETKEYS SET key value",
        "COMMAND GETKEYS MSET ( key value )+",
        "READONLY => refused",
        "READWRITE => refused",
        "ASKING => refused",
        "CLUSTER KEYSLOT key => refused",
        "OBJECT => refused",
        "LASTSAVE => shape",
        "ROLE => shape",
    ]
);

/// All of them.
pub(super) const ALL: &[&Group] = &[&STRINGS, &KEYS, &HASHES, &TRANSACTIONS, &SCAN, &CONNECTION];
