//! Files that are right, and what is said of those that are not.

use super::*;
use crate::model::Pid;

#[test]
fn the_printed_default_is_the_default_and_names_every_key() {
    let printed = print_default();
    assert_eq!(Config::parse(&printed), Ok(Config::default()));
    // The parser says which keys there are when it meets one that it does not know.
    for (table, prefix) in [
        ("", ""),
        ("[names]\n", "names."),
        ("[limits]\n", "limits."),
        ("[files]\n", "files."),
    ] {
        let refused = Config::parse(&format!("{table}no_such_key = 1")).expect_err("unknown");
        let known: Vec<&str> = refused.hints[0].split('`').skip(1).step_by(2).collect();
        assert!(!known.is_empty(), "{refused:?}");
        for key in known
            .into_iter()
            .filter(|key| !["names", "limits", "files", "target"].contains(key))
        {
            assert!(
                keys::names().contains(&format!("{prefix}{key}")),
                "{prefix}{key}"
            );
            assert!(printed.contains(&format!("\n{key} = ")), "{key}");
        }
    }
}

#[test]
fn the_examples_of_the_printed_default_are_targets() {
    let printed = print_default();
    let uncommented = |line: &str| {
        let line = line.strip_prefix("# ")?;
        (line.starts_with("[[")
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| !key.contains(' ')))
        .then(|| format!("{line}\n"))
    };
    let examples: String = printed.lines().filter_map(uncommented).collect();
    let config = Config::parse(&examples).expect("examples are right");
    assert_eq!(config.targets.len(), 5);
    assert_eq!(config.targets[1].name, "workers");
    assert_eq!(config.targets[1].sampling.frequency, Hz(97));
    assert_eq!(config.targets[1].sampling.events.len(), 2);
    assert_eq!(config.targets[0].sampling, config.sampling);
    assert!(!config.targets[2].files && config.targets[3].files);
}

#[test]
fn a_file_says_only_what_differs() {
    let config = Config::parse("window = \"1s\"\n[limits]\nclients = 3\n[[target]]\npid = 7\n")
        .expect("right");
    let default = Config::default();
    assert_eq!(config.window, Duration::from_secs(1));
    assert_eq!(
        config.limits,
        Limits {
            clients: 3,
            ..default.limits
        }
    );
    assert_eq!(config.targets[0].selector, Selector::Pid(Pid(7)));
    assert_eq!(config.targets[0].name, "pid-7");
    assert_eq!(config.files, default.files);
    assert_eq!(
        Config::parse("admin_group = \"\"")
            .expect("right")
            .admin_group,
        None
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line_its_value_and_what_is_allowed() {
    let said = |text: &str| {
        let fault = Config::parse(text).expect_err(text);
        assert_eq!(fault.class, FaultClass::Configuration, "{text}");
        format!("{fault}\n{}", fault.hints.join("\n"))
    };
    let check = |text: &str, expected: &[&str]| {
        let said = said(text);
        for part in expected {
            assert!(
                said.contains(part),
                "{text:?} gives {said:?}, without {part:?}"
            );
        }
    };
    check(
        "\nfrequncy = 3",
        &[
            "line 2: frequncy = 3: unknown key `frequncy`",
            "allowed here: `frequency`",
        ],
    );
    check(
        "[limits]\ntargets = 0",
        &["line 2: targets = 0: not a number from 1 to 1024"],
    );
    check(
        "frequency = 0",
        &["frequency = 0: not a number from 1 to 1000000"],
    );
    check("frequency = -1", &["not a number from 1"]);
    check(
        "frequency = \"x\"",
        &["line 1: frequency = \"x\": string \"x\", where a whole number belongs"],
    );
    check(
        "frequency = 1.5",
        &["floating point `1.5`, where a whole number belongs"],
    );
    check(
        "python = 1",
        &["line 1: python = 1: integer `1`, where true or false belongs"],
    );
    check(
        "window = 10",
        &["integer `10`, where text in quotes belongs"],
    );
    check(
        "events = \"cycles\"",
        &["string \"cycles\", where a list: [\"…\", \"…\"] belongs"],
    );
    check(
        "limits = 3",
        &["line 1: limits = 3: integer `3`, where a table belongs"],
    );
    for text in [
        "frequency =",
        "frequency = # none\n",
        "frequency\nwindow = \"1s\"",
    ] {
        check(
            text,
            &[
                "line 1: frequency",
                "key `frequency` has no value",
                "try: frequency = 19 ",
            ],
        );
    }
    check(
        "[limits]\n\ntargets =\n",
        &[
            "line 3: targets =: key `targets` has no value",
            "try: targets = ",
        ],
    );
    check(
        "[[target]]\nhost =",
        &["key `host` has no value", "try: a value"],
    );
    check("window = \"10\"", &["write it like 100ms"]);
    check("window = \"2h\"", &["not a time from 100ms to 3600s"]);
    check(
        "[files]\nkeep_bytes = \"1GB\"",
        &["write it like 4096, 512KiB"],
    );
    check(
        "[files]\ntargets = \"some\"",
        &["line 2", "unknown value `some`", "`configured`"],
    );
    check("events = [\"cycels\"]", &["line 1", "cycels"]);
    check("events = [\"cycles\", \"cycles\"]", &["stands there twice"]);
    check(
        "events = [\"cyclse\"]",
        &["unknown event \"cyclse\"; did you mean cycles?"],
    );
    check("x = [", &["line 1"]);
    check("frequency = 1\nfrequency = 2", &["line 2", "duplicate key"]);
    check(
        "[[target]]\nname = \"a\"",
        &["line 1: [[target]]: a target has exactly one of pid"],
    );
    check("[[target]]\npid = 1\nhost = true", &["exactly one of"]);
    check("[[target]]\nhost = false", &["host = false"]);
    check(
        "[[target]]\nunit = \"../x\"",
        &["not the name of a service"],
    );
    check("[[target]]\npid = 0", &["pid 0: not a number"]);
    check(
        "[[target]]\nhost = true\nname = \"a\\nb\"",
        &["without control characters"],
    );
    check(
        "[[target]]\npid = 1\n[[target]]\npid = 1",
        &["line 3", "already", "name = "],
    );
    check(
        "[limits]\ntargets = 1\n[[target]]\npid = 1\n[[target]]\npid = 2",
        &["limits.targets is 1"],
    );
    check(
        "window = \"2m\"",
        &["line 1: window = \"2m\": files.window is 60s, shorter than window, 120s"],
    );
    check(
        "window = \"2m\"\n[limits]\n[files]\n  window=\"90s\"",
        &["line 4: window=\"90s\": files.window is 90s, shorter than window, 120s"],
    );
}

#[test]
fn a_file_of_any_bytes_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("perfd.toml");
    std::fs::write(&path, b"\xff\xfe = 1").expect("written");
    let fault = Config::read(&path).expect_err("not UTF-8");
    assert!(fault.what.starts_with(&path.display().to_string()));
    std::fs::write(&path, "[".repeat(100_000)).expect("written");
    Config::read(&path).expect_err("too deep");
    std::fs::write(&path, "# comment\n".repeat(200_000)).expect("written");
    assert!(
        Config::read(&path)
            .expect_err("too large")
            .what
            .contains("1 MiB")
    );
}

#[test]
fn a_file_that_need_not_be_there_is_read_when_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("perfd.toml");
    let usual = Place::IfThere(path.clone());
    assert_eq!(usual.read(), Ok(Config::default()));
    assert_eq!(Place::Nowhere.read(), Ok(Config::default()));
    Place::File(path.clone()).read().expect_err("none there");
    std::fs::write(&path, "frequency = 7\n").expect("written");
    assert_eq!(
        usual.read().map(|config| config.sampling.frequency),
        Ok(Hz(7))
    );
    assert_eq!(Place::File(path).read(), usual.read());
}
