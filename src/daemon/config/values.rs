//! Values of keys, each with its bounds; what is wrong with one is told with its place in the file.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

use crate::model::quantity;
use crate::model::{AskedEvent, Hz, ParseEventError, Rate};

/// A number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number<const LEAST: u64, const MOST: u64>(pub(super) u64);

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Number<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u64::try_from(i64::deserialize(from)?) {
            Ok(number) if (LEAST..=MOST).contains(&number) => Ok(Number(number)),
            _ => Err(D::Error::custom(format!(
                "not a number from {LEAST} to {MOST}"
            ))),
        }
    }
}

impl<const LEAST: u64, const MOST: u64> Number<LEAST, MOST> {
    pub(super) fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Samples a second: from one to what the kernel takes at most.
pub(super) type Frequency = Number<1, { Rate::MAX_FREQUENCY.0 }>;

impl From<Frequency> for Hz {
    fn from(frequency: Frequency) -> Hz {
        Hz(frequency.0)
    }
}

/// A time from `LEAST` to `MOST` milliseconds, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time<const LEAST: u64, const MOST: u64>(pub(super) Duration);

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Time<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let time =
            quantity::duration(&String::deserialize(from)?, None).map_err(D::Error::custom)?;
        let [least, most] = [LEAST, MOST].map(Duration::from_millis);
        match (least..=most).contains(&time) {
            true => Ok(Time(time)),
            false => Err(D::Error::custom(format!(
                "not a time from {least:?} to {most:?}"
            ))),
        }
    }
}

/// Bytes from `LEAST` to `MOST`, written with their unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size<const LEAST: u64, const MOST: u64>(pub(super) u64);

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Size<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let size = quantity::size(&String::deserialize(from)?).map_err(D::Error::custom)?;
        match (LEAST..=MOST).contains(&size) {
            true => Ok(Size(size)),
            false => Err(D::Error::custom(format!(
                "not a size from {LEAST} to {MOST} bytes"
            ))),
        }
    }
}

/// Events, each as `-e` takes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Events(pub(super) Vec<AskedEvent>);

impl<'de> Deserialize<'de> for Events {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let mut events = Vec::with_capacity(texts.len().min(64));
        for text in &texts {
            let event: AskedEvent = text
                .parse()
                .map_err(|error: ParseEventError| D::Error::custom(in_words(&error)))?;
            if events.contains(&event) {
                return Err(D::Error::custom(format!("{text:?} stands there twice")));
            }
            events.push(event);
        }
        Ok(Events(events))
    }
}

/// What is wrong with an event, on the one line that there is for it.
fn in_words(error: &ParseEventError) -> String {
    match error.nearest() {
        Some(nearest) => format!("{error}; did you mean {nearest}?"),
        None => format!("{error}; perfd list shows what there is"),
    }
}

/// Of which targets windows are kept in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// Of none.
    None,
    /// Of those in the configuration.
    Configured,
    /// Of all.
    All,
}
