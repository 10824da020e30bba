//! Says on a terminal how far a first copy is: DuckDB's own progress bar is out of reach of its C API.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::mirror::Mirror;

/// A copy that is done sooner is not worth a word; after that, how often there is a new one.
const INTERVAL: Duration = Duration::from_millis(200);
/// Back to the start of the terminal's line, and nothing behind it.
const CLEAR: &str = "\r\x1b[K";

/// While it lives, the line is kept up to date.
pub struct Progress {
    stop: Option<Sender<()>>,
    teller: Option<JoinHandle<()>>,
}

impl Progress {
    /// Nothing where nobody looks.
    pub fn of(mirror: &Arc<Mirror>) -> Option<Progress> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let (stop, stopped) = mpsc::channel();
        let mirror = mirror.clone();
        let tell = move || {
            let mut told = false;
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Some((table, tally)) = mirror.report().copying {
                    write(&format!("{CLEAR}maniac: copying {table}: {} rows", tally.rows()));
                    told = true;
                }
            }
            if told {
                write(CLEAR);
            }
        };
        // Without a thread there is no line, and the copy is made all the same.
        let teller = std::thread::Builder::new().name("maniac-progress".into()).spawn(tell).ok()?;
        Some(Progress { stop: Some(stop), teller: Some(teller) })
    }
}

/// A terminal that is gone has nobody to tell.
fn write(text: &str) {
    let mut terminal = std::io::stderr().lock();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(teller) = self.teller.take() {
            // It does not panic, and if it did, the copy would be none the worse.
            let _ = teller.join();
        }
    }
}
