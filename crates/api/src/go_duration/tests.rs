use super::*;

fn parse(text: &str) -> Result<Duration, GoDurationError> {
    text.parse::<GoDuration>().map(GoDuration::get)
}

#[test]
fn reads_what_go_reads() {
    let cases = [
        ("0", Duration::ZERO),
        ("+0", Duration::ZERO),
        ("-0", Duration::ZERO),
        ("0s", Duration::ZERO),
        ("-0s", Duration::ZERO),
        ("0h0m0s", Duration::ZERO),
        ("1ns", Duration::from_nanos(1)),
        ("7us", Duration::from_micros(7)),
        ("7\u{b5}s", Duration::from_micros(7)),
        ("7\u{3bc}s", Duration::from_micros(7)),
        ("500ms", Duration::from_millis(500)),
        ("30s", Duration::from_secs(30)),
        ("+30s", Duration::from_secs(30)),
        ("1m", Duration::from_mins(1)),
        ("1m30s", Duration::from_secs(90)),
        ("90s1m", Duration::from_secs(150)),
        ("1s1s", Duration::from_secs(2)),
        ("1.5h", Duration::from_mins(90)),
        (".5s", Duration::from_millis(500)),
        ("1.s", Duration::from_secs(1)),
        ("0.000000001s", Duration::from_nanos(1)),
        ("0.0000000001s", Duration::ZERO),
        ("168h0m0s", Duration::from_hours(168)),
        (
            "0.33333333333333333333h",
            Duration::from_mins(20).saturating_sub(Duration::from_nanos(1)),
        ),
        (
            "9223372036854775807ns",
            Duration::from_nanos(9_223_372_036_854_775_807),
        ),
        (
            "2562047h47m16.854775807s",
            Duration::from_nanos(9_223_372_036_854_775_807),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn refuses_what_go_refuses_and_says_why() {
    let cases = [
        ("", r#""" is not a duration such as 30s, 1m30s or 500ms"#),
        ("s", r#""s" is not a duration such as 30s, 1m30s or 500ms"#),
        (".s", r#"".s" is not a duration such as 30s, 1m30s or 500ms"#),
        ("+", r#""+" is not a duration such as 30s, 1m30s or 500ms"#),
        ("--1s", r#""--1s" is not a duration such as 30s, 1m30s or 500ms"#),
        ("1 s", r#""1 s" is not a duration such as 30s, 1m30s or 500ms"#),
        (
            "1m-30s",
            r#""1m-30s" is not a duration such as 30s, 1m30s or 500ms"#,
        ),
        ("30", r#""30" has no unit: write 30s for seconds"#),
        ("1m30", r#""1m30" has no unit: write 1m30s for seconds"#),
        ("00", r#""00" has no unit: write 00s for seconds"#),
        (
            "1d",
            r#""1d" has the unit "d", which is none of ns, us, ms, s, m and h"#,
        ),
        (
            "5S",
            r#""5S" has the unit "S", which is none of ns, us, ms, s, m and h"#,
        ),
        (
            "9223372036854775808ns",
            r#""9223372036854775808ns" is longer than 292 years"#,
        ),
        ("2562048h", r#""2562048h" is longer than 292 years"#),
        (
            "99999999999999999999h",
            r#""99999999999999999999h" is longer than 292 years"#,
        ),
        (
            "2562047h2562047h",
            r#""2562047h2562047h" is longer than 292 years"#,
        ),
    ];
    for (text, expected) in cases {
        let error = parse(text).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn refuses_negative_durations() {
    for text in ["-1s", "-1ns", "-1m30s", "-0.5h"] {
        assert_eq!(
            parse(text),
            Err(GoDurationError::Negative {
                text: text.to_owned()
            }),
            "{text}"
        );
    }
}

#[test]
fn writes_the_canonical_form_and_reads_it_back() {
    let cases = [
        ("0", "0s"),
        ("1ns", "1ns"),
        ("1100ns", "1.1\u{b5}s"),
        ("2200us", "2.2ms"),
        ("500ms", "500ms"),
        ("1500ms", "1.5s"),
        ("59.999s", "59.999s"),
        ("1m", "1m0s"),
        ("90s", "1m30s"),
        ("1h", "1h0m0s"),
        ("3600.001s", "1h0m0.001s"),
        ("5m1ns", "5m0.000000001s"),
        ("168h", "168h0m0s"),
        ("2562047h47m16.854775807s", "2562047h47m16.854775807s"),
    ];
    for (text, expected) in cases {
        let duration: GoDuration = text.parse().expect(text);
        assert_eq!(duration.to_string(), expected, "{text}");
        assert_eq!(expected.parse(), Ok(duration), "{text}");
    }
}

#[test]
fn is_a_string_in_json() {
    let duration: GoDuration = serde_json::from_str(r#""1m30s""#).expect("a duration");
    assert_eq!(duration, GoDuration::from_secs(90));
    assert_eq!(serde_json::to_string(&duration).expect("json"), r#""1m30s""#);

    let number = serde_json::from_str::<GoDuration>("30").expect_err("a number is no duration");
    assert!(number.to_string().contains("a duration such as 30s"), "{number}");
}

#[test]
fn converts_to_and_from_the_standard_type() {
    assert_eq!(Duration::from(GoDuration::from_secs(3)), Duration::from_secs(3));
    assert_eq!(GoDuration::from(Duration::from_secs(3)), GoDuration::from_secs(3));
    let longest = GoDuration::from(Duration::MAX);
    assert_eq!(longest.to_string().parse(), Ok(longest));
}

#[test]
fn every_length_is_written_so_that_it_reads_back_the_same() {
    let powers = (0..63).map(|exponent| 1_u64 << exponent);
    let units = [1_000, 1_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000];
    let lengths = powers
        .chain(units)
        .flat_map(|nanos| [nanos - 1, nanos, nanos + 1, nanos / 3 * 2]);
    for nanos in lengths {
        let duration = GoDuration::from(Duration::from_nanos(nanos));
        assert_eq!(duration.to_string().parse(), Ok(duration), "{nanos} ns");
    }
}
