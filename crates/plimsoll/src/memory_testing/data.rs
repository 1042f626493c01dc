//! What a single test can be told beside the configuration.

use std::collections::HashMap;

use serde_json::Value;

use super::error::MemoryTestError;

/// What a test was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TestData {
    /// Bytes of a payload, in place of the configuration's.
    pub(crate) payload_bytes: Option<u64>,
    /// Exactly so many operations are measured.
    pub(crate) iterations: Option<u64>,
}

/// Payloads beyond this are no payload of one operation.
const MOST_MEBIBYTES: f64 = 65_536.0;

impl TestData {
    pub(crate) fn parse(data: &HashMap<String, Value>) -> Result<Self, MemoryTestError> {
        let mut parsed = Self::default();
        let mut keys: Vec<&String> = data.keys().collect();
        // The same complaint each time.
        keys.sort();
        for key in keys {
            let value = &data[key];
            let wrong = |allowed: &str| MemoryTestError::OutOfRange {
                field: key.clone(),
                value: value.to_string(),
                allowed: allowed.to_owned(),
            };
            match key.as_str() {
                "payload_size_mb" => {
                    let mebibytes = value
                        .as_f64()
                        .filter(|size| *size > 0.0 && *size <= MOST_MEBIBYTES)
                        .ok_or_else(|| wrong("a number above 0, up to 65536"))?;
                    parsed.payload_bytes = Some((mebibytes * 1_048_576.0).max(1.0) as u64);
                }
                "iterations" => {
                    let iterations = value
                        .as_u64()
                        .filter(|count| *count > 0)
                        .ok_or_else(|| wrong("a whole number above 0"))?;
                    parsed.iterations = Some(iterations);
                }
                _ => return Err(MemoryTestError::UnknownData { key: key.clone() }),
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::TestData;

    #[test]
    fn data_is_understood_or_refused_by_name() {
        let parse = |key: &str, value: serde_json::Value| {
            let data = HashMap::from([(key.to_owned(), value)]);
            TestData::parse(&data).map_err(|error| error.to_string())
        };
        let payload = parse("payload_size_mb", 10.into()).unwrap();
        assert_eq!(payload.payload_bytes, Some(10 << 20));
        let iterations = parse("iterations", 100.into()).unwrap();
        assert_eq!(iterations.iterations, Some(100));
        for (key, value, expected) in [
            (
                "payload_mb",
                1.into(),
                "test data has no `payload_mb`; it can have payload_size_mb and iterations",
            ),
            (
                "iterations",
                "many".into(),
                "`iterations` is \"many\", and may be a whole number above 0",
            ),
            (
                "payload_size_mb",
                0.into(),
                "`payload_size_mb` is 0, and may be a number above 0, up to 65536",
            ),
        ] {
            assert_eq!(parse(key, value).unwrap_err(), expected);
        }
    }
}
