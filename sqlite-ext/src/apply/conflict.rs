//! Changes that could not be applied as they are, for `maniac_conflicts`.

use maniac_changeset::Op;

/// What to do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing is changed at all.
    Abort,
    /// The changes win.
    Replace,
    /// What is there wins.
    Omit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The row to update or delete holds other values than the change expects.
    Data,
    /// The row to update or delete is not there.
    NotFound,
    /// A row with the key of the one to insert is there.
    Conflict,
    /// A constraint refuses the row.
    Constraint,
    /// A foreign key would refer to nothing.
    ForeignKey,
    /// Both branches changed a row since they parted.
    Both,
    /// Both branches changed the same table, index, view or trigger.
    Schema,
    /// What both branches have would not be a schema together, whichever of them is preferred.
    Broken,
    /// A virtual table whose content can't be merged.
    VirtualTable,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Data => "data",
            Kind::NotFound => "not found",
            Kind::Conflict => "exists",
            Kind::Constraint => "constraint",
            Kind::ForeignKey => "foreign key",
            Kind::Both => "both changed",
            Kind::Schema | Kind::Broken => "schema",
            Kind::VirtualTable => "virtual table",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Conflict {
    pub table: String,
    pub op: Option<Op>,
    pub kind: Kind,
    /// JSON, as are the next three.
    pub key: String,
    /// What the change expects to find.
    pub old: Option<String>,
    pub new: Option<String>,
    /// The row as it is.
    pub current: Option<String>,
    pub resolution: Resolution,
    /// In words, where the kind alone doesn't say it.
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    Aborted,
    Replaced,
    Omitted,
}

impl Resolution {
    pub fn name(self) -> &'static str {
        match self {
            Resolution::Aborted => "aborted",
            Resolution::Replaced => "replaced",
            Resolution::Omitted => "omitted",
        }
    }
}
