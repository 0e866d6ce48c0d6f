//! Clients of other hosts: they are as welcome as Redis's protected mode has them.

use crate::support::{Cluster, Keyway, Process, free_port, free_ports, temporary_folder, wait_for};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

const PING: &[u8] = b"PING\r\n";

/// An address of this host that is not loopback, if it has one. Who comes from it to a loopback address
/// is as strange as one from another host.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: it only asks which way that would take.
    socket.connect("192.0.2.77:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    Some(ip).filter(|ip| !ip.is_loopback())
}

/// What a client is told that connects from `from` to `to`, and sends `request`.
fn told(from: IpAddr, to: IpAddr, port: u16, request: &[u8]) -> String {
    let to = SocketAddr::new(to, port);
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("our own address");
    socket.connect(&to.into()).expect("it listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time that is not zero");
    let mut line = Vec::new();
    stream.write_all(request).expect("it is taken");
    let mut byte = [0];
    while !line.ends_with(b"\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("text")
}

#[test]
fn without_a_password_clients_of_other_hosts_are_denied() {
    let Some(ip) = own_address() else { return };
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let proxy = |options: &[&str]| {
        let port = free_port();
        let everywhere = format!("0.0.0.0:{port}");
        let options = [&["--listen", &everywhere], options].concat();
        (Keyway::proxy(&cluster.seeds(), &options), port)
    };
    let loopback: IpAddr = [127, 0, 0, 1].into();
    let (open, port) = proxy(&[]);
    // Who is turned away is so before he has said anything.
    let denied = told(ip, loopback, port, b"");
    assert!(denied.starts_with("-DENIED Keyway is running in protected mode"), "{denied}");
    for option in ["protected_mode: false", "--protected-mode no", "--requirepass"] {
        assert!(denied.contains(option), "{denied}");
    }
    assert_eq!(told(ip, loopback, port, b""), denied, "each of them is told");
    assert_eq!(open.log().matches("turned a client of another host away").count(), 1);
    for own in [loopback, ip] {
        assert_eq!(told(own, own, port, PING), "+PONG\r\n", "this host's own clients are served");
    }
    let (_locked, port) = proxy(&["--requirepass", "secret"]);
    assert_eq!(told(ip, loopback, port, PING), "-NOAUTH Authentication required.\r\n");
    let (_trusting, port) = proxy(&["--protected-mode", "no"]);
    assert_eq!(told(ip, loopback, port, PING), "+PONG\r\n");
}

/// Its nodes have no password either: they take the proxy's connections, and those of this host.
#[test]
fn the_whole_bundle_can_be_bound_beyond_loopback() {
    let Some(ip) = own_address() else { return };
    let everywhere = Keyway::up(&["--bind", "0.0.0.0", "--primaries", "1"]);
    let (loopback, port) = ([127, 0, 0, 1].into(), everywhere.port());
    assert_eq!(told(ip, ip, port, PING), "+PONG\r\n");
    assert!(told(ip, loopback, port, b"").starts_with("-DENIED Keyway "));
    assert!(told(ip, loopback, port + 1, b"").starts_with("-DENIED Redis "));
    drop(everywhere);

    let folder = temporary_folder();
    let port = free_ports(2);
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyway"));
    command.args([
        "up",
        "--primaries",
        "1",
        "--replicas",
        "0",
        "--bind",
        &ip.to_string(),
        "--http",
    ]);
    command.arg(format!("127.0.0.1:{}", free_port()));
    command.args(["--port", &port.to_string(), "--base-port", &(port + 1).to_string(), "--dir"]);
    command.arg(folder.path()).stdout(Stdio::null());
    let _bound = Process::start(command).expect("our own program");
    wait_for("it has reached its node", Duration::from_secs(60), || {
        TcpStream::connect((ip, port)).is_ok() && told(ip, ip, port, b"SET k v\r\n") == "+OK\r\n"
    });
}
