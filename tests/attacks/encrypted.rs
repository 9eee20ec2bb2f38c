//! A user links an encrypted file (fscrypt) into a lock folder, and takes its key away. Then nobody can open that file, not even
//! root (ENOKEY). It denies what a bid may deny, and no more.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::c::{compile, need, output, run, said, Link};
use crate::support::stage::Stage;
use crate::support::{bid_name, both, skip, Kind, Puppet, NOBODY};

both!(a_bid_whose_key_is_gone_counts_as_live_and_is_named, a_claim_whose_key_is_gone_fails_no_wait,);

/// A lock folder for all users, and two claimants of root's that have used it. None: this machine can't run the test.
fn scene(kind: Kind) -> Option<(Stage, PathBuf, [Puppet; 2])> {
    if !crate::support::namespaces_or_skip("encrypted files") || !need("mkfs.ext4", &["e2fsprogs"]) {
        return None;
    }
    let stage = Stage::new();
    stage.run(
        "mkdir $T/at && truncate -s 16M $T/image && mkfs.ext4 -q -m 0 -O encrypt $T/image && \
        mount -t ext4 -o loop $T/image $T/at && mkdir -m 1777 $T/at/lock",
    );
    let folder = stage.join("at/lock");
    let mut puppets = [stage.puppet(kind), stage.puppet(kind)];
    for puppet in &mut puppets {
        puppet.open(0, &folder);
        puppet.must("lock 0");
        puppet.must("unlock 0");
    }
    Some((stage, folder, puppets))
}

/// Makes the file under these names. False: this kernel has no such files.
fn link_encrypted(stage: &Stage, names: &[PathBuf]) -> bool {
    static MAKER: OnceLock<PathBuf> = OnceLock::new();
    let maker = MAKER.get_or_init(|| compile("encrypted.c", &["gcc", "-std=gnu11", "-O1"], Link::Alone));
    let mut command = stage.command(maker);
    command.arg(NOBODY.to_string()).arg(stage.join("at/private")).arg(r#"{"PID": 4194304}"#).args(names);
    let made = run(&mut command);
    if made.status.code() == Some(77) {
        skip(&format!("encrypted files: {}", said(&made)));
        return false;
    }
    assert!(made.status.success(), "{}", said(&made));
    let error = run(stage.command("cat").arg(&names[0]));
    assert!(said(&error).contains("Required key not available"), "{}", said(&error));
    true
}

/// The bid says that its owner is dead. But nobody can read that.
fn a_bid_whose_key_is_gone_counts_as_live_and_is_named(kind: Kind) {
    let Some((stage, folder, [mut puppet, _])) = scene(kind) else { return };
    let bid = folder.join(bid_name("a"));
    if !link_encrypted(&stage, std::slice::from_ref(&bid)) {
        return;
    }
    for (call, status) in [("lock 0", "LF_BUSY"), ("wait 0 30", "LF_TIMEOUT")] {
        assert_eq!(puppet.ask(call), status, "{}", puppet.why(0));
        assert!(puppet.why(0).contains(&bid_name("a")), "{}", puppet.why(0));
    }
    let seen = puppet.bids(0);
    assert_eq!((seen.len(), seen[0].state), (1, "UNKNOWN"));
    assert_eq!(puppet.must("in_use 0").number(), 1);
    assert_eq!(puppet.must("reap 0").number(), 0);
    output(&mut rm(&stage, &bid));
    puppet.must("lock 0");
}

/// A forged ticket leads to the claim. It costs the time of a ticket of a live claimant, and nothing else.
fn a_claim_whose_key_is_gone_fails_no_wait(kind: Kind) {
    let Some((stage, folder, [mut holder, mut waiter])) = scene(kind) else { return };
    holder.must("lock 0");
    waiter.start_to_wait(0, -1);
    let hidden = folder.join(".lockfolder");
    crate::support::wait_until(|| stage.seen(&hidden.join("queue")).exists());
    let forged = ["00000000deadbeef.json", "queue/000000000000000000000000deadbeef"].map(|name| hidden.join(name));
    if !link_encrypted(&stage, &forged) {
        return;
    }
    holder.must("unlock 0");
    assert_eq!(waiter.ask("join 1"), "LF_OK", "{}", waiter.why(0));
    waiter.must("unlock 0");
    holder.must("wait 0 -1");
    holder.must("unlock 0");
    holder.must("reap 0");
}

fn rm(stage: &Stage, path: &std::path::Path) -> Command {
    let mut command = stage.command("rm");
    command.arg(path);
    command
}
