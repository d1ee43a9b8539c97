//! Which of a sample's values are those of which event.

use super::super::encode::sample_type;
use super::{DecodeError, Message};
use crate::model::{SampledEvent, Weight};

/// Where an event's numbers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Position of its weight.
    pub(super) weight: usize,
    /// Position of its number of samples, if that is known.
    pub(super) samples: Option<usize>,
}

/// The columns of all events, and how many values a sample has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) events: Vec<Column>,
    pub(super) n_values: usize,
}

impl Columns {
    /// By the names that perfd gives them.
    pub(super) fn of_perfd(
        message: &Message<'_>,
        events: &[SampledEvent],
    ) -> Result<Columns, DecodeError> {
        let mut names = Vec::with_capacity(message.sample_types.len());
        for (name, _) in &message.sample_types {
            names.push(message.string(*name)?);
        }
        let find = |wanted: &str| names.iter().position(|name| *name == wanted.as_bytes());
        let column = |event: &SampledEvent| -> Result<Column, DecodeError> {
            let weight = find(&event.spec.to_string());
            let missing = DecodeError::Malformed("an event without a type of samples");
            Ok(Column {
                weight: weight.ok_or(missing)?,
                samples: find(&sample_type(&event.spec)),
            })
        };
        Ok(Columns {
            events: events.iter().map(column).collect::<Result<_, _>>()?,
            n_values: names.len(),
        })
    }

    /// The weights of a sample, without their squares.
    pub(super) fn weights(&self, values: &[u64]) -> Result<Vec<Weight>, DecodeError> {
        if values.len() != self.n_values {
            let what = "a sample with more or fewer values than there are types";
            return Err(DecodeError::Malformed(what));
        }
        if values.iter().any(|value| value.cast_signed() < 0) {
            return Err(DecodeError::Negative);
        }
        let weights = self.events.iter().map(|column| Weight {
            total: values[column.weight],
            samples: column.samples.map_or(0, |samples| values[samples]),
            squares: 0,
        });
        Ok(weights.collect())
    }
}
