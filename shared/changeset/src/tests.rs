use std::borrow::Cow;

use maniac_base::Value;

use crate::*;

const HEADER: TableHeader<'static> = TableHeader { name: "t", key: &[1, 0, 0] };

fn row(key: i64, text: &str, real: f64) -> Vec<u8> {
    let mut out = Vec::new();
    for value in [Value::Integer(key), Value::text(text), Value::Real(real)] {
        push_value(&mut out, &value);
    }
    out
}

fn changeset(write: impl Fn(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.table(&HEADER);
    write(&mut writer);
    writer.take()
}

fn insert(row: &[u8]) -> Vec<u8> {
    changeset(|writer| writer.whole_row(Op::Insert, row))
}

fn delete(row: &[u8]) -> Vec<u8> {
    changeset(|writer| writer.whole_row(Op::Delete, row))
}

fn update(old: &[u8], new: &[u8]) -> Vec<u8> {
    let record = |row| Record::parse(row, 3).unwrap();
    changeset(|writer| assert!(writer.update(&HEADER, record(old), record(new))))
}

fn net(changesets: &[Vec<u8>]) -> Vec<u8> {
    let mut group = Group::new();
    changesets.iter().for_each(|changeset| group.add(changeset).unwrap());
    group.finish()
}

/// Byte for byte what the session documentation gives for a table header, an insert and an update.
#[test]
fn layout() {
    let bytes = changeset(|writer| {
        writer.insert(&[Value::Integer(1), Value::text("ab"), Value::Null]);
        writer.delete(&[Value::Real(1.0), Value::Blob(Cow::Borrowed(&[7])), Value::Null]);
    });
    let mut expected = b"T\x03\x01\x00\x00t\0".to_vec();
    expected.extend(b"\x12\x00\x01\0\0\0\0\0\0\0\x01\x03\x02ab\x05");
    expected.extend(b"\x09\x00\x02\x3f\xf0\0\0\0\0\0\0\x04\x01\x07\x05");
    assert_eq!(bytes, expected);
    let bytes = update(&row(1, "a", 0.0), &row(1, "b", 0.0));
    assert_eq!(bytes[7..], *b"\x17\x00\x01\0\0\0\0\0\0\0\x01\x03\x01a\x00\x00\x03\x01b\x00");
}

#[test]
fn what_was_written_is_read() {
    let bytes = [insert(&row(1, "a", 0.5)), update(&row(2, "a", 1.0), &row(2, "b", 1.0))].concat();
    let items: Vec<_> = Reader::new(&bytes).map(Result::unwrap).collect();
    let [Item::Table(first), Item::Change(insert), Item::Table(_), Item::Change(update)] = items[..] else {
        panic!("{items:?}")
    };
    assert_eq!(first, HEADER);
    let values: Vec<_> = insert.new.unwrap().values().collect();
    assert_eq!(values, [Some(Value::Integer(1)), Some(Value::text("a")), Some(Value::Real(0.5))]);
    assert_eq!(insert.old, None);
    let old: Vec<_> = update.old.unwrap().values().collect();
    let new: Vec<_> = update.new.unwrap().values().collect();
    assert_eq!(old, [Some(Value::Integer(2)), Some(Value::text("a")), None]);
    assert_eq!(new, [None, Some(Value::text("b")), None]);
    let mut writer = Writer::new();
    for item in &items {
        match item {
            Item::Table(header) => writer.table(header),
            Item::Change(change) => writer.change(change),
        }
    }
    assert_eq!(writer.take(), bytes);
}

#[test]
fn equal_rows_are_no_update() {
    let row = row(1, "a", 0.5);
    let record = Record::parse(&row, 3).unwrap();
    let mut writer = Writer::new();
    assert!(!writer.update(&HEADER, record, record));
    assert!(writer.is_empty());
}

#[test]
fn netting_follows_the_table_of_pairs() {
    let (a, b, c) = (row(1, "a", 0.0), row(1, "b", 1.0), row(1, "c", 0.0));
    assert_eq!(net(&[insert(&a), update(&a, &b)]), insert(&b));
    assert_eq!(net(&[insert(&a), delete(&a)]), []);
    assert_eq!(net(&[update(&a, &b), update(&b, &c)]), update(&a, &c));
    assert_eq!(net(&[update(&a, &b), update(&b, &a)]), []);
    assert_eq!(net(&[update(&a, &b), delete(&b)]), delete(&a));
    assert_eq!(net(&[delete(&a), insert(&b)]), update(&a, &b));
    assert_eq!(net(&[delete(&a), insert(&a)]), []);
    assert_eq!(net(&[insert(&a), insert(&b)]), insert(&a), "what can't follow is dropped");
    assert_eq!(net(&[insert(&a), delete(&a), insert(&b)]), insert(&b));
}

#[test]
fn a_table_that_changed_its_columns_cannot_be_joined() {
    let mut group = Group::new();
    group.add(&insert(&row(1, "a", 0.0))).unwrap();
    let mut writer = Writer::new();
    writer.table(&TableHeader { name: "T", key: &[1, 0] });
    let error = group.add(&writer.take()).unwrap_err();
    assert_eq!(error, ChangesetError::ShapeChanged { table: "T".into() });
}

#[test]
fn inverting_twice_changes_nothing() {
    let (a, b) = (row(1, "a", 0.0), row(1, "b", 0.0));
    assert_eq!(invert(&insert(&a)).unwrap(), delete(&a));
    assert_eq!(invert(&update(&a, &b)).unwrap(), update(&b, &a));
    let all = [insert(&a), update(&a, &b), delete(&b)].concat();
    assert_eq!(invert(&invert(&all).unwrap()).unwrap(), all);
}

#[test]
fn every_cut_and_every_flipped_byte_is_an_error_or_a_changeset() {
    let bytes = [insert(&row(1, "abc", 0.5)), update(&row(2, "a", 1.0), &row(2, "b", 1.0))].concat();
    let boundaries: Vec<usize> = {
        let mut reader = Reader::new(&bytes);
        let mut offsets = vec![0];
        while reader.next().is_some() {
            offsets.push(reader.offset());
        }
        offsets
    };
    for cut in 0..bytes.len() {
        let whole = Reader::new(&bytes[..cut]).all(|item| item.is_ok());
        assert_eq!(whole, boundaries.contains(&cut), "cut at {cut}");
    }
    for at in 0..bytes.len() {
        for byte in [0, 1, 5, 9, 0x54, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            let items = Reader::new(&bytes).take_while(Result::is_ok).count();
            assert!(items <= bytes.len());
        }
    }
}

#[test]
fn rows_with_null_in_their_key_name_their_table() {
    let name = format!("{NULL_KEY_PREFIX}orders");
    let header = TableHeader { name: &name, key: &[1, 0] };
    assert_eq!(Target::of(&header), Target { table: "orders", null_key: true });
    assert_eq!(Target::of(&HEADER), Target { table: "t", null_key: false });
}
