//! `keyway up`: what a new user meets, and what must not be left behind.

use crate::support::{
    Client, Keyway, Process, Server, eventually, free_port, free_ports, wait_for,
};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_keyway");
const SOON: Duration = Duration::from_secs(30);

/// The body of a page of a process's HTTP port.
fn page(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// The processes that a process has started.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Whether a process runs: one that has ended and was not waited for does not.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

fn primaries(up: &Server) -> Vec<u16> {
    (1..=3).map(|offset| up.port() + offset).collect()
}

#[test]
fn a_client_without_cluster_support_uses_three_nodes_as_one() {
    let up = Keyway::up(&[]);
    let mut client = up.client();
    let keys: Vec<String> = (0..300).map(|n| format!("key:{n}")).collect();
    for key in &keys {
        client.ok(&["SET", key, &format!("value of {key}")]);
    }
    for key in &keys {
        assert_eq!(client.text(&["GET", key]), format!("value of {key}"));
    }
    assert_eq!(client.integer(&["DBSIZE"]), 300);
    for port in primaries(&up) {
        let held = Client::connect(port).integer(&["DBSIZE"]);
        assert!(held > 50, "port {port} holds {held} of 300 keys");
    }
}

#[test]
fn a_killed_node_is_started_again_and_nothing_outlives_a_killed_up() {
    let mut up = Keyway::up(&[]);
    let before = children(up.pid());
    assert_eq!(before.len(), 3, "a process per node");

    let victim = rustix::process::Pid::from_raw(before[1].cast_signed()).expect("a process id");
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).expect("it runs");
    wait_for("a node in the place of the killed one", SOON, || {
        let after = children(up.pid());
        after.len() == 3 && !after.contains(&before[1])
    });
    wait_for("every key to be served again", SOON, || {
        (0..30).all(|n| {
            let mut client = Client::connect(up.port());
            let reply = client.call(&["SET", &format!("again:{n}"), "x"]);
            reply.as_error().is_none()
        })
    });

    let nodes = children(up.pid());
    up.kill();
    wait_for("the nodes to end with their parent", SOON, || nodes.iter().all(|&pid| !runs(pid)));
}

#[test]
fn a_second_start_in_the_same_folder_finds_the_same_nodes() {
    let mut up = Keyway::up(&[]);
    let ids = |up: &Server| -> Vec<String> {
        primaries(up).iter().map(|&port| Client::connect(port).text(&["CLUSTER", "MYID"])).collect()
    };
    let first = ids(&up);
    let ended = up.terminate(Duration::from_secs(5)).expect("it ends within five seconds");
    assert!(ended.success(), "SIGTERM is a wish and no failure: {ended}");
    up.restart();
    assert_eq!(ids(&up), first);
}

#[test]
fn a_taken_port_is_named_with_the_option_that_moves_it() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = free_ports(3).to_string();
    let http = format!("127.0.0.1:{}", free_port());
    let dir = folder.path().join("data");
    let output = Command::new(BINARY)
        .args(["up", "--port", &port, "--base-port", &base, "--http", &http, "--dir"])
        .arg(&dir)
        .output()
        .expect("our own binary runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("port {port} (the proxy)")), "{said}");
    assert!(said.contains("--port moves it"), "{said}");
    assert!(!dir.exists(), "nothing was begun");
}

#[test]
fn what_runs_where_is_said_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_ports(4);
    let mut command = Command::new(BINARY);
    command
        .args(["up", "--masters", "3", "--port", &port.to_string()])
        .args(["--base-port", &(port + 1).to_string(), "--http", "127.0.0.1:0", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::piped());
    let mut process = Process::start(command).expect("our own binary runs");
    let mut lines = BufReader::new(process.stdout().expect("it is piped")).lines();
    let mut said = String::new();
    while !said.contains("Ctrl-C") {
        said.push_str(&lines.next().expect("it goes on").expect("it is text"));
        said.push('\n');
    }
    for part in [
        format!("127.0.0.1:{port}"),
        format!("127.0.0.1:{}", port + 3),
        "/metrics".to_owned(),
        "it ends with this command".to_owned(),
        format!("redis-cli -p {port} set hello world"),
    ] {
        assert!(said.contains(&part), "{part} is not in\n{said}");
    }
}

mod metrics {
    use super::*;
    use crate::support::stock;
    use keyway::telemetry::families;

    /// Families that say something only once it has happened, or with a node of ours.
    fn is_shown(text: &str, name: &str) -> bool {
        text.lines().any(|line| line.starts_with(&format!("# TYPE {name} ")))
    }

    #[test]
    fn every_metric_of_the_table_is_in_a_live_scrape() {
        let up = Keyway::up(&[]);
        up.client().ok(&["SET", "a", "b"]);
        let missing = |text: &str| -> Vec<&str> {
            families::ALL.iter().map(|f| f.name).filter(|name| !is_shown(text, name)).collect()
        };
        let text = eventually(SOON, || {
            let text = page(up.http_port(), "/metrics")?;
            missing(&text).is_empty().then_some(text)
        });
        if text.is_none() {
            let text = page(up.http_port(), "/metrics").unwrap_or_default();
            panic!("not shown: {:?}", missing(&text));
        }
        assert_eq!(page(up.http_port(), "/readyz").as_deref(), Some("ready\n"));
        assert_eq!(page(up.http_port(), "/healthz").as_deref(), Some("ok\n"));
    }

    #[test]
    fn a_real_prometheus_scrapes_the_bundle() {
        let Some(prometheus) = stock::tool("prometheus") else { return };
        let up = Keyway::up(&[]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = format!(
            "scrape_configs:\n- job_name: keyway\n  scrape_interval: 1s\n  static_configs:\n  - \
             targets: ['127.0.0.1:{}']\n",
            up.http_port()
        );
        let config_path = folder.path().join("prometheus.yml");
        std::fs::write(&config_path, config).expect("it is writable");
        let port = free_port();
        let mut command = Command::new(prometheus);
        command
            .arg(format!("--config.file={}", config_path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _prometheus = Process::start(command).expect("prometheus starts");
        // 1 in the vector's first sample, in Prometheus's own JSON.
        let is_one = |query: &str| {
            page(port, &format!("/api/v1/query?query={query}"))
                .is_some_and(|answer| answer.contains(",\"1\"]"))
        };
        for query in ["up", "keyway_ready", "redis_cluster_state"] {
            wait_for(&format!("{query} to be 1 in Prometheus"), SOON, || is_one(query));
        }
    }
}
