//! Lists that somebody else has encoded, and that have a bound.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Decodes a list of `N` elements or fewer, for `#[serde(deserialize_with)]`: of a longer one no more than that is ever in memory.
///
/// # Errors
/// The list is longer, or one of its elements cannot be decoded.
pub fn at_most<'de, const N: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(AtMost::<N, T>(PhantomData))
}

struct AtMost<const N: usize, T>(PhantomData<T>);

impl<'de, const N: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<N, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {N} at most")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            if elements.len() >= N {
                return Err(A::Error::invalid_length(elements.len() + 1, &self));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, serde::Deserialize)]
    struct Few(#[serde(deserialize_with = "at_most::<3, _, _>")] Vec<u8>);

    #[test]
    fn a_list_is_decoded_up_to_its_bound() {
        let decode = |text: &str| serde_json::from_str::<Few>(text).ok();
        assert_eq!(decode("[]"), Some(Few(Vec::new())));
        assert_eq!(decode("[1,2,3]"), Some(Few(vec![1, 2, 3])));
        assert_eq!(decode("[1,2,3,4]"), None);
        assert_eq!(decode("[1,900]"), None);
    }
}
