//! `maniac_detach`, `maniac_pause`, `maniac_resume`, `maniac_wait`.

use std::sync::Arc;
use std::time::Duration;

use maniac_base::Version;

use crate::error::{Error, Result};
use crate::host::{Args, Field, Function, Kind, Parameter, Rows};
use crate::instance::Instance;
use crate::mirror::{Mirror, State, Wish};

const NAME: &str = "the mirror's name";
const DEFAULT_TIMEOUT_MS: i64 = 60_000;

/// What the functions return: where the mirror stands.
const COLUMNS: &[(&str, Kind)] = &[("name", Kind::Text), ("state", Kind::Text), ("version", Kind::Integer)];

pub static DETACH: Function = Function {
    name: "maniac_detach",
    parameters: &[Parameter::Positional(Kind::Text)],
    columns: COLUMNS,
    is_long: |_, _| false,
    start: |instance, args| {
        let mirror = instance.mirror(&args.text_at(0, NAME)?)?;
        mirror.stop();
        instance.remove(&mirror);
        instance.close_idle(Duration::ZERO);
        Ok(standing(&mirror))
    },
};

pub static PAUSE: Function = Function {
    name: "maniac_pause",
    parameters: &[Parameter::Positional(Kind::Text)],
    columns: COLUMNS,
    is_long: |_, _| false,
    start: |instance, args| ask(instance, args, Wish::Pause),
};

pub static RESUME: Function = Function {
    name: "maniac_resume",
    parameters: &[Parameter::Positional(Kind::Text)],
    columns: COLUMNS,
    is_long: |_, _| false,
    start: |instance, args| ask(instance, args, Wish::Run),
};

pub static WAIT: Function = Function {
    name: "maniac_wait",
    parameters: &[
        Parameter::Positional(Kind::Text),
        Parameter::Named("version", Kind::Integer),
        Parameter::Named("timeout_ms", Kind::Integer),
    ],
    columns: COLUMNS,
    is_long: is_behind,
    start: wait,
};

fn ask(instance: &Arc<Instance>, args: &Args, wish: Wish) -> Result<Rows> {
    let mirror = instance.mirror(&args.text_at(0, NAME)?)?;
    mirror.ask(wish)?;
    Ok(standing(&mirror))
}

/// Whether a wait is for more than the next batch.
fn is_behind(instance: &Arc<Instance>, args: &Args) -> bool {
    let mirror = args.text_at(0, NAME).and_then(|name| instance.mirror(&name));
    mirror.is_ok_and(|mirror| mirror.report().state != State::Streaming)
}

fn wait(instance: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let mirror = instance.mirror(&args.text_at(0, NAME)?)?;
    let version = match args.integer("version") {
        None => mirror.source.head()?,
        Some(version) => Version(
            u64::try_from(version)
                .map_err(|_| Error::input(format!("version := {version} is out of range: versions count from 1")))?,
        ),
    };
    let timeout = args.integer("timeout_ms").unwrap_or(DEFAULT_TIMEOUT_MS);
    let timeout = u64::try_from(timeout)
        .map_err(|_| Error::input(format!("timeout_ms := {timeout} is out of range: give 0 or more")))?;
    mirror.wait(version, Duration::from_millis(timeout))?;
    Ok(standing(&mirror))
}

fn standing(mirror: &Arc<Mirror>) -> Rows {
    let report = mirror.report();
    let row = vec![
        Field::text(mirror.name.clone()),
        Field::text(report.shown().0.to_string()),
        Field::Integer(report.complete.0 as i64),
    ];
    Box::new(std::iter::once(Ok(row)))
}
