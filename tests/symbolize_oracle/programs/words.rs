//! The Rust program of the comparison: generics, closures, trait objects, most of it inlined.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};

mod shapes {
    pub trait Area {
        fn area(&self) -> f64;
        fn doubled(&self) -> f64 {
            self.area() * 2.0
        }
    }

    pub struct Square(pub f64);
    pub struct Circle {
        pub radius: f64,
    }

    impl Area for Square {
        fn area(&self) -> f64 {
            self.0 * self.0
        }
    }

    impl Area for Circle {
        fn area(&self) -> f64 {
            self.radius * self.radius * std::f64::consts::PI
        }
    }

    pub fn total(shapes: &[Box<dyn Area>]) -> f64 {
        shapes.iter().filter(|shape| shape.area() > 0.5).map(|shape| shape.doubled()).sum()
    }
}

struct Counts<K>(BTreeMap<K, usize>);

impl<K: Ord + Clone + Display> Counts<K> {
    fn add(&mut self, key: &K) -> usize {
        let count = self.0.entry(key.clone()).or_insert(0);
        *count += 1;
        *count
    }

    #[inline(never)]
    fn most(&self) -> Option<(&K, &usize)> {
        self.0.iter().max_by_key(|(_, count)| **count)
    }
}

impl<K: Display> Display for Counts<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(key, count)| write!(f, "{key}={count} "))
    }
}

#[inline(never)]
fn lengths(words: &[String]) -> HashMap<usize, Vec<&str>> {
    let mut by_length: HashMap<usize, Vec<&str>> = HashMap::new();
    for word in words {
        by_length.entry(word.len()).or_default().push(word);
    }
    by_length.values_mut().for_each(|words| words.sort_by(|a, b| b.cmp(a)));
    by_length
}

fn main() {
    let words: Vec<String> = std::env::args().flat_map(|word| [word.to_uppercase(), word]).collect();
    let mut counts = Counts(BTreeMap::new());
    let seen: usize = words.iter().map(|word| counts.add(word)).sum();
    let shapes: Vec<Box<dyn shapes::Area>> =
        vec![Box::new(shapes::Square(seen as f64)), Box::new(shapes::Circle { radius: words.len() as f64 })];
    println!("{counts} {:?} {:?} {}", counts.most(), lengths(&words), shapes::total(&shapes));
}
