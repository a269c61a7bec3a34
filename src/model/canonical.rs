//! One text for one meaning: JSON whose objects have their keys in order, for a hash to be taken over.
//!
//! What it writes may never change: hashes in journals were taken over it. It is what `serde_json` makes
//! of a value, with the keys of each object sorted and a comma behind every item, the last one too.

use std::ops::Range;

use serde::{
    Serialize, Serializer,
    ser::{
        Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
        SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
    },
};
use serde_json::Error;

/// The text of a value.
///
/// # Errors
/// It is none that JSON can hold.
pub fn canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut writer = Writer { text: Vec::new() };
    value.serialize(&mut writer)?;
    Ok(writer.text)
}

struct Writer {
    text: Vec<u8>,
}

impl Writer {
    /// A value without parts, as `serde_json` has it.
    fn plain<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        serde_json::to_writer(&mut self.text, value)
    }

    /// Begins an object of one entry, the name of a variant.
    fn variant(&mut self, name: &str) -> Result<(), Error> {
        self.text.push(b'{');
        self.plain(name)?;
        self.text.push(b':');
        Ok(())
    }

    fn items(&mut self, end: &'static [u8]) -> Items<'_> {
        self.text.push(b'[');
        Items { to: self, end }
    }

    fn fields<K>(&mut self, end: &'static [u8]) -> Fields<'_, K> {
        self.text.push(b'{');
        let start = self.text.len();
        Fields { to: self, start, entries: Vec::new(), key: None, end }
    }
}

macro_rules! plain {
    ($($name:ident($type:ty)),* $(,)?) => {
        $(fn $name(self, value: $type) -> Result<(), Error> {
            self.plain(&value)
        })*
    };
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Items<'a>;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = Items<'a>;
    type SerializeMap = Fields<'a, String>;
    type SerializeStruct = Fields<'a, &'static str>;
    type SerializeStructVariant = Fields<'a, &'static str>;

    plain! {
        serialize_bool(bool),
        serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
        serialize_f64(f64), serialize_char(char), serialize_str(&str),
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.serialize_f64(value.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        bytes.serialize(self)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.plain(&())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.plain(&())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.plain(&())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.plain(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.text.extend(b",}");
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, Error> {
        Ok(self.items(b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Items<'a>, Error> {
        Ok(self.items(b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items<'a>, Error> {
        Ok(self.items(b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'a>, Error> {
        self.variant(variant)?;
        Ok(self.items(b"],}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Fields<'a, String>, Error> {
        Ok(self.fields(b"}"))
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'a, &'static str>, Error> {
        Ok(self.fields(b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a, &'static str>, Error> {
        self.variant(variant)?;
        Ok(self.fields(b"},}"))
    }
}

/// A list that is being written.
struct Items<'a> {
    to: &'a mut Writer,
    end: &'static [u8],
}

impl Items<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.to)?;
        self.to.text.push(b',');
        Ok(())
    }

    fn close(self) {
        self.to.text.extend(self.end);
    }
}

macro_rules! items {
    ($($kind:ident $method:ident),* $(,)?) => {
        $(impl $kind for Items<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.item(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        })*
    };
}

items! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

/// An object that is being written: its entries as they come, to be put in order at its end.
struct Fields<'a, K> {
    to: &'a mut Writer,
    start: usize,
    entries: Vec<(K, Range<usize>)>,
    key: Option<K>,
    end: &'static [u8],
}

impl<K: AsRef<str> + Ord> Fields<'_, K> {
    fn entry<T: Serialize + ?Sized>(&mut self, key: K, value: &T) -> Result<(), Error> {
        let start = self.to.text.len();
        self.to.plain(key.as_ref())?;
        self.to.text.push(b':');
        value.serialize(&mut *self.to)?;
        self.to.text.push(b',');
        self.entries.push((key, start..self.to.text.len()));
        Ok(())
    }

    fn close(mut self) {
        let text = &mut self.to.text;
        if !self.entries.is_sorted_by(|a, b| a.0 < b.0) {
            self.entries.sort_by(|a, b| a.0.cmp(&b.0));
            let written = text.split_off(self.start);
            for (_, Range { start, end }) in &self.entries {
                text.extend_from_slice(&written[start - self.start..end - self.start]);
            }
        }
        text.extend(self.end);
    }
}

impl SerializeStruct for Fields<'_, &'static str> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.entry(key, value)
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl SerializeStructVariant for Fields<'_, &'static str> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.entry(key, value)
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl SerializeMap for Fields<'_, String> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let serde_json::Value::String(key) = serde_json::to_value(key)? else {
            return Err(Error::custom("a key that is not text"));
        };
        self.key = Some(key);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let key = self.key.take().ok_or_else(|| Error::custom("a value without a key"))?;
        self.entry(key, value)
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Write as _};

    use serde::Serialize;
    use serde_json::Value;

    use super::*;

    /// The text by way of a tree, as it was written first.
    fn by_a_tree(value: &Value, text: &mut String) {
        match value {
            Value::Object(map) => {
                let sorted: BTreeMap<_, _> = map.iter().collect();
                text.push('{');
                for (key, value) in sorted {
                    write!(text, "{}:", Value::String(key.clone())).unwrap();
                    by_a_tree(value, text);
                    text.push(',');
                }
                text.push('}');
            }
            Value::Array(items) => {
                text.push('[');
                for item in items {
                    by_a_tree(item, text);
                    text.push(',');
                }
                text.push(']');
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                text.push_str(&value.to_string());
            }
        }
    }

    #[derive(Serialize)]
    struct Everything {
        zeta: f64,
        alpha: Option<u64>,
        none: Option<u64>,
        text: String,
        map: BTreeMap<String, i64>,
        list: Vec<Word>,
        nothing: (),
        pair: (char, f32),
        not_finite: f64,
    }

    #[derive(Serialize)]
    enum Word {
        Plain,
        One(u8),
        Two(bool, f64),
        Named { z: u8, a: Option<Unit> },
    }

    #[derive(Serialize)]
    struct Unit;

    #[test]
    fn it_is_the_text_that_hashes_were_always_taken_over() {
        let everything = Everything {
            zeta: 0.1,
            alpha: Some(u64::MAX),
            none: None,
            text: "a \"quoted\" \u{1}\n€ 😀".into(),
            map: [("b".into(), -1), ("a\u{7f}".into(), i64::MIN)].into(),
            list: vec![
                Word::Plain,
                Word::One(7),
                Word::Two(true, 1e300),
                Word::Named { z: 1, a: Some(Unit) },
            ],
            nothing: (),
            pair: ('x', 0.25),
            not_finite: f64::NAN,
        };
        let mut expected = String::new();
        by_a_tree(&serde_json::to_value(&everything).unwrap(), &mut expected);
        let found = String::from_utf8(canonical(&everything).unwrap()).unwrap();
        assert_eq!(found, expected);
        assert!(
            found.starts_with("{\"alpha\":18446744073709551615,\"list\":[\"Plain\","),
            "{found}"
        );
    }
}
