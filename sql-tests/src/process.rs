//! A child process spoken to over pipes: send input, read until a marker comes back, never wait forever.
//!
//! All three pipes are served by one `poll` loop. Standard error is drained once more after the marker has arrived on
//! standard output: what the process wrote to it before the marker is in the pipe by then, so an error message can
//! neither be missed nor be taken for the next statement's.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What one exchange brought, up to and without the marker.
#[derive(Debug, Default)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
}

/// Why an exchange didn't end with its marker. The process is gone after either.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error("{program} gave no answer within {} s and was killed\nstdout so far: {}\nstderr so far: {}",
        limit.as_secs(), output.stdout.trim_end(), output.stderr.trim_end())]
    Hung { program: String, limit: Duration, output: Output },
    #[error("{program} ended ({status}) before it answered\nstdout: {}\nstderr: {}",
        output.stdout.trim_end(), output.stderr.trim_end())]
    Ended { program: String, status: ExitStatus, output: Output },
    #[error("{program}: {error}")]
    Io { program: String, error: io::Error },
}

#[derive(Debug)]
pub struct Process {
    program: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: ChildStderr,
    /// Read but not yet handed out: bytes that came behind a marker.
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Process {
    /// Starts `program` in `directory`, with a home of its own so that no start-up file of the user takes part.
    pub fn spawn(program: &Path, arguments: &[&str], directory: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .env("HOME", directory)
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display())))?;
        let stdin = child.stdin.take().expect("stdin was piped");
        let stdout = child.stdout.take().expect("stdout was piped");
        let stderr = child.stderr.take().expect("stderr was piped");
        for pipe in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { program, child, stdin: Some(stdin), stdout, stderr, out: Vec::new(), err: Vec::new() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes `input` without waiting for what it does. For a statement that is to be running when the next step comes.
    pub fn send(&mut self, input: &str, limit: Duration) -> Result<(), Lost> {
        self.pump(input.as_bytes(), None, limit).map(|_| ())
    }

    /// Writes `input`, then reads until `marker` stands in standard output, and returns what came before it.
    pub fn exchange(&mut self, input: &str, marker: &str, limit: Duration) -> Result<Output, Lost> {
        let end = self.pump(input.as_bytes(), Some(marker.as_bytes()), limit)?;
        let stdout = self.out.drain(..end).collect::<Vec<u8>>();
        self.out.drain(..marker.len());
        Ok(Output { stdout: text(&stdout), stderr: text(&std::mem::take(&mut self.err)) })
    }

    /// SIGKILL, and waits until the process is gone. Returns what it had written and nobody had read.
    pub fn kill(&mut self) -> Output {
        // An error means that it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.drain();
        self.take_output()
    }

    /// Closes standard input and waits for the process to end by itself.
    pub fn finish(&mut self, limit: Duration) -> Result<(ExitStatus, Output), Lost> {
        self.stdin = None;
        let deadline = Instant::now() + limit;
        loop {
            self.drain();
            if let Some(status) = self.child.try_wait().map_err(|error| self.io(error))? {
                self.drain();
                return Ok((status, self.take_output()));
            }
            if Instant::now() >= deadline {
                let output = self.kill();
                return Err(Lost::Hung { program: self.program.clone(), limit, output });
            }
            self.wait_readable(Duration::from_millis(5)).map_err(|error| self.io(error))?;
        }
    }

    /// Serves the pipes until all of `input` is written and, if there is one, `marker` has arrived. Returns the
    /// marker's offset in `out` (0 without a marker).
    fn pump(&mut self, mut input: &[u8], marker: Option<&[u8]>, limit: Duration) -> Result<usize, Lost> {
        let deadline = Instant::now() + limit;
        // Searching only what is new keeps a long answer linear.
        let mut searched = 0;
        loop {
            let out_open = read_into(&mut self.stdout, &mut self.out).map_err(|error| self.io(error))?;
            // Standard error last: see the module's comment.
            let arrived = marker.map_or(Some(0), |marker| find(&self.out[searched..], marker).map(|at| searched + at));
            searched = marker.map_or(0, |marker| (self.out.len() + 1).saturating_sub(marker.len()).max(searched));
            read_into(&mut self.stderr, &mut self.err).map_err(|error| self.io(error))?;
            if let (true, Some(at)) = (input.is_empty(), arrived) {
                return Ok(at);
            }
            if !out_open {
                let status = self.child.wait().map_err(|error| self.io(error))?;
                self.drain();
                return Err(Lost::Ended { program: self.program.clone(), status, output: self.take_output() });
            }
            if Instant::now() >= deadline {
                let output = self.kill();
                return Err(Lost::Hung { program: self.program.clone(), limit, output });
            }
            input = self.write_some(input)?;
            if !input.is_empty() || marker.is_some() {
                self.wait_ready(!input.is_empty(), deadline).map_err(|error| self.io(error))?;
            }
        }
    }

    fn write_some<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Lost> {
        let Some(stdin) = self.stdin.as_mut().filter(|_| !input.is_empty()) else { return Ok(input) };
        match stdin.write(input) {
            Ok(written) => Ok(&input[written..]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(input),
            // The reader has gone: the read side of the loop tells how it ended.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(&[]),
            Err(error) => Err(self.io(error)),
        }
    }

    fn wait_ready(&self, writing: bool, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut interest = vec![(self.stdout.as_fd(), PollFlags::IN), (self.stderr.as_fd(), PollFlags::IN)];
        if let (true, Some(stdin)) = (writing, &self.stdin) {
            interest.push((stdin.as_fd(), PollFlags::OUT));
        }
        wait_for(&interest, left)
    }

    fn wait_readable(&self, limit: Duration) -> io::Result<()> {
        wait_for(&[(self.stdout.as_fd(), PollFlags::IN)], limit)?;
        // A closed pipe is always ready: without this pause the loop above would spin until the process is reaped.
        std::thread::sleep(Duration::from_millis(1));
        Ok(())
    }

    /// Takes what lies in the pipes. Errors are left for the next call that has somebody to tell.
    fn drain(&mut self) {
        let _ = read_into(&mut self.stdout, &mut self.out);
        let _ = read_into(&mut self.stderr, &mut self.err);
    }

    fn take_output(&mut self) -> Output {
        Output { stdout: text(&std::mem::take(&mut self.out)), stderr: text(&std::mem::take(&mut self.err)) }
    }

    fn io(&self, error: io::Error) -> Lost {
        Lost::Io { program: self.program.clone(), error }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what is there; false when the other end is closed.
fn read_into(pipe: &mut impl Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0u8; 65536];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(got) => into.extend_from_slice(&buffer[..got]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
    }
}

fn wait_for(interest: &[(BorrowedFd<'_>, PollFlags)], limit: Duration) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = interest.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
    match poll(&mut fds, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
