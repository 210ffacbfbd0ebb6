//! How busy the whole machine is. Knows the layout of `/proc`'s files about it; unaware of processes and of what
//! samples are for.
//!
//! Each reading is five to six small files, however many processes there are. The weaker rung, on a system without
//! `/proc`: everything of the machine is absent from its samples, and only the queue's part is told.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ropewalk_core::sample::{Machine, Pressure};

/// Reads how busy the machine is, each time since the time before.
#[derive(Debug)]
pub struct Sampler {
    proc: PathBuf,
    ticks_before: Option<Ticks>,
}

/// Time of all processors together since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    idle: u64,
}

/// As much as is read of each file. What we want of them stands in the first 300 bytes.
const HEAD_BYTES_MAX: u64 = 4_096;

impl Sampler {
    /// Reads once, so that the first sample has something to be compared with.
    pub fn new() -> Sampler {
        Sampler::of(Path::new("/proc"))
    }

    fn of(proc: &Path) -> Sampler {
        let mut sampler = Sampler { proc: proc.to_owned(), ticks_before: None };
        sampler.ticks_before = sampler.ticks();
        sampler
    }

    /// One reading. Never fails and never waits for a disk: what a file does not tell is absent.
    pub fn sample(&mut self) -> Machine {
        let memory = self.head("meminfo").unwrap_or_default();
        let [load_1m_milli, load_5m_milli, load_15m_milli] =
            self.head("loadavg").and_then(|text| loads(&text)).map_or([None; 3], |loads| loads.map(Some));
        Machine {
            cpu_permille: self.cpu_permille(),
            memory_total_bytes: memory_bytes(&memory, "MemTotal:"),
            memory_available_bytes: memory_bytes(&memory, "MemAvailable:"),
            load_1m_milli,
            load_5m_milli,
            load_15m_milli,
            pressure: self.pressure(),
        }
    }

    fn cpu_permille(&mut self) -> Option<u32> {
        let now = self.ticks();
        let before = std::mem::replace(&mut self.ticks_before, now)?;
        busy_permille(before, now?)
    }

    fn ticks(&self) -> Option<Ticks> {
        ticks(&self.head("stat")?)
    }

    fn pressure(&self) -> Option<Pressure> {
        let [cpu, memory, io] = ["cpu", "memory", "io"].map(|name| self.head(&format!("pressure/{name}")));
        let (memory, io) = (memory?, io?);
        Some(Pressure {
            cpu_some_permille: stalled_permille(&cpu?, "some")?,
            memory_some_permille: stalled_permille(&memory, "some")?,
            memory_full_permille: stalled_permille(&memory, "full")?,
            io_some_permille: stalled_permille(&io, "some")?,
            io_full_permille: stalled_permille(&io, "full")?,
        })
    }

    fn head(&self, name: &str) -> Option<String> {
        let mut text = String::new();
        File::open(self.proc.join(name)).ok()?.take(HEAD_BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler::new()
    }
}

/// The line of all processors in `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. What follows
/// (guests) is contained in user and nice already.
fn ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Option<Vec<u64>> =
        line.split_ascii_whitespace().take(8).map(|field| field.parse().ok()).collect();
    let fields = fields?;
    let (idle, iowait) = (fields.get(3)?, fields.get(4).copied().unwrap_or(0));
    let all = fields.iter().fold(0_u64, |sum, field| sum.saturating_add(*field));
    let idle = idle.saturating_add(iowait);
    Some(Ticks { busy: all.saturating_sub(idle), idle })
}

/// `None` when no tick has passed. A counter that went back (a processor was taken away) counts as standing still.
fn busy_permille(before: Ticks, now: Ticks) -> Option<u32> {
    let busy = u128::from(now.busy.saturating_sub(before.busy));
    let idle = u128::from(now.idle.saturating_sub(before.idle));
    (busy * 1_000).checked_div(busy + idle).and_then(|share| u32::try_from(share).ok())
}

/// A line of `/proc/meminfo`: `MemTotal:       24684096 kB`, where kB means 1,024 bytes.
fn memory_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// The three means of `/proc/loadavg`, in thousandths.
fn loads(loadavg: &str) -> Option<[u64; 3]> {
    let mut fields = loadavg.split_ascii_whitespace();
    let mut next = || thousandths(fields.next()?);
    Some([next()?, next()?, next()?])
}

/// The mean of 10 s in a line of `/proc/pressure`: `some avg10=4.62 avg60=1.16 avg300=1.43 total=1814604910`.
fn stalled_permille(pressure: &str, kind: &str) -> Option<u32> {
    let mut words = pressure.lines().map(str::split_ascii_whitespace).find_map(|mut words| {
        let is_it = words.next() == Some(kind);
        is_it.then_some(words)
    })?;
    let percent = words.find_map(|word| word.strip_prefix("avg10="))?;
    // Thousandths of a percent to thousandths of the whole.
    u32::try_from(thousandths(percent)? / 100).ok()
}

/// A decimal number in thousandths, cut: `1.17` is 1170.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    // `u64::from_str` takes a sign, which none of these has.
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let digits = format!("{fraction:0<3}");
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(digits[..3].parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn processor_time_is_read_from_the_line_of_all() {
        let stat = "cpu  580562 10 271425 1457821 12083 5 3304 955 7 7\ncpu0 1 2 3 4 5 6 7 8 0 0\nintr 1 0\n";
        let expected = Ticks { busy: 580_562 + 10 + 271_425 + 5 + 3_304 + 955, idle: 1_457_821 + 12_083 };
        assert_eq!(ticks(stat), Some(expected));
        // Kernels of old tell less.
        assert_eq!(ticks("cpu  5 0 3 90\n"), Some(Ticks { busy: 8, idle: 90 }));
        for odd in ["", "cpu0 1 2 3 4\n", "cpu  1 2 3", "cpu  1 2 x 4", "cpu  -1 2 3 4", "cpu"] {
            assert_eq!(ticks(odd), None, "{odd:?}");
        }
        let most = format!("cpu  {0} {0} {0} {0}", u64::MAX);
        assert!(ticks(&most).is_some());
    }

    #[test]
    fn the_busy_share_is_of_the_time_between() {
        let at = |busy, idle| Ticks { busy, idle };
        let cases = [
            ("half", at(100, 100), at(150, 150), Some(500)),
            ("wholly", at(100, 100), at(101, 100), Some(1_000)),
            ("not at all", at(100, 100), at(100, 101), Some(0)),
            ("no tick passed", at(100, 100), at(100, 100), None),
            ("idle went back", at(100, 100), at(110, 90), Some(1_000)),
            ("all went back", at(100, 100), at(0, 0), None),
            ("a third, cut", at(0, 0), at(1, 2), Some(333)),
            ("very long", at(0, 0), at(u64::MAX, u64::MAX), Some(500)),
        ];
        for (name, before, now, expected) in cases {
            assert_eq!(busy_permille(before, now), expected, "{name}");
        }
    }

    #[test]
    fn memory_is_read_in_bytes_by_its_whole_name() {
        let text =
            "MemTotal:       24684096 kB\nMemFree:  1 kB\nMemAvailable:   23999364 kB\nHugePages_Total:  7\n";
        assert_eq!(memory_bytes(text, "MemTotal:"), Some(24_684_096 * 1_024));
        assert_eq!(memory_bytes(text, "MemAvailable:"), Some(23_999_364 * 1_024));
        assert_eq!(memory_bytes(text, "HugePages_Total:"), None, "it is no size");
        for odd in ["", "MemTotal:", "MemTotal: kB", "MemTotal: -5 kB", "MemTotal: 99999999999999999999 kB"] {
            assert_eq!(memory_bytes(odd, "MemTotal:"), None, "{odd:?}");
        }
        assert_eq!(memory_bytes(&format!("MemTotal: {} kB", u64::MAX), "MemTotal:"), None, "it overflows");
    }

    #[test]
    fn loads_and_pressure_are_read_without_rounding_up() {
        assert_eq!(loads("0.14 12.22 1.17 4/99 20003\n"), Some([140, 12_220, 1_170]));
        assert_eq!(loads("0 1 2"), Some([0, 1_000, 2_000]));
        for odd in ["", "1.0 2.0", "nan 1 2", "-1 1 2", "+1 1 2", "1.x 1 2"] {
            assert_eq!(loads(odd), None, "{odd:?}");
        }
        let memory = "some avg10=4.68 avg60=1.16 total=1\nfull avg10=100.00 avg60=0.00 total=0\n";
        assert_eq!(stalled_permille(memory, "some"), Some(46));
        assert_eq!(stalled_permille(memory, "full"), Some(1_000));
        for odd in ["", "some", "some avg10=", "some avg60=1.0", "full avg10=1.0", "some avg10=x"] {
            assert_eq!(stalled_permille(odd, "some"), None, "{odd:?}");
        }
    }

    /// A folder that looks like `/proc`.
    fn proc(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pressure")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_sample_is_of_the_time_since_the_one_before() {
        let stall = "some avg10=1.50 avg60=0.00\nfull avg10=0.50 avg60=0.00\n";
        let folder = proc(&[
            ("stat", "cpu  100 0 0 100\n"),
            ("meminfo", "MemTotal: 8 kB\nMemAvailable: 4 kB\n"),
            ("loadavg", "0.50 0.40 0.30 1/2 3\n"),
            ("pressure/cpu", "some avg10=2.00 avg60=0.00\n"),
            ("pressure/memory", stall),
            ("pressure/io", stall),
        ]);
        let mut sampler = Sampler::of(folder.path());
        fs::write(folder.path().join("stat"), "cpu  125 0 0 175\n").unwrap();
        let pressure = Pressure {
            cpu_some_permille: 20,
            memory_some_permille: 15,
            memory_full_permille: 5,
            io_some_permille: 15,
            io_full_permille: 5,
        };
        let expected = Machine {
            cpu_permille: Some(250),
            memory_total_bytes: Some(8_192),
            memory_available_bytes: Some(4_096),
            load_1m_milli: Some(500),
            load_5m_milli: Some(400),
            load_15m_milli: Some(300),
            pressure: Some(pressure),
        };
        assert_eq!(sampler.sample(), expected);
        assert_eq!(sampler.sample().cpu_permille, None, "nothing has passed");
        fs::write(folder.path().join("stat"), "cpu  126 0 0 175\n").unwrap();
        assert_eq!(sampler.sample().cpu_permille, Some(1_000));
    }

    #[test]
    fn what_a_system_does_not_tell_is_absent_and_the_rest_is_told() {
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(Sampler::of(nothing.path()).sample(), Machine::default());
        assert_eq!(Sampler::of(Path::new("/no/such")).sample(), Machine::default());
        // A kernel without pressure, and one that tells it of the memory alone.
        for files in
            [&[("loadavg", "1 2 3")][..], &[("loadavg", "1 2 3"), ("pressure/memory", "some avg10=1.0")]]
        {
            let sample = Sampler::of(proc(files).path()).sample();
            assert_eq!((sample.load_1m_milli, sample.pressure), (Some(1_000), None));
        }
    }

    #[test]
    fn this_machine_tells_what_can_be_true() {
        let sample = Sampler::new().sample();
        if Path::new("/proc/meminfo").exists() {
            let (total, available) =
                (sample.memory_total_bytes.unwrap(), sample.memory_available_bytes.unwrap());
            assert!(available > 0 && available <= total);
        }
        assert!(sample.cpu_permille.is_none_or(|share| share <= 1_000));
    }
}
