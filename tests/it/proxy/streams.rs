//! XREAD over streams of several slots: what one server would answer, where order allows.

use super::redis_and_proxy;
use crate::support::{Client, Server};
use keyway::resp::Reply;

#[test]
fn streams_of_several_slots_are_read_as_by_one_server() {
    let Some((cluster, proxy)) = redis_and_proxy("") else { return };
    let Some(alone) = Server::redis(&[]) else { return };
    let keys: Vec<String> = (0..6).map(|n| cluster.key_of(n % 3, &format!("stream{n}"))).collect();
    for resp3 in [false, true] {
        let connect = |server: &Server| if resp3 { server.client_resp3() } else { server.client() };
        let mut clients: [Client; 2] = [connect(&proxy), connect(&alone)];
        let mut both = |command: &[&str]| -> Reply {
            let [through, expected] = clients.each_mut().map(|client| client.call(command));
            assert_eq!(through, expected, "{command:?}");
            expected
        };
        for (number, key) in keys.iter().enumerate() {
            for id in 1..4 {
                both(&["XADD", key, &format!("{id}-{number}"), "field", &number.to_string()]);
            }
        }
        let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|at| keys[at].as_str());
        both(&["XREAD", "STREAMS", a, b, c, d, e, f, "0", "1", "2", "1-9", "0", "3"]);
        both(&["XREAD", "COUNT", "1", "STREAMS", f, a, b, "0", "2", "0"]);
        both(&["XREAD", "STREAMS", a, b, a, "2", "2", "0"]);
        both(&["XREAD", "STREAMS", a, "nosuch", c, "9", "0", "2"]);
        both(&["XREAD", "STREAMS", a, b, c, "9", "9", "$"]);
        both(&["XREAD", "COUNT", "x", "STREAMS", a, b, "0", "0"]);
        both(&["XREAD", "STREAMS", a, b, c, "0", "x", "y"]);
        both(&["XREAD", "STREAMS", a, b, "0", ">"]);
        both(&["SET", "text", "t"]);
        both(&["XREAD", "STREAMS", a, "text", c, "0", "0", "x"]);
        both(&["XREAD", "STREAMS", a, b, "0"]);
        both(&["DEL", "text", a, b, c, d, e, f]);
    }
    let mut client = proxy.client();
    let crossed = &b"CROSSSLOT Keys in request don't hash to the same slot"[..];
    let [a, b] = [&keys[0], &keys[1]];
    for command in [
        &["XREAD", "BLOCK", "10", "STREAMS", a, b, "0", "0"][..],
        &["XREADGROUP", "GROUP", "g", "c", "STREAMS", a, b, ">", ">"],
    ] {
        assert_eq!(client.call(command).as_error(), Some(crossed), "{command:?}");
    }
}
