//! One SVG for each table: lines over the number of threads, or bars if there is only one number.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::FontFamily;

use crate::rivals::NAMES;
use crate::throughput::{REFERENCE, Row, Table};

pub(crate) const SIZE: (u32, u32) = (960, 540);
/// Distinct, also for those who see few colours; the first is the reference's.
const COLOURS: &[RGBColor] = &[
    RGBColor(0, 0, 0),
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(140, 86, 75),
    RGBColor(127, 127, 127),
    RGBColor(188, 189, 34),
    RGBColor(148, 103, 189),
    RGBColor(23, 190, 207),
    RGBColor(180, 60, 60),
];

type Outcome = Result<(), Box<dyn Error>>;

/// Draws it. Nothing, if nobody took part.
pub(crate) fn draw(table: &Table, path: &Path) -> Outcome {
    let rows: Vec<&Row> = table
        .rows
        .iter()
        .filter(|row| row.cells.iter().any(Result::is_ok))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    if table.threads.len() > 1 {
        lines(table, &rows, path)
    } else {
        rates(table, &rows, path)
    }
}

fn title(table: &Table) -> String {
    format!("{} ({} bytes)", table.workload.what, table.payload)
}

/// A rival's, the same in every plot; grey for what is none.
pub(crate) fn colour(rival: &str) -> RGBColor {
    match NAMES.iter().position(|name| *name == rival) {
        Some(place) => COLOURS[place % COLOURS.len()],
        None => RGBColor(160, 160, 160),
    }
}

pub(crate) fn font(size: u32) -> (FontFamily<'static>, u32) {
    (FontFamily::SansSerif, size)
}

fn top(rows: &[&Row]) -> f64 {
    rows.iter()
        .flat_map(|row| row.cells.iter().flatten())
        .map(|cell| cell.rate.high / 1e6)
        .fold(0.0, f64::max)
}

fn lines(table: &Table, rows: &[&Row], path: &Path) -> Outcome {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let last = table.threads.len() - 1;
    let mut chart = ChartBuilder::on(&area)
        .caption(title(table), font(20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(-0.2..last as f64 + 1.6, 0.0..top(rows) * 1.05)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(table.threads.len() * 5 + 4)
        .x_label_formatter(&|place| {
            let n = place.round();
            match table.threads.get(n as usize) {
                Some(threads) if (place - n).abs() < 1e-6 && n >= 0.0 => threads.to_string(),
                _ => String::new(),
            }
        })
        .x_desc("threads")
        .y_desc(format!("million {} a second", table.workload.unit))
        .label_style(font(14))
        .draw()?;
    for row in rows {
        let style = colour(row.name).stroke_width(if row.name == REFERENCE { 4 } else { 2 });
        let cells = || {
            let cells = row.cells.iter().enumerate();
            cells.filter_map(|(place, cell)| Some((place as f64, cell.as_ref().ok()?)))
        };
        let points: Vec<(f64, f64)> = cells()
            .map(|(place, cell)| (place, cell.rate.median / 1e6))
            .collect();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(row.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        chart.draw_series(
            points
                .iter()
                .map(|point| Circle::new(*point, 3, colour(row.name).filled())),
        )?;
        chart.draw_series(cells().map(|(place, cell)| {
            let (low, high) = (cell.rate.low / 1e6, cell.rate.high / 1e6);
            PathElement::new([(place, low), (place, high)], colour(row.name))
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(font(14))
        .draw()?;
    area.present()?;
    Ok(())
}

fn rates(table: &Table, rows: &[&Row], path: &Path) -> Outcome {
    let threads = table.threads.first().copied().unwrap_or(1);
    let what = format!(
        "million {} a second, {threads} {}",
        table.workload.unit,
        if threads == 1 { "thread" } else { "threads" }
    );
    let bar = |row: &&Row| {
        let rate = row.cells.first()?.as_ref().ok()?.rate;
        Some(Bar {
            name: row.name,
            value: rate.median / 1e6,
            low: rate.low / 1e6,
            high: rate.high / 1e6,
        })
    };
    let found: Vec<Bar> = rows.iter().filter_map(bar).collect();
    bars(&title(table), &what, &found, path)
}

/// One bar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    /// The rival's.
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Bars of one thing, one above the other.
pub(crate) fn bars(title: &str, what: &str, bars: &[Bar], path: &Path) -> Outcome {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let top = bars.iter().map(|bar| bar.high).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, font(20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(120)
        .build_cartesian_2d(0.0..top * 1.05, -0.5..bars.len() as f64 - 0.5)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc(what)
        .label_style(font(14))
        .draw()?;
    for (n, bar) in bars.iter().enumerate() {
        let place = (bars.len() - 1 - n) as f64;
        chart.draw_series([Rectangle::new(
            [(0.0, place - 0.35), (bar.value, place + 0.35)],
            colour(bar.name).mix(0.75).filled(),
        )])?;
        chart.draw_series([PathElement::new(
            [(bar.low, place), (bar.high, place)],
            BLACK,
        )])?;
        let (x, y) = chart.backend_coord(&(0.0, place));
        let style = font(14).into_font().color(&BLACK);
        area.draw(&Text::new(bar.name, (x - 120, y - 7), style))?;
    }
    area.present()?;
    Ok(())
}
