//! What the server's TLS library says of itself, beside what the cache and the clients say.

use std::fmt;

use indicatif::HumanCount;
use serde_json::{Map, Value};

/// Numbers in named groups, and what is wrong with them. Empty for a library that counts nothing.
#[derive(Debug, Default)]
pub(crate) struct Library {
    pub(crate) groups: Vec<(&'static str, Vec<(&'static str, u64)>)>,
    /// What is wrong, in words.
    pub(crate) faults: Vec<String>,
}

impl Library {
    /// An object of objects.
    pub(crate) fn json(&self) -> Value {
        let group = |numbers: &[(&'static str, u64)]| {
            let object: Map<_, _> = numbers
                .iter()
                .map(|(name, count)| ((*name).to_owned(), Value::from(*count)))
                .collect();
            Value::Object(object)
        };
        self.groups
            .iter()
            .map(|(name, numbers)| ((*name).to_owned(), group(numbers)))
            .collect()
    }
}

/// A line for each group.
impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, numbers) in &self.groups {
            write!(f, "{name:<10} ")?;
            for (place, (what, count)) in numbers.iter().enumerate() {
                let joint = ["", ", "][place.min(1)];
                write!(f, "{joint}{what} {}", HumanCount(*count))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
