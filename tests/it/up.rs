//! `keyway up`: what a new user meets, and what must not be left behind.

use crate::support::{
    Client, Keyway, Process, Server, eventually, free_port, free_ports, temporary_folder, wait_for,
};
use keyway::resp::Reply;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
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

    for n in 0..30 {
        up.client().ok(&["SET", &format!("kept:{n}"), "x"]);
    }
    // The nodes sync their files once a second; what a process has written outlives it anyway.
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

    for n in 0..30 {
        assert_eq!(up.client().text(&["GET", &format!("kept:{n}")]), "x");
    }

    let nodes = children(up.pid());
    up.kill();
    wait_for("the nodes to end with their parent", SOON, || nodes.iter().all(|&pid| !runs(pid)));
}

/// One client's counters: what it was told, and what it was left in doubt about.
#[derive(Default)]
struct Counted {
    done: i64,
    in_doubt: i64,
}

/// A primary dies while clients write through the proxy: they wait, and go on. Nothing runs twice,
/// and the node comes back as a replica, with its data.
#[test]
fn a_primary_that_is_killed_under_writes_is_a_pause() {
    let up = Keyway::up(&["--replicas", "1"]);
    let nodes = children(up.pid());
    assert_eq!(nodes.len(), 6, "three primaries and three replicas");
    let primary = up.port() + 1;
    let role = |port: u16| {
        let reply = Client::connect(port).call(&["ROLE"]);
        reply.as_array().and_then(|role| role[0].as_str().map(str::to_owned)).unwrap_or_default()
    };
    assert_eq!(role(primary), "master");
    let text = |port: u16, command: &[&str]| Client::connect(port).text(command);
    wait_for("its replica to be online", SOON, || {
        text(primary, &["INFO", "replication"]).contains("state=online")
    });

    let stop = AtomicBool::new(false);
    let counted: Vec<Counted> = std::thread::scope(|scope| {
        // Also when a wait below fails: the scope waits for its threads.
        let _stop = StopAtEnd(&stop);
        let write = |client: usize| {
            let mut connection = up.client();
            connection.set_timeout(SOON);
            let mut counted = Counted::default();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("counter:{client}:{}", n % 50);
                match connection.call(&["INCR", &key]) {
                    Reply::Integer(_) => counted.done += 1,
                    reply => {
                        let error = reply.as_error().map(String::from_utf8_lossy);
                        let error = error.unwrap_or_default().into_owned();
                        assert!(error.starts_with("INDOUBT "), "{error}");
                        counted.in_doubt += 1;
                    }
                }
            }
            counted
        };
        let clients: Vec<_> = (0..4).map(|client| scope.spawn(move || write(client))).collect();
        wait_for("writes", SOON, || up.client().integer(&["DBSIZE"]) >= 200);
        let pid = nodes.iter().copied().find(|&pid| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&arguments).split('\0').any(|word| word == primary.to_string())
        });
        let pid = pid.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
        let killed = std::time::Instant::now();
        rustix::process::kill_process(pid.expect("its process"), rustix::process::Signal::KILL)
            .expect("it runs");
        wait_for("it to be back, as the replica of its heir", SOON, || {
            let Ok(mut client) = Client::try_connect(primary) else { return false };
            let Ok(reply) = client.try_call(&["INFO", "replication"]) else { return false };
            let text = String::from_utf8_lossy(reply.as_bytes().unwrap_or_default()).into_owned();
            text.contains("role:slave") && text.contains("master_link_status:up")
        });
        wait_for("three primaries", SOON, || {
            (2..=6).filter(|offset| role(up.port() + offset) == "master").count() == 3
        });
        println!("back after {:?}", killed.elapsed());
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("it goes on")).collect()
    });

    let mut client = up.client();
    for (number, counted) in counted.iter().enumerate() {
        let values: i64 = (0..50)
            .map(|n| client.text(&["GET", &format!("counter:{number}:{n}")]))
            .map(|value| value.parse::<i64>().expect("a counter"))
            .sum();
        let Counted { done, in_doubt } = *counted;
        assert!(in_doubt <= 1, "one write of a client was in flight, {in_doubt} were in doubt");
        assert!(values <= done + in_doubt, "{values} of {done} + {in_doubt}: something ran twice");
        // Copying is asynchronous: the last moment before the death may be missing.
        assert!(values >= done - 200, "{} of {done} acknowledged writes are lost", done - values);
        println!("client {number}: {done} done, {in_doubt} in doubt, counted {values}");
    }
    let said = up.log();
    let place =
        |words: &str| said.find(words).unwrap_or_else(|| panic!("`{words}` is not in {said}"));
    let node = format!("node 1 (127.0.0.1:{primary}) ");
    let ended = place(&format!("{node}ended (signal 9)"));
    let waits = place(&format!("{node}is started again when its replica has taken its place"));
    let started = place(&format!("{node}was started again, with its data"));
    assert!(ended < waits && waits < started, "{said}");

    // What it holds is what its heir has.
    let heir = (2..=6).map(|offset| up.port() + offset).find(|&port| {
        let replicas = text(port, &["INFO", "replication"]);
        replicas.contains(&format!("port={primary},"))
    });
    let heir = heir.expect("whoever it copies");
    let size = |port: u16| Client::connect(port).integer(&["DBSIZE"]);
    let value = |port: u16, key: &str| {
        let mut client = Client::connect(port);
        client.ok(&["READONLY"]);
        client.call(&["GET", key])
    };
    wait_for("as many keys as its heir", SOON, || size(primary) == size(heir));
    assert!(size(heir) > 20, "a third of 200 keys");
    for key in (0..4).flat_map(|client| (0..50).map(move |n| format!("counter:{client}:{n}"))) {
        let theirs = value(heir, &key);
        if theirs.as_error().is_none() {
            assert_eq!(value(primary, &key), theirs, "{key}");
        }
    }
}

/// With two of three primaries dead nobody can be elected. They come back all the same, and nothing
/// is lost.
#[test]
fn two_of_three_primaries_that_die_at_once_come_back() {
    let up = Keyway::up(&["--replicas", "1"]);
    let keys: Vec<String> = (0..100).map(|n| format!("kept:{n}")).collect();
    let mut client = up.client();
    for key in &keys {
        client.ok(&["SET", key, "x"]);
    }
    // If the first is back before the second is judged, that one may be replaced after all.
    assert_eq!(client.integer(&["WAIT", "1", "20000"]), 1, "the replicas have all of it");
    let before = children(up.pid());
    let port_of = |pid: u32| -> Option<u16> {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        arguments.split('\0').skip_while(|word| *word != "--port").nth(1)?.parse().ok()
    };
    let victims: Vec<u32> = before
        .iter()
        .copied()
        .filter(|&pid| port_of(pid).is_some_and(|port| port <= up.port() + 2))
        .collect();
    assert_eq!(victims.len(), 2, "of {before:?}");
    for &victim in &victims {
        let victim = rustix::process::Pid::from_raw(victim.cast_signed()).expect("a process id");
        rustix::process::kill_process(victim, rustix::process::Signal::KILL).expect("it runs");
    }
    wait_for("all six nodes", SOON, || {
        let after = children(up.pid());
        after.len() == 6 && victims.iter().all(|victim| !after.contains(victim))
    });
    wait_for("every key to be served again", SOON, || {
        let mut client = up.client();
        keys.iter().all(|key| client.call(&["GET", key]) == Reply::bulk("x"))
    });
}

/// Tells the writers to stop, however the test goes on.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_second_start_in_the_same_folder_finds_the_same_nodes() {
    let mut up = Keyway::up(&[]);
    let ids = |up: &Server| -> Vec<String> {
        primaries(up).iter().map(|&port| Client::connect(port).text(&["CLUSTER", "MYID"])).collect()
    };
    let first = ids(&up);
    for n in 0..100 {
        up.client().ok(&["SET", &format!("kept:{n}"), &n.to_string()]);
    }
    let ended = up.terminate(Duration::from_secs(5)).expect("it ends within five seconds");
    assert!(ended.success(), "SIGTERM is a wish and no failure: {ended}");
    up.restart();
    assert_eq!(ids(&up), first);
    for n in 0..100 {
        let kept = || up.client().call(&["GET", &format!("kept:{n}")]).as_str().map(str::to_owned);
        assert_eq!(eventually(SOON, kept), Some(n.to_string()), "what was written is there again");
    }
}

#[test]
fn a_taken_port_is_named_with_the_option_that_moves_it() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let folder = temporary_folder();
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
    let folder = temporary_folder();
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
        "started there again, all is as it was".to_owned(),
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
        let folder = temporary_folder();
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
