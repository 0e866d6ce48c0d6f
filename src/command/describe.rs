//! The replies of COMMAND, written from the table.
//!
//! A server does not have every command of the table: each function takes a filter, which says
//! what it has (the node) or routes (the proxy).

use super::flags::{Categories, Flags};
use super::key_spec::{BeginSearch, FindKeys, KeyFlags, KeySpec};
use super::keys::{exact_flags, keys};
use super::lookup::{lookup_full_name, lookup_subcommand};
use super::spec::Spec;
use super::syntax::{Argument, Kind, parse};
use super::{all, commands, lookup};
use crate::resp::{Encoder, Request, Span};
use crate::value::{Case, glob_match};

/// Answers COMMAND and its subcommands; `spec` is what [`super::lookup_request`] made of
/// `request`, and `has` says which commands this server has.
pub fn answer(
    out: &mut Encoder<'_>,
    spec: &Spec,
    request: &Request<'_>,
    has: &mut dyn FnMut(&Spec) -> bool,
) {
    match spec.name {
        "command|count" => count(out, has),
        "command|list" => list(out, request, has),
        "command|docs" => docs(out, request, has),
        "command|info" if request.len() > 2 => info(out, request, has),
        "command|getkeys" => get_keys(out, request, false, has),
        "command|getkeysandflags" => get_keys(out, request, true, has),
        "command|help" => help(out, spec, has),
        _ => {
            let shown: Vec<&Spec> = commands().filter(|spec| has(spec)).collect();
            out.array(shown.len());
            for spec in shown {
                entry(out, spec, has);
            }
        }
    }
}

/// COMMAND COUNT.
fn count(out: &mut Encoder<'_>, has: &mut dyn FnMut(&Spec) -> bool) {
    out.integer(commands().filter(|spec| has(spec)).count() as i64);
}

/// COMMAND INFO with names: an entry each, or nothing for a name that is none.
fn info(out: &mut Encoder<'_>, request: &Request<'_>, has: &mut dyn FnMut(&Spec) -> bool) {
    out.array(request.len() - 2);
    for name in request.args_from(2) {
        match lookup_full_name(name).filter(|spec| has(spec)) {
            Some(spec) => entry(out, spec, has),
            None => out.null(),
        }
    }
}

/// COMMAND LIST, with or without a filter of the client's.
fn list(out: &mut Encoder<'_>, request: &Request<'_>, has: &mut dyn FnMut(&Spec) -> bool) {
    let word = |index: usize, text: &[u8]| {
        request.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(text))
    };
    let names: Vec<&str> = match request.len() {
        2 => all().iter().filter(|spec| has(spec)).map(|spec| spec.name).collect(),
        5 if word(2, b"filterby") => {
            let wanted = request.arg(4);
            let mut keep: Box<dyn FnMut(&Spec) -> bool> = if word(3, b"module") {
                // Nothing in the table comes from a module.
                Box::new(|_| false)
            } else if word(3, b"aclcat") {
                match Categories::named(wanted) {
                    Some(category) => Box::new(move |spec| spec.categories().contains(category)),
                    None => Box::new(|_| false),
                }
            } else if word(3, b"pattern") {
                Box::new(|spec| glob_match(wanted, spec.name.as_bytes(), Case::Ignored))
            } else {
                return out.error("ERR syntax error");
            };
            all().iter().filter(|spec| has(spec) && keep(spec)).map(|spec| spec.name).collect()
        }
        _ => return out.error("ERR syntax error"),
    };
    out.array(names.len());
    for name in names {
        out.bulk(name);
    }
}

/// COMMAND GETKEYS and COMMAND GETKEYSANDFLAGS.
fn get_keys(
    out: &mut Encoder<'_>,
    request: &Request<'_>,
    with_flags: bool,
    has: &mut dyn FnMut(&Spec) -> bool,
) {
    // The command asked about is this request without its first two words.
    let spans: &[Span] = &request.spans()[2..];
    let asked = Request::new(request.frame(), spans);
    let Some(spec) = resolve(&asked).filter(|spec| has(spec)) else {
        return out.error("ERR Invalid command specified");
    };
    if spec.keys.iter().all(|key| key.flags.contains(KeyFlags::NOT_KEY)) {
        return out.error("ERR The command has no key arguments");
    }
    if !spec.arity.accepts(asked.len()) {
        return out.error("ERR Invalid number of arguments specified for command");
    }
    let Ok(keys) = keys(spec, &asked) else {
        return out.error("ERR Invalid arguments specified for command");
    };
    let keys = keys.filter(|key| !key.flags.contains(KeyFlags::NOT_KEY));
    let found = keys.clone().count();
    if found == 0 && !spec.flags.contains(Flags::NO_MANDATORY_KEYS) {
        return out.error("ERR Invalid arguments specified for command");
    }
    out.array(found);
    for key in keys {
        if with_flags {
            out.array(2);
            out.bulk(asked.arg(key.index));
            statuses(out, exact_flags(spec, &asked, key.flags).names());
        } else {
            out.bulk(asked.arg(key.index));
        }
    }
}

/// The command of a request whose arity may be wrong.
fn resolve(request: &Request<'_>) -> Option<&'static Spec> {
    let spec = lookup(request.name())?;
    match request.get(1) {
        Some(name) if spec.is_container() => lookup_subcommand(spec, name),
        _ => Some(spec),
    }
}

/// HELP of the container that `spec` is a subcommand of, made from the table.
pub fn help(out: &mut Encoder<'_>, spec: &Spec, has: &mut dyn FnMut(&Spec) -> bool) {
    let container =
        lookup(spec.container_name().as_bytes()).expect("its container is in the table");
    let mut lines = vec![format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.name.to_ascii_uppercase()
    )];
    for sub in container.subcommands().iter().filter(|sub| has(sub)) {
        let mut line = sub.subcommand_name().unwrap_or_default().to_ascii_uppercase();
        for argument in arguments(sub) {
            line.push(' ');
            line.push_str(&argument.to_string());
        }
        lines.push(line);
        lines.push(format!("    {}", sub.summary));
    }
    out.array(lines.len());
    for line in lines {
        out.simple(&line);
    }
}

/// The arguments of a command as a tree.
pub fn arguments(spec: &Spec) -> Vec<Argument> {
    parse(spec.syntax).expect("a test reads every syntax of the table")
}

/// One entry of COMMAND INFO.
fn entry(out: &mut Encoder<'_>, spec: &Spec, has: &mut dyn FnMut(&Spec) -> bool) {
    let (first, last, step) = legacy_range(spec.keys);
    out.array(10);
    out.bulk(spec.name);
    out.integer(spec.arity.number());
    statuses(out, spec.flags.names());
    out.integer(first);
    out.integer(last);
    out.integer(step);
    statuses(out, spec.categories().names());
    let tips: Vec<&str> = spec.tips().collect();
    out.set(tips.len());
    for tip in tips {
        out.bulk(tip);
    }
    out.set(spec.keys.len());
    for key in spec.keys {
        key_spec(out, key);
    }
    let subcommands: Vec<&Spec> = spec.subcommands().iter().filter(|sub| has(sub)).collect();
    out.set(subcommands.len());
    for sub in subcommands {
        entry(out, sub, has);
    }
}

/// A set of status replies.
fn statuses(out: &mut Encoder<'_>, names: impl Iterator<Item = &'static str> + Clone) {
    out.set(names.clone().count());
    for name in names {
        out.simple(name);
    }
}

fn key_spec(out: &mut Encoder<'_>, spec: &KeySpec) {
    out.map(3 + usize::from(!spec.notes.is_empty()));
    if !spec.notes.is_empty() {
        out.bulk("notes");
        out.bulk(spec.notes);
    }
    out.bulk("flags");
    statuses(out, spec.flags.names());
    out.bulk("begin_search");
    match spec.begin {
        BeginSearch::Index(index) => {
            search(out, "index", 1);
            field(out, "index", index as i64);
        }
        BeginSearch::Keyword { word, start_from } => {
            search(out, "keyword", 2);
            out.bulk("keyword");
            out.bulk(word);
            field(out, "startfrom", i64::from(start_from));
        }
        BeginSearch::Unknown => search(out, "unknown", 0),
    }
    out.bulk("find_keys");
    match spec.find {
        FindKeys::Range { last, step, limit } => {
            search(out, "range", 3);
            field(out, "lastkey", i64::from(last));
            field(out, "keystep", step as i64);
            field(out, "limit", limit as i64);
        }
        FindKeys::KeyNum { count_at, first, step } => {
            search(out, "keynum", 3);
            field(out, "keynumidx", count_at as i64);
            field(out, "firstkey", first as i64);
            field(out, "keystep", step as i64);
        }
        FindKeys::Unknown => search(out, "unknown", 0),
    }
}

/// The head of a search: its type, and the head of its `fields` fields.
fn search(out: &mut Encoder<'_>, kind: &str, fields: usize) {
    out.map(2);
    out.bulk("type");
    out.bulk(kind);
    out.bulk("spec");
    out.map(fields);
}

fn field(out: &mut Encoder<'_>, name: &str, value: i64) {
    out.bulk(name);
    out.integer(value);
}

/// First key, last key and step, as COMMAND said it before there were key specs: the one range,
/// or the ranges that follow each other without a gap; what fits neither is left out.
pub fn legacy_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let range = |spec: &KeySpec| match (spec.begin, spec.find) {
        (BeginSearch::Index(index), FindKeys::Range { last, step, .. }) => {
            let (index, last) = (index as i64, i64::from(last));
            Some((index, if last >= 0 { index + last } else { last }, step as i64))
        }
        _ => None,
    };
    if let [only] = specs {
        return range(only).unwrap_or((0, 0, 0));
    }
    let (mut first, mut last) = (0, 0);
    for (begin, end, step) in specs.iter().filter_map(range) {
        if step != 1 || (last != 0 && last != begin - 1) {
            continue;
        }
        if first == 0 {
            first = begin;
        }
        last = end;
    }
    if first == 0 { (0, 0, 0) } else { (first, last, 1) }
}

/// COMMAND DOCS: a map of the named commands, or of all; names that are none are left out.
fn docs(out: &mut Encoder<'_>, request: &Request<'_>, has: &mut dyn FnMut(&Spec) -> bool) {
    let shown: Vec<&Spec> = if request.len() == 2 {
        commands().filter(|spec| has(spec)).collect()
    } else {
        request.args_from(2).filter_map(lookup_full_name).filter(|spec| has(spec)).collect()
    };
    out.map(shown.len());
    for spec in shown {
        out.bulk(spec.name);
        doc(out, spec, has);
    }
}

fn doc(out: &mut Encoder<'_>, spec: &Spec, has: &mut dyn FnMut(&Spec) -> bool) {
    let arguments = arguments(spec);
    let subcommands: Vec<&Spec> = spec.subcommands().iter().filter(|sub| has(sub)).collect();
    let is_internal = spec.flags.contains(Flags::INTERNAL);
    let doc_flags: Vec<&str> = [(spec.deprecated.is_some(), "deprecated"), (is_internal, "syscmd")]
        .into_iter()
        .filter_map(|(is_so, name)| is_so.then_some(name))
        .collect();
    out.map(
        3 + usize::from(!spec.complexity.is_empty())
            + usize::from(!doc_flags.is_empty())
            + 2 * usize::from(spec.deprecated.is_some())
            + usize::from(!spec.history.is_empty())
            + usize::from(!arguments.is_empty())
            + usize::from(!subcommands.is_empty()),
    );
    text_field(out, "summary", spec.summary);
    text_field(out, "since", spec.since);
    text_field(out, "group", spec.group.name());
    if !spec.complexity.is_empty() {
        text_field(out, "complexity", spec.complexity);
    }
    if !doc_flags.is_empty() {
        out.bulk("doc_flags");
        out.set(doc_flags.len());
        for flag in doc_flags {
            out.simple(flag);
        }
    }
    if let Some(deprecated) = spec.deprecated {
        text_field(out, "deprecated_since", deprecated.since);
        text_field(out, "replaced_by", deprecated.replaced_by);
    }
    if !spec.history.is_empty() {
        out.bulk("history");
        out.set(spec.history.len());
        for (version, change) in spec.history {
            out.array(2);
            out.bulk(version);
            out.bulk(change);
        }
    }
    if !arguments.is_empty() {
        out.bulk("arguments");
        argument_list(out, &arguments);
    }
    if !subcommands.is_empty() {
        out.bulk("subcommands");
        out.map(subcommands.len());
        for sub in subcommands {
            out.bulk(sub.name);
            doc(out, sub, has);
        }
    }
}

fn text_field(out: &mut Encoder<'_>, name: &str, text: &str) {
    out.bulk(name);
    out.bulk(text);
}

fn argument_list(out: &mut Encoder<'_>, arguments: &[Argument]) {
    out.array(arguments.len());
    for argument in arguments {
        let flags: Vec<&str> = [
            (argument.is_optional, "optional"),
            (argument.is_multiple, "multiple"),
            (argument.is_token_multiple, "multiple_token"),
        ]
        .into_iter()
        .filter_map(|(is_so, name)| is_so.then_some(name))
        .collect();
        let is_group = matches!(argument.kind, Kind::OneOf | Kind::Block);
        out.map(
            2 + usize::from(argument.display.is_some())
                + usize::from(argument.key_spec.is_some())
                + usize::from(argument.token.is_some())
                + usize::from(argument.since.is_some())
                + usize::from(argument.deprecated_since.is_some())
                + usize::from(!flags.is_empty())
                + usize::from(is_group),
        );
        text_field(out, "name", &argument.name);
        text_field(out, "type", argument.kind.name());
        if let Some(display) = &argument.display {
            text_field(out, "display_text", display);
        }
        if let Some(index) = argument.key_spec {
            field(out, "key_spec_index", index as i64);
        }
        for (name, text) in [
            ("token", argument.token),
            ("since", argument.since),
            ("deprecated_since", argument.deprecated_since),
        ] {
            if let Some(text) = text {
                text_field(out, name, text);
            }
        }
        if !flags.is_empty() {
            out.bulk("flags");
            out.set(flags.len());
            for flag in flags {
                out.simple(flag);
            }
        }
        if is_group {
            out.bulk("arguments");
            argument_list(out, &argument.arguments);
        }
    }
}
