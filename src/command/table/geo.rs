//! Geo indexes.

use super::{after, key};
use crate::command::Arity::AtLeast;
use crate::command::{Class, Deprecated, Group, Spec};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        summary: "Adds members at places on the globe, or moves them.",
        complexity: "O(log(N)) per member, N members in the index",
        arity: AtLeast(5),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(GEO),
        keys: &[key(key_flags!(RW UPDATE), 1)],
        syntax: "key:key (condition: NX | XX)?^6.2.0 CH/change?^6.2.0 {data: longitude:double latitude:double member}*",
        history: &[("6.2.0", "Takes CH, NX and XX.")],
        ..Spec::new("geoadd", "3.2.0", Group::Geo, Class::OneSlot)
    },
    Spec {
        summary: "Measures the way from one member to another.",
        complexity: "O(log(N)), N members in the index",
        arity: AtLeast(4),
        flags: flags!(READONLY),
        own_categories: categories!(GEO),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key member1 member2 (unit: M | KM | FT | MI)?",
        ..Spec::new("geodist", "3.2.0", Group::Geo, Class::OneSlot)
    },
    Spec {
        summary: "Shows the places of members as geohash strings.",
        complexity: "O(log(N)) per member",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(GEO),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key member?*",
        ..Spec::new("geohash", "3.2.0", Group::Geo, Class::OneSlot)
    },
    Spec {
        summary: "Shows the places of members as longitude and latitude.",
        complexity: "O(N), N members named",
        arity: AtLeast(2),
        flags: flags!(READONLY),
        own_categories: categories!(GEO),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key member?*",
        ..Spec::new("geopos", "3.2.0", Group::Geo, Class::OneSlot)
    },
    Spec {
        summary: "Finds members around a place, and may store them.",
        complexity: "O(N+log(M)), N members near it and M found",
        arity: AtLeast(6),
        flags: flags!(WRITE DENYOOM MOVABLEKEYS),
        own_categories: categories!(GEO),
        keys: &[
            key(key_flags!(RO ACCESS), 1),
            after(key_flags!(OW UPDATE VARIABLE_FLAGS), "STORE", 6, 0, 0),
            after(key_flags!(OW UPDATE VARIABLE_FLAGS), "STOREDIST", 6, 0, 0),
        ],
        syntax: "key:key longitude:double latitude:double radius:double (unit: M | KM | FT | MI) WITHCOORD? WITHDIST? WITHHASH? {count-block: COUNT.count:int ANY?^6.2.0}? (order: ASC | DESC)? (store: STORE.storekey:key~key@1 | STOREDIST.storedistkey:key~key@2)?",
        history: &[("6.2.0", "COUNT takes ANY."), ("7.0.0", "Units may be in upper case.")],
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`GEOSEARCH` or `GEOSEARCHSTORE` with `BYRADIUS`",
        }),
        ..Spec::new("georadius", "3.2.0", Group::Geo, Class::AllOrNothing)
    },
    Spec {
        summary: "Finds members around a place.",
        complexity: "O(N+log(M)), N members near it and M found",
        arity: AtLeast(6),
        flags: flags!(READONLY),
        own_categories: categories!(GEO),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key longitude:double latitude:double radius:double (unit: M | KM | FT | MI) WITHCOORD? WITHDIST? WITHHASH? {count-block: COUNT.count:int ANY?^6.2.0}? (order: ASC | DESC)?",
        history: &[("6.2.0", "COUNT takes ANY."), ("7.0.0", "Units may be in upper case.")],
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`GEOSEARCH` with `BYRADIUS`" }),
        ..Spec::new("georadius_ro", "3.2.10", Group::Geo, Class::OneSlot)
    },
    Spec {
        summary: "Finds members around another one, and may store them.",
        complexity: "O(N+log(M)), N members near it and M found",
        arity: AtLeast(5),
        flags: flags!(WRITE DENYOOM MOVABLEKEYS),
        own_categories: categories!(GEO),
        keys: &[
            key(key_flags!(RO ACCESS), 1),
            after(key_flags!(OW UPDATE VARIABLE_FLAGS), "STORE", 5, 0, 0),
            after(key_flags!(OW UPDATE VARIABLE_FLAGS), "STOREDIST", 5, 0, 0),
        ],
        syntax: "key:key member radius:double (unit: M | KM | FT | MI) WITHCOORD? WITHDIST? WITHHASH? {count-block: COUNT.count:int ANY?}? (order: ASC | DESC)? (store: STORE.storekey:key~key@1 | STOREDIST.storedistkey:key~key@2)?",
        history: &[("6.2.0", "COUNT takes ANY."), ("7.0.0", "Units may be in upper case.")],
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`GEOSEARCH` or `GEOSEARCHSTORE` with `BYRADIUS` and `FROMMEMBER`",
        }),
        ..Spec::new("georadiusbymember", "3.2.0", Group::Geo, Class::AllOrNothing)
    },
    Spec {
        summary: "Finds members around another one.",
        complexity: "O(N+log(M)), N members near it and M found",
        arity: AtLeast(5),
        flags: flags!(READONLY),
        own_categories: categories!(GEO),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key member radius:double (unit: M | KM | FT | MI) WITHCOORD? WITHDIST? WITHHASH? {count-block: COUNT.count:int ANY?}? (order: ASC | DESC)?",
        history: &[("6.2.0", "COUNT takes ANY."), ("7.0.0", "Units may be in upper case.")],
        deprecated: Some(Deprecated {
            since: "6.2.0",
            replaced_by: "`GEOSEARCH` with `BYRADIUS` and `FROMMEMBER`",
        }),
        ..Spec::new("georadiusbymember_ro", "3.2.10", Group::Geo, Class::OneSlot)
    },
    Spec {
        summary: "Finds the members inside a circle or box.",
        complexity: "O(N+log(M)), N members near it and M found",
        arity: AtLeast(7),
        flags: flags!(READONLY),
        own_categories: categories!(GEO),
        keys: &[key(key_flags!(RO ACCESS), 1)],
        syntax: "key:key (from: FROMMEMBER.member | FROMLONLAT.{fromlonlat: longitude:double latitude:double})? (by: {circle: BYRADIUS.radius:double (unit: M | KM | FT | MI)} | {box: BYBOX.width:double height:double (unit: M | KM | FT | MI)}) (order: ASC | DESC)? {count-block: COUNT.count:int ANY?}? WITHCOORD? WITHDIST? WITHHASH?",
        history: &[("7.0.0", "Units may be in upper case.")],
        ..Spec::new("geosearch", "6.2.0", Group::Geo, Class::OneSlot)
    },
    Spec {
        summary: "Stores the members that lie inside a circle or box.",
        complexity: "O(N+log(M)), N members near it and M found",
        arity: AtLeast(8),
        flags: flags!(WRITE DENYOOM),
        own_categories: categories!(GEO),
        keys: &[key(key_flags!(OW UPDATE), 1), key(key_flags!(RO ACCESS), 2)],
        syntax: "destination:key source:key@1 (from: FROMMEMBER.member | FROMLONLAT.{fromlonlat: longitude:double latitude:double})? (by: {circle: BYRADIUS.radius:double (unit: M | KM | FT | MI)} | {box: BYBOX.width:double height:double (unit: M | KM | FT | MI)}) (order: ASC | DESC)? {count-block: COUNT.count:int ANY?}? STOREDIST?",
        history: &[("7.0.0", "Units may be in upper case.")],
        ..Spec::new("geosearchstore", "6.2.0", Group::Geo, Class::AllOrNothing)
    },
];
