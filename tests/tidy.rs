//! What keeps the repository in shape: who may import whom, how long a file may be, and that
//! examples, documents and dashboards say what the code does.
//!
//! `KEYWAY_REWRITE=1` (`make docs`) writes the generated documents instead of comparing them.
#![allow(clippy::disallowed_methods, reason = "no machine runs here")]

#[path = "tidy/errors.rs"]
mod errors;

use keyway::config::{ProxyConfig, check_proxy};
use keyway::telemetry::families;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below `folder` of the repository, with its path from the root.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of the repository") {
            let entry = entry.expect("it is readable");
            let path = folder.join(entry.file_name());
            if entry.file_type().expect("it is a file or folder").is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = files(folder);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found
}

/// Which module may use which others of ours, and whether it may name tokio. A shell (`io`) has a
/// line of its own; itself and its parent are always allowed. Lower layers first.
const LAYERS: &[(&str, &[&str], bool)] = &[
    ("alloc", &[], false),
    ("resp", &["value"], false),
    ("clock", &[], false),
    ("secret", &[], false),
    ("value", &[], false),
    ("cluster", &["resp"], false),
    ("command", &["resp", "cluster", "value"], false),
    ("store", &["cluster", "clock", "value"], false),
    ("bus", &["cluster", "clock"], false),
    ("replication", &["resp", "clock", "secret"], false),
    ("script", &["resp", "value"], false),
    (
        "node",
        &[
            "resp",
            "cluster",
            "clock",
            "secret",
            "value",
            "command",
            "bus",
            "store",
            "replication",
            "script",
        ],
        false,
    ),
    ("proxy", &["resp", "cluster", "clock", "secret", "value", "command"], false),
    ("admin", &["resp", "cluster", "clock"], false),
    ("net", &["resp", "clock", "secret"], true),
    ("telemetry", &["clock", "net"], true),
    ("config", &["resp", "cluster", "secret", "proxy", "node", "telemetry"], false),
    (
        "node/io",
        &[
            "alloc",
            "resp",
            "cluster",
            "clock",
            "secret",
            "value",
            "command",
            "bus",
            "store",
            "replication",
            "config",
            "net",
            "telemetry",
        ],
        true,
    ),
    (
        "proxy/io",
        &["resp", "cluster", "clock", "secret", "value", "command", "config", "net", "telemetry"],
        true,
    ),
    ("admin/io", &["resp", "cluster", "clock", "secret", "config", "net", "telemetry"], true),
    ("serve", &["net", "proxy", "telemetry"], true),
    (
        "up",
        &["admin", "clock", "cluster", "net", "proxy", "secret", "serve", "telemetry", "cli"],
        true,
    ),
    (
        "cli",
        &[
            "admin",
            "cluster",
            "config",
            "net",
            "node",
            "proxy",
            "secret",
            "serve",
            "telemetry",
            "up",
        ],
        true,
    ),
    ("main", &[], false),
    ("lib", &[], false),
];

/// Constants of the crate's root, which belong to nobody.
const ROOT_ITEMS: &[&str] = &["VERSION", "COMMIT", "REDIS_VERSION"];

/// The line of [`LAYERS`] that a file falls under: `src/node/io/bus.rs` → `node/io`.
fn layer(path: &Path) -> &'static (&'static str, &'static [&'static str], bool) {
    let parts: Vec<&str> =
        path.iter().skip(1).filter_map(|part| part.to_str()?.split('.').next()).collect();
    let shell = parts.len() > 2 && parts[1] == "io";
    let name = if shell { format!("{}/io", parts[0]) } else { parts[0].to_owned() };
    LAYERS
        .iter()
        .find(|(layer, ..)| *layer == name)
        .unwrap_or_else(|| panic!("{}: `{name}` has no line in LAYERS", path.display()))
}

/// A file's code without comments and without its tests: those may look at anything.
fn code(path: &Path) -> String {
    if path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing") {
        return String::new();
    }
    let text = read(path.to_str().expect("our paths are text"));
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// The modules that `code` names behind `crate::`, the ones in braces included.
fn imports(code: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let list = rest.strip_prefix('{').and_then(|list| list.split('}').next());
        for item in list.map_or_else(|| vec![rest], |list| list.split(',').collect()) {
            let item = item.trim_start();
            let end = item.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(item.len());
            found.insert(&item[..end]);
        }
    }
    found.remove("");
    found
}

#[test]
fn modules_import_only_what_the_layers_allow() {
    let mut wrong = Vec::new();
    for path in rust_files("src") {
        let (name, allowed, tokio) = layer(&path);
        let own = name.split('/').next().unwrap_or(name);
        let code = code(&path);
        for import in imports(&code) {
            let fine = import == own || allowed.contains(&import) || ROOT_ITEMS.contains(&import);
            if !fine {
                wrong.push(format!("{}: `{name}` must not use `{import}`", path.display()));
            }
        }
        if !tokio && ["tokio::", "tokio_util::", "hyper::"].iter().any(|io| code.contains(io)) {
            wrong.push(format!("{}: `{name}` must not know of tokio", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_in_every_form() {
    let found =
        imports("use crate::resp::Reply;\nuse crate::{net, cli::Cli};\nlet x = crate::up();");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["cli", "net", "resp", "up"]);
}

/// Files that are longer than they should be: they may shrink, and not grow.
const LONGER: &[(&str, usize)] = &[("src/store/keyspace.rs", 800)];

#[test]
fn no_file_is_longer_than_600_lines() {
    let mut long = Vec::new();
    for path in ["src", "tests"].into_iter().flat_map(rust_files) {
        let lines = read(path.to_str().expect("our paths are text")).lines().count();
        // A table is as long as what it lists.
        let table = path.starts_with("src/command/table");
        let known = LONGER.iter().find(|(long, _)| path == Path::new(long));
        if lines > known.map_or(600, |(_, ceiling)| *ceiling) && !table {
            long.push(format!("{}: {lines} lines; look for the second noun", path.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_file_says_what_it_decides() {
    for path in rust_files("src") {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        let text = read(path.to_str().expect("our paths are text"));
        assert!(text.starts_with("//! "), "{} does not open with `//!`", path.display());
    }
}

#[test]
fn nothing_depends_on_one_machine() {
    // Written in two pieces, so that this file does not find itself.
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let folders = ["src", "tests", "docs", "config", "dashboards", "fuzz", ".ci"];
    let mut texts: Vec<PathBuf> = folders.into_iter().flat_map(files).collect();
    texts.extend(["README.md", "Makefile", "Cargo.toml", "CONTRIBUTING.md"].map(PathBuf::from));
    for path in texts {
        if path.starts_with("fuzz/target") {
            continue;
        }
        let bytes = fs::read(root().join(&path)).expect("it is readable");
        let text = String::from_utf8_lossy(&bytes);
        for place in places {
            assert!(!text.contains(place), "{} names {place}", path.display());
        }
    }
}

/// Compares a generated document with what the code says, or writes it.
fn generated(path: &str, text: &str) {
    if std::env::var_os("KEYWAY_REWRITE").is_some_and(|value| value == "1") {
        fs::write(root().join(path), text).expect("the repository is writable");
    }
    let written = fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(written == text, "{path} is not what the code says: run `make docs`");
}

#[test]
fn the_list_of_metrics_is_the_codes() {
    generated("docs/metrics.md", &families::document());
}

#[test]
fn the_list_of_limits_is_the_codes() {
    generated("docs/limits.md", &keyway::config::document_limits());
}

#[test]
fn the_page_names_every_test_of_redis_that_does_not_pass() {
    let list = "tests/suites/differences.txt";
    let mut page = String::from(
        "# Redis's own tests\n\n\
         `make suites` runs the test files of Redis 7.0.15 that concern data, keys, transactions,\n\
         publish/subscribe, parameters, files, replication and clusters (`cluster/…` are those of\n\
         `runtest-cluster`, on 20 nodes) against `keyway node` (`tests/suites/run`, which fetches\n\
         them from Debian's source package). `set-max-listpack-entries` is 0 there, since 7.0 has no\n\
         sets in listpacks, and a list may be a listpack where 7.0 says `quicklist`; what\n\
         `cluster/10-manual-failover` writes with a script is written by the command in it. Each\n\
         test passes, or stands here; the run fails where one of these passes.\n\n\
         | tests | why they do not pass |\n|---|---|\n",
    );
    for group in read(list).split("\nbecause ").skip(1) {
        let (reason, tests) = group.split_once('\n').expect("tests follow a reason");
        let tests = tests.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut shown = Vec::new();
        for line in tests {
            let test = ["  fails ", "  skip "].iter().find_map(|how| line.strip_prefix(how));
            let test = test.unwrap_or_else(|| panic!("{list}: neither `fails` nor `skip`: {line}"));
            let (unit, name) = test.split_once(": ").expect("a unit and the test's name");
            shown.push(format!("`{unit}`: {}", name.replace('|', "\\|")));
        }
        assert!(!shown.is_empty(), "{list}: no test follows `{reason}`");
        page.push_str(&format!("| {} | {reason} |\n", shown.join("<br>")));
    }
    generated("docs/redis-tests.md", &page);
}

/// Every word of `text` that looks like one of our metrics, without a histogram's suffixes.
/// The words of a row's last column that name tests.
fn tests_named(page: &str) -> BTreeSet<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let last = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let words = last.flat_map(|column| column.split('`').skip(1).step_by(2));
    words.filter(|word| word.contains('_')).collect()
}

#[test]
fn every_test_that_the_contract_names_exists() {
    let page = read("docs/contract.md");
    let code: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .map(|path| read(path.to_str().expect("a path")))
        .collect();
    let named = tests_named(&page);
    assert!(named.len() > 100, "{} tests are named", named.len());
    let is_there = |name: &&str| {
        let text = format!("fn {name}()");
        code.iter().any(|code| code.contains(&text))
    };
    let missing: Vec<&str> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "docs/contract.md names tests that are not there: {missing:?}");
}

fn metrics_named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !word(c));
    words
        // Another program, and no metric.
        .filter(|w| *w != "redis_exporter")
        .filter(|w| ["keyway_", "redis_", "process_"].iter().any(|p| w.starts_with(p)))
        .map(|w| {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| w.strip_suffix(s));
            base.unwrap_or(w).to_owned()
        })
        .collect()
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let known: BTreeSet<&str> = families::ALL.iter().map(|family| family.name).collect();
    for path in ["dashboards/keyway.json", "dashboards/alerts.yml", "dashboards/alerts_test.yml"] {
        let named = metrics_named(&read(path));
        assert!(named.len() > 2, "{path} names hardly any metric");
        for name in named {
            assert!(known.contains(name.as_str()), "{path} names {name}, which does not exist");
        }
    }
}

#[test]
fn the_dashboard_is_well_formed() {
    let board: serde_yaml::Value =
        serde_yaml::from_str(&read("dashboards/keyway.json")).expect("JSON is YAML");
    let panels = board["panels"].as_sequence().expect("it has panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("each panel has a title");
        let id = panel["id"].as_u64().expect("each panel has an id");
        assert!(ids.insert(id), "{title}: the id {id} is taken");
        if panel["type"].as_str() != Some("row") {
            let targets = panel["targets"].as_sequence().expect("each panel asks something");
            assert!(targets.iter().all(|t| t["expr"].as_str().is_some()), "{title}: no question");
            assert!(panel["description"].as_str().is_some(), "{title}: says not what to look for");
        }
    }
}

#[test]
fn every_alert_has_its_page_in_the_runbook() {
    let runbook = read("docs/runbook.md");
    let rules: serde_yaml::Value =
        serde_yaml::from_str(&read("dashboards/alerts.yml")).expect("the rules are YAML");
    let groups = rules["groups"].as_sequence().expect("there are groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_sequence().expect("of rules"));
    for name in rules.filter_map(|rule| rule["alert"].as_str()) {
        assert!(runbook.contains(&format!("\n## {name}\n")), "docs/runbook.md has no {name}");
    }
}

/// A tool of Prometheus, or word that it is missing; with `KEYWAY_REQUIRE_REAL=1` it must not be.
fn promtool(args: &[&str]) {
    match Command::new("promtool").args(args).current_dir(root()).output() {
        Ok(output) => assert!(
            output.status.success(),
            "promtool {args:?}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => {
            let required = std::env::var_os("KEYWAY_REQUIRE_REAL").is_some_and(|v| v == "1");
            assert!(!required, "KEYWAY_REQUIRE_REAL=1, but promtool: {error}");
            eprintln!("skipped: promtool is not in PATH");
        }
    }
}

#[test]
fn prometheus_accepts_the_rules_and_the_example() {
    promtool(&["check", "rules", "dashboards/alerts.yml"]);
    promtool(&["test", "rules", "dashboards/alerts_test.yml"]);
    promtool(&["check", "config", "config/prometheus.yml"]);
}

#[test]
fn the_example_configuration_shows_every_key_with_its_default() {
    let text = read("config/proxy.yaml");
    let mut config = check_proxy("config/proxy.yaml", &text)
        .unwrap_or_else(|problems| panic!("{}", problems[0]));
    assert!(!config.seeds.is_empty(), "the example names seeds");
    config.seeds.clear();
    assert_eq!(config, ProxyConfig::default());

    let written: serde_yaml::Value = serde_yaml::from_str(&text).expect("it was read before");
    let all = serde_yaml::to_value(ProxyConfig::default()).expect("it can be written");
    let (written, all) = (keys("", &written), keys("", &all));
    let missing: Vec<_> = all.difference(&written).collect();
    assert!(missing.is_empty(), "config/proxy.yaml does not show {missing:?}");
}

/// All keys of a tree, with those above them.
fn keys(above: &str, value: &serde_yaml::Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in value.as_mapping().into_iter().flatten() {
        let key = format!("{above}.{}", key.as_str().expect("keys are text"));
        found.extend(keys(&key, value));
        found.insert(key);
    }
    found
}

/// The commands between the fences behind a heading of the README.
fn readme_commands(heading: &str) -> Vec<String> {
    let readme = read("README.md");
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let (_, block) = section.split_once("```sh\n").expect("a block of commands");
    let (block, _) = block.split_once("```").expect("its end");
    block.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}

#[test]
fn continuous_integration_runs_the_readmes_test_command() {
    let commands = readme_commands("Test it");
    let script = read(".ci/run");
    for command in commands {
        let runs = script.lines().any(|line| line.trim() == command);
        assert!(runs, ".ci/run has no line `{command}`");
    }
}
