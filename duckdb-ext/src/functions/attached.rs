//! `maniac_attach` of what is attached already: the mirror's rows where it is what is asked for, as a notebook's cell that
//! runs twice expects, and else how it differs.

use std::sync::Arc;

use parking_lot::Mutex;

use super::attach;
use crate::apply::{Choices, Current, current};
use crate::error::{Error, Result};
use crate::host::{Args, Rows, Session};
use crate::instance::Instance;
use crate::mirror::{Mirror, Settings, State};
use crate::source::Identity;
use crate::target::Target;

/// What a call asks for.
pub struct Asked<'a> {
    pub identity: &'a Identity,
    pub target: &'a Target,
    pub settings: Settings,
    pub choices: &'a Choices,
}

/// The mirror of that name, if one is at work. One that has given up makes room for another try.
pub fn find(instance: &Instance, name: &str) -> Option<Arc<Mirror>> {
    let mirror = instance.mirror(name).ok()?;
    let report = mirror.report();
    if report.has_given_up() || report.state == State::Detached {
        mirror.stop();
        instance.remove(&mirror);
        return None;
    }
    Some(mirror)
}

/// The mirror's rows, if it is what is asked for. What a call does not say agrees with whatever the mirror has.
pub fn rows(session: &Session, mirror: &Mirror, args: &Args, asked: &Asked<'_>) -> Result<Rows> {
    let name = &mirror.name;
    let of = mirror.source.identity();
    let refuse = |why: &str| Err(Error::input(format!("a mirror named {name} is attached already{why}")));
    let way_out = format!("detach it with CALL maniac_detach('{name}'), or choose another name with schema := '...'");
    if (&of.store, of.branch_id) != (&asked.identity.store, asked.identity.branch_id) {
        let (is, other) = ((&of.branch, &of.location), (&asked.identity.branch, &asked.identity.location));
        return refuse(&format!(", of branch {} of {}, not branch {} of {}: {way_out}", is.0, is.1, other.0, other.1));
    }
    let place = |target: &Target| (target.catalog.to_lowercase(), target.schema.to_lowercase());
    if place(&mirror.target) != place(asked.target) {
        return refuse(&format!(", in {}, not in {}: {way_out}", mirror.target.shown(), asked.target.shown()));
    }
    if mirror.report().state == State::Copying {
        return refuse(" by another call, which still copies its tables: wait until that has returned");
    }
    let shown = {
        let _turn = mirror.turn.as_deref().map(Mutex::lock);
        current(session, &mirror.target, &of)?
    };
    let differences = differences(mirror.settings, &shown, args, asked);
    match differences.is_empty() {
        true => Ok(attach::rows(shown.tables, shown.version)),
        false => refuse(&format!(
            " with other choices ({}): leave these parameters out, or detach it first with CALL maniac_detach('{name}')",
            differences.join("; ")
        )),
    }
}

fn differences(settings: Settings, shown: &Current, args: &Args, asked: &Asked<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut differs = |what: &str, is: String, other: String| {
        if is != other {
            found.push(format!("{what} {is}, not {other}"));
        }
    };
    if args.text("mode").is_some() || args.integer("batch_timeout_ms").is_some() {
        let told = |settings: Settings| match settings.batch_timeout.as_millis() {
            0 => "'streaming'".to_string(),
            timeout => format!("'micro_batch', batch_timeout_ms := {timeout}"),
        };
        differs("mode :=", told(settings), told(asked.settings));
    }
    if args.integer("batch_size").is_some() {
        differs("batch_size :=", settings.batch_size.to_string(), asked.settings.batch_size.to_string());
    }
    if args.boolean("direct_writes").is_some() {
        let told = |settings: Settings| settings.direct_writes.to_string();
        differs("direct_writes :=", told(settings), told(asked.settings));
    }
    let Choices { selection, on_mismatch, upkeep, .. } = asked.choices;
    if !selection.is_all() {
        differs("tables and exclude are", shown.selection.to_text(), selection.to_text());
    }
    if let Some(on_mismatch) = on_mismatch {
        differs("on_mismatch :=", format!("'{}'", shown.on_mismatch), format!("'{on_mismatch}'"));
    }
    if let Some(every) = upkeep.every {
        differs("maintain_every_s :=", shown.upkeep.every.as_secs().to_string(), every.as_secs().to_string());
    }
    if let Some(keep) = upkeep.keep {
        differs("keep_snapshots_s :=", shown.upkeep.keep.as_secs().to_string(), keep.as_secs().to_string());
    }
    found
}
