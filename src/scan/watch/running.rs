//! A scan while it runs: it is on the list of those that do, and has a bar where the setting says so.

use std::sync::Arc;

use super::bar;
use super::progress::Progress;
use crate::error::Result;
use crate::plan::Cube;
use crate::runtime;

/// A scan in the list of those that run; dropped, it leaves it.
pub struct Running(Arc<Progress>);

impl Running {
    /// Lists a scan of `cube` for the SQL function `function`. Where the setting says so, the steps are counted, which reads
    /// the item index once more, and a bar is drawn.
    pub fn start(function: &'static str, cube: &Arc<Cube>) -> Result<Running> {
        let progress = Arc::new(Progress::new(function, cube));
        if cube.request.progress {
            count_ahead(cube.clone(), progress.clone())?;
        }
        Running::of(progress, cube.request.progress)
    }

    /// Lists a scan; where it is to be `drawn`, with a bar.
    pub fn of(progress: Arc<Progress>, drawn: bool) -> Result<Running> {
        if drawn {
            bar::draw(progress.clone())?;
        }
        progress.list();
        Ok(Running(progress))
    }

    pub fn progress(&self) -> Arc<Progress> {
        self.0.clone()
    }

    /// Takes the scan off the list. What has no more tiles to give ends before DuckDB writes its result.
    pub fn end(&self) {
        if self.0.end() {
            bar::erase(&self.0);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Counts the steps on a thread of its own, which is not waited for. What fails here fails in the scan, and is told there.
fn count_ahead(cube: Arc<Cube>, progress: Arc<Progress>) -> Result<()> {
    let count = move || {
        let summary = cube.summary(&|| !progress.is_over(), &mut |_| {})?;
        if !progress.is_over() {
            progress.set_steps(summary.steps);
        }
        Ok(())
    };
    runtime::on_thread("lazycogs-count", count).map(drop)
}
