//! A disk that is really full: a small file system in memory, mounted in a namespace of its own, so that neither
//! rights nor room of the machine are needed. Where no such thing may be made, a plain folder stands in and what
//! was left out is said.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ropewalk_core::disk::{Floor, Low};
use ropewalk_host::disk::{Kind, RESERVE_BYTES, Reserve, file_system, free};
use ropewalk_host::durable::write_durably;

/// Where this test finds itself the second time: on the small file system.
const INSIDE: &str = "DISK_SMALL_FOLDER";

const MIB: u64 = 1 << 20;

/// Runs a shell script with the folder as `$1` and this program as `$2`, in a namespace in which it may mount.
fn in_namespace(script: &str, folder: &Path) -> std::io::Result<Output> {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(folder);
    command.arg(std::env::current_exe()?).env(INSIDE, folder).output()
}

#[test]
fn a_full_disk_gets_room_from_the_reserve_and_takes_it_back_when_there_is_some() {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return on_a_small_disk(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = r#"mount -t tmpfs -o size=64m,nr_inodes=1000 none "$1""#;
    let why = match in_namespace(mount, folder.path()) {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    };
    if let Some(why) = why {
        let text = format!("left out: a full disk, since none can be mounted here ({why})\n");
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return in_a_plain_folder(folder.path());
    }
    let name = "a_full_disk_gets_room_from_the_reserve_and_takes_it_back_when_there_is_some";
    let output = in_namespace(&format!(r#"{mount} && exec "$2" --exact {name} --nocapture"#), folder.path());
    let output = output.unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn in_a_plain_folder(home: &Path) {
    let floor = Floor { bytes: 0, inodes: 0 };
    let mut reserve = Reserve::open(home, floor);
    assert!(reserve.held_bytes() > 0 && reserve.release() && reserve.held_bytes() == 0);
    let nothing = ropewalk_core::disk::Free { free_bytes: 0, ..free(home).unwrap() };
    assert!(matches!(Floor::default().check("x", &nothing), Err(Low::Bytes { .. })));
}

fn on_a_small_disk(home: &Path) {
    let floor = Floor::default();
    let check = || floor.check(&home.display().to_string(), &free(home).unwrap());
    assert_eq!(file_system(home).unwrap().kind, Kind::Memory);
    assert_eq!(free(home).unwrap().total_bytes, 64 * MIB);
    assert_eq!(check(), Ok(()));

    let mut reserve = Reserve::open(home, floor);
    assert_eq!(reserve.held_bytes(), 8 * MIB, "an eighth of a small file system, not {RESERVE_BYTES}");
    assert!(free(home).unwrap().free_bytes <= 56 * MIB, "its room is really taken");

    let record = home.join("record");
    let filler = fill_up(home);
    assert_eq!(free(home).unwrap().free_bytes, 0);
    let low = check().unwrap_err();
    assert!(low.to_string().ends_with(" has 0 B free, less than the floor of 6.3 MiB"), "{low}");
    let full = write_durably(&record, &[7; 4 << 20]).unwrap_err();
    assert_eq!(full.source.kind(), ErrorKind::StorageFull);

    assert!(reserve.release());
    write_durably(&record, &[7; 4 << 20]).unwrap();
    assert!(check().is_err(), "what the reserve gave is for records, not for new work");
    assert!(!reserve.restore() && reserve.held_bytes() == 0 && !home.join("reserve").exists());

    // 4 MiB and these are a little less than the floor and the reserve: having it must never stop work.
    let opened = File::options().write(true).open(&filler).unwrap();
    opened.set_len(opened.metadata().unwrap().len() - 10 * MIB).unwrap();
    assert!(!reserve.restore() && check().is_ok());
    drop(opened);
    fs::remove_file(&filler).unwrap();
    assert!(reserve.restore() && check().is_ok());
    assert_eq!(reserve.held_bytes(), 8 * MIB);

    use_up_files(home);
    assert!(matches!(check().unwrap_err(), Low::Inodes { free_inodes: 0, floor_inodes: 10, .. }));
    assert!(reserve.release(), "its own file becomes somebody else's");
    write_durably(&home.join("one"), b"more").unwrap();
    assert!(!reserve.restore() && reserve.held_bytes() == 0);
}

/// Writes until there is no room.
fn fill_up(home: &Path) -> PathBuf {
    let path = home.join("filler");
    let mut file = File::create(&path).unwrap();
    loop {
        match file.write(&[0; 64 << 10]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return path,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Makes files until there may be no more.
fn use_up_files(home: &Path) {
    let made = (0..2_000).map(|n| File::create(home.join(n.to_string())));
    let error = made.filter_map(Result::err).next().unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}
