//! `docs/commands.md`, written from the table.

use std::fmt::Write as _;

use super::spec::{Class, Group, Spec};
use super::{all, commands};

/// The page: what each command does, since when, what the proxy does with it, and whether the
/// bundled node `runs` it.
pub fn markdown(mut runs: impl FnMut(&Spec) -> bool) -> String {
    let mut page = String::from(INTRODUCTION);
    for class in Class::ALL {
        let count = all().iter().filter(|spec| spec.class == class && !spec.is_container()).count();
        row(&mut page, &[&format!("`{}`", class.name()), explain(class), &count.to_string()]);
    }
    let mut groups: Vec<Group> = commands().map(|spec| spec.group).collect();
    groups.sort();
    groups.dedup();
    for group in groups {
        let _ = write!(page, "\n## {}\n\n{TABLE_HEAD}", title(group));
        for spec in all().iter().filter(|spec| spec.group == group && !spec.is_container()) {
            let name = spec.name.to_ascii_uppercase().replace('|', " ");
            let runs = if runs(spec) { "yes" } else { "" };
            row(
                &mut page,
                &[&format!("`{name}`"), spec.summary, spec.since, spec.class.name(), runs],
            );
        }
    }
    page
}

const INTRODUCTION: &str = "\
<!-- Written by `make docs` from src/command/table. Do not edit. -->

# Commands

Every command the proxy knows, and what it does with it. The bundled node runs those marked in the
last column; the others reach a Redis or Valkey node that has them. *Since* is the version that
brought a command: of Redis up to 7.2, of Valkey from 8.0 on.

## Classes

| class | what the proxy does | commands |
|---|---|---|
";

const TABLE_HEAD: &str = "\
| command | what it does | since | in the proxy | bundled node |
|---|---|---|---|---|
";

fn row(page: &mut String, cells: &[&str]) {
    for cell in cells {
        let _ = write!(page, "| {} ", cell.replace('|', "\\|"));
    }
    page.push_str("|\n");
}

fn explain(class: Class) -> &'static str {
    match class {
        Class::OneSlot => "goes to the owner of its key's slot; without a key, to any primary",
        Class::Split => "one request per slot, gathered into one reply; not atomic across slots",
        Class::AllOrNothing => "runs if all its keys are in one slot, else `CROSSSLOT`",
        Class::FanOut => "goes to every primary, gathered into one reply",
        Class::Cursor => "walks the primaries one after the other behind one cursor",
        Class::Local => "answered by the proxy itself",
        Class::Pinned => "needs a connection of its own for as long as it lasts",
        Class::Subscription => "publish/subscribe, over shared subscriber connections",
        Class::Publish => {
            "goes to one node, as `one_slot`; its count is made that of a single server"
        }
        Class::Refused => "refused with an error that says so",
    }
}

fn title(group: Group) -> &'static str {
    match group {
        Group::String => "Strings",
        Group::Bitmap => "Bitmaps",
        Group::Hash => "Hashes",
        Group::List => "Lists",
        Group::Set => "Sets",
        Group::SortedSet => "Sorted sets",
        Group::Stream => "Streams",
        Group::HyperLogLog => "HyperLogLogs",
        Group::Geo => "Geo indexes",
        Group::Generic => "Keys",
        Group::PubSub => "Publish/subscribe",
        Group::Transactions => "Transactions",
        Group::Scripting => "Scripts and functions",
        Group::Connection => "Connections",
        Group::Server => "Server",
        Group::Cluster => "Cluster",
    }
}
