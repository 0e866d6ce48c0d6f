//! redis-py, a client that knows nothing of clusters unless told to, against `keyway up`.

use crate::drivers::{check, file, has};
use crate::proxy::kinds::kinds;
use crate::proxy::reach_all;
use crate::support::{Cluster, Keyway, Kind};
use std::process::Command;

/// What an application does with defaults, in both protocols. It ends with `well`.
const SCRIPT: &str = r#"
import sys, redis
port = int(sys.argv[1])
for protocol in (2, 3):
    r = redis.Redis(port=port, protocol=protocol, decode_responses=True, client_name="app")
    assert r.ping() and r.client_getname() == "app"
    tag = f"p{protocol}"
    assert r.set(f"{tag}:a", "1", ex=100) and r.get(f"{tag}:a") == "1"
    assert r.incr(f"{tag}:a") == 2 and 0 < r.ttl(f"{tag}:a") <= 100
    values = {f"{tag}:{n}": str(n) for n in range(100)}
    assert r.mset(values) and r.mget(list(values)) == list(values.values())
    pipeline = r.pipeline(transaction=False)
    for key in values:
        pipeline.get(key)
    assert pipeline.execute() == list(values.values())
    assert r.hset(f"{tag}:h", mapping={"x": "1", "y": "2"}) == 2
    assert r.hgetall(f"{tag}:h") == {"x": "1", "y": "2"}
    assert r.rpush(f"{tag}:l", "a", "b") == 2 and r.lrange(f"{tag}:l", 0, -1) == ["a", "b"]
    assert r.zadd(f"{tag}:z", {"m": 1.5}) == 1 and r.zscore(f"{tag}:z", "m") == 1.5
    assert set(r.scan_iter(match=f"{tag}:[0-9]*")) == set(values)
    assert r.exists(*values) == 100 and r.delete(*values) == 100
    try:
        r.rename(f"{tag}:a", f"{tag}:b")
    except redis.ResponseError as error:
        assert "same slot" in str(error), error
    assert r.info("server")["redis_mode"] == "standalone"
print("well")
"#;

#[test]
fn redis_py_uses_the_bundle_as_one_server() {
    if !has_redis_py() {
        return;
    }
    let up = Keyway::up(&[]);
    let port = up.port().to_string();
    let ran = Command::new("python3").args(["-c", SCRIPT, &port]).output().expect("it was there");
    let (said, complained) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(said.trim_end(), "well", "{complained}");
}

/// The clients of `tests/clients/redis_py.py`, with what each of them is to see.
const CLIENTS: [&str; 8] = [
    "redis-py, RESP2",
    "redis-py cluster, RESP2",
    "redis-py asyncio, RESP2",
    "redis-py asyncio cluster, RESP2",
    "redis-py, RESP3",
    "redis-py cluster, RESP3",
    "redis-py asyncio, RESP3",
    "redis-py asyncio cluster, RESP3",
];

/// Scar 12: handshakes of today's clients (HELLO 3, CLIENT SETINFO, CLUSTER SLOTS of a cluster
/// class) are taken, and everything that an application does behind them works.
#[test]
fn scar_12_every_class_of_redis_py_finds_what_it_needs() {
    if !has_redis_py() {
        return;
    }
    let up = Keyway::up(&[]);
    check_clients(up.port());
    for kind in kinds(Kind::Redis) {
        let Some(cluster) = Cluster::of(&[kind; 3], 0, &[]) else { continue };
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        check_clients(proxy.port());
    }
}

fn has_redis_py() -> bool {
    let mut probe = Command::new("python3");
    has(
        probe.args(["-c", "import redis.asyncio.cluster"]),
        "python3 cannot import redis (redis-py)",
    )
}

fn check_clients(port: u16) {
    check(&["python3", &file("redis_py.py")], port, &CLIENTS);
}
