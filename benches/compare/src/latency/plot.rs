//! One SVG for each scenario: how long the slowest took, by rival, for look-ups; the control's are grey.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::Scene;
use super::latencies::PARTS;
use crate::plot::{SIZE, colour, font};
use crate::throughput::REFERENCE;

/// Draws it. Nothing, if nobody took part.
pub(crate) fn draw(scene: &Scene, path: &Path) -> Result<(), Box<dyn Error>> {
    let micros = |nanoseconds: u64| (nanoseconds as f64 / 1e3).max(0.01);
    let Some(top) = scene
        .played()
        .flat_map(|(_, trial)| [&trial.lookups, &trial.control])
        .map(|latencies| micros(latencies.figures()[4]))
        .reduce(f64::max)
    else {
        return Ok(());
    };
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("look-ups while {}", scene.scenario.what(scene.sessions));
    let mut chart = ChartBuilder::on(&area)
        .caption(title, font(20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(-0.2..5.8, (0.01..top * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(40)
        .x_label_formatter(&|place: &f64| {
            let n = place.round();
            if (place - n).abs() > 1e-6 || n < 0.0 {
                return String::new();
            }
            match PARTS.get(n as usize) {
                Some((name, _)) => (*name).to_owned(),
                None if n as usize == PARTS.len() => "max".to_owned(),
                None => String::new(),
            }
        })
        .y_desc("microseconds")
        .label_style(font(14))
        .draw()?;
    let points = |figures: [u64; 5]| {
        let places = figures.into_iter().enumerate();
        places.map(move |(place, value)| (place as f64, micros(value)))
    };
    for (_, trial) in scene.played() {
        let control = RGBColor(200, 200, 200).stroke_width(1);
        chart.draw_series(LineSeries::new(points(trial.control.figures()), control))?;
    }
    for (name, trial) in scene.played() {
        let style = colour(name).stroke_width(if name == REFERENCE { 4 } else { 2 });
        chart
            .draw_series(LineSeries::new(points(trial.lookups.figures()), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(font(14))
        .draw()?;
    area.present()?;
    Ok(())
}
