//! The tables of a mirror, found by their names in the source.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use super::{MirrorTable, Names, names_of};

/// A copy costs nothing until one of the two changes. Tables are in no particular order, and one that goes may change the
/// places of others.
#[derive(Clone, Debug)]
pub struct Tables(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    list: Vec<Arc<MirrorTable>>,
    /// By the names in the source, in lower case.
    places: HashMap<String, usize>,
    names: Names,
}

impl Default for Tables {
    fn default() -> Tables {
        Tables(Arc::new(Inner { list: Vec::new(), places: HashMap::new(), names: names_of(&[]) }))
    }
}

impl FromIterator<MirrorTable> for Tables {
    /// Tables whose names are claimed already.
    fn from_iter<I: IntoIterator<Item = MirrorTable>>(tables: I) -> Tables {
        let mut all = Tables::default();
        for table in tables {
            all.names().claim(&table.name);
            all.add(table);
        }
        all
    }
}

impl Deref for Tables {
    type Target = [Arc<MirrorTable>];

    fn deref(&self) -> &[Arc<MirrorTable>] {
        &self.0.list
    }
}

impl Tables {
    /// Where the table of the source is.
    pub fn place(&self, source: &str) -> Option<usize> {
        self.0.places.get(&source.to_ascii_lowercase()).copied()
    }

    /// Adds a table whose name is claimed, or puts it in the place of that of the same source.
    pub fn add(&mut self, table: MirrorTable) {
        let inner = Arc::make_mut(&mut self.0);
        let key = table.source.to_ascii_lowercase();
        match inner.places.get(&key) {
            Some(place) => inner.list[*place] = Arc::new(table),
            None => {
                inner.places.insert(key, inner.list.len());
                inner.list.push(Arc::new(table));
            }
        }
    }

    /// Takes the table of the source out; its name stays claimed.
    pub fn take(&mut self, source: &str) -> Option<Arc<MirrorTable>> {
        let place = self.place(source)?;
        let inner = Arc::make_mut(&mut self.0);
        inner.places.remove(&source.to_ascii_lowercase());
        let table = inner.list.swap_remove(place);
        if let Some(moved) = inner.list.get(place) {
            inner.places.insert(moved.source.to_ascii_lowercase(), place);
        }
        Some(table)
    }

    /// The table in a place, to be changed in anything but its names.
    pub fn table(&mut self, place: usize) -> &mut MirrorTable {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0).list[place])
    }

    /// The names in the mirror's schema.
    pub fn names(&mut self) -> &mut Names {
        &mut Arc::make_mut(&mut self.0).names
    }

    /// The tables that these have and the others have not, or not so.
    pub fn unlike<'a>(&'a self, others: &'a Tables) -> impl Iterator<Item = &'a Arc<MirrorTable>> {
        let same = |table: &Arc<MirrorTable>| {
            let other = others.place(&table.source).map(|place| &others[place]);
            other.is_some_and(|other| Arc::ptr_eq(table, other) || table == other)
        };
        let all_same = Arc::ptr_eq(&self.0, &others.0);
        self.iter().filter(move |table| !all_same && !same(table))
    }
}
