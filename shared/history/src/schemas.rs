//! The schemas of a branch that were needed last: most commits leave the schema as it is, and the others change little
//! of it.

use std::collections::VecDeque;
use std::sync::Arc;

use maniac_base::Version;
use maniac_sqlite_format::Schema;

/// Each with the first and the last version that is known to have it.
#[derive(Default)]
pub struct Schemas(VecDeque<(Version, Version, Arc<Schema>)>);

/// Those of the versions before and after a batch, and one that is read meanwhile.
const KEPT: usize = 3;

impl Schemas {
    pub fn at(&self, version: Version) -> Option<Arc<Schema>> {
        let known = self.0.iter().find(|(first, last, _)| (*first..=*last).contains(&version));
        known.map(|(.., schema)| schema.clone())
    }

    pub fn add(&mut self, version: Version, schema: &Arc<Schema>) {
        self.0.truncate(KEPT - 1);
        self.0.push_front((version, version, schema.clone()));
    }

    /// A version that was built on another one has its schema.
    pub fn stays(&mut self, base: Version, version: Version) {
        if let Some((_, last, _)) = self.0.iter_mut().find(|(first, last, _)| (*first..=*last).contains(&base)) {
            *last = version.max(*last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_known_from_its_first_version_to_the_last_that_kept_it() {
        let mut schemas = Schemas::default();
        let [old, new] = [(); 2].map(|()| Arc::new(Schema::default()));
        schemas.add(Version(4), &old);
        schemas.stays(Version(4), Version(6));
        // Version 9 was built on one that nothing is known of.
        schemas.stays(Version(7), Version(9));
        schemas.add(Version(8), &new);
        for (version, expected) in [(3, None), (4, Some(&old)), (5, Some(&old)), (6, Some(&old)), (7, None), (9, None)]
        {
            let found = schemas.at(Version(version));
            assert_eq!(found.is_some(), expected.is_some(), "{version}");
            assert!(found.iter().zip(expected).all(|(found, expected)| Arc::ptr_eq(found, expected)), "{version}");
        }
        assert!(schemas.at(Version(8)).is_some_and(|schema| Arc::ptr_eq(&schema, &new)));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut schemas = Schemas::default();
        (1..=4).for_each(|version| schemas.add(Version(version), &Arc::default()));
        assert_eq!([1, 2, 3, 4].map(|version| schemas.at(Version(version)).is_some()), [false, true, true, true]);
    }
}
