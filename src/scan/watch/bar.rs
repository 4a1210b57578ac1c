//! A line on stderr that tells how far a scan is: only where stderr is a terminal, one line for the process, gone when the
//! scan is.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use crate::error::Result;
use crate::mutex::lock;
use crate::runtime;
use crate::scan::watch::progress::{Progress, State};

/// A query that ends before this shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// Time between two drawings.
const PACE: Duration = Duration::from_millis(200);
const WIDTH: u64 = 20;
/// To the start of the line, and clear it.
const CLEAR: &str = "\r\x1b[K";

/// The scan whose bar is on the screen. Its lock is held while something is written, so that nothing is drawn after the last
/// [`erase`].
static SCREEN: LazyLock<Mutex<Option<Arc<Progress>>>> = LazyLock::new(Mutex::default);

fn screen() -> MutexGuard<'static, Option<Arc<Progress>>> {
    lock(&SCREEN)
}

/// Draws the bar of a scan from now on until [`erase`].
pub fn draw(progress: Arc<Progress>) -> Result<()> {
    if stderr().is_terminal() {
        runtime::io()?.spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            while paint(&progress) {
                tokio::time::sleep(PACE).await;
            }
        });
    }
    Ok(())
}

/// Draws once, unless the bar of another scan is on the screen; false when the scan is over.
fn paint(progress: &Arc<Progress>) -> bool {
    let mut screen = screen();
    if progress.is_over() {
        return false;
    }
    if Arc::ptr_eq(screen.get_or_insert_with(|| progress.clone()), progress) {
        write(&format!("{CLEAR}{}", line(&progress.state())));
    }
    true
}

/// Takes the bar of a scan that is over off the screen.
pub fn erase(progress: &Arc<Progress>) {
    let mut screen = screen();
    if screen.take_if(|shown| Arc::ptr_eq(shown, progress)).is_some() {
        write(CLEAR);
    }
}

fn write(text: &str) {
    let mut out = stderr().lock();
    #[expect(clippy::let_underscore_must_use, reason = "a terminal that is gone needs no bar")]
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// At most 80 characters, for any terminal.
fn line(state: &State) -> String {
    let of = |done: u64, total: Option<u64>| total.map_or_else(|| done.to_string(), |total| format!("{done}/{total}"));
    let bar = state.tiles.filter(|tiles| *tiles > 0).map(|tiles| {
        let full = (state.tiles_done * WIDTH / tiles).min(WIDTH) as usize;
        format!(" [{}{}]", "#".repeat(full), ".".repeat(WIDTH as usize - full))
    });
    let time = match state.seconds_left {
        Some(left) => format!("{} left", minutes(left)),
        None => minutes(state.seconds),
    };
    let mut line = format!(
        "{}{} step {}, tile {}, {}, {time}",
        state.function.trim_start_matches("lazycogs_"),
        bar.unwrap_or_default(),
        of(state.steps_done, state.steps),
        of(state.tiles_done, state.tiles),
        size(state.bytes),
    );
    line.truncate(79);
    line
}

/// `1:05`, `2:00:00`.
fn minutes(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(tiles: Option<u64>, done: u64) -> State {
        State {
            function: "lazycogs_read_chunks",
            started: 0,
            steps_done: done / 16,
            steps: tiles.map(|n| n / 16),
            tiles_done: done,
            tiles,
            requests: 0,
            bytes: 12_345_678,
            seconds: 65.0,
            seconds_left: tiles.map(|_| 3725.0),
        }
    }

    #[test]
    fn what_is_known_is_shown() {
        assert_eq!(line(&state(None, 48)), "read_chunks step 3, tile 48, 12.3 MB, 1:05");
        let bar = "[##########..........]";
        assert_eq!(
            line(&state(Some(96), 48)),
            format!("read_chunks {bar} step 3/6, tile 48/96, 12.3 MB, 1:02:05 left")
        );
    }

    #[test]
    fn a_line_fits_into_a_terminal() {
        assert!(line(&state(Some(u64::MAX / 40), u64::MAX / 50)).len() < 80);
        assert!(line(&state(Some(0), 0)).contains("tile 0/0"));
    }
}
