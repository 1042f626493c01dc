//! Each format as its tool writes it, and everything that can be wrong with a file.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const MIB: f64 = 1_048_576.0;

fn found(bytes: &[u8], choice: &Choice) -> Result<Vec<Table>, String> {
    match read_from(bytes, Path::new("x"), choice) {
        Ok(Found::Tables(tables)) => Ok(tables),
        Ok(Found::Run(run)) => Err(format!("a run {}", run.id)),
        Err(error) => {
            let hint = error.hint().map(|h| format!(" | {h}")).unwrap_or_default();
            Err(format!("{error}{hint}"))
        }
    }
}

#[track_caller]
fn tables(text: &str) -> Vec<Table> {
    found(text.as_bytes(), &Choice::default()).unwrap()
}

#[track_caller]
fn one(text: &str) -> Table {
    let mut all = tables(text);
    assert_eq!(
        all.len(),
        1,
        "{:?}",
        all.iter().map(|t| &t.name).collect::<Vec<_>>()
    );
    all.remove(0)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

#[track_caller]
fn says(table: &Table, part: &str) {
    assert!(
        table.assumptions.iter().any(|a| a.contains(part)),
        "{:?} does not say {part:?}",
        table.assumptions
    );
}

#[test]
fn empty_cells_are_gaps_and_unknown_columns_are_empty() {
    let table = one("t_s,bytes,ops\n10.0,100,\n10.5,,7\n");
    assert_eq!(table.t_ns, [0, 500_000_000]);
    assert!(table.value[1].is_nan());
    assert_eq!(table.operations[1], 7.0);
    assert!(table.load.is_empty() && table.collected.is_empty() && table.epoch.is_empty());
    assert_eq!(table.metric, None);
    let table = one("t_s,bytes,ops,load,post_gc,epoch\n0,1,0,3,1,0\n1,2,9,4,0,1\n");
    assert_eq!(table.load, [3.0, 4.0]);
    assert_eq!(table.collected, [true, false]);
    assert_eq!(table.epoch, [0, 1]);
}

#[test]
fn a_soak_log_is_two_series_with_operations() {
    let all = tables(
        "timestamp,elapsed_hours,heap_mb,rss_mb,created_count\n\
         1795238040000,0.00,12.50,80.25,100\n1795238100000,0.02,12.75,80.50,200\n",
    );
    let names: Vec<&str> = all.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["heap_mb", "rss_mb"]);
    assert_eq!(all[0].metric.as_deref(), Some("heap_used"));
    assert_eq!(all[1].metric.as_deref(), Some("rss"));
    assert_eq!(all[0].t_ns, [0, 60_000_000_000]);
    assert_eq!(all[0].value, [12.5 * MIB, 12.75 * MIB]);
    assert_eq!(all[1].operations, [100.0, 200.0]);
    says(
        &all[0],
        "`timestamp` is the time in milliseconds since 1970",
    );
    says(&all[0], "`heap_mb` is the reading in MiB");
    says(&all[0], "`created_count` is the operations so far");
}

#[test]
fn psrecord_pidstat_and_mprof_are_read_as_they_write() {
    let table = one(
        "# Elapsed time   CPU (%)     Real (MB)   Virtual (MB)\n       0.000        0.000        10.500      100.000\n       0.010       12.300       11.000      100.000\n",
    );
    assert_eq!(table.value, [10.5 * MIB, 11.0 * MIB]);
    assert_eq!(table.metric.as_deref(), Some("rss"));

    let table = one("Linux 6.1.0 (host) \t11/21/2026 \t_x86_64_\t(2 CPU)\n\n\
         # Time        UID       PID  minflt/s  majflt/s     VSZ     RSS   %MEM  Command\n\
         05:14:01 PM     0      4121      1.00      0.00  600000   51200   0.50  node\n\n\
         # Time        UID       PID  minflt/s  majflt/s     VSZ     RSS   %MEM  Command\n\
         05:14:02 PM     0      4121      0.00      0.00  600000   51204   0.50  node\n");
    assert_eq!(table.value, [51_200.0 * 1024.0, 51_204.0 * 1024.0]);
    assert_eq!(table.t_ns, [0, 1_000_000_000]);
    assert_eq!(table.name, "4121 node");

    let all = tables(
        "Linux 6.1.0 (host) 11/21/2026 _x86_64_ (2 CPU)\n\n\
         # Time        UID       PID  minflt/s  majflt/s     VSZ     RSS   %MEM  Command\n\
         1795238040     0      4121      1.00      0.00  600000   512   0.50  node\n\
         1795238040     0      4122      1.00      0.00  600000   256   0.50  python3\n",
    );
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].name, "4122 python3");

    let all = tables(
        "CMDLINE python3 x.py\nMEM 10.5 1795238040.0\nFUNC __main__.f 1 2 3 4\nMEM 11.0 1795238040.1\n\
         CHLD 0 5.0 1795238040.1\n",
    );
    assert_eq!(all[0].value, [10.5 * MIB, 11.0 * MIB]);
    assert_eq!(all[1].name, "child 0");
}

#[test]
fn docker_stats_is_read_with_header_without_and_as_json() {
    let all =
        tables("web,1.50%,3.5MiB / 7.6GiB\ndb,0.10%,1GiB / 7.6GiB\nweb,1.50%,4MiB / 7.6GiB\n");
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].name, "web");
    assert_eq!(all[0].value, [3.5 * MIB, 4.0 * MIB]);
    assert_eq!(all[0].t_ns, [0, 1_000_000_000]);
    says(&all[0], "docker stats prints about once a second");

    let table = one(
        "\u{1b}[2J\u{1b}[H{\"BlockIO\":\"0B / 0B\",\"CPUPerc\":\"0.0%\",\"Container\":\"a1\",\"ID\":\"a1\",\"MemPerc\":\"0.05%\",\"MemUsage\":\"3MiB / 7GiB\",\"Name\":\"web\",\"NetIO\":\"1kB / 0B\",\"PIDs\":\"2\"}\n\
         {\"BlockIO\":\"0B / 0B\",\"CPUPerc\":\"0.0%\",\"Container\":\"a1\",\"ID\":\"a1\",\"MemPerc\":\"0.05%\",\"MemUsage\":\"4MiB / 7GiB\",\"Name\":\"web\",\"NetIO\":\"1kB / 0B\",\"PIDs\":\"2\"}\n",
    );
    assert_eq!(table.value, [3.0 * MIB, 4.0 * MIB]);

    let table = one(
        "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT     MEM %     NET I/O       BLOCK I/O   PIDS\n\
         a1b2c3d4e5f6   web       0.10%     3.5MiB / 7.6GiB       0.05%     1.2kB / 0B    0B / 0B     2\n",
    );
    assert_eq!(table.value, [3.5 * MIB]);
}

#[test]
fn prometheus_answers_are_series_by_their_labels() {
    let all = tables(
        r#"{"status":"success","data":{"resultType":"matrix","result":[
          {"metric":{"__name__":"process_resident_memory_bytes","job":"api"},"values":[[1795238040,"1000"],[1795238055.5,"NaN"]]},
          {"metric":{"__name__":"go_goroutines"},"values":[[1795238040,"12"]]}]}}"#,
    );
    assert_eq!(all[0].name, "process_resident_memory_bytes{job=\"api\"}");
    assert_eq!(all[0].metric.as_deref(), Some("rss"));
    assert_eq!(all[0].t_ns, [0, 15_500_000_000]);
    assert!(all[0].value[1].is_nan());
    assert_eq!(all[1].metric.as_deref(), Some("column/go_goroutines"));
}

#[test]
fn json_lines_of_several_shapes() {
    for text in [
        "{\"t_s\":1,\"bytes\":100}\n{\"t_s\":2,\"bytes\":200}\n",
        "{\"t\":1,\"value\":100}\n{\"t\":2,\"value\":200}\n",
        "{\"time\":\"2026-11-21T05:14:01Z\",\"memory\":{\"rss\":100}}\n{\"time\":\"2026-11-21T05:14:02Z\",\"memory\":{\"rss\":200}}",
        "[{\"ts\":1795238040000,\"rss\":100},\n{\"ts\":1795238041000,\"rss\":200}]",
    ] {
        let table = one(text);
        assert_eq!(table.value, [100.0, 200.0], "{text}");
        assert_eq!(table.t_ns, [0, 1_000_000_000], "{text}");
    }
}

#[test]
fn other_tables_are_read_by_names_units_and_delimiters() {
    for text in [
        "time;rss (KiB)\n1;1024\n2;2048\n",
        "elapsed_ms\tRSS_MB\tcpu_percent\n1000\t1\t9\n2000\t2\t9\n",
        "Time  Memory  CPU%\n05:14:01  1MiB  3\n05:14:02  2MiB  4\n",
        "\"date\",\"label, with comma\",\"heapUsedMB\"\n\"2026-11-21 05:14:01\",\"a, b\",1\n\"2026-11-21 05:14:02\",x,2\n",
        "t_s,bytes\n0,1048576\nt_s,bytes\n1,2097152\n",
        "\u{feff}t_s,bytes\r\n0,1048576\r\n1,2097152\r\n",
    ] {
        let table = one(text);
        assert_eq!(table.value, [MIB, 2.0 * MIB], "{text}");
        assert_eq!(table.t_ns, [0, 1_000_000_000], "{text}");
    }
    let table = one("time,rss\n23:59:59,1\n00:00:01,2\n");
    assert_eq!(table.t_ns[1], 2_000_000_000, "midnight is passed");
}

#[test]
fn named_columns_and_intervals_are_obeyed() {
    let choice = Choice {
        time_column: Some("2".into()),
        columns: vec!["3".into(), "1".into()],
        interval_s: None,
    };
    let all = found(b"5,0,7\n6,1,8\n", &choice).unwrap();
    assert_eq!(all[0].value, [7.0, 8.0]);
    assert_eq!(all[1].value, [5.0, 6.0]);
    let choice = Choice {
        interval_s: Some(0.5),
        ..Choice::default()
    };
    let all = found(b"rss\n5\n6\n", &choice).unwrap();
    assert_eq!(all[0].t_ns, [0, 500_000_000]);
    let choice = Choice {
        columns: vec!["rsss".into()],
        ..Choice::default()
    };
    let error = found(b"t,rss\n5,6\n", &choice).unwrap_err();
    assert!(
        error.contains("no column `rsss`; the columns are `t`, `rss`"),
        "{error}"
    );
}

#[test]
fn what_is_no_series_is_refused_with_its_line() {
    let wide: Vec<String> = (0..200).map(|i| format!("c{i}")).collect();
    let wide = wide.join(",") + ",time";
    let wide = format!("{wide}\n{}0\n", "1,".repeat(200));
    let long = format!("t_s,bytes\n1,{}\n", "9".repeat(10 << 20));
    for (text, part) in [
        ("", "x: the file is empty | was anything recorded"),
        (" \n\n", "empty"),
        (
            "a,b\n1,2\n",
            "x:1: no column is a time; the columns are `a`, `b` | name it with `--time-column",
        ),
        (
            "t,a,b\n1,2,3\n",
            "x:1: it is not clear which column is the reading; the columns are `t`, `a`, `b`",
        ),
        ("t_s,bytes\n", "x:1: the file has a header but no rows"),
        ("t_s,bytes\n1,2\n2,many\n", "x:3: `many` is no number"),
        ("t_s,bytes\n,2\n1,2\n", "x:2: the row has no time"),
        ("t_s,bytes\nnoon,2\n1,2\n", "x:2: `noon` is no time"),
        (
            "t_s,bytes\n1,2\n2,-5\n",
            "x:3: `-5` in column `bytes` is negative",
        ),
        (
            "1,2\n3,4\n",
            "x:1: the file has no header: its first line is `1`, `2` | add one",
        ),
        (
            "t_s,mem\n1,2MiB\n2,3000\n",
            "x:3: mixed units: `3000` has no unit, line 2 has one",
        ),
        (
            "t_s,bytes\n1,2,3\n",
            "x:2: the row has 3 cells, the header 2",
        ),
        (
            "t_s,bytes\n1,2\n\0\0\0",
            "x:3: not a text file: it holds zero bytes",
        ),
        (&wide, "it is not clear which column is the reading"),
        (&long, "x:2: the line is longer than 1024 KiB"),
        (
            "t_s,bytes\n-1e300,1\n1e300,1\n",
            "the times span more than 500 years",
        ),
        (
            "{\"t_s\":1,\"bytes\":1}\n{\"t_s\":2\n",
            "x:2: the line is no whole JSON object",
        ),
        ("{\"t_s\":1,\"bytes\":1}\n7\n", "x:2: an object is expected"),
        ("[1,2]", "x:1: an object is expected"),
        ("[{\"t\":1", "x:1: not the JSON that is expected"),
        (
            "{\"status\":\"error\",\"error\":\"bad query\"}",
            "Prometheus answered with an error: bad query",
        ),
        (
            "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}",
            "a vector, one moment only | ask `/api/v1/query_range`",
        ),
        (
            "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[]}}",
            "no series",
        ),
        (
            "CMDLINE x\nMEM 1\n",
            "x:2: the line is none that mprof writes",
        ),
        ("PK\u{3}\u{4}zip", "a zip archive"),
    ] {
        let error = found(text.as_bytes(), &Choice::default()).unwrap_err();
        assert!(
            error.contains(part),
            "{:?}: {error}",
            &text[..text.len().min(40)]
        );
    }
    let latin = found(b"t_s,m\xe9moire\n1,2\n", &Choice::default()).unwrap_err();
    assert!(
        latin.contains("x:1: not a text file: the line is not UTF-8"),
        "{latin}"
    );
    let utf16 = found(b"\xff\xfet\0_\0", &Choice::default()).unwrap_err();
    assert!(utf16.contains("UTF-16"), "{utf16}");
}

#[test]
fn what_can_be_mended_is_mended_and_said() {
    let table = one("t_s,bytes\n0,1\n1,inf\n1,nan\n2,4\n");
    assert!(table.value[1].is_nan() && table.value[2].is_nan());
    says(&table, "1 readings are infinite and taken as missing");
    says(&table, "1 rows repeat the time of the row before");
    let table = one("t_s,bytes\n5,1\n3,2\n4,3\n");
    assert_eq!(
        table.t_ns,
        [2_000_000_000, 0, 1_000_000_000],
        "the judge sorts and says so"
    );
    let table = one("t_s,bytes,note\n0,1,a\n1,2\n");
    says(&table, "1 rows are shorter than the header");
    assert_eq!(one("t_s,bytes\n7,5\n").value, [5.0]);
}

#[test]
fn packed_files_are_unpacked_and_a_cut_one_is_read_up_to_the_cut() {
    let rows: Vec<String> = (0..5000)
        .map(|i| format!("{i},{}", 1000 + i * 7919 % 977))
        .collect();
    let text = format!("t_s,bytes\n{}\n", rows.join("\n"));
    let packed = gzip(&text);
    let mut all = found(&packed, &Choice::default()).unwrap();
    assert_eq!(all.remove(0), one(&text));
    let whole = one(&text);
    for lost in [1, 100, packed.len() / 2] {
        let mut all = found(&packed[..packed.len() - lost], &Choice::default()).unwrap();
        let table = all.remove(0);
        let n = table.value.len();
        // Whole lines only: half a number would look like another one.
        assert_eq!(table.value, whole.value[..n]);
        assert!(
            n > 1000 && (n < 5000 || lost == 1),
            "{n} rows without {lost} bytes"
        );
        says(&table, "ends early: read up to its last whole line");
    }
    let error = found(&packed[..20], &Choice::default()).unwrap_err();
    assert!(
        error.contains("the compressed data ends early | the file was cut off"),
        "{error}"
    );
    let mut broken = packed.clone();
    broken[40..400].fill(0xaa);
    assert!(found(&broken, &Choice::default()).is_err());
}

/// Yields rows for ever, as a file of any size would.
struct Endless {
    row: u64,
    left: u64,
    line: Vec<u8>,
}

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.line.is_empty() {
            if self.left == 0 {
                return Ok(0);
            }
            self.left -= 1;
            self.line = format!("{},{}\n", self.row, 1000 + self.row % 10).into_bytes();
            self.row += 1;
        }
        let n = out.len().min(self.line.len());
        out[..n].copy_from_slice(&self.line[..n]);
        self.line.drain(..n);
        Ok(n)
    }
}

#[test]
fn long_files_are_thinned_without_losing_troughs() {
    let choice = Choice::default();
    let mut rows = assemble::Assembler::new(&choice, 1, vec!["t_s".into(), "bytes".into()]);
    rows.most = 1000;
    for i in 0..100_000_u32 {
        let value = if i % 4096 == 77 { 1 } else { 1000 + i % 7 };
        rows.row(i as usize + 2, &[i.to_string(), value.to_string()])
            .unwrap();
    }
    let tables = rows.finish().unwrap();
    assert!(tables[0].value.len() <= 1000, "{}", tables[0].value.len());
    let troughs = tables[0].value.iter().filter(|v| **v == 1.0).count();
    assert_eq!(troughs, 25);
    assert!(tables[0].t_ns.is_sorted());
    says(
        &tables[0],
        "too many readings to keep: the lowest of each 128 was",
    );
    let endless = Endless {
        row: 0,
        left: 300_000,
        line: b"t_s,bytes\n".to_vec(),
    };
    let Found::Tables(all) = read_from(endless, Path::new("x"), &choice).unwrap() else {
        panic!("a table");
    };
    assert_eq!(all[0].value.len(), 300_000);
}

#[test]
fn a_file_of_five_gigabytes_of_nothing_is_refused_at_once() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(5 << 30).unwrap();
    let Err(error) = read_from(file, Path::new("x"), &Choice::default()) else {
        panic!("it holds nothing");
    };
    assert!(error.to_string().contains("zero bytes"), "{error}");
}

#[test]
fn a_header_and_five_sparse_gigabytes_are_refused_at_once() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"t_s,bytes\n1,2\n").unwrap();
    file.set_len(5 << 30).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let Err(error) = read_from(file, Path::new("x"), &Choice::default()) else {
        panic!("it holds nothing");
    };
    assert!(
        error.to_string().contains("x:3: not a text file"),
        "{error}"
    );
}

/// Beginnings that lead into every reader.
const HEADS: [&str; 14] = [
    "",
    "t_s,bytes,ops,load,post_gc,epoch\n",
    "timestamp,elapsed_hours,heap_mb,rss_mb,created_count\n",
    "# Elapsed time   CPU (%)     Real (MB)   Virtual (MB)\n",
    "Linux 6.1 (host) 11/21/2026 _x86_64_ (2 CPU)\n# Time UID PID minflt/s majflt/s VSZ RSS %MEM Command\n",
    "CMDLINE x\nMEM 1 2\n",
    "{\"t\":1,\"value\":2}\n",
    "[{\"t\":1,\"value\":2},",
    "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"values\":[[1,\"2\"],",
    "{\"schema\":\"plimsoll.run/1\",",
    "web,1%,3MiB / 4MiB\n",
    "\u{1f}\u{8b}",
    "time rss\n05:14:01 5\n",
    "date;memory\n2026-11-21T05:14:01Z;5MB\n",
];

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(
        head in prop::sample::select(&HEADS[..]),
        tail in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend(tail);
        let _ = found(&bytes, &Choice::default());
    }

    #[test]
    fn no_text_makes_a_reader_panic(
        head in prop::sample::select(&HEADS[..]),
        tail in "[-0-9a-zA-Z,;:\\.\"/% \\t\\n{}\\[\\]é]{0,300}",
        column in prop::option::of("[0-9a-z]{1,3}"),
    ) {
        let choice = Choice {
            columns: column.clone().into_iter().collect(),
            time_column: column,
            interval_s: Some(1.0),
        };
        let text = format!("{head}{tail}");
        for choice in [choice, Choice::default()] {
            if let Ok(all) = found(text.as_bytes(), &choice) {
                for table in all {
                    prop_assert_eq!(table.t_ns.len(), table.value.len());
                    prop_assert!(table.value.iter().all(|v| v.is_nan() || *v >= 0.0));
                }
            }
        }
    }
}
