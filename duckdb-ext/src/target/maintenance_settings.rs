//! When and how far a mirror in a lake is maintained.

use std::time::Duration;

/// When and how far it is done; stored with the mirror.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaintenanceSettings {
    /// How often; zero for only when called.
    pub every: Duration,
    /// How long the mirror's snapshots are kept.
    pub keep: Duration,
}

impl Default for MaintenanceSettings {
    fn default() -> MaintenanceSettings {
        MaintenanceSettings { every: Duration::from_secs(60), keep: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

/// What `maniac_attach` says of it; what it does not say stays as it was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MaintenanceChange {
    pub every: Option<Duration>,
    pub keep: Option<Duration>,
}

impl MaintenanceChange {
    pub fn is_none(self) -> bool {
        self == MaintenanceChange::default()
    }

    pub fn of(self, stored: MaintenanceSettings) -> MaintenanceSettings {
        MaintenanceSettings { every: self.every.unwrap_or(stored.every), keep: self.keep.unwrap_or(stored.keep) }
    }
}
