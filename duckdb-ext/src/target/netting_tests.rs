use std::collections::BTreeMap;

use maniac_base::Version;
use proptest::prelude::*;

use super::*;

fn commit(rows: Vec<RowChange>) -> Commit {
    let tables = vec![TableChanges { table: "t".to_string(), key: vec![0], rows }];
    Commit {
        version: Version(1),
        time_ms: 0,
        schema: None,
        unreadable: None,
        tables,
        unkeyed: vec![],
        left_out: vec![],
    }
}

fn int(number: i64) -> Value {
    Value::Integer(number)
}

#[test]
fn a_key_that_comes_and_goes_leaves_nothing() {
    let commits = [commit(vec![RowChange::Insert(vec![int(1), int(5)]), RowChange::Delete(vec![Some(int(1)), None])])];
    assert_eq!(net(&commits), [("t".to_string(), NetTable::default())]);
}

#[test]
fn a_whole_update_is_a_replacement_and_a_part_of_one_a_patch() {
    let update = |new| RowChange::Update { old: vec![Some(int(1)), None, None], new };
    let part = net(&[commit(vec![update(vec![Some(int(1)), Some(int(7)), None])])]);
    assert_eq!(part[0].1.changes[0].1, Net::Patch(vec![Some(int(1)), Some(int(7)), None]));
    let both = net(&[
        commit(vec![update(vec![Some(int(1)), Some(int(7)), None])]),
        commit(vec![update(vec![Some(int(1)), None, Some(int(8))])]),
    ]);
    assert_eq!(both[0].1.changes[0].1, Net::Replace(vec![int(1), int(7), int(8)]));
}

#[test]
fn keys_of_different_classes_are_different() {
    let rows = [int(1), Value::Real(1.0), Value::Text(b"1".into()), Value::Blob(b"1".into()), Value::Null];
    let commits = [commit(rows.iter().map(|key| RowChange::Insert(vec![key.clone(), int(0)])).collect())];
    assert_eq!(net(&commits)[0].1.changes.len(), rows.len());
}

/// A step of a history: what is done to a key, with which value in which column.
#[derive(Clone, Debug)]
struct Operation {
    key: i64,
    column: usize,
    value: i64,
    delete: bool,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = (0..6i64, 1..3usize, 0..100i64, prop::bool::weighted(0.3));
    let one = one.prop_map(|(key, column, value, delete)| Operation { key, column, value, delete });
    prop::collection::vec(one, 0..60)
}

type Model = BTreeMap<i64, Vec<Value>>;

/// Plays operations against a model and returns the changes that SQLite would report.
fn play(model: &mut Model, operations: &[Operation]) -> Vec<RowChange> {
    let mut changes = Vec::new();
    for operation in operations {
        let key = int(operation.key);
        match (model.get_mut(&operation.key), operation.delete) {
            (Some(_), true) => {
                model.remove(&operation.key);
                changes.push(RowChange::Delete(vec![Some(key), None, None]));
            }
            (Some(row), false) => {
                row[operation.column] = int(operation.value);
                let mut new = vec![Some(key.clone()), None, None];
                new[operation.column] = Some(int(operation.value));
                changes.push(RowChange::Update { old: vec![Some(key), None, None], new });
            }
            (None, true) => {}
            (None, false) => {
                let row = vec![key, int(operation.value), int(-1)];
                model.insert(operation.key, row.clone());
                changes.push(RowChange::Insert(row));
            }
        }
    }
    changes
}

proptest! {
    #[test]
    fn the_net_does_what_the_changes_do(before in operations(), batch in operations(), cut in 0..60usize) {
        let mut model = Model::new();
        play(&mut model, &before);
        let mut mirror = model.clone();
        let cut = cut.min(batch.len());
        let commits = [commit(play(&mut model, &batch[..cut])), commit(play(&mut model, &batch[cut..]))];
        for (_, table) in net(&commits) {
            for (key, change) in table.changes {
                let Value::Integer(key) = key[0] else { panic!("keys are integers here") };
                match change {
                    Net::Insert(row) => prop_assert!(mirror.insert(key, row).is_none(), "{key} was there"),
                    Net::Replace(row) => prop_assert!(mirror.insert(key, row).is_some(), "{key} was not there"),
                    Net::Delete => prop_assert!(mirror.remove(&key).is_some(), "{key} was not there"),
                    Net::Patch(values) => {
                        let row = mirror.get_mut(&key).expect("a patched key is there");
                        for (value, new) in row.iter_mut().zip(values) {
                            *value = new.unwrap_or(value.clone());
                        }
                    }
                }
            }
        }
        prop_assert_eq!(mirror, model);
    }
}
