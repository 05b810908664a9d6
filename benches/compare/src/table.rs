//! Tables, as text that is Markdown as well.

use std::fmt::Write;

use crate::figures::digits;
use crate::throughput::{Cell, Row, Table};

/// A table of text: columns as wide as what is in them.
pub(crate) fn markdown(head: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells
            .chain(head.get(column))
            .map(|cell| cell.chars().count());
        widest.max().unwrap_or(0)
    };
    let line = |cells: &[String]| {
        let mut line = String::from("|");
        for (n, cell) in cells.iter().enumerate() {
            let _ = write!(line, " {cell:<width$} |", width = width(n));
        }
        line.push('\n');
        line
    };
    let mut text = line(head);
    let rule: Vec<String> = (0..head.len()).map(|n| "-".repeat(width(n))).collect();
    text += &line(&rule);
    rows.iter().for_each(|row| text += &line(row));
    text
}

/// One workload's figures.
pub(crate) fn throughput(table: &Table) -> String {
    let mut text = format!(
        "\n### {}, {} bytes\n\n{}. Million {} a second: median (p10 to p90), times refrain's.\n\n",
        table.workload.name, table.payload, table.workload.what, table.workload.unit
    );
    let mut head = vec!["rival".to_owned()];
    head.extend(table.threads.iter().map(|threads| match threads {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    }));
    head.push("CPU ns each".to_owned());
    head.push("remarks".to_owned());
    let rows: Vec<Vec<String>> = table.rows.iter().map(row).collect();
    text += &markdown(&head, &rows);
    if table.rows.iter().any(|row| row.helped) {
        text += "\n\\* does not evict: the threads remove their oldest themselves.\n";
    }
    text
}

fn row(row: &Row) -> Vec<String> {
    let mut cells = vec![format!(
        "{}{}",
        row.name,
        if row.helped { "\\*" } else { "" }
    )];
    cells.extend(row.cells.iter().map(|cell| match cell {
        Ok(cell) => figures(cell),
        Err(_) => "-".to_owned(),
    }));
    let measured: Vec<&Cell> = row.cells.iter().flatten().collect();
    let span = |of: fn(&Cell) -> Option<f64>| -> Option<(f64, f64)> {
        let values = measured.iter().filter_map(|cell| of(cell));
        values.fold(None, |span, value| {
            let (low, high) = span.unwrap_or((value, value));
            Some((f64::min(low, value), f64::max(high, value)))
        })
    };
    cells.push(match span(|cell| cell.cpu) {
        Some((low, high)) if digits(low) != digits(high) => {
            format!("{:.0} to {:.0}", low, high)
        }
        Some((low, _)) => format!("{low:.0}"),
        None => String::new(),
    });
    let mut remarks = Vec::new();
    if let Some((low, _)) = span(|cell| cell.hits).filter(|(low, _)| (0.0001..0.9999).contains(low))
    {
        remarks.push(format!("hits {:.1} %", 100.0 * low));
    }
    if let Some((_, high)) = span(|cell| cell.refused).filter(|(_, high)| *high > 0.0) {
        remarks.push(format!("up to {:.2} % of adds refused", 100.0 * high));
    }
    for why in row.cells.iter().filter_map(|cell| cell.as_ref().err()) {
        if !remarks.contains(why) {
            remarks.push(why.clone());
        }
    }
    cells.push(remarks.join("; "));
    cells
}

fn figures(cell: &Cell) -> String {
    let million = |rate: f64| digits(rate / 1e6);
    let ratio = cell
        .ratio
        .map_or(String::new(), |ratio| format!(" x{ratio:.2}"));
    format!(
        "{} ({} to {}){ratio}",
        million(cell.rate.median),
        million(cell.rate.low),
        million(cell.rate.high)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let cells = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        let text = markdown(&cells(["a", "bb"]), &[cells(["ccc", "d"])]);
        assert_eq!(text, "| a   | bb |\n| --- | -- |\n| ccc | d  |\n");
    }
}
