//! The `ringpool` command: [`ringpool_cli`] as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringpool_cli::main()
}
