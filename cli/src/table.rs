//! Numbers and tables as people read them.

use std::ops::Range;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use indicatif::{BinaryBytes, HumanCount};

/// A byte count with a binary unit.
pub fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// A count with its thousands apart.
pub fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// A figure with three digits that matter, thousands apart.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => count(value.round() as u64),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size > 0.0 => format!("{value:.2}"),
        _ => "0".into(),
    }
}

/// A duration in the unit that fits.
pub fn duration_us(us: f64) -> String {
    if us >= 1e6 {
        format!("{} s", figure(us / 1e6))
    } else if us >= 1e3 {
        format!("{} ms", figure(us / 1e3))
    } else {
        format!("{} us", figure(us))
    }
}

/// A figure where there is one, or a dash.
pub fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

/// Columns under their names: words to the left, and those in `figures` to the right.
pub fn columns(header: &[&str], figures: Range<usize>, rows: &[Vec<String>]) -> String {
    let mut table = bare();
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut().take(figures.end).skip(figures.start) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    indented(&table)
}

/// Names and values, one pair a line.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let mut table = bare();
    table.add_rows(rows.iter().map(|(name, value)| [name, value.as_str()]));
    indented(&table)
}

fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    // A line is never folded: whoever reads it from a pipe wants it whole.
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// The library puts one space before each line; one more sets tables off from sentences.
fn indented(table: &Table) -> String {
    let lines = table.lines().map(|line| format!(" {}\n", line.trim_end()));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits() {
        for (value, text) in
            [(0.0, "0"), (0.034, "0.03"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,235")]
        {
            assert_eq!(figure(value), text);
        }
        assert_eq!(duration_us(1_500.0), "1.50 ms");
        assert_eq!(duration_us(2.5e6), "2.50 s");
        assert_eq!(bytes(3 << 20), "3.00 MiB");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["pool".into(), "1".into()], vec!["mmap".into(), "1,000".into()]];
        let text = columns(&["backend", "QPS"], 1..2, &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].ends_with("    1") && lines[2].ends_with("1,000"), "{text}");
    }
}
