//! Runs `docs/handbook.md`: every `$` line is carried out on real nodes, and what it prints must
//! be what the page shows. `KEYWAY_REWRITE=1` writes what was printed into the page instead.

use crate::support::{Client, Kind, Process, eventually, free_ports, stock, temporary_folder};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Looking (`check`, `info`, `get`) may have to wait for an election or for gossip, on a machine that is
/// busy with other things.
const SEEN_WITHIN: Duration = Duration::from_secs(120);

/// The page's story has one failure in it. A node that is merely starved of its processor or its disk for
/// a while must not make another.
const NODE_TIMEOUT_MS: &str = "5000";

/// After which nothing changes any more by itself.
const AT_REST_AFTER: Duration = Duration::from_secs(20);

/// The page's ports; the test's are others.
const PORTS: std::ops::RangeInclusive<u16> = 8000..=8008;

/// A node's output, in its folder.
const LOG: &str = "output.log";

#[test]
fn the_handbook_is_what_happens_on_redis_nodes() {
    run_page(Kind::Redis);
}

#[test]
fn the_handbook_is_what_happens_on_valkey_nodes() {
    run_page(Kind::Valkey);
}

#[test]
fn the_handbook_is_what_happens_on_bundled_nodes() {
    run_page(Kind::Keyway);
}

fn run_page(kind: Kind) {
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_keyway"));
    let Some(binary) = (match kind {
        Kind::Keyway => Some(&ours),
        Kind::Valkey => stock::valkey(),
        _ => stock::redis(),
    }) else {
        return;
    };
    let Some(redis_cli) = stock::tool("redis-cli") else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/handbook.md");
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let rewrite = kind == Kind::Redis && std::env::var_os("KEYWAY_REWRITE").is_some();
    let mut world = World::new(binary, &redis_cli);
    let mut written = String::new();
    let mut lines = page.lines().peekable();
    let mut in_console = false;
    while let Some(line) = lines.next() {
        written.push_str(line);
        written.push('\n');
        if line.starts_with("```") {
            in_console = line == "```console";
        }
        let Some(command) = line.strip_prefix("$ ").filter(|_| in_console) else { continue };
        let mut expected = Vec::new();
        while let Some(output) = lines.next_if(|l| !l.starts_with("```") && !l.starts_with("$ ")) {
            expected.push(output);
        }
        let printed = world.run(command, (!rewrite).then_some(&expected));
        for line in shortened(&printed) {
            written.push_str(&line);
            written.push('\n');
        }
    }
    if rewrite {
        std::fs::write(&path, written).expect("the page can be written");
    }
}

/// The nodes, and how the page's ports and ids are those of this run.
struct World {
    server: PathBuf,
    path: std::ffi::OsString,
    folder: tempfile::TempDir,
    ports: BTreeMap<u16, u16>,
    ids: BTreeMap<u16, String>,
    nodes: BTreeMap<u16, Process>,
}

impl World {
    fn new(server: &Path, redis_cli: &Path) -> Self {
        let ours = Path::new(env!("CARGO_BIN_EXE_keyway")).parent().expect("it is in a folder");
        let theirs = redis_cli.parent().expect("it is in a folder");
        let mut folders = vec![ours.to_owned(), theirs.to_owned()];
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        Self {
            server: server.to_owned(),
            path: std::env::join_paths(folders).expect("folders of PATH"),
            folder: temporary_folder(),
            // In the page's order: the tool lists nodes by it.
            ports: PORTS.zip(free_ports(PORTS.count() as u16)..).collect(),
            ids: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }

    fn run(&mut self, command: &str, expected: Option<&Vec<&str>>) -> String {
        if let Some(args) = command.strip_prefix("keyway node ") {
            self.start(args);
            return String::new();
        }
        let changes =
            ["add-node", "del-node", "reshard", "fix"].iter().any(|word| command.contains(word));
        if changes {
            // What was done before is known everywhere, replicas included; and nobody misses a node that is
            // back: a replica may move to a shard that seems to have none left.
            let mut last = String::new();
            let well = eventually(SEEN_WITHIN, || {
                let (check, is_well) = self.shell("keyway cluster check 127.0.0.1:8001");
                let (views, _) = self.shell("keyway cluster call 127.0.0.1:8001 cluster nodes");
                last = check + &views;
                (is_well && !last.contains(",fail")).then_some(())
            });
            assert!(well.is_some(), "before `{command}` all should be well:\n{last}");
        }
        let looks = [" check ", " info ", " get "].iter().any(|word| command.contains(word));
        let Some(expected) = expected else {
            if looks {
                // What the page is to show is the cluster at rest.
                std::thread::sleep(AT_REST_AFTER);
            }
            return self.shell(command).0;
        };
        let within = if looks { SEEN_WITHIN } else { Duration::ZERO };
        let mut last = String::new();
        let seen = eventually(within, || {
            last = self.shell(command).0;
            fits(expected, &last).then_some(())
        });
        let shown = expected.join("\n");
        assert!(seen.is_some(), "$ {command}\n--- the page:\n{shown}\n--- printed:\n{last}");
        last
    }

    /// `FILE`, or directives: the stock server takes both as Keyway does.
    fn start(&mut self, args: &str) {
        let page_port = PORTS.rev().find(|port| args.contains(&port.to_string()));
        let page_port = page_port.expect("a port of the page");
        let port = self.ports[&page_port];
        let folder = self.folder.path().join(page_port.to_string());
        std::fs::create_dir_all(&folder).expect("a folder");
        let log = File::options().create(true).append(true).open(folder.join(LOG));
        let log = log.expect("a file in our own folder");
        let mut command = Command::new(&self.server);
        if self.server == Path::new(env!("CARGO_BIN_EXE_keyway")) {
            command.arg("node");
        }
        if args.starts_with("--") {
            command.args(args.split_whitespace());
        } else {
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(args));
        }
        command
            .args(["--port", &port.to_string(), "--cluster-node-timeout", NODE_TIMEOUT_MS])
            .args(["--save", "", "--repl-diskless-sync-delay", "0"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        self.nodes.insert(page_port, Process::start(command).expect("the server starts"));
        let id = eventually(SEEN_WITHIN, || {
            let mut client = Client::try_connect(port).ok()?;
            let reply = client.try_call(&["CLUSTER", "MYID"]).ok()?;
            reply.as_str().map(str::to_owned)
        });
        self.ids.insert(page_port, id.expect("the server answers"));
    }

    /// Runs a line of the page. What it printed, in the page's words, and whether it ended well.
    fn shell(&self, command: &str) -> (String, bool) {
        let mut command = command.to_owned();
        for (page_port, port) in &self.ports {
            command = command.replace(&page_id(*page_port), self.id(*page_port));
            command = command.replace(&format!(":{page_port}"), &format!(":{port}"));
            command = command.replace(&format!("-p {page_port}"), &format!("-p {port}"));
        }
        let output = Command::new("sh")
            .args(["-c", &command])
            .env("PATH", &self.path)
            .env("XDG_STATE_HOME", self.folder.path())
            .env_remove("REDISCLI_AUTH")
            .output()
            .expect("a shell");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        for (page_port, port) in &self.ports {
            let id = self.id(*page_port);
            if !id.is_empty() {
                text = text.replace(id, &page_id(*page_port));
                text =
                    text.replace(&format!("({}...)", &id[..8]), &format!("({page_port}d5b4...)"));
            }
            text = text.replace(&format!(":{port}"), &format!(":{page_port}"));
        }
        // How long gossip took is told by dots.
        while text.contains("to join..") {
            text = text.replace("to join..", "to join.");
        }
        (text, output.status.success())
    }

    fn id(&self, page_port: u16) -> &str {
        self.ids.get(&page_port).map_or("", String::as_str)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for port in self.nodes.keys().filter(|_| std::thread::panicking()) {
            let log = self.folder.path().join(port.to_string()).join(LOG);
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("--- the end of the log of the page's node {port}:");
            for line in tail.iter().rev() {
                eprintln!("    {line}");
            }
        }
    }
}

fn page_id(port: u16) -> String {
    format!("{port}{}", "d5b4".repeat(9))
}

/// Whether the page's lines are those that were printed; `...` stands for any number of them, or
/// at the end of a line for its rest.
fn fits(expected: &[&str], printed: &str) -> bool {
    fn go(expected: &[&str], printed: &[&str]) -> bool {
        match (expected.split_first(), printed.split_first()) {
            (None, None) => true,
            (Some((&"...", rest)), None) => go(rest, printed),
            (Some((&"...", rest)), Some((_, more))) => go(rest, printed) || go(expected, more),
            (Some((want, rest)), Some((line, more))) => {
                let same = match want.strip_suffix(" ...") {
                    Some(start) => line.starts_with(start),
                    None => want == line,
                };
                same && go(rest, more)
            }
            _ => false,
        }
    }
    let trimmed = |lines: Vec<&str>| -> Vec<String> {
        let mut lines: Vec<String> = lines.iter().map(|l| l.trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    };
    let (expected, printed) = (trimmed(expected.to_vec()), trimmed(printed.lines().collect()));
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    let printed: Vec<&str> = printed.iter().map(String::as_str).collect();
    go(&expected, &printed)
}

/// For the page: of many slots, the first ones.
fn shortened(printed: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut run = 0;
    for line in printed.lines() {
        if let Some((question, _)) = line.split_once("(yes/no)? ") {
            // Behind it slots arrive in whatever order their sources were done.
            lines.extend([format!("{question}(yes/no)? ..."), "...".to_owned()]);
            run = 3;
            continue;
        }
        run = if line.trim_start().starts_with("Moving slot ") { run + 1 } else { 0 };
        match run {
            0..=2 => lines.push(line.trim_end().to_owned()),
            3 => lines.push("...".to_owned()),
            _ => {}
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}
