//! Numbers on the command line, and one clear line about what is none.

use std::time::Duration;

use lexopt::prelude::*;

/// The value of an option that is a whole number.
pub(crate) fn whole(
    parser: &mut lexopt::Parser,
    name: &str,
    least: u64,
    most: u64,
) -> Result<u64, lexopt::Error> {
    let text = parser.value()?.string()?;
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{name} is a whole number from {least} to {most}, not {text:?}").into()),
    }
}

/// The value of --timeout: seconds, whole or not.
pub(crate) fn timeout(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    let text = parser.value()?.string()?;
    match text.parse::<f64>() {
        Ok(number) if (0.01..=31_536_000.0).contains(&number) => {
            Ok(Duration::from_secs_f64(number))
        }
        _ => Err(
            format!("--timeout is a number of seconds from 0.01 to 31536000, not {text:?}").into(),
        ),
    }
}
