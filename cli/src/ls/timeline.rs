//! `ls --watch --timeline`: a picture of who waited, who held, and who died, as SVG.

use std::fmt::Write;
use std::time::{Duration, Instant};

use lockfolder::BidState;

use super::watch::who;
use crate::listing::Listing;

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Waits,
    Holds,
    Died,
}

/// A claimant was seen to do this from one moment to another.
struct Span {
    lane: usize,
    what: What,
    from: Duration,
    to: Duration,
}

#[derive(Default)]
pub(super) struct Timeline {
    began: Option<Instant>,
    end: Duration,
    lanes: Vec<String>,
    spans: Vec<Span>,
}

/// So many claimants get a lane of their own. More would not be readable.
const MOST: usize = 60;
const LEFT: f64 = 260.0;
const WIDTH: f64 = 900.0;
const LANE: f64 = 22.0;

impl Timeline {
    pub fn see(&mut self, listing: &Listing) {
        let now = self.began.get_or_insert_with(Instant::now).elapsed();
        let before = std::mem::replace(&mut self.end, now);
        for bid in &listing.bids {
            let name = who(bid.command.as_deref(), bid.pid);
            match bid.state {
                BidState::Stale => self.extend(name, What::Died, before, now),
                _ if listing.is_holder(bid) => self.extend(name, What::Holds, before, now),
                _ => {}
            }
        }
        for waiter in &listing.waiters {
            self.extend(who(waiter.command.as_deref(), waiter.pid), What::Waits, before, now);
        }
    }

    fn extend(&mut self, name: String, what: What, before: Duration, now: Duration) {
        let lane = match self.lanes.iter().position(|lane| *lane == name) {
            Some(lane) => lane,
            None if self.lanes.len() == MOST => return,
            None => {
                self.lanes.push(name);
                self.lanes.len() - 1
            }
        };
        let last = self.spans.iter_mut().rev().find(|span| span.lane == lane);
        match last.filter(|last| last.what == what && last.to >= before) {
            Some(last) => last.to = now,
            None => self.spans.push(Span { lane, what, from: now, to: now }),
        }
    }

    pub fn svg(&self) -> String {
        let all = self.end.as_secs_f64().max(0.001);
        let height = LANE * self.lanes.len().max(1) as f64 + 50.0;
        let at = |time: Duration| LEFT + WIDTH * time.as_secs_f64() / all;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            LEFT + WIDTH + 20.0
        );
        for (lane, name) in self.lanes.iter().enumerate() {
            let y = LANE * lane as f64 + 24.0;
            let name = in_xml(&crate::text::fit(name, 38));
            let _ = writeln!(svg, "<text x=\"8\" y=\"{}\">{name}</text>", y + 4.0);
            let _ = writeln!(svg, "<path d=\"M{LEFT} {y}h{WIDTH}\" stroke=\"#eee\"/>");
        }
        for span in &self.spans {
            let y = LANE * span.lane as f64 + 24.0;
            let (x, width) = (at(span.from), (at(span.to) - at(span.from)).max(1.0));
            let _ = match span.what {
                What::Waits => writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"4\" fill=\"#bbb\"/>",
                    y - 2.0
                ),
                What::Holds => {
                    writeln!(
                        svg,
                        "<rect x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"14\" fill=\"#2a7\"/>",
                        y - 7.0
                    )
                }
                What::Died => {
                    writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" fill=\"#c22\" font-weight=\"bold\">✕</text>", y + 4.0)
                }
            };
        }
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#666\">{} · green: holds · grey: waits · ✕: died</text>\n</svg>",
            height - 10.0,
            crate::text::age(self.end)
        );
        svg
    }
}

fn in_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
