//! nodes.conf on a real disk: whenever a node is killed, and when the disk is full, the file has the
//! old content or the new.

use crate::support::{Client, Server, eventually, temporary_folder, wait_for};
use keyway::cluster::{Durable, Slot};
use keyway::resp::Reply;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

fn read(path: &Path) -> Durable {
    let text = std::fs::read_to_string(path).expect("it is always there");
    Durable::parse(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

fn slots(durable: &Durable) -> Vec<usize> {
    durable.myself().slots.iter().map(Slot::index).collect()
}

/// A client takes slot after slot while the node is killed: what it was told is there again, at most
/// one more, and the file could be read at every moment.
#[test]
fn a_node_that_is_killed_has_all_that_it_said() {
    let rounds = std::env::var("KEYWAY_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds = rounds.map_or(8, |rounds: usize| rounds * 10);
    let mut node = Server::keyway_node(&["--cluster-enabled", "yes"]);
    let conf = node.folder().join("nodes.conf");
    let id = node.client().text(&["CLUSTER", "MYID"]);
    let taken = AtomicUsize::new(0);
    for round in 0..rounds {
        let from = taken.load(Ordering::SeqCst);
        let client = node.client();
        std::thread::scope(|scope| {
            scope.spawn(|| take_slots(client, &taken));
            // Another moment each time.
            wait_for("slots to be taken", SOON, || {
                slots(&read(&conf));
                taken.load(Ordering::SeqCst) >= from + 1 + round * 5 % 17
            });
            node.kill();
        });
        let said = taken.load(Ordering::SeqCst);
        let synced = slots(&read(&conf));
        node.restart();
        // What was written and not synced yet has the name as well, from the start on.
        let saved = slots(&read(&conf));
        let expected: Vec<usize> = (0..saved.len()).collect();
        assert_eq!(saved, expected, "round {round}");
        assert!(synced.len() <= saved.len());
        assert!((said..=said + 1).contains(&saved.len()), "{said} were said, {saved:?} saved");
        assert_eq!(node.client().text(&["CLUSTER", "MYID"]), id);
        let info = node.client().text(&["CLUSTER", "INFO"]);
        assert!(info.contains(&format!("cluster_slots_assigned:{}\r\n", saved.len())), "{info}");
        taken.store(saved.len(), Ordering::SeqCst);
    }
}

/// Takes one slot after the other until the node is gone, and counts those it was given.
fn take_slots(mut client: Client, taken: &AtomicUsize) {
    while let Ok(reply) =
        client.try_call(&["CLUSTER", "ADDSLOTS", &taken.load(Ordering::SeqCst).to_string()])
    {
        assert_eq!(reply, Reply::simple("OK"));
        taken.fetch_add(1, Ordering::SeqCst);
    }
}

/// A file system of 64 KiB.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// None, and the reason said, where it may not be mounted.
    fn mount() -> Option<Self> {
        let folder = temporary_folder();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self { folder }),
            outcome => {
                // Past the capture of test output.
                let _ = writeln!(
                    std::io::stderr(),
                    "skipped: a full disk (a small tmpfs cannot be mounted: {outcome:?})"
                );
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes all that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.path("filler")).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path("filler")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

#[test]
fn a_node_whose_disk_is_full_says_so_and_keeps_what_it_had() {
    let Some(disk) = SmallDisk::mount() else { return };
    let conf = disk.path("nodes.conf");
    let name = conf.display().to_string();
    let mut node =
        Server::keyway_node(&["--cluster-enabled", "yes", "--cluster-config-file", &name]);
    node.client().ok(&["CLUSTER", "ADDSLOTS", "0", "1"]);
    disk.fill();
    let before = std::fs::read_to_string(&conf).expect("it is there");
    let reply = node.client().try_call(&["CLUSTER", "ADDSLOTS", "2"]);
    assert!(reply.is_err(), "a change that is not saved was confirmed: {reply:?}");
    let ended = eventually(SOON, || node.process().exited());
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{}", node.log());
    let log = node.log();
    assert!(log.contains("Fatal: can't update cluster config file."), "{log}");
    assert!(log.contains("No space left on device") && log.contains(&name), "{log}");
    assert_eq!(std::fs::read_to_string(&conf).expect("it is there"), before);
    let mut files: Vec<_> = std::fs::read_dir(disk.folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    files.sort();
    let expected = ["filler", "nodes.conf", "nodes.conf.running"];
    assert_eq!(files, expected, "nothing half written stays, and that it did not end in order");

    disk.make_room();
    node.restart();
    assert_eq!(slots(&read(&conf)), [0, 1]);
    node.client().ok(&["CLUSTER", "ADDSLOTS", "2"]);
    assert_eq!(slots(&read(&conf)), [0, 1, 2]);
}

/// Saves go wrong in the middle of a cluster's life, too: the others see a node that died, and what
/// it had said before stands.
#[test]
fn a_full_disk_takes_one_node_out_of_its_cluster_and_no_more() {
    let Some(disk) = SmallDisk::mount() else { return };
    let name = disk.path("nodes.conf").display().to_string();
    let full = Server::keyway_node(&["--cluster-enabled", "yes", "--cluster-config-file", &name]);
    let other = Server::keyway_node(&["--cluster-enabled", "yes"]);
    full.client().ok(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
    let known = |node: &Server| node.client().text(&["CLUSTER", "NODES"]).lines().count();
    wait_for("they know each other", SOON, || known(&full) == 2 && known(&other) == 2);
    disk.fill();
    // The other takes slots, of which the full one hears and which it must save.
    other.client().ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "100"]);
    let mut full = full;
    wait_for("the node whose disk is full to end", SOON, || full.process().exited().is_some());
    assert!(full.log().contains("Fatal: can't update cluster config file."), "{}", full.log());
    let mut other = other;
    other.assert_well("the other's end");
}
