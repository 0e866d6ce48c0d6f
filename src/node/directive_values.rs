//! What a parameter may hold, and what a text means for it: in Redis's words where it is refused.

use crate::bus::IpRange;
use crate::cluster::is_human_name;
use crate::resp::parse_i64;
use crate::value::parse_double;

#[derive(Debug)]
pub(super) enum Kind {
    Flag,
    Int(i64, i64),
    Bytes(i64),
    BytesOrPercent,
    OneOf(&'static [&'static str]),
    /// One value of those that another server knows, and why no other.
    Only(&'static str, &'static str),
    /// Any of these; the first means none of the others.
    AnyOf(&'static [&'static str]),
    Text,
    /// Any number of words.
    Words,
    /// A name of a file, which must not be a path.
    FileName,
    /// A host name that is told to other nodes, or nothing.
    HostName,
    /// What people call the node, or nothing.
    NodeName,
    /// Networks and addresses, or nothing.
    Networks,
    /// Host and port of a primary, or nothing.
    Primary,
    SaveRules,
    OutputLimits,
    Percentiles,
    KeyspaceEvents,
}

/// What a parameter holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    Flag(bool),
    Int(i64),
    Text(String),
}

impl Kind {
    /// What `text` means for the parameter `name`, which is of this kind and holds `old`.
    pub(super) fn parse(&self, name: &str, text: &str, old: &Value) -> Result<Value, String> {
        match *self {
            Kind::Flag => match text {
                _ if text.eq_ignore_ascii_case("yes") => Ok(Value::Flag(true)),
                _ if text.eq_ignore_ascii_case("no") => Ok(Value::Flag(false)),
                _ => Err("argument must be 'yes' or 'no'".to_owned()),
            },
            Kind::Int(min, max) => {
                let number = parse_i64(text.as_bytes())
                    .ok_or_else(|| "argument couldn't be parsed into an integer".to_owned())?;
                within(number, min, max)
            }
            Kind::Bytes(min) => {
                let bytes = parse_memory(text)
                    .ok_or_else(|| "argument must be a memory value".to_owned())?;
                within(bytes, min, i64::MAX)
            }
            Kind::BytesOrPercent => bytes_or_percent(text),
            Kind::OneOf(words) => one_of(words, text).map(|word| Value::Text(word.to_owned())),
            Kind::Only(value, _) if value.eq_ignore_ascii_case(text) => {
                Ok(Value::Text(value.to_owned()))
            }
            Kind::Only(value, why) => Err(format!("only '{value}' is supported: {why}")),
            Kind::AnyOf(words) => any_of(words, text),
            Kind::Text | Kind::Words => Ok(Value::Text(text.to_owned())),
            Kind::FileName if text.contains('/') => {
                Err(format!("{name} can't be a path, just a filename"))
            }
            Kind::FileName => Ok(Value::Text(text.to_owned())),
            Kind::HostName => host_name(text),
            Kind::NodeName => node_name(text),
            Kind::Networks => networks(text),
            Kind::Primary => primary(text),
            Kind::SaveRules => save_rules(text),
            Kind::OutputLimits => output_limits(text, old),
            Kind::Percentiles => percentiles(name, text),
            Kind::KeyspaceEvents => keyspace_events(text),
        }
    }

    /// Whether it takes several words in a file.
    pub(super) fn takes_words(&self) -> bool {
        matches!(
            self,
            Self::Words
                | Self::AnyOf(_)
                | Self::Networks
                | Self::Primary
                | Self::SaveRules
                | Self::OutputLimits
                | Self::Percentiles
        )
    }
}

fn one_of(words: &[&'static str], text: &str) -> Result<&'static str, String> {
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied();
    found.ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", ")))
}

/// Words in their own order, each once.
fn any_of(words: &[&'static str], text: &str) -> Result<Value, String> {
    let given = text.split(' ').map(|word| one_of(words, word)).collect::<Result<Vec<_>, _>>()?;
    if given.contains(&"save") && given.contains(&"nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
    }
    let kept = words[1..].iter().copied().filter(|word| given.contains(word));
    let kept = kept.collect::<Vec<_>>().join(" ");
    Ok(Value::Text(if kept.is_empty() { words[0].to_owned() } else { kept }))
}

/// The rules and the words are Redis's.
fn host_name(text: &str) -> Result<Value, String> {
    if text.len() >= 256 {
        return Err("Hostnames must be less than 256 characters".to_owned());
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
        return Err(
            "Hostnames may only contain alphanumeric characters, hyphens or dots".to_owned()
        );
    }
    Ok(Value::Text(text.to_owned()))
}

/// The rules and the words are Valkey's (measured with 9.1.2).
fn node_name(text: &str) -> Result<Value, String> {
    let valid = text.is_empty() || is_human_name(text);
    valid
        .then(|| Value::Text(text.to_owned()))
        .ok_or_else(|| "Announced human node name contained invalid character".to_owned())
}

fn networks(text: &str) -> Result<Value, String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    for word in &words {
        word.parse::<IpRange>().map_err(|error| error.to_string())?;
    }
    Ok(Value::Text(words.join(" ")))
}

fn primary(text: &str) -> Result<Value, String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words.as_slice() {
        [] => Ok(Value::Text(String::new())),
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => {
            Ok(Value::Text(String::new()))
        }
        [host, port] => match port.parse::<u16>() {
            Ok(port) => Ok(Value::Text(format!("{host} {port}"))),
            Err(_) => Err("Invalid master port".to_owned()),
        },
        _ => Err(WRONG_COUNT.to_owned()),
    }
}

/// A directive has too many words, or too few.
pub(super) const WRONG_COUNT: &str = "wrong number of arguments";

fn within(number: i64, min: i64, max: i64) -> Result<Value, String> {
    if (min..=max).contains(&number) {
        Ok(Value::Int(number))
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

/// Bytes with an optional unit: `k m g` count in thousands, `kb mb gb` in 1024s.
fn parse_memory(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: i64 = match &text[..digits] {
        // Redis reads a unit alone, and nothing at all, as none of it.
        "" => 0,
        // What does not fit is out of every range.
        digits => digits.parse().unwrap_or(i64::MIN),
    };
    let unit: i64 = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1000 * 1000,
        "mb" => 1 << 20,
        "g" => 1000 * 1000 * 1000,
        "gb" => 1 << 30,
        _ => return None,
    };
    Some(number.checked_mul(unit).unwrap_or(i64::MIN))
}

fn bytes_or_percent(text: &str) -> Result<Value, String> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: u64 =
            percent.parse().map_err(|_| "argument must be a memory or percent value".to_owned())?;
        if percent > 100 {
            return Err("percentage argument must be less or equal to 100".to_owned());
        }
        return Ok(Value::Text(format!("{percent}%")));
    }
    let bytes = parse_memory(text)
        .ok_or_else(|| "argument must be a memory or percent value".to_owned())?;
    within(bytes, 0, i64::MAX)?;
    Ok(Value::Text(bytes.to_string()))
}

/// Pairs of seconds and changes.
fn save_rules(text: &str) -> Result<Value, String> {
    let invalid = || "Invalid save parameters".to_owned();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    // Blanks alone are no rules; that there are none is said by saying nothing.
    if !words.len().is_multiple_of(2) || words.is_empty() && !text.is_empty() {
        return Err(invalid());
    }
    for pair in words.chunks(2) {
        let [seconds, changes] = [pair[0], pair[1]].map(|n| parse_i64(n.as_bytes()));
        if seconds.is_none_or(|n| n < 1) || changes.is_none_or(|n| n < 0) {
            return Err(invalid());
        }
    }
    Ok(Value::Text(words.join(" ")))
}

/// The classes of clients that have output limits, as CONFIG GET writes them.
const CLIENT_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// Groups of class, hard limit, soft limit and seconds; classes not named keep theirs.
fn output_limits(text: &str, old: &Value) -> Result<Value, String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let Value::Text(old) = old else { unreachable!("limits are kept as text") };
    let mut limits: Vec<String> = old.split(' ').map(str::to_owned).collect();
    for group in words.chunks(4) {
        let class = match group[0].to_ascii_lowercase().as_str() {
            "replica" => "slave".to_owned(),
            other => other.to_owned(),
        };
        let place = CLIENT_CLASSES.iter().position(|known| *known == class).ok_or_else(|| {
            "Invalid client class specified in buffer limit configuration.".to_owned()
        })?;
        let numbers = [
            parse_memory(group[1]).filter(|bytes| *bytes >= 0),
            parse_memory(group[2]).filter(|bytes| *bytes >= 0),
            parse_i64(group[3].as_bytes()).filter(|seconds| *seconds >= 0),
        ];
        for (i, number) in numbers.into_iter().enumerate() {
            let number = number.ok_or_else(|| {
                "Error in hard, soft or soft_seconds setting in buffer limit configuration."
                    .to_owned()
            })?;
            limits[place * 4 + 1 + i] = number.to_string();
        }
    }
    Ok(Value::Text(limits.join(" ")))
}

/// Numbers with a single space between them. They are written back as they are shown beside each
/// figure: with six places at most.
fn percentiles(name: &str, text: &str) -> Result<Value, String> {
    let mut shown = Vec::new();
    for word in text.split(' ').filter(|_| !text.is_empty()) {
        let number = parse_double(word.as_bytes());
        let number = number.ok_or_else(|| format!("Invalid {name} parameters"))?;
        if !(0.0..=100.0).contains(&number) {
            return Err(format!("{name} parameters should sit between [0.0,100.0]"));
        }
        let digits = format!("{number:.6}");
        shown.push(digits.trim_end_matches('0').trim_end_matches('.').to_owned());
    }
    Ok(Value::Text(shown.join(" ")))
}

/// Letters, in the order in which Redis writes them back; `A` stands for the classes it covers.
fn keyspace_events(text: &str) -> Result<Value, String> {
    const ALL: &str = "g$lshzxetd";
    const ORDER: &str = "g$lshzxetdKEmn";
    let mut set: Vec<char> = Vec::new();
    for letter in text.chars() {
        match letter {
            'A' => set.extend(ALL.chars()),
            _ if ORDER.contains(letter) => set.push(letter),
            _ => {
                return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned());
            }
        }
    }
    let all = ALL.chars().all(|letter| set.contains(&letter));
    let classes = ORDER.chars().filter(|c| set.contains(c) && !(all && ALL.contains(*c)));
    let text = if all { "A" } else { "" }.to_owned();
    Ok(Value::Text(text + &classes.collect::<String>()))
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}
