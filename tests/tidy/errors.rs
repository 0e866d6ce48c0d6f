//! `docs/errors.md` against the code: each text of the page is in the code, and each error that the proxy
//! writes is on the page.

use super::{files, read, rust_files};
use std::collections::BTreeSet;

/// The words that an error of the proxy's begins with.
const CODES: [&str; 15] = [
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "ERR",
    "EXECABORT",
    "INDOUBT",
    "LOADING",
    "MASTERDOWN",
    "NOAUTH",
    "NOPROTO",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
    "WRONGPASS",
    "WRONGTYPE",
];
/// Texts that are there for the code's own sake, and reach nobody.
const UNSEEN: [&str; 2] = ["ERR a blocking command", "ERR no reply"];
/// What differs from case to case.
const ANYTHING: char = '…';

/// The texts between quotes of a file, up to its tests; what is put into them is [`ANYTHING`].
fn texts(code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let mut texts = Vec::new();
    let mut rest = code.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '/' if rest.peek() == Some(&'/') => drop(rest.by_ref().find(|char| *char == '\n')),
            // A character, and no lifetime.
            '\'' => {
                let first = rest.clone().next();
                let is_char = first == Some('\\') || rest.clone().nth(1) == Some('\'');
                if is_char {
                    if rest.next() == Some('\\') {
                        rest.next();
                    }
                    rest.find(|char| *char == '\'');
                }
            }
            '"' => {
                let mut text = String::new();
                loop {
                    match rest.next().expect("a text has its end") {
                        '"' => break,
                        '\\' => match rest.next() {
                            Some('\n') => {
                                while rest.next_if(|char| char.is_whitespace()).is_some() {}
                            }
                            Some(escaped) => text.push(escaped),
                            None => {}
                        },
                        '{' => {
                            rest.find(|char| *char == '}');
                            text.push(ANYTHING);
                        }
                        char => text.push(char),
                    }
                }
                texts.push(text);
            }
            _ => {}
        }
    }
    texts
}

/// Whether a text of the code begins as the page says.
fn begins(text: &str, written: &str) -> bool {
    let mut rest = text;
    written.split(ANYTHING).enumerate().all(|(index, part)| {
        let place = if index == 0 { rest.starts_with(part).then_some(0) } else { rest.find(part) };
        place.is_some_and(|place| {
            rest = &rest[place + part.len()..];
            true
        })
    })
}

fn in_code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn the_page_of_errors_has_what_the_proxy_writes_and_nothing_else() {
    let page = read("docs/errors.md");
    let rows = page.lines().filter_map(|line| match line.strip_prefix("| ") {
        Some(row) => row.split(" | ").next(),
        None => line.strip_prefix("- "),
    });
    let written: BTreeSet<&str> = rows.flat_map(in_code).collect();
    let mut sources = rust_files("src/proxy");
    sources.retain(|path| !path.components().any(|part| part.as_os_str() == "tests"));
    sources.retain(|path| path.file_stem().is_some_and(|name| name != "tests"));
    sources.extend(files("src/command").into_iter().filter(|path| path.ends_with("lookup.rs")));
    let code: Vec<String> = sources.iter().map(|path| read(&path.to_string_lossy())).collect();
    let protocol = texts(&read("src/resp/error.rs")).into_iter().map(|text| format!("ERR {text}"));
    let errors: BTreeSet<String> = code
        .iter()
        .flat_map(|code| texts(code))
        .chain(protocol.filter(|text| text.contains("Protocol error")))
        .filter(|text| {
            let (code, said) = text.split_once(' ').unwrap_or((text, ""));
            CODES.contains(&code) && said.chars().any(char::is_alphanumeric)
        })
        .filter(|text| !UNSEEN.contains(&text.as_str()))
        .collect();
    assert!(errors.len() > 80, "only {} errors were found", errors.len());
    let missing: Vec<&String> =
        errors.iter().filter(|error| !written.iter().any(|it| begins(error, it))).collect();
    assert!(missing.is_empty(), "docs/errors.md lacks {missing:#?}");
    let everything: Vec<String> = code.iter().flat_map(|code| texts(code)).collect();
    let is_said = |it: &str| {
        errors.iter().any(|error| begins(error, it))
            || everything.iter().any(|text| text.contains("waited") && it.starts_with("waited "))
    };
    let gone: Vec<_> = written.iter().filter(|it| !is_said(it)).collect();
    assert!(gone.is_empty(), "docs/errors.md has what the proxy does not write: {gone:#?}");
}

#[test]
fn texts_are_found_between_comments_and_characters() {
    let code =
        "let a = '\"'; // \"no\"\nf(b'\\'', \"ERR {a} \\\n    of 'b'\", &'a str, \"x\\\"\");";
    assert_eq!(texts(code), ["ERR … of 'b'", "x\""]);
    for (text, written, expected) in [
        ("ERR … is not available", "ERR … is not", true),
        ("ERR … is not available", "ERR is", false),
        ("INDOUBT … did not answer within …: x", "INDOUBT … did not answer within …", true),
    ] {
        assert_eq!(begins(text, written), expected, "{text}");
    }
}
