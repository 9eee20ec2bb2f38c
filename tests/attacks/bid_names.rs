//! Which files are bids. A UUID names a bid. Every other file in the folder belongs to others, and the library leaves it
//! as it is.

use std::fs;

use crate::support::{both, listing, set_time, Bid, Kind, Puppet, Scratch};

both!(each_spelling_of_a_uuid_names_a_bid, other_names_are_left_alone, the_files_of_a_project_are_nobodys_bids,);

/// Each usual spelling of a UUID.
fn each_spelling_of_a_uuid_names_a_bid(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    for spelling in ["0198c5f0-1234-4abc-8def-0123456789ab", "0198c5f012344abc8def0123456789ab"] {
        for stem in [spelling.to_owned(), spelling.to_uppercase(), format!("{{{spelling}}}")] {
            let (name, dead) = (stem + ".json", Bid::of(std::process::id()).with("START", 1));
            let path = scratch.folder().join(&name);
            Bid::of(std::process::id()).write(&path);
            counts_as_live(&mut puppet, &name);
            assert_eq!(puppet.bids(0)[0].name.to_str(), Some(name.as_str()));
            // The bid is a new file, because a bid that was seen is not read again while its owner lives.
            dead.write(&scratch.join("stale"));
            fs::rename(scratch.join("stale"), &path).unwrap();
            assert_eq!(puppet.bids(0)[0].state, "STALE");
            puppet.must("lock 0");
            assert!(!path.exists());
            puppet.must("unlock 0");
        }
    }
}

fn other_names_are_left_alone(kind: Kind) {
    let scratch = Scratch::new();
    let mut puppet = Puppet::at(kind, &scratch.folder());
    let longest = "x".repeat(250) + ".json";
    #[rustfmt::skip]
    let names = [
        ".json", "x.json", &longest, "a\nb.json", " .json", "-rf.json", "%s%n.json", "..json", "\x1b[31m.json", "x.JSON",
        "x.json~", "x.json.tmp", "json", "xjson", "README", ".x.jso", "{}.json",
        "0198c5f0-1234-4abc-8def-0123456789ab", "0198c5f0-1234-4abc-8def-0123456789ab.JSON",
        "urn:uuid:0198c5f0-1234-4abc-8def-0123456789ab.json", "0198c5f0-1234-4abc-8def-0123456789ag.json",
        "0198c5f0-1234-4abc-8def-0123456789a.json", "{0198c5f0-1234-4abc-8def-0123456789ab.json",
    ];
    for name in names {
        Bid::of(std::process::id()).write(&scratch.folder().join(name)); // as a bid it would be live
    }
    assert_eq!(puppet.must("in_use 0").number(), 0);
    assert_eq!(puppet.bids(0), []);
    puppet.must("grace 0 1");
    puppet.must("lock 0");
    puppet.must("fence 0");
    puppet.must("unlock 0");
    assert_eq!(puppet.must("reap 0").number(), 0);
    let mut expected: Vec<String> = names.iter().map(|name| name.to_string()).chain([".lockfolder".into()]).collect();
    expected.sort();
    assert_eq!(listing(&scratch.folder()), expected);
}

/// The folder of a project is a lock folder too. Its files are older than the boot, empty, cut off, not JSON, or they
/// name a PID.
fn the_files_of_a_project_are_nobodys_bids(kind: Kind) {
    for scratch in [Scratch::new(), Scratch::shm()] {
        let mut puppet = Puppet::at(kind, &scratch.folder());
        puppet.must("grace 0 1");
        let dead = r#"{"PID": 4194304, "CREATED": 1, "name": "app"}"#;
        let files = ["package.json", "tsconfig.json", "composer.json", ".eslintrc.json", "4194304.json"];
        for content in ["", "{", r#"{"name": "app"}"#, "not JSON", dead] {
            for name in files {
                let path = scratch.folder().join(name);
                fs::write(&path, content).unwrap();
                set_time(&path, 1_000_000_000);
            }
            assert_eq!(puppet.must("reap 0").number(), 0, "{content}");
            assert_eq!(puppet.must("in_use 0").number(), 0, "{content}");
            assert_eq!(puppet.bids(0), [], "{content}");
            puppet.must("lock 0");
            assert_eq!(puppet.bids(0).len(), 1, "{content}");
            assert_eq!(puppet.must("reap 0").number(), 0, "{content}");
            puppet.must("unlock 0");
            puppet.must("wait 0 -1");
            puppet.must("unlock 0");
            for name in files {
                assert_eq!(fs::read_to_string(scratch.folder().join(name)).unwrap(), content, "{name}");
            }
        }
    }
}

#[track_caller]
fn counts_as_live(puppet: &mut Puppet, what: &str) {
    assert_eq!(puppet.ask("lock 0"), "LF_BUSY", "{what}");
    assert_eq!(puppet.must("reap 0").number(), 0, "{what}");
    assert_eq!(puppet.must("in_use 0").number(), 1, "{what}");
    assert_eq!(puppet.bids(0).iter().map(|bid| bid.state).collect::<Vec<_>>(), ["LIVE"], "{what}");
}
