//! Exported results are as their schema says.

use serde_json::Value;

use super::*;

/// What a part of a document has that its schema does not allow, or lacks. As much of JSON Schema as the file uses.
fn complaints(schema: &Value, all: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(path) = schema["$ref"].as_str() {
        let name = path.strip_prefix("#/$defs/").unwrap();
        return complaints(&all["$defs"][name], all, value, at);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = |choice| complaints(choice, all, value, at).is_empty();
        return if choices.iter().any(fits) {
            Vec::new()
        } else {
            vec![format!("{at}: nothing of anyOf fits {value}")]
        };
    }
    let mut found = Vec::new();
    let is_of = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        _ => value.is_null(),
    };
    let fits = match &schema["type"] {
        Value::String(name) => is_of(name),
        Value::Array(names) => names.iter().any(|name| is_of(name.as_str().unwrap())),
        _ => true,
    };
    let is_const = schema.get("const").is_none_or(|only| only == value);
    let is_one = schema["enum"]
        .as_array()
        .is_none_or(|all| all.contains(value));
    if !(fits && is_const && is_one) {
        found.push(format!("{at}: {value} is not {schema}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, part) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => found.push(format!("{at}: not in the schema")),
            (Value::Null, Value::Null) => {}
            (Value::Null, of) | (of, _) => found.extend(complaints(of, all, part, &at)),
        }
    }
    for (number, part) in value.as_array().into_iter().flatten().enumerate() {
        let of = match &schema["prefixItems"][number] {
            Value::Null => &schema["items"],
            of => of,
        };
        found.extend(complaints(of, all, part, &format!("{at}[{number}]")));
    }
    found
}

#[test]
fn the_schema_describes_what_is_exported() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/memory-test.schema.json"
    );
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    alone(async {
        let runner = MemoryTestRunner::new(quick()).await.unwrap();
        let path = std::env::temp_dir().join(format!("plimsoll-{}.json", std::process::id()));
        let mut results = Vec::new();
        for (fault, scenario) in [
            (Fault::None, TestScenario::IdleBaseline),
            (Fault::Leak, TestScenario::SingleOperation),
            (Fault::Errors, TestScenario::ConcurrentOperations),
            (Fault::None, TestScenario::CleanupValidation),
        ] {
            results.push(run(fault, scenario).await);
        }
        results[0].exhaustion = Some(Exhaustion {
            room_bytes: 1,
            largest_accepted_bytes: 2,
            refused: Some((3, "no".to_owned())),
            recovered: true,
            died: None,
        });
        runner.export_results(&results, &path).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(complaints(&schema, &schema, &document, "document"), [""; 0]);
        document["results"][1]["profile"]["heap_bytes"] = "many".into();
        document["results"][2]["more"] = 1.into();
        assert_eq!(complaints(&schema, &schema, &document, "document").len(), 2);
    });
}
