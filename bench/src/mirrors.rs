//! The mirrors that are measured beside each other.

pub struct Mirror {
    pub name: &'static str,
    pub lake: bool,
    pub options: &'static str,
}

pub const MIRRORS: &[Mirror] = &[
    Mirror { name: "native, streaming", lake: false, options: ", mode := 'streaming'" },
    Mirror { name: "native, micro_batch (the default)", lake: false, options: "" },
    Mirror { name: "DuckLake, streaming", lake: true, options: ", mode := 'streaming'" },
    Mirror { name: "DuckLake, micro_batch (the default)", lake: true, options: "" },
];
