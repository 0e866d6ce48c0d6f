use super::*;

fn problems(text: &str) -> Vec<(usize, usize, String)> {
    let found = check_proxy("f.yaml", text).expect_err("the text is wrong");
    found.into_iter().map(|p| (p.line, p.column, p.why)).collect()
}

#[test]
fn nothing_written_means_every_default() {
    for text in ["", "# only a comment\n", "---\n", "limits:\n", "seeds:\n"] {
        let config = check_proxy("f.yaml", text).unwrap_or_else(|p| panic!("{text:?}: {}", p[0]));
        assert_eq!(config, ProxyConfig::default(), "{text:?}");
    }
}

#[test]
fn port_0_is_another_port_each_time() {
    let text = "listen: 127.0.0.1:0\nhttp: 127.0.0.1:0\n";
    let config = check_proxy("f.yaml", text).unwrap_or_else(|p| panic!("{}", p[0]));
    assert_eq!(config.http, Some(config.listen[0]));
}

#[test]
fn every_mistake_is_told_and_not_only_the_first() {
    let text = "\
listen: 127.0.0.1
limits:
  clients_max: many
  bulk_bytes: 12tb
timing:
  ride_out: 30
wrokers: auto
";
    let found = problems(text);
    let lines: Vec<usize> = found.iter().map(|problem| problem.0).collect();
    assert_eq!(lines, [1, 3, 4, 6, 7], "{found:#?}");
}

/// One line each: what is written, where the mistake is, and words of what is said about it.
#[test]
fn a_mistake_has_a_place_and_a_reason() {
    let mut wrong = Vec::new();
    for (text, place, words) in [
        ("listen: 127.0.0.1", (1, 9), "an address such as 127.0.0.1:6379"),
        ("seeds: [127.0.0.1]", (1, 9), "expected HOST:PORT such"),
        ("workers: many", (1, 10), "expected `auto` or a number from 1 to 1024"),
        ("workers: 0", (1, 10), "expected `auto` or a number"),
        ("limits:\n  bulk_bytes: 12tb", (2, 15), "expected a size such as 16mb"),
        ("limits:\n  redirects_max: 300", (2, 18), "redirects_max"),
        ("limits:\n  clients_max: 0", (2, 16), "nonzero"),
        ("limits:\n  clients_max: -1", (2, 16), "clients_max"),
        ("timing:\n  refresh: 15", (2, 12), "expected a time such as 60us, 500ms"),
        ("timing:\n  suspect_after: 20s", (2, 3), "above timing.backend_timeout (10s)"),
        ("timing:\n  connect_timeout: 0", (2, 3), "expected a time above zero"),
        ("limits: {client_output_soft: 1gb}", (1, 1), "above limits.client_output_hard"),
        ("log:\n  filter: keyway=loud", (2, 3), "is not a log filter"),
        ("log:\n  format: xml", (2, 11), "expected `text` or `json`"),
        ("http: 127.0.0.1:6379", (1, 1), "is an address of `listen`"),
        ("listen: []", (1, 1), "expected ADDRESS:PORT"),
        ("backend:\n  user: u", (2, 3), "has no backend.password"),
        ("address_map:\n  a: b:1", (2, 3), "expected HOST:PORT such"),
        ("- listen", (1, 1), "invalid type: sequence"),
        ("listen: [", (1, 10), "did not find"),
        ("limits: 5", (1, 9), "expected keys with values"),
        ("workers: 2\nlimits: {", (2, 10), "did not find"),
        ("password: x\npassword: y", (1, 1), "duplicate"),
        ("limits:\n\tclients_max: 5", (2, 1), "cannot start any token"),
    ] {
        let found = problems(text);
        let right = |(line, column, why): &(usize, usize, String)| {
            (*line, *column) == place && why.contains(words)
        };
        if !found.iter().any(right) {
            wrong.push(format!("{text:?}: expected {place:?} {words:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_misspelt_key_is_told_its_nearest_name() {
    for (text, meant) in [
        ("wrokers: 2", Some("workers")),
        ("limits:\n  client_max: 5", Some("clients_max")),
        ("timing:\n  drain-timeout: 5s", Some("drain_timeout")),
        ("qqqqqq: 2", None),
    ] {
        let found = check_proxy("f.yaml", text).expect_err("the key is unknown");
        assert_eq!(found[0].suggestion.as_deref(), meant, "{text}");
    }
}

#[test]
fn a_problem_reads_like_a_compilers() {
    let found = check_proxy("p.yaml", "workers: 2\nlimits:\n  client_max: 5\n").expect_err("wrong");
    let text = found[0].to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("p.yaml:3:3: error: limits: unknown field `client_max`"),
        "{text}"
    );
    assert_eq!(lines[1], " 3 |   client_max: 5");
    assert_eq!(lines[2], "   |   ^ did you mean `clients_max`?");
}

#[test]
fn a_secret_is_not_told_when_it_is_wrong() {
    let found = problems("password: [hunter2]\n");
    assert!(!found[0].2.contains("hunter2"), "{found:?}");
}
