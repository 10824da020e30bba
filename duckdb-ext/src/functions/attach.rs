//! `maniac_attach`: starts a mirror.

use std::sync::Arc;
use std::time::Duration;

use maniac_base::Version;

use super::attached;
use super::progress::Progress;
use crate::apply::{Applier, Attached, Choices, Tally};
use crate::error::{Error, Result};
use crate::host::{Args, Field, Function, Kind, Parameter, Rows};
use crate::instance::Instance;
use crate::mirror::{self, Mirror, Settings};
use crate::schema::{OnMismatch, Selection};
use crate::source;
use crate::target::{MaintenanceChange, Target};

pub static ATTACH: Function = Function {
    name: "maniac_attach",
    parameters: &[
        Parameter::Positional(Kind::Text),
        Parameter::Named("schema", Kind::Text),
        Parameter::Named("lake", Kind::Text),
        Parameter::Named("database", Kind::Text),
        Parameter::Named("branch", Kind::Text),
        Parameter::Named("keyfile", Kind::Text),
        Parameter::Named("mode", Kind::Text),
        Parameter::Named("batch_size", Kind::Integer),
        Parameter::Named("batch_timeout_ms", Kind::Integer),
        Parameter::Named("tables", Kind::Texts),
        Parameter::Named("exclude", Kind::Texts),
        Parameter::Named("on_mismatch", Kind::Text),
        Parameter::Named("maintain_every_s", Kind::Integer),
        Parameter::Named("keep_snapshots_s", Kind::Integer),
        Parameter::Named("direct_writes", Kind::Boolean),
    ],
    columns: &[("table", Kind::Text), ("rows", Kind::Integer), ("version", Kind::Integer)],
    is_long: |_, _| true,
    start: attach,
};

const DEFAULT_BRANCH: &str = "main";
const DEFAULT_BATCH_SIZE: i64 = 1000;
const DEFAULT_BATCH_TIMEOUT_MS: i64 = 100;

fn attach(instance: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let location = args.text_at(0, "the store to mirror")?;
    let settings = settings(args)?;
    let selection = Selection { tables: args.texts("tables"), exclude: args.texts("exclude") };
    let on_mismatch = on_mismatch(args)?;
    let branch = args.text("branch").unwrap_or_else(|| DEFAULT_BRANCH.to_string());
    let source = source::open(&location, &branch, args.text("keyfile").as_deref())?;
    let schema = args.text("schema").unwrap_or_else(|| default_name(&location, &branch));
    if schema.is_empty() {
        return Err(Error::input(format!("{location} gives no name for the mirror: choose one with schema := '...'")));
    }
    let session = instance.lease()?;
    let target = Target::find(&session, args.text("lake").as_deref(), args.text("database").as_deref(), &schema)?;
    let upkeep = MaintenanceChange {
        every: super::seconds(args, "maintain_every_s")?,
        keep: super::seconds(args, "keep_snapshots_s")?,
    };
    if !target.lake && (!upkeep.is_none() || args.boolean("direct_writes").is_some()) {
        return Err(Error::input(
            "maintain_every_s, keep_snapshots_s and direct_writes are for mirrors in a DuckLake: give lake := '...' too",
        ));
    }
    let choices = Choices { selection, on_mismatch, upkeep, direct_writes: settings.direct_writes };
    let identity = source.identity();
    if let Some(mirror) = attached::find(instance, &schema) {
        let asked = attached::Asked { identity: &identity, target: &target, settings, choices: &choices };
        return attached::rows(&session, &mirror, args, &asked);
    }
    let turn = target.lake.then(|| instance.lake(&target.catalog));
    let mirror = Arc::new(Mirror::new(schema, &identity, target.clone(), settings, source.clone(), turn));
    let mut taken = Taken::new(instance, &mirror)?;
    let progress = |table: &str, tally: Arc<Tally>| mirror.copying(table, tally);
    let shown = Progress::of(&mirror);
    let turn = mirror.turn.as_deref();
    let (applier, attached) =
        Applier::attach(session, source, target, crate::target::new_owner(), choices, turn, &progress)?;
    drop(shown);
    let rows = rows(attached.clone(), applier.version());
    mirror.update(|report| {
        report.widened = attached.iter().map(|table| table.copied.widened).sum();
        report.rounded = attached.iter().map(|table| table.copied.rounded).sum();
        report.rejected = attached.iter().map(|table| table.copied.rejected).sum();
    });
    mirror::start(instance, &mirror, applier)?;
    taken.kept = true;
    Ok(rows)
}

/// A row per table.
pub fn rows(attached: Vec<Attached>, version: Version) -> Rows {
    Box::new(attached.into_iter().map(move |table| {
        Ok(vec![Field::text(table.table), Field::Integer(table.copied.rows as i64), Field::Integer(version.0 as i64)])
    }))
}

/// A mirror's name in its instance, given back if the mirror does not come to be.
struct Taken<'a> {
    instance: &'a Instance,
    mirror: &'a Arc<Mirror>,
    kept: bool,
}

impl<'a> Taken<'a> {
    fn new(instance: &'a Instance, mirror: &'a Arc<Mirror>) -> Result<Taken<'a>> {
        instance.add(mirror)?;
        Ok(Taken { instance, mirror, kept: false })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.instance.remove(self.mirror);
            self.mirror.end();
        }
    }
}

fn settings(args: &Args) -> Result<Settings> {
    let number = |name: &str, default: i64, least: i64| match args.integer(name).unwrap_or(default) {
        number if number >= least => Ok(number),
        number => Err(Error::input(format!("{name} := {number} is too small: give {least} or more"))),
    };
    let batch_size = number("batch_size", DEFAULT_BATCH_SIZE, 1)? as usize;
    let timeout = number("batch_timeout_ms", DEFAULT_BATCH_TIMEOUT_MS, 0)? as u64;
    let batch_timeout = match args.text("mode").as_deref() {
        None | Some("micro_batch") => Duration::from_millis(timeout),
        Some("streaming") => Duration::ZERO,
        Some(other) => {
            return Err(Error::input(format!("mode := '{other}' is not known: give 'micro_batch' or 'streaming'")));
        }
    };
    Ok(Settings { batch_size, batch_timeout, direct_writes: args.boolean("direct_writes").unwrap_or(true) })
}

fn on_mismatch(args: &Args) -> Result<Option<OnMismatch>> {
    let Some(text) = args.text("on_mismatch") else { return Ok(None) };
    let unknown =
        |()| Error::input(format!("on_mismatch := '{text}' is not known: give 'widen', 'error', 'round' or 'null'"));
    text.parse().map(Some).map_err(unknown)
}

/// `data/shop.maniac` -> `shop`, with `__branch` behind it for a branch other than `main`.
fn default_name(location: &str, branch: &str) -> String {
    let last = location.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    let stem = match last.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => last,
    };
    match branch {
        DEFAULT_BRANCH => stem.to_string(),
        _ => format!("{stem}__{branch}"),
    }
}

#[cfg(test)]
mod tests {
    use super::default_name;

    #[test]
    fn names_come_from_the_store() {
        assert_eq!(default_name("data/shop.maniac", "main"), "shop");
        assert_eq!(default_name("/a/b.c/shop.v2.maniac/", "dev"), "shop.v2__dev");
        assert_eq!(default_name("shop", "main"), "shop");
        assert_eq!(default_name(".maniac", "main"), ".maniac");
    }
}
