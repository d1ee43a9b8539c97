//! What the JSON outputs say.

use std::path::Path;

use serde_json::Value;

/// A JSON file.
pub fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the json output is written");
    serde_json::from_str(&text).expect("it is json")
}

/// The account of an event, by its position.
pub fn event(document: &Value, idx: usize) -> &Value {
    &document["ledger"]["events"][idx]
}

/// A number of an account.
pub fn number(account: &Value, name: &str) -> u64 {
    account[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {account}"))
}

/// emitted = delivered + Σ lost, for every event whose emitted is known.
pub fn check_identity(document: &Value) {
    let events = document["ledger"]["events"].as_array().expect("events");
    assert!(!events.is_empty());
    for account in events {
        let Some(emitted) = account["emitted"].as_i64() else {
            continue;
        };
        let lost = account["lost"].as_object().expect("a table of losses");
        let lost: i64 = lost.values().map(|n| n.as_i64().expect("a number")).sum();
        let delivered = account["delivered"].as_i64().expect("a number");
        assert_eq!(emitted, delivered + lost, "{account}");
        assert_eq!(account["unexplained"], 0, "{account}");
    }
}
