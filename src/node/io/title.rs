//! What `ps` shows of a node: `keyway-node *:7000 [cluster]`, as it shows of `redis-server`.
//!
//! A process cannot change its arguments without writing over the memory that holds them. It can be
//! started again under another name, in the same process: so a node does that once, first of all.

use crate::config::node::NodeConfig;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Set for the second start, so that there is no third where the name does not stick.
const TITLED_VARIABLE: &str = "KEYWAY_TITLED";

/// `proc-title-template`, unless it is given.
const TEMPLATE: &str = "{title} {listen-addr} {server-mode}";

/// Starts this process again under a title that says which node it is, unless that has been done.
/// A node that cannot have one runs without.
pub fn take_title(config: &NodeConfig) {
    let wanted = !config.last("set-proc-title").is_some_and(|no| no.eq_ignore_ascii_case("no"));
    if !wanted || std::env::var_os(TITLED_VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let error = Command::new(program)
        .arg0(title(config))
        .args(std::env::args_os().skip(1))
        .env(TITLED_VARIABLE, "1")
        .exec();
    // The log is not set up yet, and a node without a title is a node.
    eprintln!("keyway node: no title of its own: {error}");
}

/// What `proc-title-template` makes of this node; what it does not know stays as it is.
fn title(config: &NodeConfig) -> String {
    let last = |name: &str| config.last(name).unwrap_or_default();
    let bind = config.last("bind").map_or("*", |address| address.trim_start_matches('-'));
    let port = config.last("port").unwrap_or("6379");
    let cluster = last("cluster-enabled").eq_ignore_ascii_case("yes");
    let file = config.file.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let template = config.last("proc-title-template").unwrap_or(TEMPLATE);
    let filled = template
        .replace("{title}", "keyway-node")
        .replace("{listen-addr}", &format!("{bind}:{port}"))
        .replace("{server-mode}", if cluster { "[cluster]" } else { "" })
        .replace("{port}", port)
        .replace("{tls-port}", "0")
        .replace("{unixsocket}", last("unixsocket"))
        .replace("{config-file}", &file);
    filled.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_says_where_a_node_is_and_what() {
        let title = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(Into::into).collect();
            title(&NodeConfig::from_args(&args).expect("valid"))
        };
        assert_eq!(title(&[]), "keyway-node *:6379");
        assert_eq!(
            title(&["--port", "7000", "--bind", "127.0.0.1", "--cluster-enabled", "yes"]),
            "keyway-node 127.0.0.1:7000 [cluster]"
        );
        assert_eq!(
            title(&["--port", "7000", "--proc-title-template", "A {title} {port} {tls-port} {x}"]),
            "A keyway-node 7000 0 {x}"
        );
    }
}
