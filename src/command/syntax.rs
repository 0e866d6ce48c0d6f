//! The notation in which the table writes a command's arguments, and the tree it stands for.
//!
//! A string per command keeps the table readable; it is parsed only when COMMAND DOCS or HELP asks.
//!
//! ```text
//! name               an argument, a string        name:int, :double, :key, :pattern, :time
//! WORD  'w'          a word as it stands          WORD/name when its name is not `word`
//! WORD.name:int      an argument behind a word    also WORD.(…) and WORD.{…}
//! (name: a | b)      one of them                  {name: a b} all of them
//! then, in this order:
//!   ~text            how it is displayed, where not by its name
//!   @1 @-            its key spec, where not the first; none
//!   ? * +            optional; repeatable; repeatable with its word
//!   ^7.0.0 !7.0.0    since when; deprecated since when
//! ```

use std::borrow::Cow;
use std::fmt;

/// One argument of a command, as COMMAND DOCS describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What it is called.
    pub name: Cow<'static, str>,
    /// What it is.
    pub kind: Kind,
    /// The word before it; the word itself for [`Kind::PureToken`].
    pub token: Option<&'static str>,
    /// What to show for it; nothing for groups without a text.
    pub display: Option<Cow<'static, str>>,
    /// Which of the command's key specs finds it.
    pub key_spec: Option<usize>,
    /// Whether it may be left out.
    pub is_optional: bool,
    /// Whether it may be repeated.
    pub is_multiple: bool,
    /// Whether its word is repeated with it.
    pub is_token_multiple: bool,
    /// The version that brought it.
    pub since: Option<&'static str>,
    /// The version that advises against it.
    pub deprecated_since: Option<&'static str>,
    /// What a group consists of.
    pub arguments: Vec<Argument>,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A floating-point number.
    Double,
    /// A key.
    Key,
    /// A glob pattern.
    Pattern,
    /// A Unix time.
    UnixTime,
    /// Nothing but its word.
    PureToken,
    /// One of its arguments.
    OneOf,
    /// All of its arguments.
    Block,
}

impl Kind {
    /// As COMMAND DOCS writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// A text that is not in the notation: where, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: expected {expected}")]
pub struct SyntaxError {
    /// How many bytes were read.
    pub at: usize,
    /// What should have come.
    pub expected: &'static str,
}

/// Reads the arguments of one command.
///
/// # Errors
/// Where the text is not in the notation. The table's texts all are: a test reads them.
pub fn parse(text: &'static str) -> Result<Vec<Argument>, SyntaxError> {
    let mut parser = Parser { text, at: 0 };
    let arguments = parser.sequence()?;
    if parser.at < text.len() { parser.fail("an argument or the end") } else { Ok(arguments) }
}

struct Parser {
    text: &'static str,
    at: usize,
}

impl Parser {
    fn fail<T>(&self, expected: &'static str) -> Result<T, SyntaxError> {
        Err(SyntaxError { at: self.at, expected })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Whether `byte` comes next; takes it if so.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'static str {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    /// Arguments in a row, up to what cannot start one.
    fn sequence(&mut self) -> Result<Vec<Argument>, SyntaxError> {
        let mut arguments = Vec::new();
        loop {
            self.take_while(|byte| byte == b' ');
            match self.peek() {
                None | Some(b'}' | b')' | b'|') => return Ok(arguments),
                Some(_) => arguments.push(self.argument()?),
            }
        }
    }

    fn argument(&mut self) -> Result<Argument, SyntaxError> {
        let token = self.token()?;
        let mut argument = if token.is_some() && !self.take(b'.') {
            self.pure_token(token)?
        } else {
            self.body(token)?
        };
        self.suffixes(&mut argument)?;
        Ok(argument)
    }

    /// A word in capitals or in quotes, if one comes next.
    fn token(&mut self) -> Result<Option<&'static str>, SyntaxError> {
        if self.take(b'\'') {
            let token = self.take_while(|byte| byte != b'\'');
            return if self.take(b'\'') { Ok(Some(token)) } else { self.fail("a quote") };
        }
        if !self.peek().is_some_and(|byte| byte.is_ascii_uppercase()) {
            return Ok(None);
        }
        let word = |byte: u8| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        };
        Ok(Some(self.take_while(word)))
    }

    fn pure_token(&mut self, token: Option<&'static str>) -> Result<Argument, SyntaxError> {
        let name = if self.take(b'/') {
            Cow::Borrowed(self.name()?)
        } else {
            Cow::Owned(token.unwrap_or_default().to_ascii_lowercase())
        };
        Ok(Argument {
            display: Some(name.clone()),
            ..Argument::new(name, Kind::PureToken, token, Vec::new())
        })
    }

    /// What is not a word: a group, or a name with its type.
    fn body(&mut self, token: Option<&'static str>) -> Result<Argument, SyntaxError> {
        if self.take(b'(') {
            let name = self.group_name()?;
            let mut choices = self.sequence()?;
            while self.take(b'|') {
                choices.append(&mut self.sequence()?);
            }
            return if self.take(b')') {
                Ok(Argument::new(name.into(), Kind::OneOf, token, choices))
            } else {
                self.fail("`|` or `)`")
            };
        }
        if self.take(b'{') {
            let name = self.group_name()?;
            let parts = self.sequence()?;
            return if self.take(b'}') {
                Ok(Argument::new(name.into(), Kind::Block, token, parts))
            } else {
                self.fail("`}`")
            };
        }
        let name = self.name()?;
        let kind = if self.take(b':') { self.kind()? } else { Kind::String };
        Ok(Argument {
            display: Some(name.into()),
            key_spec: (kind == Kind::Key).then_some(0),
            ..Argument::new(name.into(), kind, token, Vec::new())
        })
    }

    fn name(&mut self) -> Result<&'static str, SyntaxError> {
        let name = self.take_while(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        });
        if name.is_empty() { self.fail("a name") } else { Ok(name) }
    }

    fn group_name(&mut self) -> Result<&'static str, SyntaxError> {
        let name = self.name()?;
        if self.take(b':') { Ok(name) } else { self.fail("`:`") }
    }

    fn kind(&mut self) -> Result<Kind, SyntaxError> {
        match self.take_while(|byte| byte.is_ascii_lowercase()) {
            "int" => Ok(Kind::Integer),
            "double" => Ok(Kind::Double),
            "key" => Ok(Kind::Key),
            "pattern" => Ok(Kind::Pattern),
            "time" => Ok(Kind::UnixTime),
            _ => self.fail("a type"),
        }
    }

    fn suffixes(&mut self, argument: &mut Argument) -> Result<(), SyntaxError> {
        if self.take(b'~') {
            let text = self.take_while(|byte| !b" |(){}@?*+^!".contains(&byte));
            argument.display = Some(text.into());
        }
        if self.take(b'@') {
            argument.key_spec = match self.take_while(|byte| byte.is_ascii_digit()) {
                "" if self.take(b'-') => None,
                digits => match digits.parse() {
                    Ok(number) => Some(number),
                    Err(_) => return self.fail("the number of a key spec, or `-`"),
                },
            };
        }
        argument.is_optional = self.take(b'?');
        argument.is_multiple = self.take(b'*');
        if self.take(b'+') {
            argument.is_multiple = true;
            argument.is_token_multiple = true;
        }
        let version = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        if self.take(b'^') {
            argument.since = Some(self.take_while(version));
        }
        if self.take(b'!') {
            argument.deprecated_since = Some(self.take_while(version));
        }
        Ok(())
    }
}

impl Argument {
    fn new(
        name: Cow<'static, str>,
        kind: Kind,
        token: Option<&'static str>,
        arguments: Vec<Argument>,
    ) -> Self {
        Self {
            name,
            kind,
            token,
            display: None,
            key_spec: None,
            is_optional: false,
            is_multiple: false,
            is_token_multiple: false,
            since: None,
            deprecated_since: None,
            arguments,
        }
    }
}

/// As command lines are written for people: `key [NX | XX] [field value ...]`.
impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let once = {
            let text = self.body_text();
            match self.token {
                Some("") => "\"\"".to_owned(),
                Some(token) if self.kind == Kind::PureToken => token.to_owned(),
                Some(token) => format!("{token} {text}"),
                None => text,
            }
        };
        let again = if self.is_token_multiple { once.clone() } else { self.body_text() };
        let all = if self.is_multiple { format!("{once} [{again} ...]") } else { once };
        if self.is_optional { write!(f, "[{all}]") } else { f.write_str(&all) }
    }
}

impl Argument {
    fn body_text(&self) -> String {
        let parts: Vec<String> = self.arguments.iter().map(ToString::to_string).collect();
        match self.kind {
            Kind::Block => parts.join(" "),
            // The brackets of an optional choice are enough to hold it together.
            Kind::OneOf if self.is_optional && !self.is_multiple && self.token.is_none() => {
                parts.join(" | ")
            }
            Kind::OneOf => format!("<{}>", parts.join(" | ")),
            _ => self.display.as_deref().unwrap_or(&self.name).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::all;

    #[test]
    fn every_command_of_the_table_is_in_the_notation() {
        for spec in all() {
            if let Err(error) = parse(spec.syntax) {
                panic!("{}: {error} in {:?}", spec.name, spec.syntax);
            }
        }
    }

    #[test]
    fn each_form_of_the_notation_has_its_tree() {
        let arguments =
            parse("key:key@1 GET?^6.2.0 (by: EX.s:int!7.0.0 | '*'/all)?* W.{w: a b~c}+")
                .expect("it is in the notation");
        let [key, get, by, with] = &arguments[..] else { panic!("{arguments:?}") };
        assert_eq!((key.kind, key.key_spec, key.is_optional), (Kind::Key, Some(1), false));
        assert_eq!((get.kind, get.token, get.since), (Kind::PureToken, Some("GET"), Some("6.2.0")));
        assert_eq!((get.name.as_ref(), get.is_optional), ("get", true));
        assert_eq!((by.kind, by.is_optional, by.is_multiple), (Kind::OneOf, true, true));
        assert_eq!(by.arguments[0].deprecated_since, Some("7.0.0"));
        assert_eq!((by.arguments[1].token, by.arguments[1].name.as_ref()), (Some("*"), "all"));
        assert_eq!((with.kind, with.token, with.is_token_multiple), (Kind::Block, Some("W"), true));
        assert_eq!(with.arguments[1].display.as_deref(), Some("c"));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (text, at, expected) in [
            ("key:ky", 6, "a type"),
            ("(a: b | c", 9, "`|` or `)`"),
            ("{a b}", 2, "`:`"),
            ("'x", 2, "a quote"),
            ("a )", 2, "an argument or the end"),
            ("a@x", 2, "the number of a key spec, or `-`"),
            ("EX.", 3, "a name"),
        ] {
            assert_eq!(parse(text), Err(SyntaxError { at, expected }), "{text:?}");
        }
    }

    #[test]
    fn arguments_are_shown_as_people_write_them() {
        let shown = |name: &str| {
            let spec = crate::command::lookup(name.as_bytes()).expect("it is a command");
            let texts: Vec<String> =
                parse(spec.syntax).expect("tested above").iter().map(|a| a.to_string()).collect();
            texts.join(" ")
        };
        assert_eq!(shown("mset"), "key value [key value ...]");
        assert_eq!(shown("sunion"), "key [key ...]");
        assert_eq!(
            shown("set"),
            "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
             PXAT unix-time-milliseconds | KEEPTTL]"
        );
        assert_eq!(
            shown("sort_ro"),
            "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] \
             [ALPHA]"
        );
    }
}
