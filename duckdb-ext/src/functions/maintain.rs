//! `maniac_maintain`: the steps that keep a mirror in a lake small, when somebody calls for them.

use std::sync::Arc;

use crate::apply::{MaintenanceStep, Order};
use crate::error::{Error, Result};
use crate::host::{Args, Field, Function, Kind, Parameter, Rows};
use crate::instance::Instance;

pub static MAINTAIN: Function = Function {
    name: "maniac_maintain",
    parameters: &[
        Parameter::Positional(Kind::Text),
        Parameter::Named("step", Kind::Text),
        Parameter::Named("dry_run", Kind::Boolean),
        Parameter::Named("older_than_s", Kind::Integer),
    ],
    columns: &[("step", Kind::Text), ("name", Kind::Text), ("count", Kind::Integer), ("unit", Kind::Text)],
    is_long: |_, _| true,
    start: maintain,
};

fn maintain(instance: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let mirror = instance.mirror(&args.text_at(0, "the mirror's name")?)?;
    if !mirror.target.lake {
        return Err(Error::input(format!(
            "mirror {} is not in a DuckLake, and native tables need no maintenance by hand",
            mirror.name
        )));
    }
    let steps = match args.text("step") {
        None => MaintenanceStep::ALL.to_vec(),
        Some(step) => vec![step.parse().map_err(|()| {
            let known: Vec<String> = MaintenanceStep::ALL.iter().map(ToString::to_string).collect();
            Error::input(format!("step := '{step}' is not known: give one of {}", known.join(", ")))
        })?],
    };
    let older_than = super::seconds(args, "older_than_s")?;
    if older_than.is_some()
        && !steps.iter().any(|step| matches!(step, MaintenanceStep::Expire | MaintenanceStep::Clean))
    {
        return Err(Error::input("older_than_s := ... is for the steps expire and clean"));
    }
    let dry_run = args.flag("dry_run");
    let done = mirror.maintain(Order { steps, dry_run, older_than })?;
    let rows = done.into_iter().map(|done| {
        Ok(vec![
            Field::text(done.step.to_string()),
            Field::text(done.name),
            Field::Integer(done.count as i64),
            Field::text(done.unit),
        ])
    });
    Ok(Box::new(rows))
}
