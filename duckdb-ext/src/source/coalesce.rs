//! Which commits a batch may have together.
//!
//! A batch makes its changes of the schema first, each as it comes, then copies, then rows. So rows that were changed before
//! their table was altered would come in another shape than it then has: the batch ends before that. What a batch has made
//! itself is copied as the last commit left it, whatever became of it in between, and what is dropped has no rows.
//!
//! Nor is a table renamed after it was altered: a transaction of DuckLake 1.5.5 forgets the columns that it had added to the
//! table, or fails.

use std::collections::HashSet;

use super::{Commit, TableChange};

#[derive(Default)]
pub struct Coalesce {
    /// Tables that the batch has made, by their names now.
    made: HashSet<String>,
    /// Other tables of which it has changed rows.
    written: HashSet<String>,
    /// Other tables that it has renamed or altered.
    altered: HashSet<String>,
}

impl Coalesce {
    /// Whether the commit may join those before it; if so, it does.
    pub fn takes(&mut self, commit: &Commit) -> bool {
        let changes = commit.schema.as_deref().unwrap_or_default();
        let fits = |change: &TableChange| match (&change.before, &change.after) {
            (Some(before), Some(after)) => {
                let stays = before.eq_ignore_ascii_case(&after.name) || !self.altered.contains(before);
                stays && !self.written.contains(before)
            }
            _ => true,
        };
        if !changes.iter().all(fits) {
            return false;
        }
        // All names go before others come: tables may change names with each other.
        let made: Vec<bool> = changes
            .iter()
            .map(|change| match &change.before {
                Some(before) => {
                    self.written.remove(before);
                    self.altered.remove(before);
                    self.made.remove(before)
                }
                None => true,
            })
            .collect();
        for (change, made) in changes.iter().zip(made) {
            if let Some(after) = &change.after {
                let names = if made { &mut self.made } else { &mut self.altered };
                names.insert(after.name.clone());
            }
        }
        let written = commit.tables.iter().map(|changes| &changes.table).chain(commit.unfollowed());
        self.written.extend(written.filter(|name| !self.made.contains(*name)).cloned());
        true
    }
}

/// The commits in runs that change the schema nowhere, or are a commit that does.
pub fn parts(commits: &[Commit]) -> impl Iterator<Item = &[Commit]> {
    commits.chunk_by(|a, b| a.schema.is_none() && b.schema.is_none())
}

#[cfg(test)]
mod tests {
    use maniac_base::Version;

    use super::*;
    use crate::source::{SourceTable, TableChanges};

    /// `a>b` is a table renamed or altered, `>b` a new one, `a>` one that is dropped, and `a` one whose rows changed.
    fn commit(what: &str) -> Commit {
        let table = |name: &str| SourceTable {
            name: name.to_string(),
            columns: Vec::new(),
            key: Vec::new(),
            key_is_rowid: true,
        };
        let some = |name: &str| (!name.is_empty()).then(|| name.to_string());
        let change = |(before, after): (&str, &str)| TableChange {
            before: some(before),
            after: some(after).as_deref().map(table),
        };
        let schema: Vec<TableChange> = what.split(' ').filter_map(|word| word.split_once('>')).map(change).collect();
        let rows = |name: &str| TableChanges { table: name.to_string(), key: Vec::new(), rows: Vec::new() };
        Commit {
            version: Version(1),
            time_ms: 0,
            schema: (!schema.is_empty()).then_some(schema),
            unreadable: None,
            tables: what.split(' ').filter(|word| !word.contains('>')).map(rows).collect(),
            unkeyed: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// How many of the commits are taken before the first that is not.
    fn taken(commits: &[&str]) -> usize {
        let mut joining = Coalesce::default();
        commits.iter().take_while(|what| joining.takes(&commit(what))).count()
    }

    #[test]
    fn rows_in_an_older_shape_end_a_batch() {
        assert_eq!(taken(&["a", "b>b", "b", "a>a"]), 3);
        assert_eq!(taken(&["a", "a>c"]), 1);
        assert_eq!(taken(&["a a>a", "a>a"]), 1, "the commit's own rows are in the shape after it");
    }

    #[test]
    fn a_table_that_was_altered_is_not_renamed() {
        assert_eq!(taken(&["a>a", "a>a", "b>c", "c>c", "a>b"]), 4);
        assert_eq!(taken(&["a>a", "a>", "b>a", "a>c"]), 3);
        assert_eq!(taken(&[">a", "a>a", "a>b", "b>a"]), 4, "it is made when its last name is known");
    }

    #[test]
    fn what_a_batch_makes_or_drops_may_change() {
        assert_eq!(taken(&[">a", "a", "a>a", "a", "a>b", "b", "b>", ">b", "b"]), 9);
        assert_eq!(taken(&["a", "a>", ">a", "a", "a>c"]), 5);
        assert_eq!(taken(&[">a", "b", "a>b b>a", "b"]), 2, "b had rows");
        assert_eq!(taken(&[">a", "a", "a>b b>a", "b", "b>b", "a", "a>a"]), 6, "a is what was b");
    }

    #[test]
    fn parts_are_runs_or_changes_of_the_schema() {
        let commits: Vec<Commit> = ["a", "b", ">c", ">d", "c", "a"].map(commit).into();
        assert_eq!(parts(&commits).map(<[_]>::len).collect::<Vec<_>>(), [2, 1, 1, 2]);
    }
}
