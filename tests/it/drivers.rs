//! Client libraries of others against the proxy, with their defaults: the drivers of `make matrix`
//! that a machine for continuous integration has, or gets with one small package each.

use crate::proxy::reach_all;
use crate::support::stock::skip;
use crate::support::{Cluster, Keyway, temporary_folder};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A file of the matrix.
pub(crate) fn file(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Whether a command succeeds; if not, the test is skipped for this reason.
pub(crate) fn has(probe: &mut Command, why: &str) -> bool {
    let has = probe.output().is_ok_and(|probe| probe.status.success());
    if !has {
        let _: Option<()> = skip(why);
    }
    has
}

/// Runs a driver: it has these clients, and each of their checks succeeds.
pub(crate) fn check(driver: &[&str], port: u16, clients: &[&str]) {
    let ran = Command::new("timeout")
        .arg("120")
        .args(driver)
        .arg(port.to_string())
        .output()
        .expect("it was there");
    let (said, complained) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{complained}");
    let rows: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("a row of JSON")).collect();
    let names: Vec<&str> = rows.iter().filter_map(|row| row["client"].as_str()).collect();
    assert_eq!(names, clients);
    for row in &rows {
        let checks = row["checks"].as_object().expect("what it saw");
        assert!(checks.len() >= 5, "{row}");
        for (check, seen) in checks {
            assert_eq!(seen, "yes", "{}: {check}", row["client"]);
        }
    }
}

/// In front of three stock servers.
fn check_before_redis(driver: &[&str], client: &str) {
    let Some(cluster) = Cluster::redis(3, 0) else { return };
    let proxy = Keyway::proxy(&cluster.seeds(), &[]);
    reach_all(&cluster, &proxy);
    check(driver, proxy.port(), &[client]);
}

#[test]
fn hiredis_finds_what_it_needs() {
    let folder = temporary_folder();
    let program = folder.path().join("hiredis");
    let mut build = Command::new("cc");
    build.args(["-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(file("hiredis.c"));
    if has(build.arg("-lhiredis"), "cc cannot build with hiredis (libhiredis-dev)") {
        check_before_redis(&[path(&program)], "hiredis");
    }
}

#[test]
fn redis_pm_of_perl_finds_what_it_needs() {
    let probe = has(Command::new("perl").args(["-MRedis", "-e1"]), "perl has no Redis.pm");
    if probe {
        check_before_redis(&["perl", &file("redis_pl.pl")], "Redis.pm");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}
