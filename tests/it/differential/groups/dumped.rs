//! Values that come as DUMP wrote them, and what is known of a key beside its value.

use super::Group;

pub(in crate::differential) const DUMPED: Group = group!(
    "dumped",
    1,
    [
        "RESTORE key 0 payload",
        "RESTORE key 0 payload REPLACE",
        "RESTORE key ( 60000 | 4000000000000 | -5 | 1.5 ) payload [ REPLACE ]",
        "RESTORE key 0 payload text => refused",
        "RESTORE key text payload => refused",
        "RESTORE key 0 => refused",
        "RESTORE key at-milliseconds payload [ REPLACE ] ABSTTL",
        "RESTORE key 0 payload [ REPLACE ] [ ABSTTL ] [ IDLETIME ( few | 100 | 20000 ) | FREQ few ]",
        "RESTORE key 0 payload REPLACE IDLETIME few FREQ few => refused",
        "RESTORE key 0 text => refused",
        "RESTORE-ASKING key 0 payload [ REPLACE ] [ ABSTTL ] [ IDLETIME few | FREQ few ]",
        "OBJECT ENCODING key",
        "OBJECT IDLETIME key => time",
        "OBJECT FREQ key => refused",
        "OBJECT REFCOUNT key => shape",
        "MEMORY USAGE key [ SAMPLES count ] => shape",
        "TYPE key",
        "PTTL key => time",
        "TOUCH key",
        "APPEND key value",
        "PFCOUNT key",
        "HSET key field value",
        "RPUSH key value",
        "SADD key field integer",
        "ZADD key score field",
        "ZRANGE key 0 -1 WITHSCORES => scores",
        "XADD key new-id field value",
        "XRANGE key - +",
        "COPY key key [ REPLACE ]",
        "RENAME key key",
        "DEBUG OBJECT key => object",
        "DEL key",
        "DEL key",
    ]
);
