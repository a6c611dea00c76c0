//! A progress bar on stderr, for work that takes longer than a second and has somebody watching.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter work shows no bar: it would only flicker.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is drawn again, a second.
const REFRESH_HZ: u8 = 10;

/// A bar that stays away for the first second, and altogether where stderr is no terminal.
/// Removed from the screen when dropped.
pub struct Bar {
    started: Instant,
    shown: OnceLock<ProgressBar>,
}

impl Bar {
    /// A bar that is not shown yet.
    pub fn started() -> Self {
        Self { started: Instant::now(), shown: OnceLock::new() }
    }

    /// Says that `done` of `total` of `what` are done. From any thread.
    pub fn update(&self, what: &str, done: u64, total: u64) {
        if self.started.elapsed() < PATIENCE {
            return;
        }
        let bar = self.shown.get_or_init(drawn);
        if bar.message() != what {
            bar.set_message(what.to_owned());
        }
        bar.set_length(total);
        bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.shown.get() {
            bar.finish_and_clear();
        }
    }
}

/// A bar on stderr; indicatif draws nothing where that is no terminal.
fn drawn() -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(REFRESH_HZ);
    let bar = ProgressBar::with_draw_target(None, target);
    let style = "{msg:<24} {wide_bar} {human_pos} of {human_len}  {eta}";
    // A template that does not parse would only cost the looks.
    bar.with_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}
