//! A pack that is not what it should be.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use maniac_base::{PageNo, checksum};
use maniac_chunk::{ChunkError, Compression, Packs, Root, Writer, pack_path};
use maniac_disk::os::Os;

use crate::edit::Input;

const PAGE: usize = 512;
const PAGES: u32 = 300;
/// Bytes of a pack's header, of a chunk and of a pack's footer.
const HEADER: usize = 64;
const CHUNK: usize = 1560;
const FOOTER: usize = 32;

/// A pack with some chunks, and its root.
static VALID: LazyLock<(Vec<u8>, Root)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let packs = open(directory.path(), []);
    let mut writer = Writer::begin(&packs, 1, Compression::Lz4).expect("room for a pack");
    let numbers: Vec<PageNo> = (1..=PAGES).filter(|no| no % 3 != 0).map(PageNo).collect();
    let root = writer.update::<ChunkError>(&Root::EMPTY, PAGES, &numbers, &mut |no| Ok(page(no)));
    let root = root.expect("a database");
    writer.finish().expect("room for a pack");
    (fs::read(pack_path(directory.path(), 1)).expect("the pack"), root)
});

/// Half of the pages can be compressed.
fn page(no: PageNo) -> Cow<'static, [u8]> {
    let byte = |n: usize| if no.0.is_multiple_of(2) { ((n * n * no.0 as usize) >> 3) as u8 } else { no.0 as u8 };
    (0..PAGE).map(byte).collect::<Vec<u8>>().into()
}

fn open(directory: &Path, numbers: impl IntoIterator<Item = u32>) -> Packs {
    Packs::new(Arc::new(Os), directory.to_owned(), 7, PAGE as u32, numbers)
}

/// Opens an edited pack and reads all of it.
pub fn pack(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let (mut bytes, root) = VALID.clone();
    match how % 16 {
        0 => bytes = rest.to_vec(),
        _ => drop(Input(rest).apply(&mut bytes)),
    }
    if how & 0x10 != 0 {
        mend(&mut bytes);
    }
    let directory = tempfile::tempdir().expect("a scratch directory");
    fs::write(pack_path(directory.path(), 1), &bytes).expect("room for a pack");
    let packs = open(directory.path(), [1]);
    for no in 1..=PAGES {
        if let Ok(Some(page)) = packs.page(&root, PageNo(no)) {
            assert_eq!(page.len(), PAGE, "a page has the store's size");
        }
    }
    let _ = root.walk(&packs, &mut |_| true);
    let _ = root.differing(&Root { levels: 1 + how % 4, ..root }, &packs);
    let mut writer = Writer::begin(&packs, 2, Compression::None).expect("room for a pack");
    let _ = writer.copy_out_of(&root, &|pack| pack == 1);
}

/// Makes checksums right where something can be found by its magic.
fn mend(bytes: &mut [u8]) {
    if bytes.len() < HEADER + FOOTER {
        return;
    }
    seal(&mut bytes[..HEADER]);
    let items = bytes.len() - FOOTER;
    for at in (HEADER..items).step_by(8) {
        let length = match &bytes[at..at + 4] {
            b"NODE" => 16 + 8 * usize::from(u16::from_le_bytes([bytes[at + 6], bytes[at + 7]])),
            b"CHNK" => CHUNK,
            _ => continue,
        };
        if at + length <= items {
            seal(&mut bytes[at..at + length]);
        }
    }
    let (items, footer) = bytes.split_at_mut(items);
    let names = u64::from_le_bytes(footer[8..16].try_into().expect("eight bytes")) as usize;
    if let Some(start) = names.checked_mul(16).and_then(|length| items.len().checked_sub(length)) {
        footer[16..24].copy_from_slice(&checksum(&items[start..]).to_le_bytes());
    }
    seal(footer);
}

/// Puts the checksum of what is in front of them into the last eight bytes.
fn seal(item: &mut [u8]) {
    let end = item.len() - 8;
    let sum = checksum(&item[..end]).to_le_bytes();
    item[end..].copy_from_slice(&sum);
}
