//! What the page and the server say to each other: JSON texts, tagged by `type`.

use serde::{Deserialize, Serialize};
use wsroom::rooms::MemberInfo;
use wsroom::{Member, Message};

/// What the page sends.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum FromClient {
    Message { text: String },
    Ping { n: u64 },
}

/// What the server sends.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ToClient<'a> {
    Welcome {
        id: String,
        name: &'a str,
        room: &'a str,
        members: Vec<Person>,
        history: Vec<&'a Said>,
    },
    Joined {
        id: &'a str,
        name: &'a str,
    },
    Left {
        id: &'a str,
        name: &'a str,
    },
    Pong {
        n: u64,
    },
    Error {
        error: &'static str,
    },
}

/// A message of the room, as it is sent and remembered.
#[derive(Clone, Serialize)]
#[serde(tag = "type", rename = "message")]
pub(crate) struct Said {
    pub(crate) from: String,
    pub(crate) name: String,
    pub(crate) text: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
}

#[derive(Serialize)]
pub(crate) struct Person {
    id: String,
    name: String,
}

/// A name of 1 to 32 characters without blanks at its ends.
#[derive(Clone)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = name.trim();
        (1..=32)
            .contains(&name.chars().count())
            .then(|| Self(name.to_owned()))
    }

    /// Who sends what comes by HTTP.
    pub(crate) fn http() -> Self {
        Self("http".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromClient {
    /// Takes what the page sent. The error is for the page to show.
    pub(crate) fn decode(message: &Message) -> Result<Self, &'static str> {
        let text = message.as_text().ok_or("only text is understood")?;
        let request = serde_json::from_str(text).map_err(|_| "this is no request")?;
        if let Self::Message { text } = &request {
            check_text(text)?;
        }
        Ok(request)
    }
}

impl<'a> ToClient<'a> {
    pub(crate) fn welcome(
        member: &'a Member,
        room: &'a str,
        others: &[MemberInfo],
        history: impl IntoIterator<Item = &'a Said>,
    ) -> Self {
        let own = member.info();
        Self::Welcome {
            id: member.id().to_string(),
            name: member.data().map_or("", Name::as_str),
            room,
            members: others.iter().chain([&own]).map(Person::of).collect(),
            history: history.into_iter().collect(),
        }
    }

    pub(crate) fn joined(id: &'a str, name: &'a Name) -> Self {
        Self::Joined {
            id,
            name: name.as_str(),
        }
    }

    pub(crate) fn left(id: &'a str, name: &'a Name) -> Self {
        Self::Left {
            id,
            name: name.as_str(),
        }
    }

    pub(crate) fn encode(&self) -> Message {
        encode(self)
    }
}

impl Said {
    pub(crate) fn encode(&self) -> Message {
        encode(self)
    }
}

impl Person {
    fn of(member: &MemberInfo) -> Self {
        Self {
            id: member.id().to_string(),
            name: member.data().map_or("", Name::as_str).to_owned(),
        }
    }
}

fn encode(value: &impl Serialize) -> Message {
    // Structures of strings and numbers always are JSON.
    serde_json::to_string(value).expect("is JSON").into()
}

/// A text of 1 to 4000 characters.
pub(crate) fn check_text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("the text is empty");
    }
    if text.chars().count() > 4000 {
        return Err("the text is longer than 4000 characters");
    }
    Ok(text.to_owned())
}

/// 1 to 64 letters, digits, hyphens and underscores.
pub(crate) fn is_room(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
