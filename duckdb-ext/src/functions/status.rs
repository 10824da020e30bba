//! `maniac_status`: a row per mirror.

use std::sync::Arc;

use crate::apply::Differing;
use crate::error::Result;
use crate::host::{Args, Field, Function, Kind, Rows};
use crate::instance::Instance;
use crate::mirror::{Mirror, State};

pub static STATUS: Function = Function {
    name: "maniac_status",
    parameters: &[],
    columns: &[
        ("name", Kind::Text),
        ("source", Kind::Text),
        ("branch", Kind::Text),
        ("target", Kind::Text),
        ("state", Kind::Text),
        ("committed_version", Kind::Integer),
        ("applied_version", Kind::Integer),
        ("lag_transactions", Kind::Integer),
        ("lag_ms", Kind::Integer),
        ("transactions", Kind::Integer),
        ("batches", Kind::Integer),
        ("rows", Kind::Integer),
        ("transactions_per_second", Kind::Double),
        ("widened_columns", Kind::Integer),
        ("widened", Kind::Text),
        ("rounded_values", Kind::Integer),
        ("rejected_values", Kind::Integer),
        ("repaired_tables", Kind::Integer),
        ("errors", Kind::Integer),
        ("last_error", Kind::Text),
        ("retry_at", Kind::Timestamp),
        ("copying", Kind::Text),
        ("maintained", Kind::Timestamp),
        ("direct_writes", Kind::Text),
    ],
    is_long: |_, _| false,
    start: status,
};

fn status(instance: &Arc<Instance>, _args: &Args) -> Result<Rows> {
    let mirrors = instance.mirrors();
    Ok(Box::new(mirrors.into_iter().map(|mirror| Ok(row(&mirror)))))
}

/// Commits counted for the lag; beyond, the number is this one.
const COUNTED_LAG: usize = 10_000;

fn row(mirror: &Mirror) -> Vec<Field> {
    let report = mirror.report();
    let (state, retry_ms) = report.shown();
    // A store that cannot be read now shows as an error of the mirror, not of the status.
    let committed = mirror.source.head();
    let (pending, since) = match report.state {
        State::Copying => (0, None),
        _ => mirror.source.pending(report.applied, COUNTED_LAG).unwrap_or((0, None)),
    };
    let lag_ms = since.map_or(0, |since| (crate::source::now_ms() - since).max(0));
    let last_error = report.last_error.clone().or_else(|| committed.as_ref().err().map(ToString::to_string));
    let copying = report.copying.as_ref().map(|(table, tally)| format!("{table}: {} rows", tally.rows()));
    vec![
        Field::text(mirror.name.clone()),
        Field::text(mirror.location.clone()),
        Field::text(mirror.branch.clone()),
        Field::text(mirror.target.shown()),
        Field::text(state.to_string()),
        committed.map_or(Field::Null, |version| Field::Integer(version.0 as i64)),
        Field::Integer(report.applied.0 as i64),
        Field::Integer(pending as i64),
        Field::Integer(lag_ms),
        Field::Integer(report.transactions as i64),
        Field::Integer(report.batches as i64),
        Field::Integer(report.rows as i64),
        Field::Double(report.rate()),
        Field::Integer(report.widened as i64),
        Field::optional(widened(&report.differing)),
        Field::Integer(report.rounded as i64),
        Field::Integer(report.rejected as i64),
        Field::Integer(report.repaired as i64),
        Field::Integer(report.errors as i64),
        Field::optional(last_error),
        retry_ms.map_or(Field::Null, |ms| Field::Integer(ms * 1000)),
        Field::optional(copying),
        report.maintained_ms.map_or(Field::Null, |ms| Field::Integer(ms * 1000)),
        Field::optional(report.direct_writes.clone()),
    ]
}

/// The steps of all columns, if there are any.
fn widened(columns: &[Differing]) -> Option<String> {
    let steps = columns.iter().filter_map(|Differing { table, column, steps, .. }| {
        steps.as_ref().map(|steps| format!("{table}.{column}: {steps}"))
    });
    Some(steps.collect::<Vec<_>>().join("; ")).filter(|steps| !steps.is_empty())
}
