//! The comparison, as a function of what was asked and of both answers.

use std::collections::BTreeMap;
use std::fmt;

use crate::answers::{Chain, Frame};
use crate::symbols::Symbols;

/// What of an answer differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The number of functions in the chain.
    Depth,
    Name,
    File,
    Line,
}

/// A difference that the normalisation takes for none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Explained {
    /// Another symbol at the same place.
    Alias,
    /// The function that the symbol is a part or a clone of.
    Origin,
    /// The symbol before an address that belongs to no function.
    Filling,
    /// No file in place of that in the symbol table.
    SourceOfSymbol,
    /// A directory once that the reference has twice.
    DirectoryTwice,
}

/// Both answers about one address.
#[derive(Debug)]
pub struct Difference {
    pub address: u64,
    pub reference: Chain,
    pub judged: Chain,
}

/// What came of a comparison.
#[derive(Default, Debug)]
pub struct Report {
    pub n_addresses: usize,
    /// Of which the reference knows the line.
    pub n_with_line: usize,
    /// At which the reference has inlined functions.
    pub n_inlined: usize,
    /// By address, as in `unexplained`.
    pub explained: BTreeMap<Explained, usize>,
    pub unexplained: BTreeMap<Kind, Vec<Difference>>,
}

/// Differences that may stay unexplained, of each kind.
const BOUND: f64 = 0.001;

impl Report {
    /// Whether fewer addresses than one in a thousand differ in each kind.
    pub fn agrees(&self) -> bool {
        let bound = BOUND * self.n_addresses as f64;
        self.unexplained
            .values()
            .all(|differences| (differences.len() as f64) < bound)
    }
}

/// Shown of each kind.
const SHOWN: usize = 12;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} addresses, {} with a line, {} with inlined functions; normalised: {:?}",
            self.n_addresses, self.n_with_line, self.n_inlined, self.explained
        )?;
        for (kind, differences) in &self.unexplained {
            writeln!(f, "{kind:?}: {} differ", differences.len())?;
            for difference in differences.iter().take(SHOWN) {
                writeln!(f, "  {:#x}", difference.address)?;
                let show = |chain: &Chain| {
                    let frames: Vec<String> = chain.iter().map(Frame::to_string).collect();
                    frames.join("\n               ")
                };
                writeln!(f, "    reference: {}", show(&difference.reference))?;
                writeln!(f, "    judged:    {}", show(&difference.judged))?;
            }
        }
        Ok(())
    }
}

/// Compares the chains at each of `addresses`.
pub fn compare(
    addresses: &[u64],
    reference: &[Chain],
    judged: &[Chain],
    symbols: &Symbols,
) -> Report {
    assert_eq!(
        (addresses.len(), addresses.len()),
        (reference.len(), judged.len())
    );
    let mut report = Report {
        n_addresses: addresses.len(),
        ..Report::default()
    };
    for ((&address, reference), judged) in addresses.iter().zip(reference).zip(judged) {
        report.n_with_line += usize::from(reference.iter().any(|frame| frame.line != 0));
        report.n_inlined += usize::from(reference.len() > 1);
        let mut found = Found::default();
        found.compare(address, reference, judged, symbols);
        for class in found.explained {
            *report.explained.entry(class).or_default() += 1;
        }
        for kind in found.unexplained {
            report
                .unexplained
                .entry(kind)
                .or_default()
                .push(Difference {
                    address,
                    reference: reference.clone(),
                    judged: judged.clone(),
                });
        }
    }
    report
}

/// What differs at one address, each once.
#[derive(Default)]
struct Found {
    explained: Vec<Explained>,
    unexplained: Vec<Kind>,
}

impl Found {
    fn compare(&mut self, address: u64, reference: &Chain, judged: &Chain, symbols: &Symbols) {
        if reference.len() != judged.len() {
            self.unexplained.push(Kind::Depth);
            return;
        }
        let outermost = reference.len().saturating_sub(1);
        for (depth, (theirs, ours)) in reference.iter().zip(judged).enumerate() {
            if theirs.name != ours.name {
                let class = (depth == outermost)
                    .then(|| outermost_name(address, theirs, ours, symbols))
                    .flatten();
                self.note(class, Kind::Name);
            }
            let is_unplaced = ours.file == "??" && ours.line == 0;
            if is_unplaced && theirs.line == 0 && symbols.has_source(&theirs.file) {
                self.note(Some(Explained::SourceOfSymbol), Kind::File);
                continue;
            }
            if is_unplaced && !theirs.is_named() && theirs.file != "??" {
                self.note(Some(Explained::Filling), Kind::File);
                continue;
            }
            let (their_file, our_file) = (normal(&theirs.file), normal(&ours.file));
            if their_file != our_file {
                let class = is_doubled(&their_file, &our_file).then_some(Explained::DirectoryTwice);
                self.note(class, Kind::File);
            }
            if theirs.line != ours.line {
                self.note(None, Kind::Line);
            }
        }
    }

    fn note(&mut self, class: Option<Explained>, kind: Kind) {
        match class {
            Some(class) if !self.explained.contains(&class) => self.explained.push(class),
            None if !self.unexplained.contains(&kind) => self.unexplained.push(kind),
            _ => (),
        }
    }
}

fn outermost_name(
    address: u64,
    theirs: &Frame,
    ours: &Frame,
    symbols: &Symbols,
) -> Option<Explained> {
    let is_at = symbols.is_at(address, &ours.name);
    if !theirs.is_named() {
        // Go's symbols of functions in assembly have their calling convention behind the name.
        let is_assembly_at = symbols.is_at(address, &format!("{}.abi0", ours.name));
        return (is_at || is_assembly_at).then_some(Explained::Filling);
    }
    // That the reference's name is the symbol's is a part of the explanation.
    if !symbols.is_at(address, &theirs.name) {
        return None;
    }
    match is_at {
        true => Some(Explained::Alias),
        false => symbols
            .is_origin_at(address, &ours.name)
            .then_some(Explained::Origin),
    }
}

/// A path without components that lead nowhere.
fn normal(path: &str) -> String {
    let root = if path.starts_with('/') { "/" } else { "" };
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    format!("{root}{}", parts.join("/"))
}

/// Whether `theirs` is `ours` with its first directories once more before it.
fn is_doubled(theirs: &str, ours: &str) -> bool {
    let Some(directory) = theirs.strip_suffix(ours) else {
        return false;
    };
    directory.len() > 1 && !directory.starts_with('/') && ours.starts_with(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(text: &str) -> Chain {
        text.split(", ")
            .map(|frame| {
                let (name, place) = frame.split_once(' ').expect("a name and a place");
                Frame::parse(name, place)
            })
            .collect()
    }

    fn symbols() -> Symbols {
        let mut symbols = Symbols::default();
        symbols.add(0x100, "outer");
        symbols.add(0x100, "alias@@V1");
        symbols.add(0x200, "outer.cold");
        symbols.add_source("crt.c");
        symbols
    }

    /// Compares one answer at `address`.
    fn at(address: u64, reference: &str, judged: &str) -> Report {
        compare(
            &[address],
            &[chain(reference)],
            &[chain(judged)],
            &symbols(),
        )
    }

    /// Each kind that differs unexplained, and each class that is explained.
    fn differs(address: u64, reference: &str, judged: &str) -> (Vec<Kind>, Vec<Explained>) {
        let report = at(address, reference, judged);
        (
            report.unexplained.into_keys().collect(),
            report.explained.into_keys().collect(),
        )
    }

    const CHAIN: &str = "inner /a/b.h:3, middle /a/b.h:9, outer /a/c.c:12";

    #[test]
    fn equal_answers_agree() {
        let report = at(0x110, CHAIN, CHAIN);
        assert!(report.agrees() && report.explained.is_empty());
        assert_eq!((report.n_with_line, report.n_inlined), (1, 1));
    }

    #[test]
    fn a_planted_difference_of_each_kind_is_found() {
        let planted = [
            ("inner /a/b.h:3, outer /a/c.c:12", Kind::Depth),
            (
                "wrong /a/b.h:3, middle /a/b.h:9, outer /a/c.c:12",
                Kind::Name,
            ),
            (
                "inner /a/b.h:3, middle /a/b.h:9, wrong /a/c.c:12",
                Kind::Name,
            ),
            ("inner /a/b.h:3, middle /a/b.h:9, ?? /a/c.c:12", Kind::Name),
            (
                "inner /a/b.h:3, middle /a/x.h:9, outer /a/c.c:12",
                Kind::File,
            ),
            (
                "inner /a/b.h:3, middle /a/b.h:8, outer /a/c.c:12",
                Kind::Line,
            ),
            (
                "inner /a/b.h:0, middle /a/b.h:9, outer /a/c.c:12",
                Kind::Line,
            ),
        ];
        for (judged, kind) in planted {
            assert_eq!(
                differs(0x110, CHAIN, judged),
                (vec![kind], vec![]),
                "{judged}"
            );
            assert!(!at(0x110, CHAIN, judged).agrees());
        }
    }

    #[test]
    fn frames_in_another_order_differ() {
        let turned = "outer /a/c.c:12, middle /a/b.h:9, inner /a/b.h:3";
        let (kinds, _) = differs(0x110, CHAIN, turned);
        assert_eq!(kinds, [Kind::Name, Kind::File, Kind::Line]);
    }

    #[test]
    fn one_in_a_thousand_is_too_many_and_one_in_two_thousand_is_not() {
        for (n, agrees) in [(1000, false), (2000, true)] {
            let addresses: Vec<u64> = (0..n).collect();
            let reference = vec![chain(CHAIN); addresses.len()];
            let mut judged = reference.clone();
            judged[7][1].line = 1;
            let report = compare(&addresses, &reference, &judged, &symbols());
            assert_eq!(report.agrees(), agrees, "{n}");
        }
    }

    #[test]
    fn what_the_symbol_table_explains_is_explained_for_the_outermost_frame_alone() {
        let check = |address, reference, judged, expected: Result<Explained, Kind>| {
            let expected = match expected {
                Ok(class) => (vec![], vec![class]),
                Err(kind) => (vec![kind], vec![]),
            };
            assert_eq!(differs(address, reference, judged), expected, "{judged}");
        };
        check(0x110, "outer /a:1", "alias /a:1", Ok(Explained::Alias));
        check(
            0x210,
            "outer.cold /a:1",
            "outer /a:1",
            Ok(Explained::Origin),
        );
        check(
            0x210,
            "outer.cold /a:1",
            "alias /a:1",
            Ok(Explained::Origin),
        );
        check(0x110, "outer /a:1", "outer.cold /a:1", Err(Kind::Name));
        check(0x110, "other /a:1", "alias /a:1", Err(Kind::Name));
        check(
            0x110,
            "outer /a:1, x /a:1",
            "alias /a:1, x /a:1",
            Err(Kind::Name),
        );
        check(0x1f0, "?? ??:0", "outer ??:0", Ok(Explained::Filling));
        check(0x1f0, "?? /a:1", "outer /a:1", Ok(Explained::Filling));
        check(0x1f0, "?? /a:1", "?? ??:0", Ok(Explained::Filling));
        check(0x1f0, "?? ??:0", "outer.cold ??:0", Err(Kind::Name));
        check(
            0x110,
            "outer crt.c:0",
            "outer ??:0",
            Ok(Explained::SourceOfSymbol),
        );
        check(0x110, "outer c.c:0", "outer ??:0", Err(Kind::File));
    }

    #[test]
    fn paths_that_lead_the_same_way_are_equal() {
        let check = |reference: &str, judged: &str, expected: (Vec<Kind>, Vec<Explained>)| {
            let [reference, judged] = [reference, judged].map(|path| format!("outer {path}:1"));
            assert_eq!(differs(0x110, &reference, &judged), expected, "{judged}");
        };
        let twice = vec![Explained::DirectoryTwice];
        check("./a//b/./c.c", "a/b/c.c", (vec![], vec![]));
        check("./nss/./nss/x.c", "./nss/x.c", (vec![], twice));
        check("./nss/../x.c", "./x.c", (vec![Kind::File], vec![]));
        check("/nss/nss/x.c", "/nss/x.c", (vec![Kind::File], vec![]));
        check("/a/c.c", "a/c.c", (vec![Kind::File], vec![]));
        check("a/xc.c", "c.c", (vec![Kind::File], vec![]));
    }
}
