//! Transcripts of what primaries say: those of 7.0.15 and 9.1.2 were recorded.

use super::*;

const ID: &str = "c73a7d238978a9d05a346b329bb1ae0e4069c2c1";
const OTHER: &str = "0123456789abcdef0123456789abcdef01234567";

fn id(text: &str) -> ReplicationId {
    ReplicationId::parse(text.as_bytes()).expect("a name")
}

/// Everything that `input` leads to, whatever the pieces it comes in; parts of a snapshot and of
/// the stream are put together.
fn run(link: &mut Link, input: &[u8], piece: usize) -> Vec<String> {
    let mut events: Vec<String> = Vec::new();
    let mut unread: Vec<u8> = Vec::new();
    for bytes in input.chunks(piece) {
        unread.extend_from_slice(bytes);
        loop {
            let (used, event) = link.receive(&unread);
            let more = event == LinkEvent::More;
            let text = match event {
                LinkEvent::More => String::new(),
                LinkEvent::Send(bytes) => words(&bytes),
                LinkEvent::Snapshot(bytes) => {
                    format!("snapshot {}", String::from_utf8_lossy(bytes))
                }
                LinkEvent::Stream(bytes) => format!("stream {}", String::from_utf8_lossy(bytes)),
                LinkEvent::SnapshotEnds => {
                    link.loaded();
                    "ends".to_owned()
                }
                other => format!("{other:?}"),
            };
            unread.drain(..used);
            let joined = ["snapshot ", "stream "].into_iter().find(|kind| text.starts_with(kind));
            match (joined, events.last_mut()) {
                (Some(kind), Some(last)) if last.starts_with(kind) => {
                    last.push_str(&text[kind.len()..]);
                }
                _ if !text.is_empty() => events.push(text),
                _ => {}
            }
            if more {
                break;
            }
        }
    }
    events
}

/// The words of encoded requests, without their lengths.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split("\r\n").filter(|word| !word.starts_with(['*', '$']));
    words.collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn connected(resume: Option<(ReplicationId, Offset)>) -> Link {
    let config =
        LinkConfig { listening_port: 7001, resume, version: "7.2.4", ..LinkConfig::default() };
    let (link, bytes) = Link::new(config);
    assert_eq!(bytes, b"*1\r\n$4\r\nPING\r\n");
    link
}

const INTRODUCTION: &str =
    "REPLCONF listening-port 7001 REPLCONF capa eof capa psync2 REPLCONF version 7.2.4";
/// What 7.0.15 answers up to PSYNC.
const ANSWERS: &str = "+PONG\r\n+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option: version\r\n";

#[test]
fn a_first_copy_comes_with_its_length_or_with_a_mark() {
    for piece in [1, 2, 7, 1000] {
        let mut link = connected(None);
        let text = format!("{ANSWERS}\n+FULLRESYNC {ID} 100\r\n\n\n$5\r\nREDIS*1\r\n");
        let full = format!("FullSync(Some(({ID}, 100)))");
        assert_eq!(
            run(&mut link, text.as_bytes(), piece),
            [
                INTRODUCTION,
                "PSYNC ? -1",
                &full,
                "SnapshotBegins(Sized(5))",
                "snapshot REDIS",
                "ends",
                "stream *1\r\n"
            ]
        );
        assert_eq!(link.state(), LinkState::Online);

        let mut link = connected(None);
        let data = format!("RE{}DIS", &OTHER[..30]);
        let text = format!("{ANSWERS}+FULLRESYNC {ID} 100\r\n$EOF:{OTHER}\r\n{data}{OTHER}*1\r\n");
        let events = run(&mut link, text.as_bytes(), piece);
        let snapshot = format!("snapshot {data}");
        assert_eq!(events[3..], ["SnapshotBegins(Marked)", &snapshot, "ends", "stream *1\r\n"]);
    }
}

#[test]
fn a_replica_goes_on_where_it_stopped() {
    for (answer, expected) in [
        (format!("+CONTINUE {OTHER}\r\n"), format!("Resumed(Some({OTHER}))")),
        ("+CONTINUE\r\n".to_owned(), "Resumed(None)".to_owned()),
    ] {
        let mut link = connected(Some((id(ID), 99)));
        let events = run(&mut link, format!("{ANSWERS}{answer}").as_bytes(), 3);
        assert_eq!(events[1..], [format!("PSYNC {ID} 100"), expected]);
        assert_eq!(link.state(), LinkState::Online);
    }
}

#[test]
fn a_primary_without_psync_is_asked_for_sync() {
    let mut link = connected(Some((id(ID), 99)));
    let text = format!("{ANSWERS}-ERR unknown command 'PSYNC'\r\n$2\r\nxy");
    let events = run(&mut link, text.as_bytes(), 4);
    assert_eq!(events[2..], ["SYNC", "SnapshotBegins(Sized(2))", "snapshot xy", "ends"]);
}

#[test]
fn a_primary_that_cannot_yet_is_asked_again_later() {
    for line in ["-LOADING Redis is loading", "-NOMASTERLINK Can't SYNC while not connected"] {
        let mut link = connected(None);
        run(&mut link, ANSWERS.as_bytes(), 100);
        let line = format!("{line}\r\n");
        let (_, event) = link.receive(line.as_bytes());
        assert!(matches!(event, LinkEvent::Failed(LinkError::Busy(_))), "{event:?}");
    }
}

#[test]
fn a_password_is_said_first_and_a_wrong_one_ends_the_link() {
    let config = LinkConfig {
        user: Some("copy".into()),
        password: Some(Secret::new("secret")),
        listening_port: 7001,
        announced_ip: Some("10.0.0.1".into()),
        ..LinkConfig::default()
    };
    let (mut link, _) = Link::new(config);
    let events = run(&mut link, b"-NOAUTH Authentication required.\r\n-WRONGPASS no\r\n", 9);
    assert!(events[0].starts_with("AUTH copy secret REPLCONF listening-port"), "{events:?}");
    assert!(events[0].contains("REPLCONF ip-address 10.0.0.1"), "{events:?}");
    assert!(events[1].contains("Unable to AUTH to MASTER"), "{events:?}");
}

#[test]
fn what_is_no_primary_is_refused() {
    for text in [
        "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
        "-ERR max number of clients reached\r\n".to_owned(),
        format!("{ANSWERS}+FULLRESYNC {ID} 1\r\nHello\r\n"),
        format!("{ANSWERS}+FULLRESYNC {ID} 1\r\n$-4\r\n"),
        format!("{ANSWERS}+FULLRESYNC {ID} 1\r\n$EOF:short\r\n"),
        format!("{ANSWERS}+FULLRESYNC {ID} 1\r\n-ERR no space left\r\n"),
        format!("{ANSWERS}+CONTINUE toyshort\r\n"),
        "x".repeat(LINE_BYTES_MAX + 1),
    ] {
        let mut link = connected(None);
        let mut unread = text.as_bytes();
        let failed = loop {
            let (used, event) = link.receive(unread);
            unread = &unread[used..];
            match event {
                LinkEvent::More => break false,
                LinkEvent::Failed(_) => break true,
                _ => {}
            }
        };
        assert!(failed || text.starts_with("HTTP"), "{text:?}");
    }
}

#[test]
fn acknowledgements_name_what_is_run_and_what_is_on_disk() {
    assert_eq!(words(&acknowledgement(152, None)), "REPLCONF ACK 152");
    assert_eq!(words(&acknowledgement(152, Some(100))), "REPLCONF ACK 152 FACK 100");
}
