//! Durations as people write them in flags and environment variables, in Go's syntax, because the settings that Rouse takes
//! over from the KEDA HTTP Add-on are written in it.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseDurationError {
    /// Nothing was given.
    #[error("a duration is expected, such as 500ms, 30s, 5m or 1h30m")]
    Empty,
    /// A part has no number.
    #[error("`{0}`: a number is expected")]
    MissingNumber(String),
    /// A number has no unit; only `0` may stand alone.
    #[error("`{0}`: the unit is missing (ns, us, ms, s, m or h)")]
    MissingUnit(String),
    /// A unit nobody knows.
    #[error("`{0}`: unknown unit (known: ns, us, ms, s, m, h)")]
    UnknownUnit(String),
    /// Less than nothing.
    #[error("a duration cannot be negative")]
    Negative,
    /// More than a [`Duration`] of 64-bit nanoseconds holds, about 584 years.
    #[error("the duration is too long")]
    TooLong,
}

/// Parses `500ms`, `30s`, `5m`, `1h30m`, `1.5h`; a bare number is an error except `0`. Usable as clap's `value_parser`.
///
/// Fractions finer than a nanosecond are cut off.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ParseDurationError::Empty);
    }
    if text.starts_with('-') {
        return Err(ParseDurationError::Negative);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(ParseDurationError::MissingNumber(text.to_owned()));
    }
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let (part, after) = parse_part(rest)?;
        nanos = nanos.checked_add(part).ok_or(ParseDurationError::TooLong)?;
        rest = after;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Takes one number with its unit off the front: its nanoseconds and what follows.
fn parse_part(text: &str) -> Result<(u64, &str), ParseDurationError> {
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(|| ParseDurationError::MissingUnit(text.to_owned()))?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);

    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(ParseDurationError::MissingNumber(text.to_owned()));
    }
    let unit_nanos: u64 = match unit {
        "ns" => 1,
        // Both micro signs, U+00B5 and the Greek letter, as in Go.
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(ParseDurationError::UnknownUnit(unit.to_owned())),
    };
    let whole = match whole {
        "" => 0,
        digits => digits.parse::<u64>().map_err(|_| ParseDurationError::TooLong)?,
    };
    // Eighteen digits are finer than a nanosecond even of an hour, and their product fits.
    let digits = &fraction[..fraction.len().min(18)];
    let parts = match digits {
        "" => 0,
        digits => digits.parse::<u128>().map_err(|_| ParseDurationError::TooLong)?,
    };
    let below = parts * u128::from(unit_nanos) / 10_u128.pow(digits.len() as u32);
    let nanos = u128::from(whole) * u128::from(unit_nanos) + below;
    let nanos = u64::try_from(nanos).map_err(|_| ParseDurationError::TooLong)?;
    Ok((nanos, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("5.s", 5_000),
            ("+2s", 2_000),
            (" 10s ", 10_000),
            ("1m0.25s", 60_250),
            ("1000us", 1),
            ("1000µs", 1),
            ("1000μs", 1),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("3ns"), Ok(Duration::from_nanos(3)));
        assert_eq!(parse("1.0000000009s"), Ok(Duration::from_secs(1)));
        assert_eq!(parse("0.1h"), Ok(Duration::from_mins(6)));
    }

    #[test]
    fn anything_else_says_what_is_wrong() {
        use ParseDurationError as E;
        for (text, error) in [
            ("", E::Empty),
            ("  ", E::Empty),
            ("-1s", E::Negative),
            ("30", E::MissingUnit("30".into())),
            ("00", E::MissingUnit("00".into())),
            ("1h30", E::MissingUnit("30".into())),
            ("s", E::MissingNumber("s".into())),
            ("+", E::MissingNumber("+".into())),
            ("1.2.3s", E::MissingNumber("1.2.3s".into())),
            (".s", E::MissingNumber(".s".into())),
            ("3d", E::UnknownUnit("d".into())),
            ("3 s", E::UnknownUnit(" s".into())),
            ("6000000h", E::TooLong),
            ("99999999999999999999s", E::TooLong),
            ("18446744073s18446744073s", E::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
