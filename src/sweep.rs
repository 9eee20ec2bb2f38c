//! Leftovers in the hidden sub-folder: the claims of processes that died. They are in nobody's way, so this is only
//! housekeeping: it never fails, and never delays the lock for more than a moment.

use std::ffi::CStr;

use crate::claim;
use crate::liveness::Verdict;
use crate::survey::{Entry, Eyes};
use crate::sys::Dir;

/// How many claims of others a new claim looks at. Two for each one that comes: so however many are left behind, there
/// are in the long run no more of them than of live ones.
const SAMPLE: usize = 2;

/// Deletes the claims behind bids that were just deleted: `numbers` tells their files. Each is judged again, for where the bid
/// had no claim (a Python peer's), its number may be a new claim's by now.
pub(crate) fn sweep_twins(eyes: &Eyes<'_>, numbers: &mut [u64]) {
    numbers.sort_unstable();
    let mut claims = Vec::new();
    if eyes.list(&mut claims, None).is_ok() {
        let twins = claims.iter().filter(|(_, number)| numbers.binary_search(number).is_ok());
        twins.for_each(|twin| sweep_one(eyes, twin));
    }
}

fn delete_claim(hidden: &Dir, claim: &CStr) {
    for beacon in claim::beacons_of(claim) {
        let _ = hidden.unlink(&beacon); // first, for the claim is what leads us to it
    }
    let _ = hidden.unlink(claim);
}

/// Looks at a few claims, chosen by chance, and deletes the stale.
pub(crate) fn sweep_some(eyes: &Eyes<'_>, own: Option<&CStr>, chance: u64) {
    let mut claims = Vec::new();
    if eyes.list(&mut claims, own).is_ok() && !claims.is_empty() {
        let start = chance as usize % claims.len();
        let some = claims.iter().cycle().skip(start);
        some.take(SAMPLE.min(claims.len())).for_each(|claim| sweep_one(eyes, claim));
    }
}

/// Looks at every claim, and deletes the stale.
pub(crate) fn sweep_all(eyes: &Eyes<'_>, own: Option<&CStr>) {
    let mut claims = Vec::new();
    if eyes.list(&mut claims, own).is_ok() {
        claims.iter().for_each(|claim| sweep_one(eyes, claim));
    }
    sweep_orphans(eyes.dir);
}

/// Deletes the beacons that no claim leads to any more: their owner, or who swept its claim, could not delete them. A claim is
/// there before its beacons, and goes after them.
fn sweep_orphans(hidden: &Dir) {
    let mut beacons = Vec::new();
    let _ = hidden.list(false, |name, _| {
        beacons.extend(claim::claim_of_beacon(name).map(|claim| (name.to_owned(), claim)));
    });
    for (beacon, _) in beacons.iter().filter(|(_, claim)| matches!(hidden.file_id(claim), Ok(None))) {
        let _ = hidden.unlink(beacon);
    }
}

fn sweep_one(eyes: &Eyes<'_>, claim: &Entry) {
    match eyes.judge(claim) {
        Ok(Some(c)) if c.verdict == Verdict::Stale => {
            delete_claim(eyes.dir, &claim.0);
        }
        // Its maker died, or is about to lock it; then it sees that we took it, and starts again.
        Ok(Some(c)) if c.verdict == Verdict::Malformed => {
            if eyes.dir.delete_unfinished(&claim.0).unwrap_or(false) {
                delete_claim(eyes.dir, &claim.0);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use super::*;
    use crate::bid::Bid;
    use crate::scratch::{proven, Scratch};
    use crate::sys::{Filesystem, Identity};

    struct Hidden {
        path: Scratch,
        dir: Dir,
        me: Arc<Identity>,
    }

    impl Hidden {
        fn new() -> Hidden {
            let path = Scratch::new();
            Hidden { dir: Dir::open(&path).unwrap(), path, me: Identity::current().unwrap() }
        }

        /// A claim with a beacon. Returns the number of its file.
        fn claim(&self, id: &str, pid: u32) -> u64 {
            let path = self.path.join(format!("{id}.json"));
            fs::write(&path, Bid { pid, ..Bid::default() }.to_json()).unwrap();
            fs::write(self.path.join(format!("{id}.beacon-1")), "").unwrap();
            fs::metadata(path).unwrap().ino()
        }

        fn eyes(&self) -> Eyes<'_> {
            Eyes { dir: &self.dir, me: &self.me, on: Filesystem::Local, malformed_grace_ms: 0 }
        }

        fn left(&self) -> BTreeSet<String> {
            fs::read_dir(&*self.path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    /// No PID of Linux is so large.
    const DEAD: u32 = 1 << 22;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn what_the_dead_left_goes_and_the_rest_stays() {
        let hidden = Hidden::new();
        hidden.claim("dead", DEAD);
        hidden.claim("live", hidden.me.pid);
        hidden.claim("own", DEAD); // it would go if it were not said to be ours
        fs::write(hidden.path.join("unfinished.json"), "").unwrap();
        let _made_now = proven(File::create(hidden.path.join("made-now.json")).unwrap());
        for name in ["orphan.beacon-1", "orphan.beacon-2", "fence-7"] {
            fs::write(hidden.path.join(name), "").unwrap();
        }
        sweep_all(&hidden.eyes(), Some(c"own.json"));
        let stay = ["fence-7", "live.beacon-1", "live.json", "made-now.json", "own.beacon-1", "own.json"];
        assert_eq!(hidden.left(), names(&stay));
    }

    /// Wherever it begins, so that in the long run none is passed over.
    #[test]
    fn a_new_claim_sweeps_two_others() {
        for chance in 0..5 {
            let hidden = Hidden::new();
            for id in ["a", "b", "c"] {
                hidden.claim(id, DEAD);
            }
            hidden.claim("own", DEAD);
            sweep_some(&hidden.eyes(), Some(c"own.json"), chance);
            assert_eq!(hidden.left().len(), 4, "one, and our own, with a beacon each");
            sweep_some(&hidden.eyes(), Some(c"own.json"), chance);
            assert_eq!(hidden.left(), names(&["own.json", "own.beacon-1"]));
            sweep_some(&hidden.eyes(), Some(c"own.json"), chance); // there is none
        }
    }

    #[test]
    fn the_claims_of_reaped_bids_go_unless_their_owner_lives() {
        let hidden = Hidden::new();
        let mut numbers = ["x", "a", "m"].map(|id| hidden.claim(id, DEAD));
        numbers[1] = hidden.claim("live", hidden.me.pid);
        hidden.claim("other", DEAD);
        sweep_twins(&hidden.eyes(), &mut numbers);
        let stay = ["a.json", "a.beacon-1", "live.json", "live.beacon-1", "other.json", "other.beacon-1"];
        assert_eq!(hidden.left(), names(&stay));
    }
}
