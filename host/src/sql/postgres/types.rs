//! PostgreSQL's types, and what they are to handlers.
//!
//! | PostgreSQL | value |
//! |---|---|
//! | `bool` | integer, 0 or 1 |
//! | `int2`, `int4`, `int8`, `oid` | integer |
//! | `float4`, `float8` | real |
//! | `bytea` | blob |
//! | `text`, `varchar`, `bpchar`, `name`, `"char"`, enums | text |
//! | `numeric`, `uuid`, `json`, `jsonb`, `date`, `time`, `timestamp`, `timestamptz` (in UTC) | text, as PostgreSQL writes it |
//!
//! Columns of other types are refused: the statement can cast them (`x::text`). Parameters are sent as text, which the server
//! reads as whatever type it needs; blobs as bytes.

use std::error::Error as StdError;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::super::error::{Error, ErrorKind};
use super::super::rows::Value;
use super::{numeric, times};

type Failure = Box<dyn StdError + Sync + Send>;

/// A parameter.
#[derive(Debug)]
pub(super) struct Sent<'v>(pub(super) &'v Value);

impl ToSql for Sent<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Integer(number) => out.put_slice(number.to_string().as_bytes()),
            Value::Real(number) => out.put_slice(number.to_string().as_bytes()),
            Value::Text(text) => out.put_slice(text.as_bytes()),
            Value::Blob(bytes) if *ty == Type::BYTEA => out.put_slice(bytes),
            Value::Blob(_) => return Err(format!("a blob is given for a parameter of the type {ty}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self.0 {
            Value::Blob(_) => Format::Binary,
            _ => Format::Text,
        }
    }

    to_sql_checked!();
}

/// A value of a row.
pub(super) struct Answered(pub(super) Value);

impl<'r> FromSql<'r> for Answered {
    fn from_sql(ty: &Type, raw: &'r [u8]) -> Result<Self, Failure> {
        let text = || std::str::from_utf8(raw).map(str::to_owned);
        Ok(Self(match *ty {
            Type::BOOL => Value::Integer(bool::from_sql(ty, raw)?.into()),
            Type::INT2 => Value::Integer(i16::from_sql(ty, raw)?.into()),
            Type::INT4 => Value::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Value::Integer(i64::from_sql(ty, raw)?),
            Type::OID => Value::Integer(u32::from_sql(ty, raw)?.into()),
            Type::FLOAT4 => Value::Real(f32::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => Value::Real(f64::from_sql(ty, raw)?),
            Type::BYTEA => Value::Blob(raw.to_vec()),
            Type::JSONB => Value::Text(match raw.split_first() {
                Some((1, json)) => std::str::from_utf8(json)?.to_owned(),
                _ => return Err("a version of jsonb that is not known".into()),
            }),
            Type::UUID => Value::Text(uuid(raw.try_into()?)),
            Type::NUMERIC => Value::Text(numeric::text(raw).ok_or("a numeric that is none")?),
            Type::DATE => Value::Text(times::date(i32::from_be_bytes(raw.try_into()?))),
            Type::TIME => Value::Text(times::time(i64::from_be_bytes(raw.try_into()?))),
            Type::TIMESTAMP => Value::Text(times::timestamp(i64::from_be_bytes(raw.try_into()?), "")),
            Type::TIMESTAMPTZ => Value::Text(times::timestamp(i64::from_be_bytes(raw.try_into()?), "+00")),
            _ => Value::Text(text()?),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Refuses a column of a type that is none of the above.
pub(super) fn check_type(column: &str, ty: &Type) -> Result<(), Error> {
    let is_known = [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::OID,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::BYTEA,
        Type::TEXT,
        Type::VARCHAR,
        Type::BPCHAR,
        Type::NAME,
        Type::CHAR,
        Type::UNKNOWN,
        Type::JSON,
        Type::JSONB,
        Type::UUID,
        Type::NUMERIC,
        Type::DATE,
        Type::TIME,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
        Type::VOID,
    ]
    .contains(ty);
    if is_known || matches!(ty.kind(), Kind::Enum(_)) {
        return Ok(());
    }
    let message = format!(
        "column `{column}` is of the type {ty}, which handlers do not get as it is; cast it in the statement, `{column}::text`"
    );
    Err(Error::new(ErrorKind::Statement, message))
}

fn uuid(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_in_the_servers_types() {
        let from = |ty, raw: &[u8]| Answered::from_sql(&ty, raw).map(|it| it.0).ok();
        assert_eq!(from(Type::BOOL, &[1]), Some(Value::Integer(1)));
        assert_eq!(from(Type::INT2, &[0xff, 0xfe]), Some(Value::Integer(-2)));
        assert_eq!(from(Type::JSONB, b"\x01{}"), Some(Value::Text("{}".into())));
        assert_eq!(from(Type::JSONB, b""), None);
        assert_eq!(from(Type::INT4, b"123"), None);
        assert_eq!(from(Type::DATE, b"123"), None);
        let uuid = from(Type::UUID, &[0x0f; 16]);
        assert_eq!(uuid, Some(Value::Text("0f0f0f0f-0f0f-0f0f-0f0f-0f0f0f0f0f0f".into())));
        assert_eq!(from(Type::TEXT, &[0xff]), None);
    }

    #[test]
    fn only_known_types_are_answered() {
        assert!(check_type("x", &Type::TEXT).is_ok());
        let error = check_type("x", &Type::INT4_ARRAY).unwrap_err();
        assert!(error.message.contains("`x::text`"), "{error}");
    }
}
