//! `maniac_snapshot`: which snapshot of a lake shows a version, for `AT (VERSION => ...)`.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::host::{Args, Field, Function, Kind, Parameter, Rows};
use crate::instance::Instance;
use crate::target::lake::applied_version::{history, marked_by};

pub static SNAPSHOT: Function = Function {
    name: "maniac_snapshot",
    parameters: &[Parameter::Positional(Kind::Text), Parameter::Positional(Kind::Integer)],
    columns: &[("snapshot", Kind::Integer), ("version", Kind::Integer)],
    is_long: |_, _| false,
    start: snapshot,
};

/// The newest snapshot that shows the version or, if the version was applied together with later ones or changed
/// nothing in this branch, the newest that shows an earlier one. A snapshot never shows half a batch, so no snapshot may
/// show exactly that version: the second column tells which one it is.
fn snapshot(instance: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let mirror = instance.mirror(&args.text_at(0, "the mirror's name")?)?;
    let version = args.integer_at(1).ok_or_else(|| Error::input("the version to look for must be given"))?;
    if !mirror.target.lake {
        return Err(Error::input(format!(
            "mirror {} is not in a DuckLake, and native tables have no history: read older versions with maniac_scan",
            mirror.name
        )));
    }
    let identity = mirror.source.identity();
    // What the applier has written with each snapshot; other writers of the lake leave other texts, or none.
    let info = "TRY_CAST(commit_extra_info AS JSON)";
    let session = instance.lease()?;
    let rows = session.query(&format!(
        "SELECT snapshot_id::VARCHAR, ({info}->>'version')::VARCHAR FROM {} \
         WHERE {} AND TRY_CAST(({info}->>'version') AS BIGINT) <= {version} \
         ORDER BY TRY_CAST(({info}->>'version') AS BIGINT) DESC, snapshot_id DESC LIMIT 1",
        history(&session, &mirror.target),
        marked_by(&mirror.target, &identity, info),
    ))?;
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<i64>().ok());
    let Some((Some(snapshot), Some(shown))) = rows.first().map(|row| (number(&row[0]), number(&row[1]))) else {
        return Err(Error::input(format!(
            "no snapshot of {} shows version {version} or an earlier one of mirror {}: it was not mirrored yet, or its \
             snapshots have expired",
            mirror.target.catalog, mirror.name
        )));
    };
    Ok(Box::new(std::iter::once(Ok(vec![Field::Integer(snapshot), Field::Integer(shown)]))))
}
