//! Scripts and functions through the proxy: one server's set of them, on every primary.

use super::reach_all;
use super::transactions::clusters;
use crate::support::Keyway;
use keyway::resp::Reply;

#[test]
fn a_script_is_known_everywhere_once_it_was_sent_anywhere() {
    for cluster in clusters() {
        let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "2"]);
        reach_all(&cluster, &proxy);
        let keys: Vec<String> = (0..3).map(|node| cluster.key_of(node, "script")).collect();
        let mut client = proxy.client();
        let body = "return redis.call('incrby', KEYS[1], ARGV[1])";
        let name = client.text(&["SCRIPT", "LOAD", body]);
        for key in &keys {
            assert_eq!(client.integer(&["EVALSHA", &name, "1", key, "5"]), 5);
        }
        assert_eq!(
            client.call(&["SCRIPT", "EXISTS", &name]),
            Reply::Array(vec![Reply::Integer(1)])
        );
        // The nodes lose it, as a replica that was promoted never had it.
        for node in cluster.nodes() {
            node.client().ok(&["SCRIPT", "FLUSH"]);
        }
        for key in &keys {
            let mut other = proxy.client();
            assert_eq!(other.integer(&["EVALSHA", &name, "1", key, "5"]), 10, "run once");
        }
        for node in cluster.nodes() {
            node.client().ok(&["SCRIPT", "FLUSH"]);
        }
        for key in &keys {
            client.ok(&["MULTI"]);
            let queued = client.call(&["EVALSHA", &name, "1", key, "5"]);
            assert_eq!(queued, Reply::simple("QUEUED"));
            assert_eq!(client.call(&["EXEC"]), Reply::Array(vec![Reply::Integer(15)]));
        }
        // EVAL caches, too.
        let body = "return redis.call('get', KEYS[1]) .. ARGV[1]";
        assert_eq!(client.text(&["EVAL", body, "1", &keys[0], "!"]), "15!");
        let digest = keyway::value::sha1(body.as_bytes());
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(client.text(&["EVALSHA_RO", &name, "1", &keys[2], "?"]), "15?");
        client.ok(&["SCRIPT", "FLUSH"]);
        let gone = client.call(&["EVALSHA", &name, "1", &keys[0], "!"]);
        assert!(gone.as_error().is_some_and(|line| line.starts_with(b"NOSCRIPT")), "{gone:?}");
        assert_eq!(client.call(&["EVAL", "return 7", "0"]), Reply::Integer(7));
    }
}

#[test]
fn a_function_is_loaded_listed_and_deleted_on_every_primary() {
    for cluster in clusters() {
        let proxy = Keyway::proxy(&cluster.seeds(), &[]);
        reach_all(&cluster, &proxy);
        let mut client = proxy.client();
        let code = "#!lua name=lib\nredis.register_function('add', function(keys, args) \
                    return redis.call('incrby', keys[1], args[1]) end)";
        assert_eq!(client.text(&["FUNCTION", "LOAD", code]), "lib");
        for node in 0..3 {
            let key = cluster.key_of(node, "function");
            assert_eq!(client.integer(&["FCALL", "add", "1", &key, "3"]), 3);
        }
        let dump = client.call(&["FUNCTION", "DUMP"]);
        let dump = dump.as_bytes().expect("bytes").to_vec();
        client.ok(&["FUNCTION", "DELETE", "lib"]);
        assert_eq!(client.call(&["FUNCTION", "LIST"]), Reply::Array(Vec::new()));
        client.ok(&[&b"FUNCTION"[..], b"RESTORE", &dump]);
        for node in 0..3 {
            let key = cluster.key_of(node, "function");
            assert_eq!(client.integer(&["FCALL", "add", "1", &key, "3"]), 6);
        }
        assert!(matches!(client.call(&["FUNCTION", "STATS"]), Reply::Array(of) if of.len() == 4));
        client.ok(&["FUNCTION", "FLUSH"]);
        let busy = client.call(&["SCRIPT", "KILL"]);
        assert!(busy.as_error().is_some_and(|line| line.starts_with(b"NOTBUSY")), "{busy:?}");
    }
}

/// A script may make up a reply: each kind of one, with the end of a line in it, is one reply to the client that
/// ran it, and what others asked for on the same connection keeps its place.
#[test]
fn whatever_a_script_makes_up_is_one_reply() {
    let made_up = [
        "return redis.error_reply('X\\r\\n+INJECTED')",
        "return {err='X\\r\\n+INJECTED'}",
        "return redis.status_reply('X\\r\\n+INJECTED')",
        "return {ok='X\\r\\n+INJECTED'}",
        "error('X\\r\\n+INJECTED')",
        "return redis.call('X\\r\\n+INJECTED')",
        "return redis.pcall('X\\r\\n+INJECTED')",
        "return {big_number='1\\r\\n+INJECTED'}",
        "return {verbatim_string={format='txt',string='X\\r\\n+INJECTED'}}",
        "return {{err='X\\r\\n+INJECTED'}, {ok='X\\r\\n+INJECTED'}}",
        "return _G['X\\r\\n+INJECTED']",
        "this is no script\\r\\n+INJECTED",
    ];
    for cluster in clusters() {
        let proxy = Keyway::proxy(&cluster.seeds(), &["--workers", "1"]);
        reach_all(&cluster, &proxy);
        let key = cluster.key_of(0, "made-up");
        proxy.client().ok(&["SET", &key, "mine"]);
        for resp3 in [false, true] {
            let connect = || if resp3 { proxy.client_resp3() } else { proxy.client() };
            let (mut client, mut other) = (connect(), connect());
            for script in made_up {
                // In one write of the proxy's, as likely as not.
                client.try_send(&["EVAL", script, "1", &key]).expect("it is sent");
                other.try_send(&["GET", &key]).expect("it is sent");
                client.try_send(&["ECHO", "next"]).expect("it is sent");
                client.try_send(&["GET", &key]).expect("it is sent");
                assert_eq!(other.reply(), Reply::bulk("mine"), "{script}");
                client.reply();
                assert_eq!(client.reply(), Reply::bulk("next"), "{script}");
                assert_eq!(client.reply(), Reply::bulk("mine"), "{script}");
            }
        }
    }
}
