//! WAITAOF: who has a write on disk. Valkey 9.1.2 is asked the same, and answers the same; 7.0 does
//! not know it.

use super::{Kind, await_link, follow, server};
use crate::support::{Server, wait_for};
use keyway::resp::Reply;

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Integer(number) => number.to_string(),
        Reply::Error(line) => String::from_utf8_lossy(line).into_owned(),
        Reply::Array(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// What a server answers, shown in one line.
fn ask(server: &Server, script: &[&str]) -> Vec<String> {
    let mut client = server.client();
    let call = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        show(&client.call(&words))
    };
    script.iter().map(call).collect()
}

/// Both answer alike; and the last answer is this.
fn assert_alike(directives: &[&str], script: &[&str], last: &str) {
    for kind in [Kind::Valkey, Kind::Keyway] {
        let Some(server) = server(kind, directives) else { continue };
        let answers = ask(&server, script);
        assert_eq!(answers.last().map(String::as_str), Some(last), "{kind:?}: {script:?}");
    }
}

const NO_FILE: &str = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

#[test]
fn waitaof_answers_as_valkey_does() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    let second = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let never = ["--appendonly", "yes", "--appendfsync", "no"];
    let (own, nobody) = ("[1 0]", "[0 0]");
    for (directives, script, last) in [
        (&[][..], &["WAITAOF 1 0 0"][..], NO_FILE),
        (&[], &["SET k v", "WAITAOF 0 0 0"], nobody),
        (&[], &["SET k v", "WAITAOF 0 1 50"], nobody),
        (&[], &["WAITAOF 2 0 0"], "ERR value is out of range, value must between 0 and 1"),
        (&[], &["WAITAOF 0 -1 0"], "ERR value is out of range, must be positive"),
        (&always, &["WAITAOF 1 0 0"], own),
        (&always, &["SET k v", "WAITAOF 1 0 0"], own),
        (&always, &["SET k v", "WAITAOF 1 1 50"], own),
        (&second, &["SET k v", "WAITAOF 1 0 0"], own),
        (&never, &["SET k v", "WAITAOF 1 0 50"], nobody),
        (&never, &["SET k v", "CONFIG SET appendfsync always", "SET k w", "WAITAOF 1 0 0"], own),
        // The file begins while the node runs, with a first base.
        (&[], &["SET k v", "CONFIG SET appendonly yes", "SET k w", "WAITAOF 1 0 0"], own),
        (&always, &["SET k v", "BGREWRITEAOF", "SET k w", "WAITAOF 1 0 0"], own),
        (&always, &["CONFIG SET appendonly no", "SET k v", "WAITAOF 1 0 0"], NO_FILE),
        // A transaction does not wait.
        (&never, &["SET k v", "MULTI", "WAITAOF 1 0 0", "EXEC"], "[[0 0]]"),
    ] {
        assert_alike(directives, script, last);
    }
}

/// Whoever waits for a file is told when there is none any more.
#[test]
fn waitaof_ends_with_the_file() {
    for kind in [Kind::Valkey, Kind::Keyway] {
        let Some(server) = server(kind, &["--appendonly", "yes", "--appendfsync", "no"]) else {
            continue;
        };
        let waits = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ask(&server, &["SET k v", "WAITAOF 1 0 0"]));
            wait_for("a client waits", super::SOON, || server.info("blocked_clients") == "1");
            server.client().ok(&["CONFIG", "SET", "appendonly", "no"]);
            waiting.join().expect("it is answered")
        });
        assert_eq!(waits[1], NO_FILE, "{kind:?}");
    }
}

/// In every pairing: replicas with a file count once it is on their disk, others never do.
#[test]
fn replicas_say_what_they_have_on_disk() {
    let pairs =
        [(Kind::Keyway, Kind::Keyway), (Kind::Keyway, Kind::Valkey), (Kind::Valkey, Kind::Keyway)];
    for (upper, lower) in pairs {
        let Some(primary) = server(upper, &["--appendonly", "yes"]) else { return };
        let Some(replica) = server(lower, &["--appendonly", "yes"]) else { return };
        let Some(without) = server(lower, &[]) else { return };
        for follower in [&replica, &without] {
            follow(follower, primary.port());
            await_link(follower);
        }
        let both = ask(&primary, &["SET k v", "WAITAOF 1 1 0", "WAITAOF 0 2 300"]);
        let expected = "[1 1]";
        assert_eq!(both[1], expected, "{upper:?} {lower:?}");
        assert_eq!(both[2], expected, "{upper:?} {lower:?}: one has no file");
        // One that does not give its file to the disk is behind for ever.
        replica.client().ok(&["CONFIG", "SET", "appendfsync", "no"]);
        let behind = ask(&primary, &["SET k x", "WAITAOF 1 0 0", "WAITAOF 1 1 300"]);
        assert_eq!(behind[2], "[1 0]", "{upper:?} {lower:?}");
        let refused = ask(&replica, &["WAITAOF 1 0 0"]);
        assert!(
            refused[0].contains("WAITAOF cannot be used with replica instances"),
            "{refused:?}"
        );
    }
}
