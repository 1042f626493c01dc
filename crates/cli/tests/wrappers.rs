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
