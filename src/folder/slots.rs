//! How many may hold the lock together with this claimant.

use std::sync::Arc;

use super::Folder;
use crate::error::{Error, ErrorKind, Result};
use crate::folder::claim::Claim;
use crate::folder::names::{Ticket, HIDDEN};
use crate::owner::rival::Rival;
use crate::slots::Slots;

impl Folder {
    /// From the next bid on, so many may hold the lock together with us.
    pub fn set_slots(&mut self, slots: Slots) -> Result<()> {
        if slots != self.slots {
            self.slots = slots;
            self.claim.iter_mut().for_each(Claim::distrust); // the claim states the slots
        }
        Ok(())
    }

    /// How many may hold the lock together with the owner of this ticket. A claimant that tolerates no company needs to know no more than
    /// whether anybody is there, so it does not read that claim.
    pub(super) fn slots_of(&self, ticket: Ticket) -> Slots {
        if !self.slots.tolerates_company() {
            return Slots::One;
        }
        let owner = match &self.claim {
            Some(claim) => self.scanner_of(claim.hidden()).judge(&(ticket.claim.file(), 0)),
            None => {
                self.dir().open_dir(HIDDEN).and_then(|hidden| self.scanner_of(&hidden).judge(&(ticket.claim.file(), 0)))
            }
        };
        owner.ok().flatten().map_or(Slots::One, |owner| owner.stated_slots())
    }

    /// The live rivals that made our last attempt fail, if we remember them all.
    pub(super) fn rivals_in_the_way(&self) -> Vec<Arc<Rival>> {
        let Some(last) = &self.memory.last else { return Vec::new() };
        let all_places = match self.slots {
            Slots::AtMost(places) if self.slots.tolerates(last.slots()) => places as usize,
            _ => return vec![Arc::clone(last)],
        };
        let all = self.memory.company.iter().chain([last]).map(Arc::clone);
        Some(all.collect()).filter(|all: &Vec<_>| all.len() == all_places).unwrap_or_default()
    }

    /// The error of a claimant that shares the folder and names another number than the rival.
    pub(super) fn differs(&self, rival: &Arc<Rival>) -> Error {
        let named = |slots| match slots {
            Slots::Any => "any number of slots".to_owned(),
            Slots::One => "1 slot".to_owned(),
            Slots::AtMost(n) => format!("{n} slots"),
        };
        let text = format!(
            "this handle names {} for the lock folder {}, but {} and names {}: all that share a folder must name the same \
             number",
            named(self.slots),
            self.path().display(),
            rival.holder(),
            named(rival.slots()),
        );
        Error::new(ErrorKind::Invalid, text)
    }
}
