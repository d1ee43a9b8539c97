//! perfd and perf profile one program at the same time: their leaf functions must agree.
//!
//! One χ² test of homogeneity over a table of two rows (perfd, perf) and 21 columns: the 20 functions with the most
//! samples and all others together, so 20 degrees of freedom; α = 10⁻⁶. perf's samples are counted by address range,
//! so that its symbols play no part. A shift of 2 % of the samples from one function to another is caught, which is
//! tested both on made-up tables and on the table that was just measured.

use std::collections::BTreeMap;
use std::process::Command;

use folded::{bare, parse, said};

mod folded;
mod support;

const ALPHA: f64 = 1e-6;
const N_TOP: usize = 20;
const LEAST_SAMPLES: u64 = 20_000;
/// CPU seconds that give well over 20 000 samples at this rate.
const SECONDS: &str = "5";
const RATE: &str = "4999";

/// Samples by function: perfd's, perf's.
type Table = BTreeMap<String, [u64; 2]>;

#[test]
fn perfd_and_perf_agree_on_leaf_functions() {
    let recorded = match record() {
        Ok(recorded) => recorded,
        Err(reason) => return support::skip(&reason),
    };
    let sums = sums(&recorded);
    assert!(
        sums.iter().all(|n| *n >= LEAST_SAMPLES),
        "too few samples: {sums:?}"
    );
    let p = p_value(&recorded);
    assert!(p >= ALPHA, "p = {p:e}: {recorded:#?}");
    let p = p_value(&shifted(&recorded, 0.02));
    assert!(p < ALPHA, "a shift of 2 % is not seen: p = {p:e}");
}

/// The program's leaf functions as both see them; the reason if this machine cannot do it.
fn record() -> Result<Table, String> {
    if let Some(reason) = folded::forbidden(&mut support::perfd()) {
        return Err(reason);
    }
    if Command::new("perf").arg("--version").output().is_err() {
        return Err("perf is not installed".to_owned());
    }
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/mixture.c");
    let program = support::compile_c(
        &format!("#include \"{source}\"\n"),
        &["-O2", "-fomit-frame-pointer", "-no-pie"],
    );
    let at = |name: &str| program.folder().join(name);
    // perf starts the program and perfd starts perf: both see all of it.
    let output = support::perfd()
        .args([
            "record",
            "-q",
            "-e",
            "cpu-clock:u",
            "-F",
            RATE,
            "--unit",
            "samples",
            "-o",
        ])
        .arg(at("out.folded"))
        .args([
            "--",
            "perf",
            "record",
            "-q",
            "-e",
            "cpu-clock:u",
            "-F",
            RATE,
            "-o",
        ])
        .arg(at("perf.data"))
        .arg("--")
        .arg(program.path())
        .arg(SECONDS)
        .output()
        .expect("perfd runs");
    if !at("perf.data").exists() {
        return Err(format!("perf does not record here: {}", said(&output)));
    }
    assert!(output.status.success(), "perfd: {}", said(&output));

    let mut table = Table::new();
    let folded = std::fs::read_to_string(at("out.folded")).expect("a folded file");
    for stack in parse(&folded).expect("folded lines") {
        let leaf = stack
            .frames
            .last()
            .map(|frame| bare(frame))
            .unwrap_or_default();
        if leaf.starts_with("leaf_") {
            table.entry(leaf).or_default()[0] += stack.samples;
        }
    }
    let script = Command::new("perf")
        .args(["script", "-F", "ip", "-i"])
        .arg(at("perf.data"))
        .output()
        .expect("perf runs");
    let ranges = ranges(&program);
    for address in String::from_utf8_lossy(&script.stdout).split_whitespace() {
        let address = u64::from_str_radix(address, 16).expect("an address");
        let function = ranges
            .iter()
            .find(|(start, end, _)| (*start..*end).contains(&address));
        if let Some((_, _, name)) = function {
            table.entry(name.clone()).or_default()[1] += 1;
        }
    }
    Ok(table)
}

/// First address, end and name of each leaf function.
fn ranges(program: &support::Program) -> Vec<(u64, u64, String)> {
    let output = Command::new("nm")
        .arg("-S")
        .arg(program.path())
        .output()
        .expect("nm runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let ranges: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let [start, size, _, name] = line.split(' ').collect::<Vec<_>>()[..] else {
                return None;
            };
            let number = |text| u64::from_str_radix(text, 16).ok();
            let start = number(start)?;
            name.starts_with("leaf_")
                .then_some((start, start + number(size)?, name.to_owned()))
        })
        .collect();
    assert_eq!(ranges.len(), 30, "{text}");
    ranges
}

fn sums(table: &Table) -> [u64; 2] {
    table
        .values()
        .fold([0, 0], |sum, row| [sum[0] + row[0], sum[1] + row[1]])
}

/// The top functions by both rows together, then the rest as one.
fn cells(table: &Table) -> Vec<[u64; 2]> {
    let mut cells: Vec<[u64; 2]> = table.values().copied().collect();
    cells.sort_by_key(|cell| std::cmp::Reverse(cell[0] + cell[1]));
    let rest = cells
        .split_off(N_TOP.min(cells.len()))
        .into_iter()
        .fold([0, 0], |sum, row| [sum[0] + row[0], sum[1] + row[1]]);
    cells.push(rest);
    cells
}

/// How likely two samples of one distribution are to differ at least so much.
///
/// χ² = Σ (observed − expected)² ∕ expected over both rows, expected = row sum × column sum ∕ total.
fn p_value(table: &Table) -> f64 {
    let cells = cells(table);
    let rows = sums(table).map(float);
    let total = rows[0] + rows[1];
    let chi_square: f64 = cells
        .iter()
        .map(|cell| {
            let column = float(cell[0]) + float(cell[1]);
            (0..2)
                .map(|row| {
                    let expected = rows[row] * column / total;
                    (float(cell[row]) - expected).powi(2) / expected
                })
                .sum::<f64>()
        })
        .sum();
    chi_square_survival(chi_square, cells.len() - 1)
}

/// P(χ² ≥ x) for an even number of degrees of freedom 2m, which is that of a Poisson count below m:
/// e^(−x∕2) Σ_{k<m} (x∕2)^k ∕ k!
fn chi_square_survival(x: f64, degrees: usize) -> f64 {
    assert!(
        degrees.is_multiple_of(2),
        "closed form for even degrees of freedom"
    );
    let half = x / 2.0;
    // Each term with the exponential in it, so that neither overflows.
    let mut term = (-half).exp();
    let mut sum = term;
    for k in 1..degrees / 2 {
        term *= half / f64::from(u32::try_from(k).expect("few degrees"));
        sum += term;
    }
    sum
}

fn float(n: u64) -> f64 {
    f64::from(u32::try_from(n).expect("fewer than 2³² samples"))
}

/// The same table after a share of perfd's samples went from the busiest function to the tenth.
fn shifted(table: &Table, share: f64) -> Table {
    let mut names: Vec<&String> = table.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(table[*name][0]));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count, rounded down"
    )]
    let n_moved = (float(sums(table)[0]) * share) as u64;
    let mut shifted = table.clone();
    for (name, difference) in [(names[0], n_moved.wrapping_neg()), (names[9], n_moved)] {
        let cell = shifted.get_mut(name).expect("a name of this table");
        cell[0] = cell[0].wrapping_add(difference);
    }
    shifted
}

/// A table of 30 functions, weighted as those of the program are, with the same shares in both rows.
fn made_up(n_samples: u64) -> Table {
    let weight = |n: u64| 200 + 20 * n;
    let total: u64 = (10..40).map(weight).sum();
    (10..40)
        .map(|n| (format!("leaf_{n}"), [n_samples * weight(n) / total; 2]))
        .collect()
}

#[test]
fn a_shift_of_two_percent_is_refused_and_equal_tables_are_not() {
    assert!(p_value(&made_up(LEAST_SAMPLES)) > 0.999);
    assert!(p_value(&shifted(&made_up(LEAST_SAMPLES), 0.02)) < ALPHA);
    // Smaller than the noise of so many samples.
    assert!(p_value(&shifted(&made_up(LEAST_SAMPLES), 0.002)) > ALPHA);
}

#[test]
fn the_survival_function_has_the_values_of_tables() {
    for (x, degrees, expected) in [
        (5.991, 2, 0.05),
        (27.631, 2, 1e-6),
        (9.488, 4, 0.05),
        (31.410, 20, 0.05),
        (45.315, 20, 0.001),
    ] {
        let p = chi_square_survival(x, degrees);
        assert!(
            (p / expected - 1.0).abs() < 0.01,
            "P(χ²({degrees}) ≥ {x}) = {p}"
        );
    }
}
