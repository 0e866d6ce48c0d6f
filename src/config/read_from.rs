//! The word for where commands that only read are sent.

use crate::proxy::ReadFrom;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where commands that only read are sent: `primary`, `prefer_replica`, `replica` or `nearest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadFromConfig(pub ReadFrom);

impl Serialize for ReadFromConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let word = ReadFrom::ALL.iter().find(|(_, of)| *of == self.0).map_or("primary", |(w, _)| w);
        serializer.serialize_str(word)
    }
}

impl<'de> Deserialize<'de> for ReadFromConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = ReadFrom::ALL.iter().find(|(word, _)| *word == text);
        found.map(|(_, of)| Self(*of)).ok_or_else(|| {
            let expected = ReadFrom::ALL.map(|(word, _)| word).join(", ");
            de::Error::custom(format!("{text:?} is none of {expected}"))
        })
    }
}
