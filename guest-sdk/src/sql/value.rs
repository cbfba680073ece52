//! What goes into statements and comes out of rows.

use wasmux_abi::SqlValue;

use super::{Error, ErrorKind, Result};

/// A value as the host has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A whole number, or a truth value: 0 and 1.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Value {
    /// It as the ABI has it.
    #[cfg_attr(
        any(not(target_family = "wasm"), target_env = "p2"),
        expect(dead_code, reason = "for modules")
    )]
    pub(crate) fn as_abi(&self) -> SqlValue<'_> {
        match self {
            Self::Null => SqlValue::Null,
            Self::Integer(number) => SqlValue::Integer(*number),
            Self::Real(number) => SqlValue::Real(*number),
            Self::Text(text) => SqlValue::Text(text),
            Self::Blob(bytes) => SqlValue::Blob(bytes),
        }
    }
}

impl From<SqlValue<'_>> for Value {
    fn from(value: SqlValue<'_>) -> Self {
        match value {
            SqlValue::Null => Self::Null,
            SqlValue::Integer(number) => Self::Integer(number),
            SqlValue::Real(number) => Self::Real(number),
            SqlValue::Text(text) => Self::Text(text.to_owned()),
            SqlValue::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

/// What can be a parameter of a statement.
pub trait ToValue {
    /// It as a value.
    fn to_value(&self) -> Value;
}

/// What can be taken out of a row.
pub trait FromValue: Sized {
    /// The value as this type.
    ///
    /// # Errors
    /// [`ErrorKind::Column`] when it is none.
    fn from_value(value: &Value) -> Result<Self>;
}

fn wrong(wanted: &str, value: &Value) -> Error {
    let found = match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => format!("the integer {number}"),
        Value::Real(number) => format!("the number {number}"),
        Value::Text(_) => "text".to_owned(),
        Value::Blob(_) => "a blob".to_owned(),
    };
    Error::new(ErrorKind::Column, format!("it is {found}, but {wanted} is wanted"))
}

macro_rules! integers {
    ($($ty:ident)*) => {$(
        impl ToValue for $ty {
            fn to_value(&self) -> Value {
                Value::Integer((*self).into())
            }
        }

        impl FromValue for $ty {
            fn from_value(value: &Value) -> Result<Self> {
                let number = match value {
                    Value::Integer(number) => Self::try_from(*number).ok(),
                    _ => None,
                };
                number.ok_or_else(|| wrong(stringify!($ty), value))
            }
        }

        impl From<$ty> for Value {
            fn from(value: $ty) -> Self {
                value.to_value()
            }
        }
    )*};
}

integers! { i64 i32 i16 i8 u32 u16 u8 }

macro_rules! into_value {
    ($($ty:ty, $value:ident => $made:expr;)*) => {$(
        impl ToValue for $ty {
            fn to_value(&self) -> Value {
                let $value = self;
                $made
            }
        }

        impl From<$ty> for Value {
            fn from(value: $ty) -> Self {
                value.to_value()
            }
        }
    )*};
}

into_value! {
    bool, value => Value::Integer((*value).into());
    f64, value => Value::Real(*value);
    f32, value => Value::Real((*value).into());
    &str, value => Value::Text((*value).to_owned());
    String, value => Value::Text(value.clone());
    &[u8], value => Value::Blob(value.to_vec());
    Vec<u8>, value => Value::Blob(value.clone());
}

impl ToValue for str {
    fn to_value(&self) -> Value {
        Value::Text(self.to_owned())
    }
}

impl ToValue for std::borrow::Cow<'_, str> {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value {
        Value::Blob(self.to_vec())
    }
}

impl ToValue for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl<T: ToValue + ?Sized> ToValue for &&T {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            _ => Err(wrong("a truth value, 0 or 1,", value)),
        }
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Real(number) => Ok(*number),
            Value::Integer(number) => Ok(*number as Self),
            _ => Err(wrong("a number", value)),
        }
    }
}

/// The nearest `f32`; a number that is beyond all of them is an error.
impl FromValue for f32 {
    fn from_value(value: &Value) -> Result<Self> {
        let number = f64::from_value(value)?;
        let nearest = number as Self;
        if nearest.is_finite() || !number.is_finite() { Ok(nearest) } else { Err(wrong("f32", value)) }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(wrong("text", value)),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Blob(bytes) => Ok(bytes.clone()),
            _ => Err(wrong("a blob", value)),
        }
    }
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Result<Self> {
        Ok(value.clone())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_both_ways_or_say_what_they_are() {
        fn both<T: ToValue + FromValue + PartialEq + std::fmt::Debug>(value: T) {
            assert_eq!(T::from_value(&value.to_value()), Ok(value));
        }
        both(i64::MIN);
        both(u32::MAX);
        both(true);
        both(0.5);
        both(0.1_f32);
        both("x".to_owned());
        both(vec![0_u8, 255]);
        both(None::<i64>);
        both(Some(3_u8));
        assert_eq!(f64::from_value(&Value::Integer(2)), Ok(2.0));
        assert!(f32::from_value(&Value::Real(1e39)).is_err());
        assert_eq!(f32::from_value(&Value::Real(f64::INFINITY)), Ok(f32::INFINITY));
        assert_eq!(
            u8::from_value(&256.into()).unwrap_err().to_string(),
            "it is the integer 256, but u8 is wanted"
        );
        let error = String::from_value(&Value::Null).unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (ErrorKind::Column, "it is NULL, but text is wanted")
        );
        assert!(bool::from_value(&2.into()).is_err());
        let (name, list): (&str, &[&dyn ToValue]) =
            ("a", &[&"a", &"a".to_owned(), &None::<i64>, b"a", &name_of("a")]);
        assert_eq!(list.len(), 5);
        assert_eq!((&&name).to_value(), Value::Text("a".into()));
    }

    fn name_of(name: &str) -> std::borrow::Cow<'_, str> {
        name.into()
    }
}
