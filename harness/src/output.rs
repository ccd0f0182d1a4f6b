//! What goes to the terminal, or to whoever stands behind the pipe. Neither kills a run.

use std::io::{self, Write as _};

/// Writes to standard output, all of it. Who stopped reading wants no more: that is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// A line on standard error, as `eprintln!` writes it, but without a panic where nobody reads.
#[macro_export]
macro_rules! say {
    ($($part:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr().lock(), format_args!("{}\n", format_args!($($part)*)));
    }};
}
