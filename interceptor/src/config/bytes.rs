//! Sizes as Kubernetes writes them: `65536`, `64Ki`, `256Mi`, `1Gi`, each with or without a final `B`.

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseBytesError {
    /// Not a whole number followed by a known unit.
    #[error("a size in bytes is expected, such as 65536, 64Ki, 256Mi or 1Gi")]
    Malformed,
    /// More than 64 bits hold.
    #[error("the size is too large")]
    TooLarge,
}

/// Parses a size into bytes. Usable as clap's `value_parser`.
pub fn parse(text: &str) -> Result<u64, ParseBytesError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        _ => return Err(ParseBytesError::Malformed),
    };
    if number.is_empty() {
        return Err(ParseBytesError::Malformed);
    }
    let number: u64 = number.parse().map_err(|_overflow| ParseBytesError::TooLarge)?;
    number.checked_mul(factor).ok_or(ParseBytesError::TooLarge)
}
