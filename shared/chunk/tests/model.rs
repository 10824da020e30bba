//! Databases in packs against a model: random changes, cuts, copies and compactions, each database compared page for page.
#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use maniac_base::{PageNo, checksum};
use maniac_chunk::{ChunkError, Compression, Packs, Root, Visit, Writer};
use maniac_disk::os::Os;
use maniac_seal::DataKey;
use proptest::prelude::*;

const STORE: u128 = 7;
const PAGE: usize = 512;

type Pages = Vec<Option<Vec<u8>>>;

fn packs(dir: &Path, numbers: impl IntoIterator<Item = u32>) -> Packs {
    Packs::new(Arc::new(Os), dir.to_owned(), STORE, PAGE as u32, numbers)
}

/// Half of the cases are those of an encrypted store.
fn keys(sealed: bool) -> Option<DataKey> {
    sealed.then(|| DataKey::new(STORE, [7; 32]))
}

fn write(
    packs: &Packs,
    number: u32,
    root: &Root,
    pages: u32,
    changed: &[(u32, Vec<u8>)],
    compression: Compression,
) -> Result<(Root, u64), ChunkError> {
    let mut writer = Writer::begin(packs, number, compression)?;
    let numbers: Vec<PageNo> = changed.iter().map(|(no, _)| PageNo(*no)).collect();
    let root = writer.update::<ChunkError>(root, pages, &numbers, &mut |no| {
        Ok(Cow::Borrowed(&changed.iter().find(|(at, _)| *at == no.0).expect("a changed page").1[..]))
    })?;
    Ok((root, writer.finish()?))
}

fn assert_holds(packs: &Packs, root: &Root, pages: &Pages) {
    assert_eq!(root.pages as usize, pages.len());
    // Of the pages that were never written, some.
    for (n, page) in pages.iter().enumerate().filter(|(n, page)| page.is_some() || n % 41 == 0) {
        let found = packs.page(root, PageNo(n as u32 + 1)).unwrap();
        assert_eq!(found.as_deref(), page.as_deref(), "page {}", n + 1);
    }
}

/// The packs that a database lies in.
fn packs_of(packs: &Packs, root: &Root) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    root.walk(packs, &mut |visit| {
        found.insert(match visit {
            Visit::Node { place, .. } | Visit::Chunk(place) => place.pack(),
            Visit::Page(slot) => slot.place.pack(),
        });
        true
    })
    .unwrap();
    found
}

#[derive(Clone, Debug)]
enum Step {
    /// Another database from one of those there are: new length, pages with what fills them.
    Update { from: usize, pages: u32, changed: Vec<(u32, u8, bool)>, lz4: bool },
    /// All databases leave some packs.
    Compact { leave: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pages = prop_oneof![3 => 1u32..400, 1 => 16_000u32..18_000];
    let changed = prop::collection::vec((1u32..18_000, 0u8..4, any::<bool>()), 0..12);
    let update = (0usize..8, pages, changed, any::<bool>()).prop_map(|(from, pages, changed, lz4)| Step::Update {
        from,
        pages,
        changed,
        lz4,
    });
    let compact = (1u32..12).prop_map(|leave| Step::Compact { leave });
    prop::collection::vec(prop_oneof![5 => update, 1 => compact], 1..12)
}

fn fill(no: u32, fill: u8, noise: bool) -> Vec<u8> {
    let mut page = vec![fill; PAGE];
    if noise {
        let mut state = u64::from(no) << 8 | u64::from(fill) | 1 << 60;
        page.iter_mut().for_each(|byte| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        });
    }
    page
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn databases_are_what_the_model_says(steps in steps(), sealed: bool) {
        let dir = tempfile::tempdir().unwrap();
        let mut there = packs(dir.path(), []).with_keys(keys(sealed));
        let mut databases: Vec<(Root, Pages)> = vec![(Root::EMPTY, Vec::new())];
        for (n, step) in steps.into_iter().enumerate() {
            let number = n as u32 + 1;
            match step {
                Step::Update { from, pages, changed, lz4 } => {
                    let (root, mut model) = databases[from % databases.len()].clone();
                    model.resize(pages as usize, None);
                    let changed: BTreeSet<_> = changed.into_iter().map(|(no, f, n)| (1 + (no - 1) % pages, f, n)).collect();
                    let mut changed: Vec<(u32, Vec<u8>)> =
                        changed.into_iter().map(|(no, f, noise)| (no, fill(no, f, noise))).collect();
                    changed.dedup_by_key(|(no, _)| *no);
                    for (no, page) in &changed {
                        model[*no as usize - 1] = Some(page.clone());
                    }
                    let compression = if lz4 { Compression::Lz4 } else { Compression::None };
                    let (new, _) = write(&there, number, &root, pages, &changed, compression).unwrap();
                    there = there.with(there.numbers().chain([number]).collect::<Vec<u32>>());
                    assert_holds(&there, &new, &model);
                    // What differs is found, in both directions.
                    let (_, old) = &databases[from % databases.len()];
                    let differ: BTreeSet<u32> = root.differing(&new, &there).unwrap().iter().map(|no| no.0).collect();
                    let back: BTreeSet<u32> = new.differing(&root, &there).unwrap().iter().map(|no| no.0).collect();
                    prop_assert_eq!(&differ, &back);
                    for no in 1..=old.len().max(model.len()) {
                        let page = |model: &Pages| model.get(no - 1).cloned().flatten();
                        prop_assert!(page(old) == page(&model) || differ.contains(&(no as u32)), "page {}", no);
                    }
                    databases.push((new, model));
                }
                Step::Compact { leave } => {
                    let mut writer = Writer::begin(&there, number, Compression::None).unwrap();
                    let left = |pack: u32| pack <= leave && pack < number;
                    let roots: Vec<Root> =
                        databases.iter().map(|(root, _)| writer.copy_out_of(root, &left).unwrap()).collect();
                    writer.finish().unwrap();
                    // Another look at the files: nothing that is left behind is needed.
                    let numbers: Vec<u32> = there.numbers().filter(|number| !left(*number)).chain([number]).collect();
                    there = packs(dir.path(), numbers).with_keys(keys(sealed));
                    for ((old, model), new) in databases.iter_mut().zip(roots) {
                        *old = new;
                        assert_holds(&there, old, model);
                        prop_assert!(packs_of(&there, old).iter().all(|pack| !left(*pack)));
                    }
                }
            }
            for (root, model) in &databases {
                prop_assert_eq!(root.pages as usize, model.len());
            }
        }
        for (root, model) in &databases {
            assert_holds(&there, root, model);
        }
    }

    /// A changed byte is an error or changes nothing; it never shows another page.
    #[test]
    fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), bit in 0u8..8, lz4 in any::<bool>(), sealed: bool) {
        let dir = tempfile::tempdir().unwrap();
        let there = packs(dir.path(), []).with_keys(keys(sealed));
        let changed: Vec<(u32, Vec<u8>)> = (1..=70).map(|no| (no, fill(no, 3, no % 2 == 0))).collect();
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let (root, length) = write(&there, 1, &Root::EMPTY, 80, &changed, compression).unwrap();
        let path = maniac_chunk::pack_path(dir.path(), 1);
        let mut bytes = std::fs::read(&path).unwrap();
        prop_assert_eq!(bytes.len() as u64, length);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, bytes).unwrap();
        let there = packs(dir.path(), [1]).with_keys(keys(sealed));
        for no in 1..=80 {
            if let Ok(page) = there.page(&root, PageNo(no)) {
                let right = changed.iter().find(|(n, _)| *n == no).map(|(_, page)| &page[..]);
                prop_assert_eq!(page.as_deref(), right);
            }
        }
        let _ = root.walk(&there, &mut |_| true);
    }
}

#[test]
fn the_same_pages_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let there = packs(dir.path(), []);
    let pages: Vec<(u32, Vec<u8>)> = (1..=640).map(|no| (no, fill(no, 1, true))).collect();
    let (one, first) = write(&there, 1, &Root::EMPTY, 640, &pages, Compression::None).unwrap();
    let there = there.with([1]);
    let (other, second) = write(&there, 2, &Root::EMPTY, 640, &pages, Compression::None).unwrap();
    assert!(first > 640 * 512 && second < 4096, "{first} and then {second} bytes");
    let there = there.with([1, 2]);
    assert_eq!(one.differing(&other, &there).unwrap(), []);
}

#[test]
fn one_changed_page_costs_one_page() {
    let dir = tempfile::tempdir().unwrap();
    let there = packs(dir.path(), []);
    let pages: Vec<(u32, Vec<u8>)> = (1..=640).map(|no| (no, fill(no, 1, true))).collect();
    let (root, _) = write(&there, 1, &Root::EMPTY, 640, &pages, Compression::None).unwrap();
    let there = there.with([1]);
    let (_, bytes) = write(&there, 2, &root, 640, &[(333, fill(333, 2, true))], Compression::None).unwrap();
    // The page, the chunk's slots, one node, and the pack's ends.
    assert!(bytes < 512 + 64 * 24 + 512, "{bytes} bytes");
}

/// A page that has the same checksum as another one.
fn forged(page: &[u8], of: &[u8]) -> Vec<u8> {
    let mut forged = page.to_vec();
    forged[PAGE - 8..].fill(0);
    let zero = checksum(&forged);
    // What each of the last 64 bits does to the checksum, which is linear in them.
    let mut rows: Vec<(u64, u64)> = (0..64)
        .map(|bit| {
            let mut with = forged.clone();
            with[PAGE - 8 + bit / 8] |= 1 << (bit % 8);
            (checksum(&with) ^ zero, 1 << bit)
        })
        .collect();
    let (mut wanted, mut bits) = (checksum(of) ^ zero, 0);
    for column in 0..64 {
        let pivot = rows.iter().position(|(sum, _)| sum >> column & 1 == 1).expect("the bits are independent");
        let (sum, bit) = rows.swap_remove(pivot);
        rows.iter_mut().filter(|(row, _)| row >> column & 1 == 1).for_each(|row| *row = (row.0 ^ sum, row.1 ^ bit));
        if wanted >> column & 1 == 1 {
            (wanted, bits) = (wanted ^ sum, bits ^ bit);
        }
    }
    forged[PAGE - 8..].copy_from_slice(&u64::to_le_bytes(bits));
    forged
}

#[test]
fn chunks_of_one_name_and_other_pages_both_live() {
    let dir = tempfile::tempdir().unwrap();
    let there = packs(dir.path(), []);
    let page = fill(1, 1, true);
    let other = forged(&fill(1, 2, true), &page);
    assert_eq!(checksum(&page), checksum(&other));
    assert_ne!(page, other);
    let (one, _) = write(&there, 1, &Root::EMPTY, 1, &[(1, page.clone())], Compression::None).unwrap();
    let there = there.with([1]);
    let (two, _) = write(&there, 2, &Root::EMPTY, 1, &[(1, other.clone())], Compression::None).unwrap();
    let there = there.with([1, 2]);
    // Also where one takes the place of the other.
    let (three, bytes) = write(&there, 3, &one, 1, &[(1, other.clone())], Compression::None).unwrap();
    assert!(bytes < 512, "{bytes} bytes, though the other one is there and has the same name");
    let there = there.with([1, 2, 3]);
    for (root, page) in [(one, &page), (two, &other), (three, &other)] {
        assert_eq!(there.page(&root, PageNo(1)).unwrap().as_deref(), Some(&page[..]));
    }
    assert_eq!(one.differing(&two, &there).unwrap(), [PageNo(1)]);
}

#[test]
fn a_pack_of_another_store_or_number_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let there = packs(dir.path(), []);
    let (root, _) = write(&there, 1, &Root::EMPTY, 1, &[(1, fill(1, 1, true))], Compression::None).unwrap();
    let foreign = Packs::new(Arc::new(Os), dir.path().to_owned(), STORE + 1, PAGE as u32, [1]);
    let error = foreign.page(&root, PageNo(1)).unwrap_err().to_string();
    assert!(error.contains("another store"), "{error}");
    std::fs::rename(maniac_chunk::pack_path(dir.path(), 1), maniac_chunk::pack_path(dir.path(), 2)).unwrap();
    let moved = packs(dir.path(), [2]);
    let error = moved.pack(2).err().expect("it is refused").to_string();
    assert!(error.contains("in another's place"), "{error}");
}
