//! What is for one node, and what a node answers for itself: the first goes to none, the second to
//! the client, word for word.

use super::{calls, reach_all, redis_and_proxy};
use crate::support::{Client, Cluster, Keyway, wait_for};
use keyway::command::{Arity, Class, Spec, all};
use keyway::resp::Reply;
use std::time::Duration;

/// A request of this command that has as many arguments as it needs.
fn request(spec: &Spec) -> Vec<String> {
    let mut words: Vec<String> = spec.name.split('|').map(str::to_ascii_uppercase).collect();
    let least = match spec.arity {
        Arity::Exactly(count) | Arity::AtLeast(count) => count,
    };
    words.resize(least.max(words.len()), "1".to_owned());
    words
}

/// SHUTDOWN, REPLICAOF, DEBUG, CLUSTER RESET, CONFIG SET, …: every command that is for one node is refused by its
/// name, in a transaction too, and no node hears of it. Where the operator's own commands are allowed, two of them
/// are about the proxy.
#[test]
fn what_is_for_one_node_is_refused_by_name_and_reaches_none() {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let is_container = |spec: &Spec| {
        let of = format!("{}|", spec.name);
        all().iter().any(|spec| spec.name.starts_with(&of))
    };
    let refused = all().iter().filter(|spec| spec.class == Class::Refused && !is_container(spec));
    let refused: Vec<&Spec> = refused.collect();
    assert!(refused.len() > 40, "only {} are", refused.len());
    let heard = || -> Vec<i64> {
        let of = |spec: &&Spec| cluster.nodes().iter().map(|node| calls(node, spec.name)).sum();
        refused.iter().map(of).collect()
    };
    for admin in ["true", "false"] {
        let yaml = format!("admin_commands: {admin}\n");
        let proxy = Keyway::proxy_with(&cluster.seeds(), &yaml);
        reach_all(&cluster, &proxy);
        let before = heard();
        let mut client = proxy.client();
        for spec in &refused {
            let command = request(spec);
            let name = spec.name.replace('|', " ").to_ascii_uppercase();
            let said = format!("ERR {name} is not available through the proxy");
            let is_refused = |reply: Reply| {
                let line =
                    String::from_utf8_lossy(reply.as_error().unwrap_or_default()).into_owned();
                assert!(line.starts_with(&said), "{command:?}: {reply:?}");
            };
            if admin == "false" || !matches!(spec.name, "config|set" | "config|resetstat") {
                is_refused(client.call(&command));
            }
            client.ok(&["MULTI"]);
            is_refused(client.call(&command));
            let aborted = client.call(&["EXEC"]);
            assert!(aborted.as_error().is_some_and(|line| line.starts_with(b"EXECABORT")));
        }
        assert_eq!(heard(), before);
    }
}

fn said(client: &mut Client, command: &[&str]) -> String {
    let reply = client.call(command);
    let line = reply.as_error().unwrap_or_else(|| panic!("{command:?}: {reply:?}"));
    String::from_utf8_lossy(line).into_owned()
}

/// A node out of memory, without enough replicas, or that forbids: its own words, at once, and nothing is tried
/// twice. One that takes no connection, because there are too many or the password is another: a wait, and when it
/// takes them again the command runs, once.
#[test]
fn what_a_node_refuses_is_told_in_its_words_and_a_full_one_is_waited_for() {
    let Some((cluster, proxy)) = redis_and_proxy("workers: 1\n") else { return };
    let (key, other) = (cluster.key_of(0, "refuses"), cluster.key_of(1, "other"));
    let mut node = cluster.nodes()[0].client();
    let mut client = proxy.client();
    for (setting, wrong, right, starts) in [
        ("maxmemory", "1", "0", "OOM command not allowed when used memory > 'maxmemory'."),
        ("min-replicas-to-write", "1", "0", "NOREPLICAS Not enough good replicas to write."),
    ] {
        node.ok(&["CONFIG", "SET", setting, wrong]);
        let before = calls(&cluster.nodes()[0], "set");
        assert_eq!(said(&mut client, &["SET", &key, "1"]), starts);
        assert_eq!(said(&mut client, &["MSET", &key, "1", &key, "2"]), starts);
        client.ok(&["SET", &other, "1"]);
        node.ok(&["CONFIG", "SET", setting, right]);
        assert_eq!(
            calls(&cluster.nodes()[0], "set"),
            before,
            "nothing ran, nothing is tried again"
        );
        client.ok(&["SET", &key, "1"]);
    }
    node.ok(&["ACL", "SETUSER", "default", "-append"]);
    assert!(said(&mut client, &["APPEND", &key, "2"]).starts_with("NOPERM "));
    node.ok(&["ACL", "SETUSER", "default", "+append"]);

    for (wrong, right) in [
        (["CONFIG", "SET", "maxclients", "1"], ["CONFIG", "SET", "maxclients", "10000"]),
        (["CONFIG", "SET", "requirepass", "secret"], ["CONFIG", "SET", "requirepass", ""]),
    ] {
        let before: i64 = client.text(&["GET", &key]).parse().expect("a number");
        node.ok(&wrong);
        node.call(&["CLIENT", "KILL", "TYPE", "normal"]);
        client.try_send(&["INCR", &key]).expect("it is sent");
        let mut free = proxy.client();
        wait_for("it is tried in vain", Duration::from_secs(20), || {
            free.ok(&["SET", &other, "2"]);
            let shown = free.text(&["PROXY", "SHOW", "NODES"]);
            let of_node = shown.lines().find(|line| line.contains(&cluster.nodes()[0].address()));
            of_node.is_some_and(|line| line.contains(" down "))
        });
        node.ok(&right);
        assert_eq!(client.reply(), Reply::Integer(before + 1), "{wrong:?}");
    }
}
