//! Scripts on a node: what others see of one that runs, and what goes on to replicas and files.
//! Each of these holds on `redis-server` 7.0.15 as well, unless its name says otherwise.

use crate::support::{Client, Cluster, Kind, Server, wait_for};
use keyway::resp::Reply;
use rustix::process::Signal;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
/// A script that does not end by itself, and changes nothing.
const ENDLESS: &str = "while true do end";
/// The same with calls.
const ENDLESS_CALLS: &str = "while true do redis.pcall('get', 'k') end";
/// A script that may be ended by nobody: it has changed something. It ends in time.
const WRITES: &str = "redis.call('set', KEYS[1], 'begun') \
                      local ends = redis.call('time')[1] + 0 \
                      for i = 1, 6e7 do end \
                      redis.call('set', KEYS[1], 'ended') return 'done'";

fn nodes(directives: &[&str]) -> Vec<Server> {
    let ours = Server::keyway_node(directives);
    Server::redis(directives).into_iter().chain([ours]).collect()
}

fn is_error(reply: &Reply, start: &str) -> bool {
    reply.as_error().is_some_and(|line| line.starts_with(start.as_bytes()))
}

/// Waits until others are told that a script runs for long.
fn await_busy(server: &Server) {
    wait_for("the node to be busy", SOON, || {
        is_error(&server.client().call(&["GET", "k"]), "BUSY ")
    });
}

fn await_idle(server: &Server) {
    wait_for("the node to be idle", SOON, || {
        !is_error(&server.client().call(&["GET", "k"]), "BUSY ")
    });
}

#[test]
fn a_script_that_runs_for_long_lets_others_in_to_be_told_so_and_to_end_it() {
    for server in nodes(&["--busy-reply-threshold", "50"]) {
        for script in
            [ENDLESS, ENDLESS_CALLS, "while true do pcall(function() while true do end end) end"]
        {
            let mut runner = server.client();
            runner.try_send(&["EVAL", script, "0"]).expect("it is sent");
            await_busy(&server);
            let mut other = server.client();
            // What was refused is not run later.
            assert!(is_error(
                &other.call(&["SET", "k", "v"]),
                "BUSY Redis is busy running a script."
            ));
            assert!(is_error(&other.call(&["PING"]), "BUSY "));
            assert!(is_error(&other.call(&["SHUTDOWN"]), "BUSY "));
            assert!(is_error(&other.call(&["EVAL", "return 1", "0"]), "BUSY "));
            other.ok(&["MULTI"]);
            assert!(is_error(&other.call(&["GET", "k"]), "BUSY "));
            assert!(is_error(&other.call(&["EXEC"]), "EXECABORT"));
            other.ok(&["SCRIPT", "KILL"]);
            let ended = runner.reply();
            assert!(is_error(&ended, "ERR "), "{ended:?}");
            let line = String::from_utf8_lossy(ended.as_error().expect("an error")).into_owned();
            assert!(line.contains("Script killed by user with SCRIPT KILL"), "{line}");
            // The connection is as good as ever, and so is the next script.
            assert_eq!(runner.call(&["EVAL", "return 7", "0"]), Reply::Integer(7));
            assert_eq!(other.call(&["GET", "k"]), Reply::Null);
            assert!(is_error(&other.call(&["SCRIPT", "KILL"]), "NOTBUSY "));
        }
    }
}

#[test]
fn a_script_that_has_written_cannot_be_ended_and_is_whole_in_the_end() {
    for server in nodes(&["--busy-reply-threshold", "50"]) {
        let mut runner = server.client();
        runner.try_send(&["EVAL", WRITES, "1", "k"]).expect("it is sent");
        await_busy(&server);
        let refused = server.client().call(&["SCRIPT", "KILL"]);
        assert!(is_error(&refused, "UNKILLABLE "), "{refused:?}");
        assert_eq!(runner.reply(), Reply::bulk("done"));
        assert_eq!(server.client().text(&["GET", "k"]), "ended");
    }
}

#[test]
fn a_script_goes_on_when_its_client_has_left() {
    for server in nodes(&["--busy-reply-threshold", "50"]) {
        let mut runner = server.client();
        runner.try_send(&["EVAL", WRITES, "1", "k"]).expect("it is sent");
        await_busy(&server);
        drop(runner);
        await_idle(&server);
        assert_eq!(server.client().text(&["GET", "k"]), "ended");
        // Nothing is left of the client.
        wait_for("the clients to go", SOON, || server.info("connected_clients") == "1");
        assert_eq!(server.info("blocked_clients"), "0");
    }
}

#[test]
fn requests_behind_a_script_are_answered_behind_it() {
    for server in nodes(&["--busy-reply-threshold", "20"]) {
        let mut client = server.client();
        client.try_send(&["EVAL", WRITES, "1", "k"]).expect("it is sent");
        client.try_send(&["GET", "k"]).expect("it is sent");
        client.try_send(&["EVAL", "return redis.call('get', KEYS[1])", "1", "k"]).expect("sent");
        assert_eq!(client.reply(), Reply::bulk("done"));
        assert_eq!(client.reply(), Reply::bulk("ended"));
        assert_eq!(client.reply(), Reply::bulk("ended"));
    }
}

/// What changes in the data beside a script would be seen by it.
#[test]
fn nothing_expires_and_nothing_is_served_beside_a_script() {
    for server in nodes(&["--busy-reply-threshold", "20"]) {
        let mut waiting = server.client();
        waiting.try_send(&["BLPOP", "list", "0"]).expect("it is sent");
        wait_for("a client to wait", SOON, || server.info("blocked_clients") == "1");
        let mut runner = server.client();
        runner.ok(&["SET", "soon", "there", "PX", "150"]);
        let script = "redis.call('rpush', 'list', 'a') \
                      for i = 1, 4e7 do end \
                      return {redis.call('exists', 'soon'), redis.call('llen', 'list')}";
        let seen = runner.call(&["EVAL", script, "0"]);
        assert_eq!(seen, Reply::Array(vec![Reply::Integer(1), Reply::Integer(1)]));
        let popped = waiting.reply();
        assert_eq!(popped, Reply::Array(vec![Reply::bulk("list"), Reply::bulk("a")]));
    }
}

/// Redis lets others in beside EXEC too. Here the rest of a transaction cannot wait, so a script in it
/// that has changed nothing is ended when it runs for too long.
#[test]
fn our_node_ends_a_script_in_a_transaction_that_runs_for_long() {
    let server = Server::keyway_node(&["--busy-reply-threshold", "100"]);
    let mut client = server.client();
    client.ok(&["MULTI"]);
    client.call(&["SET", "k", "v"]);
    client.call(&["EVAL", ENDLESS, "0"]);
    client.call(&["GET", "k"]);
    let Reply::Array(replies) = client.call(&["EXEC"]) else { panic!("no array") };
    assert_eq!(replies[0], Reply::simple("OK"));
    assert!(is_error(&replies[1], "ERR "), "{:?}", replies[1]);
    assert_eq!(replies[2], Reply::bulk("v"));
}

#[test]
fn shutdown_nosave_ends_a_script_that_cannot_be_killed() {
    for mut server in nodes(&["--busy-reply-threshold", "50"]) {
        let mut runner = server.client();
        let script = "redis.call('set', 'k', 'v') while true do end";
        runner.try_send(&["EVAL", script, "0"]).expect("it is sent");
        await_busy(&server);
        let mut other = server.client();
        other.try_send(&["SHUTDOWN", "NOSAVE"]).expect("it is sent");
        wait_for("the server to end", SOON, || server.process().exited().is_some());
    }
}

#[test]
fn a_signal_ends_our_node_as_soon_as_a_script_is_whole() {
    let mut server = Server::keyway_node(&["--busy-reply-threshold", "50", "--appendonly", "yes"]);
    let mut runner = server.client();
    runner.try_send(&["EVAL", WRITES, "1", "k"]).expect("it is sent");
    await_busy(&server);
    // It would leave half of it.
    server.process().signal(Signal::TERM);
    assert_eq!(runner.reply(), Reply::bulk("done"));
    runner.try_send(&["EVAL", ENDLESS, "0"]).expect("it is sent");
    await_busy(&server);
    let ended = server.terminate(SOON);
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    server.restart();
    assert_eq!(server.client().text(&["GET", "k"]), "ended");
}

/// All that a follower is told of: its replicas' view of the commands.
fn heard(primary: &Server, act: impl FnOnce(&mut Client)) -> Vec<String> {
    let mut replica = primary.client();
    replica.try_send(&["SYNC"]).expect("it is sent");
    let mut client = primary.client();
    wait_for("the replica to be sent all", SOON, || {
        primary.info("slave0").contains("state=online")
    });
    act(&mut client);
    client.call(&["PUBLISH", "end", "of-it"]);
    let mut seen = Vec::new();
    let until = b"of-it\r\n";
    wait_for("the stream", SOON, || {
        let (bytes, _) = replica.read_to_end(Duration::from_millis(100));
        seen.extend(bytes);
        seen.windows(until.len()).any(|window| window == until)
    });
    // Behind the snapshot, which ends with its checksum: the first request.
    let text = String::from_utf8_lossy(&seen).into_owned();
    let stream = text.find("*2\r\n$6\r\nSELECT").map_or("", |at| &text[at..]);
    let mut words = Vec::new();
    for request in stream.split('*').skip(1) {
        let mut lines = request.split("\r\n").skip(2).step_by(2);
        let command: Vec<&str> = lines.by_ref().filter(|line| !line.is_empty()).collect();
        if command.first() != Some(&"PING") {
            words.push(command.join(" "));
        }
    }
    words
}

#[test]
fn replicas_are_told_of_a_scripts_effects_as_one() {
    for server in nodes(&["--repl-diskless-sync-delay", "0", "--lua-time-limit", "50"]) {
        let told = heard(&server, |client| {
            client.call(&["EVAL", "return redis.call('set', KEYS[1], ARGV[1])", "1", "a", "1"]);
            let two = "redis.call('incr', KEYS[1]) redis.call('get', KEYS[1]) \
                       return redis.call('set', KEYS[2], 'x', 'ex', 100000)";
            client.call(&["EVAL", two, "2", "a", "b"]);
            client.call(&["EVAL", "return redis.call('get', KEYS[1])", "1", "a"]);
            client.call(&["EVAL", "redis.call('select', 2) return redis.call('incr', 'c')", "0"]);
            // What was done before an error stays, and is told.
            client.call(&["EVAL", "redis.call('incr', 'd') error('no')", "0"]);
            let some = "redis.set_repl(redis.REPL_NONE) redis.call('incr', 'e') \
                        redis.set_repl(redis.REPL_AOF) redis.call('incr', 'e') \
                        redis.set_repl(redis.REPL_REPLICA) redis.call('incr', 'e')";
            client.call(&["EVAL", some, "0"]);
            // One that others were let in beside.
            let long = "redis.call('incr', 'f') for i = 1, 4e7 do end redis.call('incr', 'f')";
            client.call(&["EVAL", long, "0"]);
            client.call(&["MULTI"]);
            client.call(&["INCR", "g"]);
            client.call(&["EVAL", "redis.call('incr', 'g') redis.call('incr', 'g')", "0"]);
            client.call(&["EXEC"]);
        });
        let told: Vec<String> = told
            .into_iter()
            .map(|line| match line.split_once("PXAT") {
                Some((before, _)) => format!("{}PXAT *", before.to_lowercase()),
                None => line,
            })
            .collect();
        let expected = [
            "SELECT 0",
            "set a 1",
            "MULTI",
            "incr a",
            "set b x PXAT *",
            "EXEC",
            "SELECT 2",
            "incr c",
            "SELECT 0",
            "incr d",
            "incr e",
            "MULTI",
            "incr f",
            "incr f",
            "EXEC",
            "MULTI",
            "INCR g",
            "incr g",
            "incr g",
            "EXEC",
            "PUBLISH end of-it",
        ];
        assert_eq!(told, expected, "{:?}", server.kind());
    }
}

#[test]
fn what_a_script_did_is_there_after_a_restart_from_the_log() {
    for mut server in nodes(&["--appendonly", "yes", "--appendfsync", "always"]) {
        let mut client = server.client();
        let script = "for i = 1, 100 do redis.call('rpush', KEYS[1], i) end \
                      redis.set_repl(redis.REPL_NONE) redis.call('set', 'gone', 1)";
        client.call(&["EVAL", script, "1", "list"]);
        server.kill();
        server.restart();
        let mut client = server.client();
        assert_eq!(client.integer(&["LLEN", "list"]), 100);
        assert_eq!(client.integer(&["EXISTS", "gone"]), 0);
    }
}

#[test]
fn a_replica_runs_scripts_that_read() {
    for kind in [Kind::Redis, Kind::Keyway] {
        let Some(primary) = Server::node(kind, &[]) else { continue };
        let replica = Server::node(kind, &[]).expect("as the first");
        let port = primary.port().to_string();
        replica.client().ok(&["REPLICAOF", "127.0.0.1", &port]);
        wait_for("the link", SOON, || replica.info("master_link_status") == "up");
        primary.client().ok(&["SET", "k", "v"]);
        let mut client = replica.client();
        wait_for("the value", SOON, || client.call(&["GET", "k"]) == Reply::bulk("v"));
        assert_eq!(client.text(&["EVAL", "return redis.call('get', 'k')", "0"]), "v");
        let refused = client.call(&["EVAL", "return redis.call('set', 'k', 'w')", "0"]);
        assert!(is_error(&refused, "READONLY You can't write against a read only replica."));
        let refused = client.call(&["EVAL", "#!lua\nreturn 1", "0"]);
        assert!(is_error(&refused, "READONLY You can't write against a read only replica."));
        assert_eq!(
            client.call(&["EVAL", "#!lua flags=no-writes\nreturn 1", "0"]),
            Reply::Integer(1)
        );
    }
}

#[test]
fn a_script_uses_keys_of_its_own_node_only() {
    for kind in [Kind::Redis, Kind::Keyway] {
        let Some(cluster) = Cluster::of(&[kind, kind], 0, &[]) else { continue };
        let (ours, theirs) = (cluster.key_of(0, "a"), cluster.key_of(1, "a"));
        let also_ours = (0..).map(|n| cluster.key_of(0, &format!("b{n}")));
        let mut client = cluster.nodes()[0].client();
        let slot = |client: &mut Client, key: &str| client.integer(&["CLUSTER", "KEYSLOT", key]);
        let first = slot(&mut client, &ours);
        let also_ours = {
            let mut asker = cluster.nodes()[0].client();
            let mut others = also_ours;
            others.find(|key| slot(&mut asker, key) != first).expect("there are many slots")
        };
        let set = "return redis.call('set', ARGV[1], 'v')";
        let line = |reply: Reply| {
            String::from_utf8_lossy(reply.as_error().unwrap_or_default()).into_owned()
        };
        assert_eq!(client.call(&["EVAL", set, "1", &ours, &ours]), Reply::simple("OK"));
        let refused = line(client.call(&["EVAL", set, "1", &theirs, &theirs]));
        assert!(refused.starts_with("MOVED "), "{refused}");
        let refused = line(client.call(&["EVAL", set, "1", &ours, &theirs]));
        assert!(refused.starts_with("ERR Script attempted to access a non local key"), "{refused}");
        // Without a first line that says otherwise, keys of several slots of one node are allowed.
        let both = "redis.call('set', ARGV[1], 1) return redis.call('set', ARGV[2], 1)";
        assert_eq!(client.call(&["EVAL", both, "0", &ours, &also_ours]), Reply::simple("OK"));
        let strict = format!("#!lua\n{both}");
        let refused = line(client.call(&["EVAL", &strict, "0", &ours, &also_ours]));
        assert!(refused.contains("keys that do not hash to the same slot"), "{refused}");
        let lenient = format!("#!lua flags=allow-cross-slot-keys\n{both}");
        assert_eq!(client.call(&["EVAL", &lenient, "0", &ours, &also_ours]), Reply::simple("OK"));
        let refused = line(client.call(&["EVAL", "#!lua flags=no-cluster\nreturn 1", "0"]));
        assert!(refused.starts_with("ERR Can not run script on cluster"), "{refused}");
        let refused = line(client.call(&["EVAL", both, "2", &ours, &also_ours]));
        assert!(refused.starts_with("CROSSSLOT "), "{refused}");
    }
}

#[test]
fn a_monitor_is_shown_a_script_and_then_what_it_calls() {
    for server in nodes(&[]) {
        let mut monitor = server.client();
        monitor.ok(&["MONITOR"]);
        let mut client = server.client();
        client.call(&[
            "EVAL",
            "redis.call('set', KEYS[1], 1) return redis.call('get', KEYS[1])",
            "1",
            "k",
        ]);
        let mut shown = Vec::new();
        for _ in 0..3 {
            let Reply::Simple(line) = monitor.reply() else { panic!("no line") };
            let line = String::from_utf8_lossy(&line).into_owned();
            let (_, behind) = line.split_once(" [").expect("a place");
            let (place, words) = behind.split_once("] ").expect("words");
            let place = if place == "0 lua" { "lua" } else { "client" };
            shown.push(format!("{place} {}", words.split(' ').next().unwrap_or_default()));
        }
        assert_eq!(shown, ["client \"EVAL\"", "lua \"set\"", "lua \"get\""]);
    }
}

#[test]
fn errors_and_calls_of_scripts_are_counted_once() {
    for server in nodes(&["--slowlog-log-slower-than", "0"]) {
        let mut client = server.client();
        client.ok(&["CONFIG", "RESETSTAT"]);
        client.call(&["EVAL", "redis.pcall('incr') return redis.call('lpush', 's', 1)", "0"]);
        client.call(&["EVAL", "redis.pcall('incr', 's') return redis.call('incr', 's')", "0"]);
        client.call(&["EVAL", "return redis.error_reply('MY own')", "0"]);
        client.call(&["EVAL", "error('mine')", "0"]);
        let info = client.text(&["INFO", "errorstats"]);
        for line in ["errorstat_ERR:count=2", "errorstat_WRONGTYPE:count=2", "errorstat_MY:count=1"]
        {
            assert!(info.lines().any(|found| found == line), "{line}: {info}");
        }
        let info = client.text(&["INFO", "commandstats"]);
        let counts = |name: &str, calls, rejected, failed| {
            let start = format!("cmdstat_{name}:calls={calls},");
            let end = format!(",rejected_calls={rejected},failed_calls={failed}");
            assert!(
                info.lines().any(|line| line.starts_with(&start) && line.ends_with(&end)),
                "{start}{end}: {info}"
            );
        };
        counts("eval", 4, 0, 3);
        counts("incr", 2, 1, 2);
        counts("lpush", 1, 0, 0);
    }
}
