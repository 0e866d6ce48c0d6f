//! What a replica may cost its primary, and what a pause or a slow load does to a replica.

use super::{assert_same_data, await_catch_up, follow, server};
use crate::support::{Client, Kind, Server, wait_for};
use keyway::resp::Reply;

const MIB: u64 = 1024 * 1024;

fn number(server: &Server, field: &str) -> u64 {
    server.info(field).parse().expect("a number")
}

/// How much more is written than the sockets' buffers hold.
const WRITES: u64 = 48;

#[test]
fn a_replica_that_does_not_read_is_cut_off_and_others_go_on() {
    for kind in [Kind::Keyway, Kind::Redis] {
        let Some(primary) = server(kind, &[]) else { continue };
        let Some(good) = server(Kind::Keyway, &[]) else { continue };
        let mut client = primary.client();
        client.ok(&["CONFIG", "SET", "client-output-buffer-limit", "replica 8mb 0 0"]);
        follow(&good, primary.port());
        await_catch_up(&primary, &good);
        let mut silent = Client::connect(primary.port());
        silent.send_raw(b"PSYNC ? -1\r\n");
        wait_for("it is sent a copy", super::SOON, || {
            primary.info("connected_slaves") == "2"
                && primary.client().text(&["INFO", "replication"]).matches("send_bulk").count()
                    + primary.client().text(&["INFO", "replication"]).matches("online").count()
                    == 2
        });
        let before = number(&primary, "used_memory");
        let value = vec![b'x'; MIB as usize];
        for _ in 0..WRITES {
            client.ok(&[b"SET".as_slice(), b"key", &value]);
            // The other one stays close behind, whatever this machine is busy with.
            assert!(client.integer(&["WAIT", "1", "60000"]) >= 1, "the good replica is gone");
        }
        wait_for("it is cut off", super::SOON, || primary.info("connected_slaves") == "1");
        let log = primary.log();
        let line = log.lines().find(|line| line.contains("overcoming of output buffer limits"));
        assert!(line.is_some(), "{kind:?} does not say why:\n{log}");
        let (_, ended) = silent.read_to_end(super::SOON);
        assert!(ended, "{kind:?}: its connection is still there");
        // The value twice, the backlog, the limit, and a batch beyond it; not what was written.
        let more = number(&primary, "used_memory_peak").saturating_sub(before);
        assert!(more < 20 * MIB, "{kind:?}: {more} bytes were kept");
        if kind == Kind::Keyway {
            assert_eq!(primary.info("client_output_buffer_limit_disconnections"), "1");
        }
        assert_same_data(&primary, &good);
        assert_eq!(primary.info("sync_full"), "2", "{kind:?}: the good one was cut off as well");
    }
}

/// CLIENT PAUSE holds what the primary says as it holds what clients say.
#[test]
fn a_paused_replica_reads_the_stream_and_does_not_run_it() {
    for kind in [Kind::Redis, Kind::Keyway] {
        let Some(primary) = server(Kind::Keyway, &[]) else { continue };
        let Some(replica) = server(kind, &[]) else { continue };
        let (mut writer, mut reader) = (primary.client(), replica.client());
        follow(&replica, primary.port());
        await_catch_up(&primary, &replica);
        writer.ok(&["SET", "a", "1"]);
        await_catch_up(&primary, &replica);
        reader.ok(&["CLIENT", "PAUSE", "600000", "WRITE"]);
        let end = primary.info("master_repl_offset");
        writer.ok(&["SET", "a", "2"]);
        writer.ok(&["MULTI"]);
        writer.text(&["INCR", "a"]);
        writer.text(&["RPUSH", "list", "x"]);
        writer.call(&["EXEC"]);
        wait_for("it has read it", super::SOON, || {
            replica.info("slave_read_repl_offset") == primary.info("master_repl_offset")
        });
        assert_eq!(reader.text(&["GET", "a"]), "1", "{kind:?}");
        assert_eq!(replica.info("slave_repl_offset"), end, "{kind:?}");
        // Who waits for it waits in vain.
        assert_eq!(writer.integer(&["WAIT", "1", "100"]), 0, "{kind:?}");
        reader.ok(&["CLIENT", "UNPAUSE"]);
        await_catch_up(&primary, &replica);
        assert_eq!(reader.text(&["GET", "a"]), "3", "{kind:?}");
        assert_same_data(&primary, &replica);

        // A pause that runs out, of everything.
        reader.ok(&["CLIENT", "PAUSE", "500"]);
        writer.ok(&["SET", "b", "1"]);
        wait_for("the pause has run out", super::SOON, || {
            reader.call(&["GET", "b"]) == Reply::bulk("1")
        });
    }
}

/// `key-load-delay` makes a load take its time, for clients to see it; what is left of it goes with it.
#[test]
fn a_slow_load_is_seen_and_can_be_sped_up() {
    for kind in [Kind::Redis, Kind::Keyway] {
        let Some(primary) = server(Kind::Keyway, &[]) else { continue };
        // Redis looks up from its work after so many bytes.
        let slow = ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"];
        let Some(replica) = server(kind, &slow) else { continue };
        let mut client = primary.client();
        let value = "x".repeat(100);
        for n in 0..3000 {
            client.ok(&["SET", &format!("key:{n}"), &value]);
        }
        follow(&replica, primary.port());
        let mut reader = replica.client();
        wait_for("it loads", super::SOON, || replica.info("loading") == "1");
        let refused = reader.call(&["GET", "key:1"]);
        assert!(
            refused.as_error().is_some_and(|text| text.starts_with(b"LOADING")),
            "{kind:?}: {refused:?}"
        );
        assert_eq!(replica.info("master_link_status"), "down");
        reader.ok(&["CONFIG", "SET", "key-load-delay", "-1000"]);
        assert_same_data(&primary, &replica);
        assert_eq!(reader.call(&["GET", "key:1"]), Reply::bulk(&value));
    }
}
