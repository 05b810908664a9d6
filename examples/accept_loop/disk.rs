//! `--disk`: a file behind the cache, and where its keys come from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{env, fmt};

use refrain::Builder;
use refrain::store::{Disk, ExternalOptions, MAX_READ_BUDGET, Opened};

use crate::material::Material;
use crate::output::{Failure, note};

/// The environment variable that may hold the keys.
const VARIABLE: &str = "REFRAIN_KEYS";

/// Puts the file behind the cache, and says what was in it.
pub(crate) fn behind(
    builder: Builder,
    path: &Path,
    keys: Option<&PathBuf>,
) -> Result<Builder, Failure> {
    let material = material(path, keys)?;
    let (disk, opened) = Disk::open(path)
        .map_err(|error| Failure::broken(format!("{}: {error}", path.display())))?;
    note(format_args!("{}: {}", path.display(), Found(&opened)));
    // Clients, server and disk are one machine here, and it is busy: nobody has a use for a full handshake after 3 ms.
    let options = ExternalOptions::new(material.keys()?).read_budget(MAX_READ_BUDGET);
    Ok(builder.external(disk, options))
}

/// What opening the file found, in words.
struct Found<'a>(&'a Opened);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Opened::New => f.write_str("a new file"),
            Opened::Kept { records } => write!(f, "{records} sessions are kept"),
            Opened::Recovered { records } => {
                write!(f, "was not closed; {records} sessions are kept")
            }
            Opened::Emptied { why, aside } => {
                write!(f, "could not be used and was emptied: {why}")?;
                match aside {
                    Some(aside) => write!(f, "; it is {} now", aside.display()),
                    None => Ok(()),
                }
            }
            Opened::InMemory { why } => write!(f, "nothing will survive: {why}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// The keys: from the file that is named, else from the environment, else from a file beside the sessions.
fn material(path: &Path, keys: Option<&PathBuf>) -> Result<Material, Failure> {
    if let Some(file) = keys {
        return read(file);
    }
    if let Ok(text) = env::var(VARIABLE) {
        return Material::parse(&text)
            .map_err(|what| Failure::usage(format!("{VARIABLE}: {what}")));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".keys");
    let beside = PathBuf::from(beside);
    if beside.exists() {
        return read(&beside);
    }
    let material = Material::draw()?;
    create(&beside, &material.text())
        .map_err(|error| Failure::broken(format!("{}: {error}", beside.display())))?;
    note(format_args!(
        "{}: keys drawn at random, for the demonstration; who has both files has the sessions",
        beside.display()
    ));
    Ok(material)
}

fn read(file: &Path) -> Result<Material, Failure> {
    let wrong = |what: String| Failure::usage(format!("{}: {what}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(file).map_err(|error| wrong(error.to_string()))?;
        if mode.permissions().mode() & 0o077 != 0 {
            return Err(wrong("others may read or write these keys".to_owned()));
        }
    }
    Material::parse(&text).map_err(wrong)
}

/// A new file for its owner's eyes only.
fn create(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
