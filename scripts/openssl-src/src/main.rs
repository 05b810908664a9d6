//! Builds the OpenSSL of the crate openssl-src into `DIR/install`: `build-openssl DIR`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: build-openssl DIR");
        return ExitCode::from(2);
    };
    let Some(host) = host() else {
        eprintln!("rustc -vV names no host");
        return ExitCode::FAILURE;
    };
    let built = openssl_src::Build::new()
        .host(&host)
        .target(&host)
        // Where this libssl would look for certificates and its configuration: nowhere that exists.
        .openssl_dir(PathBuf::from(&dir).join("none"))
        .out_dir(PathBuf::from(&dir))
        .try_build();
    match built {
        Ok(artifacts) => {
            println!("built {}", artifacts.lib_dir().display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The triple of the machine that compiles, which is also the one that runs the tests.
fn host() -> Option<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
}
