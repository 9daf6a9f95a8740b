//! The only file that names concrete backends: `"cpu"`, `"wgpu"`, `"cuda:1"` → [`Device`].
//!
//! | name | runs on | compiled in by |
//! |---|---|---|
//! | `cpu` | this machine's processor (Burn's `flex`) | always |
//! | `wgpu` | any GPU with a Vulkan, Metal or DirectX 12 driver, else a software one | feature `wgpu` |
//! | `cuda` | NVIDIA GPUs | feature `cuda` |
//! | `ws://host:port` | what `pixelllm worker` lends on another machine | feature `remote` |
//!
//! `wgpu:1` and `cuda:1` pick one of several, counted from 0. Burn opens a device on first use and
//! panics where there is none; here a device is looked for and opened before anybody gets it, so
//! that a missing one is an [`Error::Device`] of one sentence.

use burn::tensor::Device;

use crate::error::{Error, Result};

#[cfg(feature = "cuda")]
mod cuda;
pub(crate) mod host;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod panics;
#[cfg(feature = "remote")]
mod remote;
mod types;
#[cfg(feature = "wgpu")]
mod wgpu;

#[cfg(feature = "remote")]
pub use remote::Lender;
pub use types::{check_keeps, check_multiplies};

/// What the name of a device on another machine begins with.
const REMOTE: &str = "ws://";

/// An environment variable with what a lender of devices and those who use them agree on. Not in the
/// experiment, which is copied and shown.
pub const DEVICE_TOKEN: &str = "PIXELLLM_DEVICE_TOKEN";

/// The backends there are, and whether this build has them.
const BACKENDS: [(&str, bool); 3] =
    [("cpu", true), ("wgpu", cfg!(feature = "wgpu")), ("cuda", cfg!(feature = "cuda"))];

/// An environment variable and the value with which tensors that are not told their device are on the
/// processor. Burn has them on a GPU as soon as a backend for one is compiled in, and panics where the
/// machine has none; when a run is resumed, it makes such tensors (`docs/burn-issues.md`, 3). To be set
/// before the first thread is started.
pub const CPU_BY_DEFAULT: (&str, &str) = ("BURN_DEVICE", "flex");

/// Finds the device that `name` asks for, opens it, and returns it without autodiff.
///
/// # Errors
/// [`Error::Device`] where the name is unknown, this build lacks the backend, or this machine the
/// device.
pub fn device(name: &str) -> Result<Device> {
    if name.starts_with(REMOTE) {
        return remote_device(name);
    }
    let (backend, index) = parse(name)?;
    if !compiled().contains(&backend) {
        return Err(error(
            format!("device `{name}`: this build has no `{backend}` backend"),
            format!(
                "Build it in: `cargo run --release --features {backend} -- …`. This build has: {}.",
                quoted(&compiled())
            ),
        ));
    }
    let found = devices(backend);
    let device = found.get(index).cloned().ok_or_else(|| absent(name, backend, found.len()))?;
    open(name, backend, &device)?;
    Ok(device)
}

/// The device of another machine at the address `name`, connected.
#[cfg(feature = "remote")]
fn remote_device(name: &str) -> Result<Device> {
    remote::connect(name)
}

/// This build reaches no other machine.
#[cfg(not(feature = "remote"))]
fn remote_device(name: &str) -> Result<Device> {
    Err(error(
        format!("device `{name}`: this build reaches no other machine"),
        "Build it with the feature: `cargo run --release --features remote -- …`.",
    ))
}

/// Names of the backends in this build, as [`device`] takes them.
pub fn compiled() -> Vec<&'static str> {
    BACKENDS.iter().filter(|(_, present)| *present).map(|(name, _)| *name).collect()
}

/// Says in a few words for logs which device this is: `cuda:0 (NVIDIA L4)`.
///
/// Opens the device if nothing has yet; one from [`device`] is open.
pub fn describe(device: &Device) -> String {
    for backend in compiled() {
        if let Some(index) = devices(backend).iter().position(|one| one == device) {
            return match part_name(backend, device) {
                Some(part) => format!("{backend}:{index} ({part})"),
                None => format!("{backend} ({} threads)", rayon::current_num_threads()),
            };
        }
    }
    #[cfg(feature = "remote")]
    if let Some(name) = remote::name(device) {
        return name;
    }
    format!("{device:?}")
}

/// Whether `device` computes in this process's own threads and memory, so that it can be worth its while
/// to hand it a computation in parts, from several threads.
pub fn is_host(device: &Device) -> bool {
    *device == Device::flex()
}

/// Seeds the random numbers that `device` draws (initial weights, dropout).
///
/// On the CPU the generator belongs to the process, not to the device.
pub fn seed(device: &Device, seed: u64) {
    device.seed(seed);
}

/// Splits `backend[:index]`.
fn parse(name: &str) -> Result<(&'static str, usize)> {
    let (backend, index) = match name.split_once(':') {
        Some((backend, index)) => (backend, Some(index)),
        None => (name, None),
    };
    let Some((backend, _)) = BACKENDS.iter().find(|(known, _)| *known == backend) else {
        return Err(unknown(name, backend));
    };
    let index = match index {
        None => 0,
        Some(digits) => digits.parse().map_err(|_| {
            error(
                format!("device `{name}`: `{digits}` is not the number of a device"),
                format!("Write `{backend}:0` for the first device, or just `{backend}`."),
            )
        })?,
    };
    Ok((*backend, index))
}

/// Every device of `backend` on this machine, best first. Opens none of them.
fn devices(backend: &str) -> Vec<Device> {
    match backend {
        "cpu" => vec![Device::flex()],
        #[cfg(feature = "wgpu")]
        "wgpu" => wgpu::devices(),
        #[cfg(feature = "cuda")]
        "cuda" => cuda::devices(),
        _ => Vec::new(),
    }
}

/// Opens `device`, which Burn would do on first use, so that what can go wrong does so here.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn open(name: &str, backend: &str, device: &Device) -> Result<()> {
    if backend == "cpu" {
        return Ok(());
    }
    #[cfg(feature = "cuda")]
    if backend == "cuda" {
        cuda::require_toolkit(name)?;
    }
    let identity = panics::caught(|| device.identity()).map_err(|panic| {
        error(
            format!("device `{name}` was found, but it cannot be opened: {panic}"),
            "Update the driver of the device, or use `cpu`.",
        )
    })?;
    #[cfg(feature = "wgpu")]
    if backend == "wgpu" && wgpu::is_software(device) {
        let part = identity.map(|identity| identity.name).unwrap_or_default();
        tracing::warn!("`{name}` is a software driver ({part}), many times slower than `cpu`");
    }
    Ok(())
}

/// Nothing to open: a build for the CPU alone.
#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn open(_: &str, _: &str, _: &Device) -> Result<()> {
    Ok(())
}

/// Name of the part behind `device`, if it is more than the processor.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn part_name(backend: &str, device: &Device) -> Option<String> {
    if backend == "cpu" {
        return None;
    }
    let identity = panics::caught(|| device.identity()).ok().flatten();
    let name = identity.map_or_else(|| "unknown part".to_string(), |identity| identity.name);
    #[cfg(feature = "wgpu")]
    if backend == "wgpu" && wgpu::is_software(device) {
        return Some(format!("{name}, software"));
    }
    Some(name)
}

/// A build for the CPU alone has no parts to name.
#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn part_name(_: &str, _: &Device) -> Option<String> {
    None
}

/// There is no such backend.
fn unknown(name: &str, backend: &str) -> Error {
    let all = BACKENDS.map(|(known, _)| known);
    let nearest = all
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, &backend.to_lowercase()), known))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    let guess = nearest.map(|(_, known)| format!("Did you mean `{known}`? ")).unwrap_or_default();
    error(
        format!("unknown device `{name}`"),
        format!(
            "{guess}Devices are {}; `cuda:1` is the second of its kind, `ws://host:3000` one of \
             another machine.",
            quoted(&all)
        ),
    )
}

/// The backend is there, the device is not.
fn absent(name: &str, backend: &str, count: usize) -> Error {
    if count > 0 {
        let last = count - 1;
        return error(
            format!(
                "device `{name}`: this machine has {count} `{backend}` device{}",
                if count == 1 { "" } else { "s" }
            ),
            match last {
                0 => format!("Use `{backend}`."),
                _ => format!("Use `{backend}:0` to `{backend}:{last}`."),
            },
        );
    }
    match backend {
        "cuda" => error(
            format!("device `{name}`: no NVIDIA GPU was found on this machine"),
            "Check that `nvidia-smi` lists one (driver installed, CUDA_VISIBLE_DEVICES not \
             hiding it), or use `cpu`.",
        ),
        _ => error(
            format!("device `{name}`: no graphics adapter was found on this machine"),
            "Install a driver (on Debian and Ubuntu `apt install mesa-vulkan-drivers`, which also \
             has a software one), or use `cpu`.",
        ),
    }
}

fn error(problem: impl Into<String>, help: impl Into<String>) -> Error {
    Error::Device { problem: problem.into(), help: help.into() }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    /// Problem and remedy of asking for `name`.
    fn refused(name: &str) -> (String, String) {
        match device(name) {
            Err(Error::Device { problem, help }) => (problem, help),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn the_cpu_is_always_there_and_computes() {
        let cpu = device("cpu").unwrap();
        let sum = burn::tensor::Tensor::<1>::from_floats([1.0, 2.0, 4.0], &cpu).sum();
        assert_eq!(sum.into_scalar::<f32>(), 7.0);
        assert_eq!(device("cpu:0").unwrap(), cpu);
        assert!(describe(&cpu).starts_with("cpu ("), "{}", describe(&cpu));
    }

    #[test]
    fn autodiff_does_not_change_the_description() {
        let cpu = device("cpu").unwrap();
        assert_eq!(describe(&cpu.clone().autodiff()), describe(&cpu));
    }

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        use burn::tensor::{Distribution, Tensor};
        // Other tests draw from the same process-wide generator and may come between; equal
        // draws can only come from the seed.
        let cpu = device("cpu").unwrap();
        let draw = || {
            seed(&cpu, 7);
            Tensor::<1>::random([64], Distribution::Default, &cpu).into_data()
        };
        assert!((0..20).any(|_| draw() == draw()));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_and_all_known() {
        let (problem, help) = refused("cude:1");
        assert_eq!(problem, "unknown device `cude:1`");
        assert!(help.starts_with("Did you mean `cuda`? "), "{help}");
        let (_, help) = refused("tensor-processor");
        assert_eq!(
            help,
            "Devices are `cpu`, `wgpu`, `cuda`; `cuda:1` is the second of its kind, `ws://host:3000` one \
             of another machine."
        );
        assert_eq!(refused("").0, "unknown device ``");
    }

    #[test]
    fn an_index_that_is_no_number_is_refused() {
        for name in ["cuda:x", "wgpu:", "cpu:-1", "cuda:1:2", "cuda:99999999999999999999999"] {
            let (problem, help) = refused(name);
            assert!(problem.contains("is not the number of a device"), "{name}: {problem}");
            assert!(help.contains(":0"), "{name}: {help}");
        }
    }

    #[test]
    fn an_index_past_the_last_device_is_refused() {
        let (problem, help) = refused("cpu:1");
        assert_eq!(problem, "device `cpu:1`: this machine has 1 `cpu` device");
        assert_eq!(help, "Use `cpu`.");
        refused("cuda:99");
        refused("wgpu:99");
    }

    #[test]
    fn a_backend_that_is_not_compiled_in_comes_with_the_command_that_builds_it() {
        for (backend, present) in BACKENDS {
            if present {
                continue;
            }
            let (problem, help) = refused(backend);
            assert_eq!(
                problem,
                format!("device `{backend}`: this build has no `{backend}` backend")
            );
            assert!(help.contains(&format!("cargo run --release --features {backend} ")), "{help}");
        }
    }

    #[test]
    fn the_list_of_backends_follows_the_features() {
        let names = compiled();
        assert_eq!(names.first(), Some(&"cpu"));
        assert_eq!(names.contains(&"wgpu"), cfg!(feature = "wgpu"));
        assert_eq!(names.contains(&"cuda"), cfg!(feature = "cuda"));
    }

    /// With and without a GPU: either the device computes, or one sentence says what is missing.
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    #[test]
    fn an_accelerator_computes_or_is_refused_in_one_sentence() {
        for backend in compiled() {
            match device(backend) {
                Ok(found) => {
                    let sum = burn::tensor::Tensor::<1>::from_floats([1.0, 2.0, 4.0], &found).sum();
                    assert_eq!(sum.into_scalar::<f32>(), 7.0, "{backend}");
                    assert!(describe(&found).starts_with(backend), "{}", describe(&found));
                }
                Err(Error::Device { problem, help }) => {
                    assert!(problem.starts_with(&format!("device `{backend}`")), "{problem}");
                    assert!(!problem.contains('\n') && help.contains("`cpu`"), "{problem} {help}");
                }
                Err(other) => panic!("{backend}: {other}"),
            }
        }
    }
}
