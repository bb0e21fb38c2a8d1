//! Durations as Go writes them, which is how both resources write theirs: `1m30s`, `1.5h`, `500ms`, `0`.

use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration in Go's syntax. Never negative, and never longer than Go can hold (about 292 years): whatever else the
/// API server lets through (it only sees a string) does not parse, so no consumer has to check again.
///
/// Serialises in Go's canonical form, as the add-on's own clients do: `1m` is read and `1m0s` is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(Duration);

/// Why a text is not a [`GoDuration`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GoDurationError {
    /// Not a number followed by a unit.
    #[error("{text:?} is not a duration such as 30s, 1m30s or 500ms")]
    Malformed {
        /// The text as given.
        text: String,
    },
    /// A number without a unit, which only zero may be.
    #[error("{text:?} has no unit: write {text}s for seconds")]
    NoUnit {
        /// The text as given.
        text: String,
    },
    /// A unit that Go does not know, such as days.
    #[error("{text:?} has the unit {unit:?}, which is none of ns, us, ms, s, m and h")]
    UnknownUnit {
        /// The text as given.
        text: String,
        /// The unit in it.
        unit: String,
    },
    /// Below zero.
    #[error("{text:?} is negative")]
    Negative {
        /// The text as given.
        text: String,
    },
    /// More than 2^63 - 1 nanoseconds.
    #[error("{text:?} is longer than 292 years")]
    TooLong {
        /// The text as given.
        text: String,
    },
}

/// The JSON Schema format that marks a duration inside this crate. Not part of the CRDs: the add-on's schemas say
/// only that these fields are strings, and [`crate::crds()`] keeps to that.
pub(crate) const SCHEMA_FORMAT: &str = "go-duration";

/// Digits after the point that are looked at: beyond a nanosecond's share of an hour they change nothing.
const FRACTION_DIGITS: usize = 15;

impl GoDuration {
    /// A duration of no length, which for a deadline means none.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A duration of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The same duration as the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whether it has no length.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

// === impl FromStr ===

impl FromStr for GoDuration {
    type Err = GoDurationError;

    fn from_str(text: &str) -> Result<Self, GoDurationError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        if unsigned == "0" {
            return Ok(Self::ZERO);
        }
        if unsigned.is_empty() {
            return Err(GoDurationError::Malformed {
                text: text.to_owned(),
            });
        }
        let mut total: u64 = 0;
        let mut rest = unsigned;
        while !rest.is_empty() {
            let (nanos, tail) = parse_component(text, rest)?;
            total = total
                .checked_add(nanos)
                .filter(|total| i64::try_from(*total).is_ok())
                .ok_or_else(|| GoDurationError::TooLong {
                    text: text.to_owned(),
                })?;
            rest = tail;
        }
        if text.starts_with('-') && total > 0 {
            return Err(GoDurationError::Negative {
                text: text.to_owned(),
            });
        }
        Ok(Self(Duration::from_nanos(total)))
    }
}

/// Reads one number with its unit off the front of `rest`, and gives its nanoseconds and what follows it.
fn parse_component<'a>(text: &str, rest: &'a str) -> Result<(u64, &'a str), GoDurationError> {
    let malformed = || GoDurationError::Malformed {
        text: text.to_owned(),
    };
    let too_long = || GoDurationError::TooLong {
        text: text.to_owned(),
    };

    let (integer, rest) = split_while(rest, |c| c.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_while(rest, |c| c.is_ascii_digit()),
        None => ("", rest),
    };
    if integer.is_empty() && fraction.is_empty() {
        return Err(malformed());
    }
    let (unit, rest) = split_while(rest, |c| c != '.' && !c.is_ascii_digit());
    let nanos_per_unit: u64 = match unit {
        "ns" => 1,
        // Either of the two characters that look like a Greek mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "" => {
            return Err(GoDurationError::NoUnit {
                text: text.to_owned(),
            });
        }
        _ if unit.chars().all(char::is_alphabetic) => {
            return Err(GoDurationError::UnknownUnit {
                text: text.to_owned(),
                unit: unit.to_owned(),
            });
        }
        _ => return Err(malformed()),
    };
    let whole = match integer {
        "" => 0,
        // Digits alone can fail to parse only by being too many.
        digits => digits.parse::<u64>().map_err(|_| too_long())?,
    };
    let whole = whole.checked_mul(nanos_per_unit).ok_or_else(too_long)?;
    let total = whole
        .checked_add(fraction_of(fraction, nanos_per_unit))
        .ok_or_else(too_long)?;
    Ok((total, rest))
}

/// The nanoseconds of `0.<digits>` units, rounded down.
fn fraction_of(digits: &str, nanos_per_unit: u64) -> u64 {
    let (numerator, denominator) = digits
        .bytes()
        .take(FRACTION_DIGITS)
        .fold((0_u128, 1_u128), |(numerator, denominator), digit| {
            (numerator * 10 + u128::from(digit - b'0'), denominator * 10)
        });
    (numerator * u128::from(nanos_per_unit) / denominator) as u64
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

// === impl Display ===

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{nanos}ns"),
            1_000..1_000_000 => return write_decimal(f, nanos, 1_000, "\u{b5}s"),
            1_000_000..1_000_000_000 => return write_decimal(f, nanos, 1_000_000, "ms"),
            _ => {}
        }
        let secs = self.0.as_secs();
        let (hours, minutes) = (secs / 3_600, secs / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if secs >= 60 {
            write!(f, "{minutes}m")?;
        }
        write_decimal(f, nanos % 60_000_000_000, 1_000_000_000, "s")
    }
}

/// Writes `nanos` in units of `nanos_per_unit`, with as many decimals as it needs.
fn write_decimal(f: &mut fmt::Formatter<'_>, nanos: u128, nanos_per_unit: u128, unit: &str) -> fmt::Result {
    write!(f, "{}", nanos / nanos_per_unit)?;
    let mut remainder = nanos % nanos_per_unit;
    let mut place = nanos_per_unit;
    if remainder > 0 {
        f.write_str(".")?;
    }
    while remainder > 0 {
        place /= 10;
        write!(f, "{}", remainder / place)?;
        remainder %= place;
    }
    f.write_str(unit)
}

// === conversions ===

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

impl From<Duration> for GoDuration {
    /// Durations that Go cannot hold become the longest that it can.
    fn from(duration: Duration) -> Self {
        Self(duration.min(Duration::from_nanos(i64::MAX.unsigned_abs())))
    }
}

// === serde and schema ===

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 30s, 1m30s or 500ms")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": SCHEMA_FORMAT })
    }
}

#[cfg(test)]
mod tests;
