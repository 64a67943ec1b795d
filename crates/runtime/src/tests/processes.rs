//! Concurrent installs, and killed installs.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::fixture::{Home, npm_brings};
use crate::{Environment, Error, Progress};

/// The arguments of [`child_process`].
const HOME_VARIABLE: &str = "OPENAI_CODEX_RUNTIME_TEST_HOME";

/// A second process: this test binary, running only [`child_process`].
fn spawn_installer(home: &Home) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::processes::child_process", "--ignored", "--nocapture"])
        .env(HOME_VARIABLE, home.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test: the body of the second process.
#[test]
#[ignore = "runs in a process started by other tests"]
fn child_process() {
    let Some(home) = std::env::var_os(HOME_VARIABLE) else { return };
    let home = Path::new(&home);
    let waiting = home.join("waiting");
    let environment =
        Environment::empty().set("CODEX_RUNTIME_CACHE", home.join("cache")).set("PATH", home.join("bin"));
    let mut options = crate::InstallOptions::new().environment(environment).progress(move |step| {
        if *step == Progress::Waiting && waiting.exists() {
            fs::write(&waiting, "").unwrap();
        }
    });
    options.pin = Some(Home::pin_in(home));
    options.install().unwrap();
}

/// An npm that reports its start, and does `then` when the test lets it go on.
fn client_that_waits(home: &Home, then: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (started, go_on) = (home.fifo("started"), home.fifo("go-on"));
    home.package_manager(
        "npm",
        &format!(": > '{}'\nread line < '{}'\n{}", started.display(), go_on.display(), then),
    );
    (started, go_on)
}

#[test]
fn of_many_threads_one_installs_and_the_others_wait() {
    let home = Home::new();
    let (started, go_on) = client_that_waits(&home, &npm_brings());
    let (waiting, waits) = mpsc::channel();
    let options: Vec<_> = (0..4)
        .map(|_| {
            let waiting = waiting.clone();
            home.options().progress(move |step| {
                if *step == Progress::Waiting {
                    waiting.send(()).unwrap();
                }
            })
        })
        .collect();
    std::thread::scope(|scope| {
        let installs: Vec<_> =
            options.into_iter().map(|options| scope.spawn(|| options.install().unwrap())).collect();
        File::open(&started).unwrap();
        (0..3).for_each(|_| waits.recv().unwrap());
        fs::write(&go_on, "go\n").unwrap();
        let programs: Vec<_> = installs.into_iter().map(|install| install.join().unwrap()).collect();
        assert!(programs.iter().all(|runtime| runtime.program() == home.place().join("bin/codex")));
    });
    assert_eq!((home.runs("npm"), home.leftovers().len()), (1, 0));
}

#[test]
fn of_two_processes_one_installs_and_the_other_waits() {
    let home = Home::new();
    let (started, go_on) = client_that_waits(&home, &npm_brings());
    let waiting = home.fifo("waiting");
    let mut first = spawn_installer(&home);
    File::open(&started).unwrap();
    let mut second = spawn_installer(&home);
    File::open(&waiting).unwrap();
    fs::write(&go_on, "go\n").unwrap();
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    assert_eq!((home.runs("npm"), home.leftovers().len()), (1, 0));
    assert!(home.place().join("bin/codex").is_file());
}

#[test]
fn a_killed_process_leaves_nothing_that_looks_like_an_install() {
    let home = Home::new();
    let (started, go_on) = client_that_waits(&home, "exit 1");
    let mut first = spawn_installer(&home);
    File::open(&started).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!((home.leftovers().len(), home.place().exists()), (1, false));
    assert!(crate::locate(None, &home.environment()).is_err());
    // Ends the package manager of the killed process.
    fs::write(&go_on, "go\n").unwrap();

    home.package_manager("npm", &npm_brings());
    home.options().install().unwrap();
    assert_eq!((home.leftovers().len(), home.place().join("bin/codex").is_file()), (0, true));
}

#[test]
fn at_the_time_limit_the_package_manager_and_its_children_are_killed() {
    let home = Home::new();
    let alive = home.fifo("alive");
    // Both hold the pipe open for writing, and neither ends by itself.
    home.package_manager(
        "npm",
        &format!("exec 3> '{}'\nsleep 1000 &\necho working\nwait\n", alive.display()),
    );
    let (opened, open) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut pipe = File::open(&alive).unwrap();
        opened.send(()).unwrap();
        // The pipe ends when the last of them is gone.
        pipe.read_to_end(&mut Vec::new()).unwrap()
    });
    let mut deadline = Duration::from_millis(200);
    let error = loop {
        let error = home.options().deadline(deadline).install().unwrap_err();
        // On a slow machine the script may not have got that far.
        match open.try_recv() {
            Ok(()) => break error,
            Err(_) => deadline *= 2,
        }
    };
    assert_eq!(reader.join().unwrap(), 0);
    let Error::ClientsFailed { failures } = &error else { panic!("{error:?}") };
    assert!(failures[0].reason.contains("took longer than"), "{error}");
    assert_eq!((home.leftovers().len(), home.place().exists()), (0, false));
}
