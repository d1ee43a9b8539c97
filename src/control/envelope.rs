//! Lines: what stands around a request, an answer, an event.
//!
//! ```text
//! greeting  {"perfd":"0.1.0","protocol":1}
//! request   {"id":1,"do":"list"}                       the id is the client's, and may be left out
//! answer    {"id":1,"ok":{…}}   {"id":1,"error":{…}}
//! event     {"window":{…}}
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Event, Refusal, RefusalClass, Request};

/// The first line of a connection, from the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The daemon's version.
    pub perfd: String,
    /// [`VERSION`](super::VERSION).
    pub protocol: u32,
}

/// A request with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The client's number for it, which the answer repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

impl Asked {
    /// Reads a line.
    ///
    /// # Errors
    /// The refusal that the line is answered with, and under which number: that of the line if it has one, whatever else is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Asked, (Option<u64>, Refusal)> {
        let usage = |message: String| Refusal::new(RefusalClass::Usage, message);
        // Its parser has a limit of 128 for how deep JSON is nested.
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(line)
                .map_err(|error| (None, usage(format!("not a JSON object: {error}"))))?;
        let id = match fields.remove("id") {
            None | Some(serde_json::Value::Null) => None,
            Some(id) => match id.as_u64() {
                Some(id) => Some(id),
                None => {
                    let message = "id: not a whole number from 0 to 2^64 − 1";
                    return Err((None, usage(message.to_owned())));
                }
            },
        };
        let refused = |message: String| (id, usage(message));
        let request = Request::deserialize(serde_json::Value::Object(fields))
            .map_err(|error| refused(error.to_string()))?;
        request.check().map_err(refused)?;
        Ok(Asked { id, request })
    }
}

/// An answer. What is in `ok` depends on the request: see the types of `answer.rs`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer<'a, T> {
    /// That of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Done, or not.
    #[serde(flatten)]
    pub outcome: Outcome<'a, T>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome<'a, T> {
    /// Done.
    Ok(&'a T),
    /// Not done.
    Error(&'a Refusal),
}

impl<T: Serialize> Answer<'_, T> {
    /// The answer's line, with its newline.
    pub fn line(&self) -> Vec<u8> {
        line_of(self)
    }
}

impl Event {
    /// The event's line, with its newline.
    pub fn line(&self) -> Vec<u8> {
        line_of(self)
    }
}

impl Greeting {
    /// The greeting's line, with its newline.
    pub fn line(&self) -> Vec<u8> {
        line_of(self)
    }
}

impl Asked {
    /// The request's line, with its newline.
    pub fn line(&self) -> Vec<u8> {
        line_of(self)
    }
}

fn line_of(message: &impl Serialize) -> Vec<u8> {
    let mut line =
        serde_json::to_vec(message).expect("these types have string keys and no writer that fails");
    line.push(b'\n');
    line
}

/// A line as a client reads it, behind the greeting.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A request was done.
    Done {
        /// That of the request.
        id: Option<u64>,
        /// Of the request's own type: see [`Message::read`].
        ok: serde_json::Value,
    },
    /// A request was not done.
    Refused {
        /// That of the request.
        id: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
    /// An event.
    Event(Event),
    /// Something that a later daemon says unasked.
    Unknown,
}

impl Message {
    /// Reads a line of the daemon.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(line: &[u8]) -> serde_json::Result<Message> {
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line)?;
        let id = fields.remove("id").and_then(|id| id.as_u64());
        if let Some(ok) = fields.remove("ok") {
            return Ok(Message::Done { id, ok });
        }
        if let Some(error) = fields.remove("error") {
            let refusal = Refusal::deserialize(error)?;
            return Ok(Message::Refused { id, refusal });
        }
        match fields.keys().next().map(String::as_str) {
            Some("window" | "gap" | "heartbeat" | "end" | "farewell") => {
                Event::deserialize(serde_json::Value::Object(fields)).map(Message::Event)
            }
            _ => Ok(Message::Unknown),
        }
    }

    /// What stands in an answer's `ok`, as the type that belongs to the request.
    ///
    /// # Errors
    /// It is of another type.
    pub fn read<T: DeserializeOwned>(ok: serde_json::Value) -> serde_json::Result<T> {
        T::deserialize(ok)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Detached, EndReason, Ended, List, Window, WindowBody};
    use super::*;

    #[test]
    fn a_request_keeps_its_number() {
        let asked = Asked {
            id: Some(3),
            request: Request::List(List {}),
        };
        assert_eq!(asked.line(), b"{\"id\":3,\"do\":\"list\"}\n");
        assert_eq!(Asked::parse(&asked.line()), Ok(asked));
        let without = Asked::parse(b"{\"do\":\"list\"}").unwrap();
        assert_eq!(without.id, None);
    }

    #[test]
    fn a_line_that_is_no_request_is_answered_under_its_number() {
        let refused = |line: &str| Asked::parse(line.as_bytes()).unwrap_err();
        assert_eq!(refused(r#"{"id":9,"do":"dance"}"#).0, Some(9));
        assert_eq!(refused(r#"{"do":"mark","target":1,"id":9}"#).0, Some(9));
        assert_eq!(refused("[1]").0, None);
        assert_eq!(refused(r#"{"id":-1,"do":"list"}"#).0, None);
        let deep = "[".repeat(60_000);
        assert!(
            refused(&format!("{{\"id\":{deep}"))
                .1
                .message
                .contains("recursion")
        );
    }

    #[test]
    fn answers_and_events_are_read_back_as_they_were_written() {
        let ok = Detached { target: 7 };
        let answer = Answer {
            id: Some(1),
            outcome: Outcome::Ok(&ok),
        };
        assert_eq!(answer.line(), b"{\"id\":1,\"ok\":{\"target\":7}}\n");
        match Message::parse(&answer.line()).unwrap() {
            Message::Done {
                id: Some(1),
                ok: read,
            } => {
                assert_eq!(Message::read::<Detached>(read).unwrap(), ok);
            }
            other => panic!("{other:?}"),
        }
        let refusal = Refusal::new(RefusalClass::Limit, "64 targets").hint("y");
        let refused = Answer::<()> {
            id: None,
            outcome: Outcome::Error(&refusal),
        };
        let read = Message::parse(&refused.line()).unwrap();
        let expected = Message::Refused {
            id: None,
            refusal: refusal.clone(),
        };
        assert_eq!(read, expected);
        for event in [
            Event::Farewell(refusal),
            Event::End(Ended {
                target: 7,
                reason: EndReason::Elevated,
            }),
            Event::Window(Box::new(Window {
                target: 7,
                from: 3,
                to: 5,
                phase: None,
                start_unix_ns: 1,
                duration_ns: 2,
                samples: 3,
                body: WindowBody::Folded("a;b 3\n".to_owned()),
            })),
        ] {
            let read = Message::parse(&event.line()).unwrap();
            assert_eq!(read, Message::Event(event));
        }
    }

    #[test]
    fn what_a_later_daemon_says_is_passed_over() {
        assert_eq!(
            Message::parse(b"{\"weather\":{}}").unwrap(),
            Message::Unknown
        );
        let end = br#"{"end":{"target":7,"reason":"bored","more":1}}"#;
        let expected = Event::End(Ended {
            target: 7,
            reason: EndReason::Other,
        });
        assert_eq!(Message::parse(end).unwrap(), Message::Event(expected));
    }
}
