//! Whatever the bytes: an error or a result, and no reading beyond them.

use std::borrow::Cow;

use maniac_base::{PageError, PageNo, PageSource, Value};
use maniac_sqlite_format::{
    BlockColumn, Database, Encoding, FieldSource, RecordFields, RowBlock, RowLayout, Rows, Schema, SchemaRow,
    Selection, TreePage,
};
use proptest::prelude::*;

const STATEMENT: &str = "CREATE TABLE t(a INTEGER PRIMARY KEY DESC, \"b c\" VARCHAR(10, 2) DEFAULT (-5) NOT NULL, \
    d AS (a || 'x') STORED, e DEFAULT x'00ff' REFERENCES z(y) ON DELETE SET NULL, f DEFAULT (CAST('1' AS REAL)), \
    CONSTRAINT k PRIMARY KEY(e DESC, [b c] COLLATE nocase), CHECK (a > 1)) WITHOUT ROWID, STRICT -- end";

fn parse(sql: String) -> bool {
    let row =
        SchemaRow { rowid: 1, kind: "table".into(), name: "t".into(), table_name: "t".into(), root: 2, sql: Some(sql) };
    Schema::from_rows(vec![row], Encoding::Utf16Le).is_ok()
}

struct Pages(Vec<Vec<u8>>);

impl PageSource for Pages {
    fn page_size(&self) -> usize {
        self.0[0].len()
    }

    fn page_count(&self) -> u32 {
        self.0.len() as u32
    }

    fn page(&self, no: PageNo) -> Result<Cow<'_, [u8]>, PageError> {
        let page = self.0.get((no.0 as usize).wrapping_sub(1));
        page.map(|page| Cow::Borrowed(&page[..])).ok_or_else(|| PageError::out_of_range(no, self.page_count()))
    }
}

proptest! {
    #[test]
    fn definitions(cuts in prop::collection::vec((0..STATEMENT.len(), 0..STATEMENT.len()), 1..4), glue in "[(),'\"\\[\\]x0.eé+ -]{0,3}") {
        let pieces: Vec<&str> = cuts.iter().map(|&(a, b)| &STATEMENT[a.min(b)..a.max(b)]).collect();
        let whole = format!("CREATE TABLE t({}", pieces.join(&glue));
        parse(whole);
        let (a, b) = cuts[0];
        parse(format!("{}{glue}{}", &STATEMENT[..a], &STATEMENT[b..]));
    }

    #[test]
    fn arbitrary_text(text in "\\PC{0,200}") {
        parse(format!("CREATE TABLE t({text}"));
    }

    #[test]
    fn records(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut fields = RecordFields::default();
        if fields.parse(&payload).is_ok() {
            for i in 0..fields.len() {
                prop_assert!(fields.get(i, &payload).is_some());
            }
        }
    }

    /// A block reads of a record what is read of it alone, wherever it lies in its page.
    #[test]
    fn blocks(page in prop::collection::vec(any::<u8>(), 0..300), start in 0..40usize, width in 0..6usize, encoding in prop::sample::select(vec![Encoding::Utf8, Encoding::Utf16Le]), real: bool) {
        let field = |index| FieldSource::Field { index, real, default: Value::text("default") };
        let layout = RowLayout { encoding, sources: (0..width).map(field).collect() };
        let payload = page.get(start..).unwrap_or_default();
        let mut fields = RecordFields::default();
        let expected = match (width, start > page.len()) {
            (0, _) => Ok(()),
            (_, true) => Err("a record lies outside its page"),
            (_, false) => fields.parse_first(payload, width),
        };
        let mut block = RowBlock::new(width);
        prop_assert_eq!(block.push(5, &page, start..start.max(page.len())), expected);
        prop_assert_eq!(block.len(), usize::from(expected.is_ok()));
        let rows = block.rows(&layout, &page);
        for i in (0..width).take_while(|_| !block.is_empty()) {
            let value = layout.value(i, 5, payload, &fields);
            prop_assert_eq!(rows.value(0, i), value.clone());
            let BlockColumn::Fields(column) = rows.column(i) else { panic!("a field") };
            let integer = fields.get(i, payload).and_then(|(serial, bytes)| serial.integer(bytes));
            prop_assert_eq!(column.integer(0), integer);
            prop_assert_eq!(column.get(0).is_some(), fields.get(i, payload).is_some());
        }
    }

    #[test]
    fn pages(mut bytes in prop::collection::vec(any::<u8>(), 512), kind in prop::sample::select(vec![2u8, 5, 10, 13]), cells in 0..8u8) {
        (bytes[0], bytes[3], bytes[4]) = (kind, 0, cells);
        if let Ok(page) = TreePage::parse(PageNo(2), Cow::Borrowed(&bytes), 512) {
            page.children().for_each(drop);
            if kind != 5 {
                (0..page.cell_count()).for_each(|i| drop(page.cell(i)));
            }
        }
    }

    /// A database whose every page but the header is arbitrary.
    #[test]
    fn databases(pages in prop::collection::vec(prop::collection::vec(any::<u8>(), 512), 1..6), kind in prop::sample::select(vec![5u8, 13]), cells in 0..3u8) {
        let mut pages = pages;
        let header = &mut pages[0];
        header[..16].copy_from_slice(b"SQLite format 3\0");
        header[16..18].copy_from_slice(&[2, 0]);
        header[20] = 0;
        header[56..60].copy_from_slice(&[0, 0, 0, 1]);
        (header[100], header[103], header[104]) = (kind, 0, cells);
        let pages = Pages(pages);
        let db = Database::open(&pages).unwrap().unwrap();
        if let Ok(schema) = Schema::read(&pages) {
            for table in &schema.tables {
                if let Ok(mut rows) = Rows::new(&db, table, Selection::Stored) {
                    while let Ok(Some(row)) = rows.next() {
                        row.values().for_each(drop);
                    }
                }
            }
        }
    }
}
