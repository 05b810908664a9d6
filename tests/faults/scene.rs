//! Tests in processes of their own.

use std::process::Command;

/// Runs an ignored test of this program by itself, and passes its failure on.
pub(crate) fn play(name: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args([
            name,
            "--exact",
            "--ignored",
            "--test-threads=1",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|out| String::from_utf8_lossy(&out).into_owned());
    assert!(
        output.status.success() && text[0].contains("1 passed"),
        "{name}: {}\n{}\n{}",
        output.status,
        text[0],
        text[1]
    );
}

/// Ends a scene at once when it fails, so that it does not wait for threads which are stuck on purpose.
pub(crate) struct Stage;

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::exit(101);
        }
    }
}
