//! Which tables of a source a mirror has.

/// Patterns of table names, `*` for any characters and `?` for one; letters match without case, as in SQLite. No pattern
/// in `tables` means all tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    pub tables: Vec<String>,
    pub exclude: Vec<String>,
}

impl Selection {
    pub fn has(&self, table: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, table));
        (self.tables.is_empty() || any(&self.tables)) && !any(&self.exclude)
    }

    pub fn is_all(&self) -> bool {
        self.tables.is_empty() && self.exclude.is_empty()
    }

    /// As one text: JSON, so that any name comes back.
    pub fn to_text(&self) -> String {
        serde_json::json!({"tables": self.tables, "exclude": self.exclude}).to_string()
    }

    pub fn from_text(text: &str) -> Option<Selection> {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let list = |name: &str| -> Option<Vec<String>> {
            value.get(name)?.as_array()?.iter().map(|item| item.as_str().map(str::to_string)).collect()
        };
        Some(Selection { tables: list("tables")?, exclude: list("exclude")? })
    }
}

/// Whether a name matches a pattern. On a mismatch the last `*` takes one character more: no recursion, and never more
/// than pattern times name steps.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || c.eq_ignore_ascii_case(&name[n]) => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    p = *at + 1;
                    n = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let yes = [
            ("items", "ITEMS"),
            ("*", ""),
            ("a*", "a"),
            ("*s", "items"),
            ("i?e*s", "items"),
            ("*a*b*", "xaybz"),
            ("größ?", "größe"),
        ];
        let no = [("item", "items"), ("?", ""), ("a*b", "abc"), ("*a*b*", "ba"), ("", "a")];
        assert!(yes.iter().all(|(pattern, name)| matches(pattern, name)));
        assert!(!no.iter().any(|(pattern, name)| matches(pattern, name)));
    }

    #[test]
    fn exclusion_wins_and_nothing_means_all() {
        let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let selection = Selection { tables: list(&["log_*", "items"]), exclude: list(&["*_old"]) };
        assert!(selection.has("log_new") && selection.has("Items"));
        assert!(!selection.has("log_old") && !selection.has("other"));
        assert!(Selection::default().has("anything"));
        assert_eq!(Selection::from_text(&selection.to_text()), Some(selection));
    }
}
