//! Tells the version of redis-rs that the lock file names.

fn main() {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"redis\"");
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1)).unwrap_or("?");
    println!("cargo::rustc-env=REDIS_RS_VERSION={version}");
    println!("cargo::rerun-if-changed=Cargo.lock");
}
