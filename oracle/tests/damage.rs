//! Damaged databases: every outcome but an error or a result is a defect, and so is one that reads pages without end.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use maniac_base::{PageError, PageNo, PageSource};
use maniac_diff::{Readable, Tracker, Trees, Unsound, diff};
use maniac_oracle::case::Case;
use maniac_oracle::rng::Rng;
use maniac_sqlite_format::{Database, Rows, Schema, Selection};

/// Reads of pages that one damaged database may take: a dozen times what any of these took (8,011).
const MOST_READS: u64 = 100_000;

/// Pages with some bytes changed.
struct Damaged {
    pages: Vec<Vec<u8>>,
    reads: AtomicU64,
}

impl Damaged {
    fn of(source: &dyn PageSource) -> Damaged {
        let pages = (1..=source.page_count()).map(|no| source.page(PageNo(no)).unwrap().into_owned());
        Damaged { pages: pages.collect(), reads: AtomicU64::new(0) }
    }

    fn hurt(&mut self, rng: &mut Rng) {
        for _ in 0..1 + rng.below(4) {
            let no = rng.below(self.pages.len());
            let page = &mut self.pages[no];
            // Headers and cell offsets decide the most; payloads matter too.
            let end = if rng.chance(60) { 120.min(page.len()) } else { page.len() };
            let at = rng.below(end);
            match rng.below(5) {
                0 => page[at] = rng.bits() as u8,
                1 => page[at] ^= 1 << rng.below(8),
                2 => page[at] = 0xff,
                3 => page[at..].iter_mut().take(4).for_each(|byte| *byte = 0),
                _ => {
                    let value = (rng.below(self.pages.len() + 2) as u32).to_be_bytes();
                    let page = &mut self.pages[no];
                    let at = at.min(page.len() - 4);
                    page[at..at + 4].copy_from_slice(&value);
                }
            }
        }
    }
}

impl PageSource for Damaged {
    fn page_size(&self) -> usize {
        self.pages[0].len()
    }

    fn page_count(&self) -> u32 {
        self.pages.len() as u32
    }

    fn page(&self, no: PageNo) -> Result<Cow<'_, [u8]>, PageError> {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        assert!(reads < MOST_READS, "page {} is read after {reads} reads", no.0);
        let page = self.pages.get((no.0 as usize).wrapping_sub(1));
        page.map(|page| Cow::Borrowed(&page[..])).ok_or_else(|| PageError::out_of_range(no, self.page_count()))
    }
}

fn read_everything(source: &dyn PageSource) -> usize {
    let Ok(Some(db)) = Database::open(source) else { return 0 };
    let Ok(schema) = Schema::read(source) else { return 0 };
    let mut bytes = 0;
    for table in &schema.tables {
        let Ok(mut rows) = Rows::new(&db, table, Selection::Stored) else { continue };
        while let Ok(Some(row)) = rows.next() {
            bytes += row.values().filter(|value| !value.is_null()).count();
        }
    }
    bytes
}

fn sound(source: &dyn PageSource, trees: Trees, left_out: &[Unsound]) -> Option<Readable> {
    Readable::read(source, Selection::Changeset, trees, left_out).ok()
}

/// Whatever is damaged, the sound tables of both sides can be compared.
fn tell_what_is_sound(damaged: &dyn PageSource, whole: &dyn PageSource, pages: &[PageNo]) {
    let Some(before) = sound(damaged, Trees::All, &[]) else { return };
    let mut faults = before.unsound().to_vec();
    for table in &before.schema().tables {
        faults.extend(before.fault(damaged, table).expect("pages in memory"));
    }
    let (Some(before), Some(after)) = (sound(damaged, Trees::Tables, &faults), sound(whole, Trees::Tables, &[])) else {
        return;
    };
    assert!(after.unsound().is_empty());
    if let Err(error) = before.changes_to(damaged, (whole, &after), pages) {
        // That is no table's.
        assert!(error.to_string().contains("pointer map"), "{error}, faults {faults:?}");
    }
    for table in &after.schema().tables {
        after.rows_since(whole, (damaged, &before), table).expect("what is left is sound");
    }
}

#[test]
fn damage_is_an_error_or_a_result() {
    for pragma in ["", "PRAGMA auto_vacuum = FULL;", "PRAGMA encoding = 'UTF-16le';"] {
        let mut case = Case::new(&format!(
            "PRAGMA page_size = 512; {pragma} CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT DEFAULT 'x', b REAL); \
             CREATE TABLE w(a, b, c, PRIMARY KEY(b DESC, a)) WITHOUT ROWID; CREATE TABLE n(a, b); CREATE INDEX i ON n(b); \
             WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < 120) \
             INSERT INTO t SELECT x, printf('%.*c', x * 17 % 1500, 'a'), x FROM s; \
             INSERT INTO w SELECT id, a, b FROM t; INSERT INTO n SELECT a, b FROM t WHERE id % 3 = 0; \
             DELETE FROM t WHERE id % 5 = 0;"
        ));
        let before = case.pages.clone();
        let tracker = Tracker::new(&before).unwrap();
        case.run(
            "UPDATE t SET a = a || 'z' WHERE id % 7 = 0; DELETE FROM w WHERE c % 4 = 0; ALTER TABLE n ADD COLUMN c; \
             INSERT INTO n SELECT a, b, 1 FROM t; UPDATE n SET a = substr(a, 1, length(a) - 1) || 'q' WHERE b > 50",
        );
        let dirty = case.dirty.clone();
        let all: Vec<PageNo> = (1..=case.pages.page_count()).map(PageNo).collect();
        let told = [Trees::All, Trees::Tables].map(|trees| {
            let [before_sound, after] = [&before, &case.pages].map(|pages| sound(pages, trees, &[]).unwrap());
            before_sound.changes_to(&before, (&case.pages, &after), &dirty).unwrap()
        });
        let captured = tracker.capture(&before, &case.pages, &dirty).unwrap();
        assert!(told.iter().all(|told| *told == (captured.schema.clone(), captured.changeset.clone())));
        let (mut errors, mut results, mut most) = (0, 0, 0);
        for seed in 0..4000 {
            let mut rng = Rng::new(seed);
            let mut damaged = Damaged::of(&case.pages);
            damaged.hurt(&mut rng);
            read_everything(&damaged);
            let dirty = if rng.chance(50) { &dirty } else { &all };
            match tracker.capture(&before, &damaged, dirty) {
                Ok(_) => results += 1,
                Err(_) => errors += 1,
            }
            let _ = diff(&damaged, &case.pages, &mut |_| Ok(()));
            if seed % 8 == 0 {
                tell_what_is_sound(&damaged, &case.pages, &all);
            }
            if let Ok(tracker) = Tracker::new(&damaged) {
                let _ = tracker.capture(&damaged, &case.pages, &all);
            }
            most = most.max(damaged.reads.into_inner());
        }
        println!("{errors} errors, {results} results, at most {most} reads");
        assert!(errors > 100 && results > 100);
    }
}
