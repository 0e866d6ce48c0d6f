//! The parameters of redis.conf and `CONFIG`: one table of what each may hold, and their values.
//!
//! A value is checked in one place, whether it comes from a file, the command line or
//! `CONFIG SET`, and refused in Redis's words. What the node acts on is read from here into
//! [`super::settings::Settings`] after each change, so that no hot path looks anything up by name.

use super::directive_table::TABLE;
use super::directive_values::{Kind, Value, WRONG_COUNT};

/// One parameter: what it may hold.
#[derive(Debug)]
pub(super) struct Directive {
    /// Its name.
    pub(super) name: &'static str,
    /// Its older name, or nothing.
    pub(super) alias: &'static str,
    kind: Kind,
    default: &'static str,
    /// Whether it can only be given at the start.
    pub(super) at_start: bool,
    /// Whether CONFIG GET shows it only to those who ask for it by its name.
    pub(super) is_hidden: bool,
}

impl Directive {
    const fn new(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self { name, alias: "", kind, default, at_start: false, is_hidden: false }
    }

    pub(super) const fn flag(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::Flag, default)
    }

    pub(super) const fn int(name: &'static str, min: i64, max: i64, default: &'static str) -> Self {
        Self::new(name, Kind::Int(min, max), default)
    }

    pub(super) const fn bytes(name: &'static str, min: i64, default: &'static str) -> Self {
        Self::new(name, Kind::Bytes(min), default)
    }

    pub(super) const fn bytes_or_percent(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::BytesOrPercent, default)
    }

    pub(super) const fn one_of(
        name: &'static str,
        words: &'static [&'static str],
        default: &'static str,
    ) -> Self {
        Self::new(name, Kind::OneOf(words), default)
    }

    /// A directive of another server of which this one has a single value, and why no other.
    pub(super) const fn only(name: &'static str, value: &'static str, why: &'static str) -> Self {
        Self::new(name, Kind::Only(value, why), value)
    }

    /// The first of the words is the default: none of the others.
    pub(super) const fn any_of(name: &'static str, words: &'static [&'static str]) -> Self {
        Self::new(name, Kind::AnyOf(words), words[0])
    }

    pub(super) const fn file_name(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::FileName, default)
    }

    pub(super) const fn host_name(name: &'static str) -> Self {
        Self::new(name, Kind::HostName, "")
    }

    pub(super) const fn node_name(name: &'static str) -> Self {
        Self::new(name, Kind::NodeName, "")
    }

    pub(super) const fn networks(name: &'static str) -> Self {
        Self::new(name, Kind::Networks, "")
    }

    pub(super) const fn primary(name: &'static str) -> Self {
        Self::new(name, Kind::Primary, "")
    }

    pub(super) const fn text(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::Text, default)
    }

    pub(super) const fn words(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::Words, default)
    }

    pub(super) const fn save_rules(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::SaveRules, default)
    }

    pub(super) const fn output_limits(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::OutputLimits, default)
    }

    pub(super) const fn percentiles(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::Percentiles, default)
    }

    pub(super) const fn keyspace_events(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::KeyspaceEvents, default)
    }

    /// With an older name by which it is known as well.
    pub(super) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = alias;
        self
    }

    /// Can be given at the start only.
    pub(super) const fn at_start(mut self) -> Self {
        self.at_start = true;
        self
    }

    /// Shown only to those who ask for it by its name.
    pub(super) const fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }

    /// Whether it cannot be changed while data is loaded.
    pub(super) fn waits_for_load(&self) -> bool {
        matches!(self.name, "appendonly" | "dir" | "repl-diskless-load")
    }

    /// Whether it can be changed only where `enable-protected-configs` allows it.
    pub(super) fn is_protected(&self) -> bool {
        matches!(self.name, "dbfilename" | "dir")
    }

    fn parse(&self, text: &str, old: &Value) -> Result<Value, String> {
        self.kind.parse(self.name, text, old)
    }

    /// Whether it takes several words in a file.
    pub(super) fn takes_words(&self) -> bool {
        self.kind.takes_words()
    }
}

/// Why a change was refused: the parameter, where one is to blame, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such parameter.
    Unknown(String),
    /// A value, or a moment, that it does not take.
    Invalid {
        /// The parameter as it was written.
        name: String,
        /// Why, in Redis's words.
        reason: String,
    },
}

/// The values of all parameters.
#[derive(Clone)]
pub(super) struct Directives {
    values: Vec<Value>,
    /// Rules of saving were loaded.
    save_given: bool,
}

impl Default for Directives {
    fn default() -> Self {
        let parse = |directive: &Directive| {
            let old = Value::Text(directive.default.to_owned());
            directive.parse(directive.default, &old).expect("defaults are valid")
        };
        Self { values: TABLE.iter().map(parse).collect(), save_given: false }
    }
}

/// Values may be passwords.
impl std::fmt::Debug for Directives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directives").finish_non_exhaustive()
    }
}

/// Where a parameter is in the table, by either of its names.
fn find(name: &str) -> Option<usize> {
    let is = |directive: &Directive| {
        directive.name.eq_ignore_ascii_case(name)
            || (!directive.alias.is_empty() && directive.alias.eq_ignore_ascii_case(name))
    };
    TABLE.iter().position(is)
}

/// The parameter of that name, if there is one.
pub(super) fn directive(name: &str) -> Option<&'static Directive> {
    find(name).map(|place| &TABLE[place])
}

impl Directives {
    /// Changes several parameters, or none of them if one is refused: what `CONFIG SET` does.
    /// `may_change` is asked whether a parameter can change while the node runs.
    pub(super) fn set_all<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Refusal> {
        let invalid = |name: &str, reason: &str| {
            Err(Refusal::Invalid { name: name.to_owned(), reason: reason.to_owned() })
        };
        let mut changes: Vec<(usize, &str, &str)> = Vec::new();
        for (name, text) in pairs {
            let Some(place) = find(name) else { return Err(Refusal::Unknown(name.to_owned())) };
            if TABLE[place].at_start {
                return invalid(name, "can't set immutable config");
            }
            if changes.iter().any(|(taken, ..)| *taken == place) {
                return invalid(name, "duplicate parameter");
            }
            changes.push((place, name, text));
        }
        let mut values = self.values.clone();
        for (place, name, text) in changes {
            match TABLE[place].parse(text, &values[place]) {
                Ok(value) => values[place] = value,
                // Redis names it here as its own table does.
                Err(reason) => return invalid(&name.to_ascii_lowercase(), &reason),
            }
        }
        self.values = values;
        Ok(())
    }

    /// Sets a parameter as a file or the command line does, where everything may be set.
    ///
    /// # Errors
    /// The reason, in Redis's words.
    pub(super) fn load(&mut self, name: &str, words: &[&str]) -> Result<(), String> {
        const BAD: &str = "Bad directive or wrong number of arguments";
        let place = find(name).ok_or_else(|| BAD.to_owned())?;
        let directive = &TABLE[place];
        let saves = matches!(directive.kind, Kind::SaveRules);
        // `save` alone is what it is with an empty word: no rules. What an empty choice is, is not said.
        let may_be_alone = saves || matches!(directive.kind, Kind::AnyOf(_));
        if !directive.takes_words() && words.len() != 1 || words.is_empty() && !may_be_alone {
            return Err(WRONG_COUNT.to_owned());
        }
        let mut text = words.join(" ");
        if saves && !text.is_empty() {
            // The first line takes the default away, each adds a rule; an empty one takes all away.
            if let Value::Text(old) = &self.values[place]
                && !old.is_empty()
                && self.save_given
            {
                text = format!("{old} {text}");
            }
        }
        self.values[place] = directive.parse(&text, &self.values[place])?;
        self.save_given |= matches!(directive.kind, Kind::SaveRules);
        Ok(())
    }

    /// Names and values of the parameters for whose names `wanted` says so, older names included.
    pub(super) fn matching(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (&'static str, String)> {
        TABLE.iter().zip(&self.values).flat_map(move |(directive, value)| {
            [directive.name, directive.alias]
                .into_iter()
                .filter(|name| !name.is_empty() && wanted(name))
                .map(|name| (name, value.to_string()))
                .collect::<Vec<_>>()
        })
    }

    /// All parameters, as lines of a file: name and value.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static Directive, String)> {
        TABLE.iter().zip(self.values.iter().map(Value::to_string))
    }

    /// What differs from the defaults, as lines of a file: name and value.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&'static Directive, String)> {
        let defaults = Self::default();
        let differ = |i: &usize| self.values[*i] != defaults.values[*i];
        let places: Vec<usize> = (0..TABLE.len()).filter(differ).collect();
        places.into_iter().map(|i| (&TABLE[i], self.values[i].to_string()))
    }

    /// A yes-or-no parameter.
    pub(super) fn is(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Flag(flag) => *flag,
            Value::Int(_) | Value::Text(_) => panic!("{name} is not a flag"),
        }
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(number) => *number,
            Value::Flag(_) | Value::Text(_) => panic!("{name} is not a number"),
        }
    }

    /// A number that its range keeps from being negative.
    pub(super) fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(text) => text,
            Value::Flag(_) | Value::Int(_) => panic!("{name} is not a text"),
        }
    }

    fn value(&self, name: &str) -> &Value {
        let place = find(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        &self.values[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(directives: &mut Directives, name: &str, text: &str) -> Result<(), String> {
        directives.set_all([(name, text)].into_iter()).map_err(|refusal| match refusal {
            Refusal::Unknown(name) => format!("unknown {name}"),
            Refusal::Invalid { reason, .. } => reason,
        })
    }

    #[test]
    fn the_table_is_sorted_and_its_names_are_unique() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        for directive in TABLE {
            assert!(directive.alias.is_empty() || find(directive.alias) == find(directive.name));
        }
    }

    /// The reasons are those of Redis 7.0.15 (measured).
    #[test]
    fn a_value_is_refused_in_redis_words() {
        let mut directives = Directives::default();
        for (name, text, reason) in [
            ("activedefrag", "zzz", "argument must be 'yes' or 'no'"),
            ("timeout", "zzz", "argument couldn't be parsed into an integer"),
            ("timeout", "-1", "argument must be between 0 and 2147483647 inclusive"),
            ("maxmemory", "10x", "argument must be a memory value"),
            (
                "client-query-buffer-limit",
                "1",
                "argument must be between 1048576 and 9223372036854775807 inclusive",
            ),
            (
                "appendfsync",
                "zzz",
                "argument(s) must be one of the following: everysec, always, no",
            ),
            (
                "cluster-slot-stats-enabled",
                "yes",
                "only 'no' is supported: the use of single slots is not counted",
            ),
            ("save", "1 2 3", "Invalid save parameters"),
            ("save", "1 -2", "Invalid save parameters"),
            (
                "client-output-buffer-limit",
                "normal 1 2",
                "Wrong number of arguments in buffer limit configuration.",
            ),
            (
                "client-output-buffer-limit",
                "foo 1 2 3",
                "Invalid client class specified in buffer limit configuration.",
            ),
            (
                "latency-tracking-info-percentiles",
                "50 101",
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
            (
                "notify-keyspace-events",
                "?",
                "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            ),
            ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
            ("daemonize", "yes", "can't set immutable config"),
            ("foo", "1", "unknown foo"),
        ] {
            assert_eq!(set(&mut directives, name, text), Err(reason.to_owned()), "{name} {text}");
        }
    }

    #[test]
    fn values_are_kept_in_one_spelling() {
        let mut directives = Directives::default();
        for (name, text, kept) in [
            ("maxmemory", "10Gb", "10737418240"),
            ("maxmemory", "2k", "2000"),
            ("notify-keyspace-events", "KEA", "AKE"),
            ("notify-keyspace-events", "xKg$", "g$xK"),
            (
                "client-output-buffer-limit",
                "replica 1mb 2mb 3",
                "normal 0 0 0 slave 1048576 2097152 3 pubsub 33554432 8388608 60",
            ),
            ("slave-read-only", "NO", "no"),
            ("save", "  60   1 ", "60 1"),
        ] {
            set(&mut directives, name, text).expect(name);
            let kept_now = directives.matching(|n| n == name).next().expect(name);
            assert_eq!(kept_now, (directive_name(name), kept.to_owned()));
        }
    }

    fn directive_name(name: &str) -> &'static str {
        let directive = directive(name).expect("known");
        if directive.alias == name { directive.alias } else { directive.name }
    }

    #[test]
    fn every_value_can_be_set_to_what_it_is() {
        let mut directives = Directives::default();
        let all: Vec<_> = directives.matching(|_| true).collect();
        for (name, value) in all {
            if !directive(name).expect("known").at_start {
                set(&mut directives, name, &value).expect(name);
            }
        }
        assert_eq!(directives.changed().count(), 0);
    }

    #[test]
    fn several_changes_are_made_together_or_not_at_all() {
        let mut directives = Directives::default();
        let pairs = [("timeout", "7"), ("maxmemory", "zzz")];
        assert!(directives.set_all(pairs.into_iter()).is_err());
        assert_eq!(directives.number("timeout"), 0);
        let twice = directives.set_all([("maxmemory", "1"), ("maxmemory", "2")].into_iter());
        let reason = "duplicate parameter".to_owned();
        assert_eq!(twice, Err(Refusal::Invalid { name: "maxmemory".to_owned(), reason }));
    }
}
