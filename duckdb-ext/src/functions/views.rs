//! `maniac_views`: the source's views, and which of them its mirrors have.

use std::sync::Arc;

use crate::error::Result;
use crate::host::{Args, Field, Function, Kind, Parameter, Rows};
use crate::instance::Instance;
use crate::source;

pub static VIEWS: Function = Function {
    name: "maniac_views",
    parameters: &[
        Parameter::Positional(Kind::Text),
        Parameter::Named("branch", Kind::Text),
        Parameter::Named("keyfile", Kind::Text),
    ],
    columns: &[
        ("view", Kind::Text),
        ("mirror", Kind::Text),
        ("offered", Kind::Boolean),
        ("reason", Kind::Text),
        ("sql", Kind::Text),
    ],
    is_long: |_, _| false,
    start: views,
};

/// A row per view and mirror that is attached; one without a mirror if none is.
fn views(instance: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let branch = args.text("branch").unwrap_or_else(|| "main".to_string());
    let source = source::open(&args.text_at(0, "the store to read")?, &branch, args.text("keyfile").as_deref())?;
    let of = source.identity();
    let mirrors = instance.mirrors().into_iter().filter(|mirror| {
        let other = mirror.source.identity();
        (other.store, other.branch_id) == (of.store.clone(), of.branch_id)
    });
    let mirrors: Vec<_> = mirrors.map(|mirror| (mirror.name.clone(), mirror.report().views)).collect();
    let rows = source.views(source.head()?)?.into_iter().flat_map(move |view| {
        let row = |mirror: Field, offered: Field, reason: Field| {
            Ok(vec![Field::text(view.name.clone()), mirror, offered, reason, Field::text(view.sql.clone())])
        };
        let of_mirrors = mirrors.iter().map(|(mirror, views)| {
            let known = views.iter().find(|known| known.name == view.name);
            let offered = known.map_or(Field::Null, |known| Field::Boolean(known.reason.is_none()));
            let reason = Field::optional(known.and_then(|known| known.reason.clone()));
            row(Field::text(mirror.clone()), offered, reason)
        });
        let mut rows: Vec<_> = of_mirrors.collect();
        if rows.is_empty() {
            rows.push(row(Field::Null, Field::Null, Field::Null));
        }
        rows
    });
    Ok(Box::new(rows))
}
