//! Which process applies a mirror, and whether it still lives.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::apply::Owner;

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
