//! The requests of the recipe, in etcd's JSON. Keys and values are base64, and numbers of 64 bits are texts.

use std::time::{Duration, Instant};

use base64::prelude::{Engine, BASE64_STANDARD};
use serde_json::{json, Value};

use crate::etcd::client::{Answer, Client};
use crate::etcd::fault::{Fault, NOT_FOUND, PRECONDITION};

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    /// The revision that created the key. The smallest holds the lock.
    pub created: u64,
}

/// Which member answered, and in which term of its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    member: u64,
    term: u64,
}

/// The line as one look shows it: a look is one transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// Our own key.
    pub own: Option<Entry>,
    /// The key right before ours.
    pub ahead: Option<Entry>,
    /// The key that holds the lock.
    pub first: Option<Entry>,
    /// The revision that the look showed.
    pub revision: u64,
}

pub(super) enum Posted {
    /// Our key is the first. The value is the revision that created it.
    First(u64),
    /// There is another key. Ours is not there.
    Taken(Option<Entry>),
}

/// Our key was posted.
pub(super) struct Posting {
    pub sight: Sight,
    /// False: an earlier try posted it, so `sight` has nothing but our key.
    pub is_complete: bool,
}

/// A result, and whether etcd may carry out an earlier try of the request later.
pub(super) type Certain<T> = Result<(T, bool), Fault>;

impl Client {
    /// Makes a lease. After an answer that was lost, the next try finds it: nobody else uses this number.
    pub fn grant(&self, lease: u64, seconds: u64, end: Instant) -> Result<(), Fault> {
        let body = json!({ "ID": lease.to_string(), "TTL": seconds.to_string() });
        match self.ask("lease/grant", &body, end) {
            Ok(_) => Ok(()),
            Err(fault) if fault.may_be_done && fault.is(PRECONDITION) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Ends a lease, and deletes its key. It is no error if it has ended.
    pub fn revoke(&self, lease: u64, end: Instant) -> Result<(), Fault> {
        match self.ask("lease/revoke", &json!({ "ID": lease.to_string() }), end) {
            Err(fault) if !fault.is(NOT_FOUND) => Err(fault),
            _ => Ok(()),
        }
    }

    /// Renews a lease at one endpoint. False: that endpoint knows no such lease.
    pub fn keep_alive(&self, at: usize, lease: u64, time: Duration) -> Result<(bool, Origin), Fault> {
        let answer = self.ask_at(at, "lease/keepalive", &json!({ "ID": lease.to_string() }), time)?;
        let result = answer.get("result").unwrap_or(&Value::Null);
        Ok((number(result, "TTL") > 0, origin(result)))
    }

    /// Our own key, as a majority has it. The answer tells which member gave it.
    pub fn own_at(&self, at: usize, key: &str, time: Duration) -> Result<(Option<Entry>, Origin), Fault> {
        let answer = self.ask_at(at, "kv/range", &json!({ "key": coded(key) }), time)?;
        Ok((entries(&answer).pop(), origin(&answer)))
    }

    /// Posts our key if there is none below the prefix.
    pub fn post_if_free(&self, prefix: &str, key: &str, value: &str, lease: u64, end: Instant) -> Certain<Posted> {
        let body = json!({
            "compare": [{ "target": "CREATE", "result": "EQUAL", "key": coded(prefix), "range_end": coded(&after(prefix)),
                          "create_revision": "0" }],
            "success": [put(key, value, lease)],
            "failure": [ends(prefix, "ASCEND", None, 1)],
        });
        let answer = self.ask("kv/txn", &body, end)?;
        if succeeded(&answer.json) {
            return Ok((Posted::First(revision(&answer.json)), answer.may_come_again));
        }
        let posted = match part(&answer.json, 0).pop() {
            // An earlier try posted it, and its answer was lost.
            Some(first) if first.key == key => Posted::First(first.created),
            first => Posted::Taken(first),
        };
        Ok((posted, answer.may_come_again))
    }

    /// Posts our key behind all others. The result is the line as it was then.
    pub fn post(&self, prefix: &str, key: &str, value: &str, lease: u64, end: Instant) -> Certain<Posting> {
        let body = json!({
            "compare": [{ "target": "CREATE", "result": "EQUAL", "key": coded(key), "create_revision": "0" }],
            "success": [put(key, value, lease), get(key), ends(prefix, "DESCEND", None, 2), ends(prefix, "ASCEND", None, 1)],
            "failure": [get(key), get(key)],
        });
        let Answer { json, may_come_again } = self.ask("kv/txn", &body, end)?;
        let ahead = part(&json, 2).into_iter().find(|other| other.key != key);
        let sight = Sight { own: part(&json, 1).pop(), ahead, first: part(&json, 3).pop(), revision: revision(&json) };
        Ok((Posting { sight, is_complete: succeeded(&json) }, may_come_again))
    }

    /// Looks at our key and at those before it.
    pub fn look(&self, prefix: &str, key: &str, created: u64, end: Instant) -> Result<Sight, Fault> {
        let before = created.saturating_sub(1);
        let body = json!({ "success": [
            get(key), ends(prefix, "DESCEND", Some(before), 1), ends(prefix, "ASCEND", None, 1),
        ]});
        let answer = self.ask("kv/txn", &body, end)?.json;
        let mut ahead = part(&answer, 1).pop();
        if before == 0 {
            ahead = None; // to etcd, 0 means no limit
        }
        Ok(Sight { own: part(&answer, 0).pop(), ahead, first: part(&answer, 2).pop(), revision: revision(&answer) })
    }

    /// Whether our key is the oldest of the line: it is there, and no other is before it. It is the cheapest look, because etcd's gateway
    /// needs longer for each word.
    pub fn is_oldest(&self, prefix: &str, key: &str, created: u64, end: Instant) -> Result<bool, Fault> {
        let body = json!({
            "key": coded(prefix), "range_end": coded(&after(prefix)), "sort_target": "CREATE", "limit": "1", "keys_only": true,
            "max_create_revision": created.to_string(), "sort_order": "ASCEND",
        });
        let oldest = entries(&self.ask("kv/range", &body, end)?.json).pop();
        Ok(oldest.is_some_and(|oldest| oldest.created == created && oldest.key == key))
    }

    /// Deletes our key, if it is still the one that this revision created. A try that comes late can therefore not delete a later key.
    /// False: there was no such key.
    pub fn delete(&self, key: &str, created: u64, end: Instant) -> Certain<bool> {
        let body = json!({
            "compare": [{ "target": "CREATE", "result": "EQUAL", "key": coded(key), "create_revision": created.to_string() }],
            "success": [{ "request_delete_range": { "key": coded(key) } }],
        });
        let answer = self.ask("kv/txn", &body, end)?;
        Ok((succeeded(&answer.json), answer.may_come_again))
    }

    /// All keys below the prefix, in the order of the line.
    pub fn list(&self, prefix: &str, end: Instant) -> Result<Vec<Entry>, Fault> {
        let body = json!({ "key": coded(prefix), "range_end": coded(&after(prefix)), "sort_target": "CREATE", "sort_order": "ASCEND" });
        Ok(entries(&self.ask("kv/range", &body, end)?.json))
    }
}

/// What begins a watch on the deletion of a key.
pub(super) fn watch(key: &str, from: u64) -> Value {
    json!({ "create_request": { "key": coded(key), "start_revision": from.to_string(), "filters": ["NOPUT"] } })
}

/// What a line of the answer to a watch says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing of interest. All before this revision is known.
    Nothing(u64),
    Deleted,
    /// Etcd has forgotten the revisions that we asked for, or has ended the watch.
    Gap,
}

pub(super) fn news(line: &str) -> News {
    let Ok(answer) = serde_json::from_str::<Value>(line) else { return News::Gap };
    let Some(result) = answer.get("result") else { return News::Gap };
    if result.get("canceled").and_then(Value::as_bool) == Some(true) || number(result, "compact_revision") > 0 {
        return News::Gap;
    }
    let events = result.get("events").and_then(Value::as_array);
    let is_deletion = |event: &Value| event.get("type").and_then(Value::as_str) == Some("DELETE");
    match events.is_some_and(|events| events.iter().any(is_deletion)) {
        true => News::Deleted,
        // The answer that says that the watch was made has the revision of now, and the watch begins before that.
        false if events.is_none() => News::Nothing(0),
        false => News::Nothing(revision(result) + 1),
    }
}

fn coded(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn decoded(value: &Value, name: &str) -> Vec<u8> {
    value.get(name).and_then(Value::as_str).and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default()
}

/// The first key behind all that begin with this prefix, which ends with a slash.
fn after(prefix: &str) -> String {
    format!("{}0", &prefix[..prefix.len() - 1])
}

fn put(key: &str, value: &str, lease: u64) -> Value {
    json!({ "request_put": { "key": coded(key), "value": coded(value), "lease": lease.to_string() } })
}

fn get(key: &str) -> Value {
    json!({ "request_range": { "key": coded(key) } })
}

/// The first or the last key of the line, up to a revision.
fn ends(prefix: &str, order: &str, up_to: Option<u64>, limit: u32) -> Value {
    let mut range = json!({
        "key": coded(prefix), "range_end": coded(&after(prefix)), "sort_target": "CREATE", "sort_order": order, "limit": limit.to_string(),
    });
    if let Some(up_to) = up_to {
        range["max_create_revision"] = up_to.to_string().into();
    }
    json!({ "request_range": range })
}

/// A number of 64 bits is a text in JSON, and is left out if it is 0.
fn number(value: &Value, name: &str) -> u64 {
    let found = value.get(name);
    found.and_then(|found| found.as_u64().or_else(|| found.as_str()?.parse().ok())).unwrap_or(0)
}

fn origin(answer: &Value) -> Origin {
    let header = answer.get("header").unwrap_or(&Value::Null);
    Origin { member: number(header, "member_id"), term: number(header, "raft_term") }
}

fn revision(answer: &Value) -> u64 {
    number(answer.get("header").unwrap_or(&Value::Null), "revision")
}

fn succeeded(answer: &Value) -> bool {
    answer.get("succeeded").and_then(Value::as_bool) == Some(true)
}

/// What one request of a transaction found.
fn part(answer: &Value, at: usize) -> Vec<Entry> {
    let found = answer.get("responses").and_then(|parts| parts.get(at)?.get("response_range"));
    found.map_or_else(Vec::new, entries)
}

fn entries(answer: &Value) -> Vec<Entry> {
    let found = answer.get("kvs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let entry = |kv: &Value| Entry {
        key: String::from_utf8_lossy(&decoded(kv, "key")).into_owned(),
        value: decoded(kv, "value"),
        created: number(kv, "create_revision"),
    };
    found.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_told_from_gaps() {
        assert_eq!(news(r#"{"result":{"header":{"revision":"7"},"created":true}}"#), News::Nothing(0));
        let deleted = r#"{"result":{"header":{"revision":"7"},"events":[{"type":"DELETE","kv":{"key":"cA=="}}]}}"#;
        assert_eq!(news(deleted), News::Deleted);
        assert_eq!(news(r#"{"result":{"header":{"revision":"7"},"events":[{"kv":{}}]}}"#), News::Nothing(8));
        for gap in
            [r#"{"result":{"canceled":true,"compact_revision":"5"}}"#, r#"{"error":{"grpc_code":14}}"#, "", "<html>"]
        {
            assert_eq!(news(gap), News::Gap, "{gap}");
        }
    }

    #[test]
    fn an_answer_of_a_range_is_read() {
        let answer = json!({ "header": { "revision": "9", "member_id": "3", "raft_term": "2" }, "kvs": [
            { "key": "cC9h", "value": "aGk=", "create_revision": "2" } ] });
        let entry = Entry { key: "p/a".to_owned(), value: b"hi".to_vec(), created: 2 };
        assert_eq!((entries(&answer), revision(&answer)), (vec![entry], 9));
        assert_eq!(origin(&answer), Origin { member: 3, term: 2 });
        assert_eq!((entries(&json!({})), succeeded(&json!({}))), (Vec::new(), false));
        assert_eq!(after("a/b/"), "a/b0");
    }
}
