//! What stands between the command line and the service, really run: package managers, loaders, watchers, shells; and
//! the other runtimes that load the same probe.
//!
//! What comes from npm is installed by `cargo xtask wrappers` into `target/wrappers`; without it these tests say that
//! they are skipped. The heavy ones are run by that command alone.
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::path::Path;

use common::{Finished, Place, example, repository};
use serde_json::Value;

/// A healthy service as a package.
struct Package {
    place: Place,
}

impl Package {
    fn new() -> Self {
        let package = Self {
            place: Place::new(),
        };
        let server = format!(
            "process.argv.push('--fixed');\nrequire({:?});\n",
            example("faults/external-leak.js")
        );
        package.write("server.js", &server);
        package.write(
            "server.ts",
            &format!("const word: string = 'typed';\nvoid word;\n{server}"),
        );
        // ts-node is older than the defaults of its compiler.
        package.write(
            "tsconfig.json",
            r#"{ "compilerOptions": { "module": "commonjs", "moduleResolution": "node" } }"#,
        );
        package.write(
            "package.json",
            r#"{ "name": "service", "private": true, "scripts": { "start": "node server.js" } }"#,
        );
        package
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.place.directory.path().join(name);
        let parent = path.parent().expect("a folder above it");
        std::fs::create_dir_all(parent).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// Gives it everything that is installed.
    fn with_dependencies(self) -> Self {
        let installed = repository("target") + "/wrappers/node_modules";
        let link = self.place.directory.path().join("node_modules");
        std::os::unix::fs::symlink(installed, link).expect("a link");
        self
    }

    /// A short check of the service behind these words.
    fn check(&self, words: &[&str]) -> Checked {
        self.check_with(words, &[])
    }

    fn check_with(&self, words: &[&str], environment: &[(&str, &str)]) -> Checked {
        let url = self.place.url("/");
        let mut arguments = vec![
            "check",
            "--url",
            &url,
            "--warm-up",
            "60",
            "--operations",
            "60",
            "--rounds",
            "6",
            "--explain",
            "never",
            "--",
        ];
        arguments.extend(words);
        let mut command = self.place.command(&arguments);
        command.envs(environment.iter().copied());
        let finished = common::finish(&command.output().expect("plimsoll starts"));
        assert!([0, 1, 3].contains(&finished.code), "{}", finished.said());
        Checked {
            run: self.place.last_run(),
            finished,
        }
    }
}

struct Checked {
    run: Value,
    finished: Finished,
}

impl Checked {
    /// The service is what listens, with the probe in it, and these stand in front of it.
    #[track_caller]
    fn expect_behind(&self, service: &str, runtime: &str, wrappers: &[&str]) -> &Self {
        let command = words(&self.run["subject"]["service"]);
        assert!(
            command.contains(service),
            "{command}\n{}",
            self.finished.said()
        );
        assert_eq!(
            self.run["subject"]["service"]["runtime"]["name"],
            runtime,
            "{}",
            self.finished.said()
        );
        let processes = self.run["subject"]["processes"]
            .as_array()
            .expect("processes");
        let standing: Vec<String> = processes
            .iter()
            .filter(|process| process["role"] == "wrapper")
            .map(words)
            .collect();
        for wrapper in wrappers {
            assert!(
                standing.iter().any(|one| one.contains(wrapper)),
                "{wrapper} is not among {standing:?}"
            );
        }
        self
    }
}

fn words(process: &Value) -> String {
    let list = process["command"].as_array().expect("a command");
    list.iter()
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The path of an installed program; says that the test is skipped without it.
fn installed(name: &str) -> Option<String> {
    let path = repository("target") + "/wrappers/node_modules/.bin/" + name;
    if Path::new(&path).exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {name} is not installed; `cargo xtask wrappers` installs it");
    None
}

#[test]
fn npm_and_shells_are_told_apart() {
    Package::new().check(&["npm", "start"]).expect_behind(
        "node server.js",
        "node",
        &["npm start", "sh -c node server.js"],
    );
    Package::new()
        .check(&["sh", "-c", "node server.js; true"])
        .expect_behind("node server.js", "node", &["sh -c"]);
}

/// The environment is gone, and the probe with it: it is put in once the service runs.
#[test]
fn an_emptied_environment_keeps_nobody_out() {
    let package = Package::new();
    let port = format!("PORT={}", package.place.port);
    let path = format!("PATH={}", std::env::var("PATH").expect("a PATH"));
    let inspector = format!("--inspect-port={}", common::free_port());
    let checked = package.check(&["env", "-i", &port, &path, "node", &inspector, "server.js"]);
    checked.expect_behind("server.js", "node", &[]);
    checked
        .finished
        .expect_said("were put in through its inspector");
}

#[test]
fn package_managers_of_other_makers() {
    for name in ["pnpm", "yarn"] {
        let Some(path) = installed(name) else {
            continue;
        };
        Package::new()
            .check(&[&path, "start"])
            .expect_behind("server.js", "node", &[name]);
    }
}

#[test]
fn turbo_runs_a_task() {
    let Some(path) = installed("turbo") else {
        return;
    };
    let package = Package::new();
    package.write(
        "package.json",
        r#"{ "name": "service", "private": true, "packageManager": "npm@10.0.0",
             "scripts": { "start": "node server.js" } }"#,
    );
    package.write(
        "turbo.json",
        r#"{ "tasks": { "start": { "persistent": true, "cache": false, "passThroughEnv": ["*"] } } }"#,
    );
    package.check(&[&path, "run", "start"]).expect_behind(
        "node server.js",
        "node",
        &["turbo run start", "sh -c"],
    );
}

/// A service of one controller.
const NEST: &str = r"
import 'reflect-metadata';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

@Controller()
class Front {
  @Get()
  hello(): string {
    return 'hello';
  }
}

@Module({ controllers: [Front] })
class App {}

NestFactory.create(App, { logger: false }).then((app) => app.listen(Number(process.env.PORT), '127.0.0.1'));
";

#[test]
fn nest_compiles_and_starts() {
    let Some(path) = installed("nest") else {
        return;
    };
    let package = Package::new().with_dependencies();
    package.write("nest-cli.json", r#"{ "sourceRoot": "src" }"#);
    package.write(
        "tsconfig.json",
        r#"{ "include": ["src"], "compilerOptions": {
             "module": "nodenext", "moduleResolution": "nodenext", "target": "es2022", "rootDir": "./src",
             "outDir": "./dist", "experimentalDecorators": true, "emitDecoratorMetadata": true, "skipLibCheck": true } }"#,
    );
    package.write("src/main.ts", NEST);
    package
        .check(&[&path, "start"])
        .expect_behind("dist/main", "node", &["nest start"]);
    let watched = package.check(&[&path, "start", "--watch"]);
    watched.expect_behind("dist/main", "node", &["nest start --watch"]);
    watched
        .finished
        .expect_said("starts it anew when a file changes");
}

#[test]
fn next_in_production_and_in_development() {
    let Some(path) = installed("next") else {
        return;
    };
    let package = Package::new().with_dependencies();
    // Next installs what TypeScript would need as soon as it sees some.
    for typed in ["server.ts", "tsconfig.json"] {
        std::fs::remove_file(package.place.directory.path().join(typed)).expect("it was written");
    }
    package.write(
        "app/route.js",
        "export const dynamic = 'force-dynamic';\nexport function GET() { return Response.json({ hello: 'world' }); }\n",
    );
    let built = std::process::Command::new(&path)
        .args(["build", "--webpack"])
        .env("NEXT_TELEMETRY_DISABLED", "1")
        .current_dir(package.place.directory.path())
        .output()
        .expect("next starts");
    assert!(built.status.success(), "{built:?}");
    let quiet = [("NEXT_TELEMETRY_DISABLED", "1")];
    package
        .check_with(&[&path, "start"], &quiet)
        .expect_behind("next-server", "node", &[]);
    let developed = package.check_with(&[&path, "dev", "--webpack"], &quiet);
    developed.expect_behind("next-server", "node", &["next dev"]);
    developed
        .finished
        .expect_said("it compiles while it serves");
}

#[test]
fn loaders_of_typescript() {
    if let Some(path) = installed("tsx") {
        Package::new()
            .check(&[&path, "server.ts"])
            .expect_behind("server.ts", "node", &["tsx"]);
    }
    if let Some(path) = installed("ts-node") {
        Package::new()
            .check(&[&path, "--transpile-only", "server.ts"])
            .expect_behind("server.ts", "node", &[]);
    }
}

#[test]
fn a_watcher_is_named_as_unfit() {
    if let Some(path) = installed("nodemon") {
        let checked = Package::new().check(&[&path, "server.js"]);
        checked.expect_behind("server.js", "node", &["nodemon"]);
        checked
            .finished
            .expect_said("starts it anew when a file changes");
    }
}

#[test]
fn deno_loads_the_same_probe() {
    if let Some(path) = installed("deno") {
        let package = Package::new();
        package.write(
            "server.cjs",
            &format!("require({:?});\n", example("faults/external-leak.js")),
        );
        package
            .check(&[&path, "run", "--allow-all", "server.cjs"])
            .expect_behind("server.cjs", "deno", &[]);
    }
}

#[test]
fn bun_loads_the_same_probe() {
    if let Some(path) = installed("bun") {
        Package::new()
            .check(&[&path, "server.js"])
            .expect_behind("server.js", "bun", &[]);
    }
}

/// A module in TypeScript that keeps what it makes.
const TYPED: &str = r"
const kept: Array<{ index: number; text: string }> = [];
export async function operation(index: number): Promise<void> {
  await null;
  kept.push({ index, text: String(index).repeat(100) });
}
";

#[test]
fn modules_in_typescript_are_driven_in_other_runtimes() {
    for (name, words, runtime) in [
        ("tsx", &[][..], "node"),
        ("deno", &["run", "-A"], "deno"),
        ("bun", &[], "bun"),
    ] {
        let Some(path) = installed(name) else {
            continue;
        };
        let package = Package::new();
        package.write("op.ts", TYPED);
        let how = [
            "check",
            "--module",
            "op.ts",
            "--rounds",
            "6",
            "--operations",
            "2000",
            "--warm-up",
            "4000",
            "--",
            &path,
        ];
        let run = package.place.run(&[&how[..], words].concat());
        run.expect_code(1);
        let document = package.place.last_run();
        assert_eq!(
            document["subject"]["service"]["runtime"]["name"],
            runtime,
            "{}",
            run.said()
        );
    }
}

/// A service in TypeScript that keeps what it is asked for; what is left out when it is compiled moves its lines.
const KEEPER: &str = r"import * as http from 'node:http';

interface Order {
  readonly id: number;
  readonly note: string;
}

/** What a customer ordered. */
class OrderRecord implements Order {
  constructor(readonly id: number, readonly note: string, readonly hours: number[]) {}
}

const ordersOfToday = new Map<number, OrderRecord>();
let last = 0;

http
  .createServer((_request, response) => {
    last += 1;
    ordersOfToday.set(last, new OrderRecord(last, `a note about order ${last}`, new Array(100).fill(last)));
    response.end('ok');
  })
  .listen(Number(process.env.PORT), '127.0.0.1');
";

/// Where a runtime may say that an order is made: its class, its constructor.
const MADE: [&str; 2] = ["server.ts:9", "server.ts:10"];

impl Package {
    fn keeper() -> Self {
        let package = Self::new();
        package.write("server.ts", KEEPER);
        package
    }

    /// The first culprit of a check of the service behind these words.
    fn culprit(&self, words: &[&str]) -> Value {
        let url = self.place.url("/");
        let how = ["check", "--explain", "always", "--url", &url];
        let rounds = [
            "--warm-up",
            "1000",
            "--operations",
            "500",
            "--rounds",
            "6",
            "--",
        ];
        let run = self.place.run(&[&how[..], &rounds, words].concat());
        // So few rounds may leave the verdict open on a busy machine; who holds the growth does not depend on it.
        assert!([1, 3].contains(&run.code), "{}", run.said());
        let culprit = self.place.last_run()["culprits"][0].clone();
        assert!(culprit.is_object(), "{}", run.said());
        culprit
    }
}

#[track_caller]
fn expect_culprit(culprit: &Value, kind: &str, holder: &str) {
    let text = |key: &str| culprit[key].as_str().unwrap_or_default().to_owned();
    assert!(text("kind").contains(kind), "{culprit:#}");
    assert!(text("holder").contains(holder), "{culprit:#}");
    assert!(MADE.contains(&&*text("place")), "{culprit:#}");
}

#[test]
fn a_culprit_in_typescript_has_the_line_that_was_written() {
    for (name, flags) in [("tsx", &[][..]), ("ts-node", &["--transpile-only"])] {
        let Some(path) = installed(name) else {
            continue;
        };
        let words = [&[&*path], flags, &["server.ts"]].concat();
        let culprit = Package::keeper().culprit(&words);
        expect_culprit(&culprit, "OrderRecord", "ordersOfToday");
    }
}

/// What a minifier makes of the service, with a source map and without.
#[test]
fn a_minified_culprit_has_the_names_that_were_written() {
    let Some(esbuild) = installed("esbuild") else {
        return;
    };
    let build = |package: &Package, program: &str, arguments: &[&str]| {
        let built = std::process::Command::new(program)
            .args(arguments)
            .current_dir(package.place.directory.path())
            .output()
            .expect("it starts");
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
    };
    let bundle = [
        "server.ts",
        "--bundle",
        "--platform=node",
        "--minify",
        "--outfile=dist/app.js",
    ];

    let mapped = Package::keeper();
    build(&mapped, &esbuild, &[&bundle[..], &["--sourcemap"]].concat());
    let culprit = mapped.culprit(&["node", "dist/app.js"]);
    expect_culprit(&culprit, "OrderRecord", "ordersOfToday");

    let unmapped = Package::keeper();
    let manifest =
        r#"{ "name": "service", "private": true, "devDependencies": { "esbuild": "0.28.2" } }"#;
    unmapped.write("package.json", manifest);
    build(&unmapped, &esbuild, &bundle);
    let culprit = unmapped.culprit(&["node", "dist/app.js"]);
    let said = culprit["evidence"].to_string();
    assert!(
        said.contains("dist/app.js is minified and has no source map"),
        "{culprit:#}"
    );
    assert!(
        said.contains("`--sourcemap` among esbuild's options"),
        "{culprit:#}"
    );
}

/// Bun numbers its objects anew in each snapshot: classes are counted, and what is not told for that is said.
#[test]
fn what_grows_in_bun_is_told_by_its_class() {
    let Some(path) = installed("bun") else { return };
    let package = Package::keeper();
    let url = package.place.url("/");
    let how = [
        "check",
        "--explain",
        "always",
        "--url",
        &url,
        "--warm-up",
        "1000",
    ];
    let rounds = [
        "--operations",
        "1000",
        "--rounds",
        "6",
        "--",
        &path,
        "server.ts",
    ];
    let run = package.place.run(&[&how[..], &rounds].concat());
    // A table that doubles leaves few rounds open; what there is more of does not depend on it.
    assert!([1, 3].contains(&run.code), "{}", run.said());
    run.expect_said("OrderRecord objects   +1 per request")
        .expect_said("Bun numbers objects anew in each snapshot: classes are counted instead");
}
