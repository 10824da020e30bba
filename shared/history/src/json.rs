//! Rows as JSON objects (RFC 8259).

use std::fmt::Write;

use maniac_base::Value;

/// An object, member by member. Integers and reals keep every digit; a blob is a string that holds SQLite's literal
/// (`x'0A1B'`); infinities, for which JSON has no number, are the strings `Infinity` and `-Infinity`.
#[derive(Default)]
pub struct JsonObject(String);

impl JsonObject {
    pub fn add(&mut self, name: &str, value: &Value<'_>) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        push_string(&mut self.0, name);
        self.0.push(':');
        match value {
            Value::Null => self.0.push_str("null"),
            Value::Integer(number) => push(&mut self.0, format_args!("{number}")),
            Value::Real(number) if number.is_finite() => push(&mut self.0, format_args!("{number:?}")),
            Value::Real(number) => self.0.push_str(if *number > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
            Value::Text(text) => push_string(&mut self.0, &String::from_utf8_lossy(text)),
            Value::Blob(bytes) => {
                self.0.push_str("\"x'");
                bytes.iter().for_each(|byte| push(&mut self.0, format_args!("{byte:02X}")));
                self.0.push_str("'\"");
            }
        }
    }

    pub fn finish(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\0'..='\x1f' => push(out, format_args!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_storage_class_has_its_form() {
        let mut object = JsonObject::default();
        object.add("i", &Value::Integer(i64::MIN));
        object.add("r", &Value::Real(0.1));
        object.add("whole", &Value::Real(3.0));
        object.add("far", &Value::Real(f64::NEG_INFINITY));
        object.add("t\"", &Value::text("a\u{1}\\\n"));
        object.add("b", &Value::Blob((&[10_u8, 255]).into()));
        object.add("n", &Value::Null);
        let expected = r#"{"i":-9223372036854775808,"r":0.1,"whole":3.0,"far":"-Infinity","t\"":"a\u0001\\\n","b":"x'0AFF'","n":null}"#;
        assert_eq!(object.finish(), expected);
        assert_eq!(JsonObject::default().finish(), "{}");
    }
}
