//! Which process applies a mirror, and whether it still lives.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who applies: host, process and a number of its own, so that a dead applier can be told from a living one.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    pub host: String,
    pub process: u32,
    /// When the process started, in the kernel's ticks: process numbers are used again.
    pub started: u64,
    pub number: u64,
}

impl Owner {
    pub fn token(&self) -> String {
        format!("{}/{}/{}/{}", self.process, self.started, self.number, self.host)
    }

    pub fn parse(token: &str) -> Option<Owner> {
        let mut parts = token.splitn(4, '/');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (process, started, number) = (number()?, number()?, number()?);
        let host = parts.next()?.to_string();
        Some(Owner { host, process: u32::try_from(process).ok()?, started, number })
    }
}

/// An owner for a mirror of this process.
pub fn new_owner() -> Owner {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let process = std::process::id();
    Owner {
        host: host(),
        process,
        started: started(process).unwrap_or(0),
        number: NUMBER.fetch_add(1, Ordering::Relaxed),
    }
}

/// Whether the owner is a living process of this machine other than this one. Of other machines nothing is known: their
/// mirrors can be taken over, and learn it at their next commit.
pub fn is_alive(owner: &Owner) -> bool {
    owner.host == host() && owner.process != std::process::id() && started(owner.process) == Some(owner.started)
}

/// Whether the owner is of another machine, where it may live.
pub fn may_live(owner: &Owner) -> bool {
    owner.host != host()
}

fn host() -> String {
    let read = |path| fs::read_to_string(path).map(|text| text.trim().to_string()).unwrap_or_default();
    // The boot's own id tells machines, containers and reboots apart better than a name that may be the same.
    format!("{} {}", read("/proc/sys/kernel/hostname"), read("/proc/sys/kernel/random/boot_id"))
}

/// When a process started, in ticks since the machine did: field 22 of its stat line, counted behind the name, which
/// is in parentheses and may hold anything.
fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_back() {
        let owner = Owner { host: "a/b".to_string(), process: 7, started: 12, number: 3 };
        assert_eq!(Owner::parse(&owner.token()), Some(owner));
        assert_eq!(Owner::parse(""), None);
        assert_eq!(Owner::parse("1/2/3"), None);
    }

    #[test]
    fn the_own_process_is_no_rival() {
        let owner = new_owner();
        assert!(owner.started > 0);
        assert!(!is_alive(&owner));
    }

    #[test]
    fn a_process_number_used_again_is_another_process() {
        let mut owner = new_owner();
        owner.process = 1;
        owner.started = started(1).map_or(1, |ticks| ticks + 1);
        assert!(!is_alive(&owner));
    }
}
