//! The outcome of a contest, or of `tune`, as one HTML page: plots, tables, commands, the machine. Nothing is
//! loaded from elsewhere; light and dark, on a phone and on paper. Written whole or not at all.

pub mod chart;
mod contest;
pub mod curve;
mod fairness;
mod plots;
mod tuning;
mod verdicts;

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::failure::Failure;
use crate::whole_file;

pub use contest::write;
pub use tuning::write_tuning;

/// Colours, letters and the page's grid.
const STYLE: &str = include_str!("report/style.css");

/// Puts a page in its place.
pub fn publish(path: &Path, page: &Markup) -> Result<(), Failure> {
    let written = whole_file::publish(path, |out| out.write_all(page.0.as_bytes()));
    written.map_err(|error| Failure::at(path, "write the report", &error))
}

/// What every page has around its contents.
pub fn shell(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "ringpool: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
}
