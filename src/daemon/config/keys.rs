//! The table of keys: name, default, what it is for. The defaults of the parser and the text of `perfd config` are both made from it.

use std::fmt::Write;

/// A key of a table of the file.
struct Key {
    name: &'static str,
    /// As it stands in a file.
    default: &'static str,
    /// What it is for; one line each.
    says: &'static [&'static str],
}

/// A table of the file; that without a name comes first.
struct Table {
    name: &'static str,
    says: &'static [&'static str],
    keys: &'static [Key],
}

const fn key(name: &'static str, default: &'static str, says: &'static [&'static str]) -> Key {
    Key {
        name,
        default,
        says,
    }
}

const TABLES: &[Table] = &[
    Table {
        name: "",
        says: &[
            "Configuration of `perfd daemon`, with its defaults; `perfd config` prints them.",
            "Unknown keys are errors. `perfd config --check FILE` reads a file and says what is wrong in it;",
            "`systemctl reload perfd` takes a changed file, all of it or nothing.",
            "Times are written 100ms, 10s, 5m, 12h, 7d; sizes 4096, 512KiB, 64MiB, 1GiB.",
        ],
        keys: &[
            key(
                "frequency",
                "19",
                &[
                    "Samples a second and CPU, for targets that do not say otherwise. A prime does not beat with timers of the target.",
                ],
            ),
            key(
                "events",
                "[]",
                &[
                    "What is sampled, as `perfd list` names it: [\"cycles\", \"page-faults/period=100/\"]. Empty: cycles, instructions and",
                    "cache-misses where the machine has a PMU, else cpu-clock.",
                ],
            ),
            key(
                "python",
                "false",
                &[
                    "Whether the functions of Python programs (CPython 3.11 to 3.14) are shown in the place of the interpreter's.",
                ],
            ),
            key(
                "window",
                "\"10s\"",
                &[
                    "Length of a window: of what clients of `tail` get at a time, and of what a crash can cost.",
                ],
            ),
            key(
                "admin_group",
                "\"perfd-admin\"",
                &[
                    "Members of this group may do what root may: profile everything, see all targets, end the daemon. \"\": root alone.",
                ],
            ),
        ],
    },
    Table {
        name: "names",
        says: &["What is shown of names, and what naming may take."],
        keys: &[
            key(
                "inline",
                "true",
                &["Whether functions that the compiler inlined are shown."],
            ),
            key(
                "cache",
                "true",
                &["Whether names of large files are kept from run to run, in the state directory."],
            ),
            key(
                "memory",
                "\"64MiB\"",
                &["Memory for what is known of the files that names come from."],
            ),
        ],
    },
    Table {
        name: "limits",
        says: &[
            "What there may be of each thing. What is beyond a limit is refused, and the answer names the limit.",
        ],
        keys: &[
            key("targets", "64", &["Targets, configured ones included."]),
            key(
                "targets_per_user",
                "16",
                &["Targets of one user who is no administrator; 0: only administrators may ask."],
            ),
            key(
                "processes",
                "16384",
                &["Processes of all targets of one engine."],
            ),
            key(
                "engines",
                "4",
                &[
                    "Different samplings (events, frequency, python) at a time. Targets that are sampled alike share one engine:",
                    "its events, rings and programs.",
                ],
            ),
            key(
                "user_frequency",
                "997",
                &["The highest frequency that a user may ask for who is no administrator."],
            ),
            key("clients", "64", &["Connections to the control socket."]),
            key("clients_per_user", "16", &["Connections of one user."]),
            key(
                "client_queue",
                "\"4MiB\"",
                &[
                    "Memory for windows that wait for a client, or for an output that it has passed; and the longest line that a client",
                    "is sent. Windows that wait are put together. Those that even so find no room are left out, and the client is told.",
                ],
            ),
            key(
                "client_patience",
                "\"10s\"",
                &["A client that takes nothing for so long is disconnected."],
            ),
            key(
                "snapshot",
                "\"8MiB\"",
                &[
                    "Memory for what is kept of each target since its start, and since its last mark, for `snapshot`,",
                    "and for each output that is written at its end. Stacks beyond stand in one line.",
                ],
            ),
            key(
                "tables",
                "\"32MiB\"",
                &["Unwind tables of one engine, perfd's copies and the kernel's together."],
            ),
        ],
    },
    Table {
        name: "files",
        says: &[
            "Continuous files: windows as pprof, under the state directory; `perfd export` reads them.",
        ],
        keys: &[
            key(
                "targets",
                "\"configured\"",
                &[
                    "Of which targets: \"none\", \"configured\" (those of this file) or \"all\". A target may say files = true or false.",
                ],
            ),
            key("window", "\"60s\"", &["The time that one file holds."]),
            key(
                "max_bytes",
                "\"16MiB\"",
                &["A file is closed early when what it holds takes so much memory."],
            ),
            key(
                "keep_for",
                "\"7d\"",
                &["Files are removed when they are older."],
            ),
            key(
                "keep_bytes",
                "\"1GiB\"",
                &["Files are removed, oldest first, when all of them take more."],
            ),
        ],
    },
];

/// Targets cannot have a default; these show how they are written, and each is a test.
const EXAMPLES: &str = r#"# Targets that are always there: found as soon as they run, and again when they restart. Each has exactly one of
# pid, comm, cgroup, unit, container, host; if need be a name, and frequency, events, python, files of its own.
#
# [[target]]
# unit = "postgresql.service"
#
# [[target]]
# name = "workers"
# comm = "worker"
# frequency = 97
# events = ["cpu-clock", "page-faults/period=100/"]
#
# [[target]]
# cgroup = "system.slice/batch.slice"
# files = false
#
# [[target]]
# container = "4f5a1c9e0b7d"
#
# [[target]]
# host = true
"#;

/// The default of a key, as it stands in a file; that without a name is the first table.
pub(super) fn default_of(table: &str, key: &str) -> Option<&'static str> {
    let table = TABLES.iter().find(|known| known.name == table)?;
    let key = table.keys.iter().find(|known| known.name == key)?;
    Some(key.default)
}

/// The defaults as a file, without a word of what they are for.
pub(super) fn text_of_defaults() -> String {
    let mut text = String::new();
    for table in TABLES {
        write_head(table, &mut text);
        for key in table.keys {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{} = {}", key.name, key.default);
        }
    }
    text
}

/// The default configuration with what each key is for.
pub fn print_default() -> String {
    let mut text = String::new();
    let say = |text: &mut String, lines: &[&str]| {
        lines.iter().for_each(|line| {
            let _ = writeln!(text, "# {line}");
        });
    };
    for table in TABLES {
        if !text.is_empty() {
            text.push('\n');
        }
        say(&mut text, table.says);
        write_head(table, &mut text);
        for key in table.keys {
            text.push('\n');
            say(&mut text, key.says);
            let _ = writeln!(text, "{} = {}", key.name, key.default);
        }
    }
    text.push('\n');
    text.push_str(EXAMPLES);
    text
}

fn write_head(table: &Table, text: &mut String) {
    if !table.name.is_empty() {
        let _ = writeln!(text, "[{}]", table.name);
    }
}

/// All keys with their tables: `limits.targets`.
#[cfg(test)]
pub(super) fn names() -> Vec<String> {
    let of = |table: &'static Table| table.keys.iter().map(move |key| (table.name, key.name));
    let dotted = |(table, key): (&str, &str)| match table {
        "" => key.to_owned(),
        table => format!("{table}.{key}"),
    };
    TABLES.iter().flat_map(of).map(dotted).collect()
}
