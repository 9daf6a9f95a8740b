//! How and where a step is computed: types of numbers, parts of a batch, devices.

use burn::tensor::{DType, Device};

use super::loss_scale::LossScale;
use crate::backend;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::model::pixel_llm::PixelLlmConfig;
use crate::model::pixel_llm::placement::Placement;

/// How and where a step is computed. The default: in 32 bits, all of a batch at once, on one device.
#[derive(Debug, Clone, Default)]
pub struct Computation {
    /// Parts of a batch that are computed one after the other.
    pub(super) micro_batches: usize,
    /// Type of matrix products, where it is not that of the parameters.
    pub(super) dtype: Option<DType>,
    /// What the loss is multiplied by.
    pub(super) loss_scale: LossScale,
    /// Devices that share a batch, the main one first; none or one for the main one alone.
    pub(super) devices: Vec<Device>,
    /// Where the parts of the model are, if not all on one device.
    pub(super) placement: Option<Placement>,
}

impl Computation {
    /// What `experiment` asks for, with `device`, which is opened already and has autodiff, as the main
    /// one. Every device is opened, and asked whether it keeps and computes the types that it would have to.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) for one that is not there, or does not have a type.
    pub fn new(experiment: &Experiment, device: &Device) -> Result<Self> {
        let config = &experiment.training;
        let dtype = experiment.precision.narrow();
        let open = |name: &String| Ok(for_training(backend::device(name)?, experiment));
        let placed = |name: &Option<String>| name.as_ref().map_or(Ok(device.clone()), open);
        let places = &experiment.devices;
        let placement = match places.is_set() {
            true => Some(Placement {
                vision: placed(&places.vision)?,
                adapter: placed(&places.adapter)?,
                language: placed(&places.language)?,
                heads: placed(&places.heads)?,
            }),
            false => None,
        };
        let devices = config.devices.iter().map(open).collect::<Result<Vec<_>>>()?;
        check_storage(&experiment.model, placement.as_ref(), &devices)?;
        if let Some(dtype) = dtype {
            let places = placement.iter().flat_map(Placement::devices);
            for device in devices.iter().chain(places).chain([device]) {
                backend::check_multiplies(device, dtype)?;
            }
        }
        let loss_scale = match dtype {
            Some(DType::F16) => LossScale::dynamic(),
            _ => LossScale::default(),
        };
        Ok(Self { micro_batches: config.micro_batches, dtype, loss_scale, devices, placement })
    }

    /// Devices beside the main one that draw random numbers.
    pub(super) fn other_devices(&self) -> impl Iterator<Item = &Device> {
        let places = self.placement.iter().flat_map(Placement::devices);
        self.devices.iter().skip(1).chain(places)
    }
}

/// Refuses a type of matrices that the device of its part, or one that shares batches, cannot keep.
fn check_storage(
    model: &PixelLlmConfig,
    placement: Option<&Placement>,
    devices: &[Device],
) -> Result<()> {
    let vision = placement.map(|place| model.vision.storage().map(|kept| (&place.vision, kept)));
    let language = placement.map(|place| (&place.language, model.language.storage()));
    let shared = devices.iter().flat_map(|device| model.storage().map(move |kept| (device, kept)));
    for (device, kept) in vision.into_iter().flatten().chain(language).chain(shared) {
        backend::check_keeps(&device.clone().inner(), kept.dtype())?;
    }
    Ok(())
}

/// `device` with what gradients need.
pub fn for_training(device: Device, experiment: &Experiment) -> Device {
    let device = device.autodiff();
    match experiment.training.gradient_checkpointing {
        true => device.gradient_checkpointing(),
        false => device,
    }
}
