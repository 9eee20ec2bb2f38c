//! The table of docs/filesystems.md. The run makes it, and compares it with the page.

use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- this table is written by a run of the test -->\n";
const END: &str = "<!-- end of the table -->\n";
const NOT_RUN: &str = "not run: ";

pub struct Row {
    pub filesystem: &'static str,
    /// What the run saw, in the order of the columns; or the reason why it could not run.
    pub cells: Result<Vec<String>, String>,
}

impl Row {
    fn text(&self, columns: usize) -> String {
        let cells = match &self.cells {
            Ok(cells) => cells.clone(),
            Err(why) => [vec![format!("{NOT_RUN}{why}")], vec!["".into(); columns - 1]].concat(),
        };
        format!("| {} | {} |\n", self.filesystem, cells.join(" | "))
    }
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/filesystems.md")
}

/// Compares the page with the run, or writes the run into the page if that was asked for. Rows that could not be run, here or for the
/// page, are not compared.
pub fn compare(columns: &[&str], rows: &[Row]) -> Result<(), String> {
    let text = std::fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has the mark of the table's begin");
    let (table, after) = rest.split_once(END).expect("the page has the mark of the table's end");
    if std::env::var_os("LOCKFOLDER_WRITE_TABLE").is_some() {
        let head = format!("| filesystem | {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len() + 1));
        let body: String = rows.iter().map(|row| row.text(columns.len())).collect();
        std::fs::write(page(), [before, BEGIN, "\n", &head, &body, "\n", END, after].concat()).unwrap();
        return Ok(());
    }
    for row in rows.iter().filter(|row| row.cells.is_ok()) {
        let name = format!("| {} |", row.filesystem);
        let there = table.lines().find(|line| line.starts_with(&name)).unwrap_or("no such row");
        let here = row.text(columns.len());
        if !there.contains(NOT_RUN) && there != here.trim_end() {
            return Err(format!(
                "docs/filesystems.md says\n{there}\nand the run saw\n{here}\nIf that is right: LOCKFOLDER_WRITE_TABLE=1 cargo test --test filesystems"
            ));
        }
    }
    Ok(())
}
