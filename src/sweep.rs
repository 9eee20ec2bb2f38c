//! Leftovers in the hidden sub-folder: the claims of processes that died. They are in nobody's way, so this is only
//! housekeeping: it never fails, and never delays the lock for more than a moment.

use std::ffi::CStr;

use crate::claim;
use crate::liveness::Verdict;
use crate::survey::{Entry, Eyes};
use crate::sys::{Dir, Opened};

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
            if let Ok(Opened::File(file)) = eyes.dir.open_small(&claim.0) {
                if file.take_over().unwrap_or(false) {
                    delete_claim(eyes.dir, &claim.0);
                }
            }
        }
        _ => {}
    }
}
