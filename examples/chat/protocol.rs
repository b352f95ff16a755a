//! What the page and the server say to each other: JSON texts, tagged by `type`.

use serde::{Deserialize, Serialize};
use wsroom::Message;
use wsroom::rooms::MemberInfo;

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
        #[serde(flatten)]
        you: &'a Person,
        room: &'a str,
        members: Vec<Person>,
        history: Vec<&'a Said>,
    },
    Joined(&'a Person),
    Left(&'a Person),
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
    pub(crate) name: Name,
    pub(crate) text: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
}

#[derive(Clone, Serialize)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) name: Name,
}

/// A name of 1 to 32 characters without blanks at its ends.
#[derive(Clone, Serialize)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = name.trim();
        (1..=32)
            .contains(&name.chars().count())
            .then(|| Self(name.to_owned()))
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
        you: &'a Person,
        room: &'a str,
        others: &[MemberInfo],
        history: impl IntoIterator<Item = &'a Said>,
    ) -> Self {
        Self::Welcome {
            you,
            room,
            members: others
                .iter()
                .filter_map(Person::of)
                .chain([you.clone()])
                .collect(),
            history: history.into_iter().collect(),
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
    /// A member as the page knows it; its name is in its profile.
    fn of(member: &MemberInfo) -> Option<Self> {
        Some(Self {
            id: member.id().to_string(),
            name: member.data::<Name>()?.clone(),
        })
    }

    /// Who says what comes by HTTP.
    pub(crate) fn http() -> Self {
        Self {
            id: "http".to_owned(),
            name: Name("http".to_owned()),
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
