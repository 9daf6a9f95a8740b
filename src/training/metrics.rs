//! Numbers on the dashboard.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};

use super::step::StepOutput;

/// A number of a step that the dashboard shows.
pub trait Quantity: Clone + Send + Sync + 'static {
    /// Its name on the dashboard.
    const NAME: &'static str;
    /// Its unit.
    const UNIT: Option<&'static str> = None;
    /// Whether more of it is better.
    const HIGHER_IS_BETTER: bool = false;
    /// Its value; `None` where the step has none.
    fn of(output: &StepOutput) -> Option<f64>;
}

/// Weighted sum of the losses.
#[derive(Clone)]
pub struct TotalLoss;

impl Quantity for TotalLoss {
    const NAME: &'static str = "Loss";
    fn of(output: &StepOutput) -> Option<f64> {
        Some(output.losses.loss)
    }
}

/// Text loss before its weight.
#[derive(Clone)]
pub struct TextLoss;

impl Quantity for TextLoss {
    const NAME: &'static str = "Text loss";
    fn of(output: &StepOutput) -> Option<f64> {
        output.losses.text_loss
    }
}

/// Point loss before its weight.
#[derive(Clone)]
pub struct PointLoss;

impl Quantity for PointLoss {
    const NAME: &'static str = "Point loss";
    fn of(output: &StepOutput) -> Option<f64> {
        output.losses.point_loss
    }
}

/// Overlap loss before its weight.
#[derive(Clone)]
pub struct OverlapLoss;

impl Quantity for OverlapLoss {
    const NAME: &'static str = "Overlap loss";
    fn of(output: &StepOutput) -> Option<f64> {
        output.losses.overlap_loss
    }
}

/// Detection loss before its weight.
#[derive(Clone)]
pub struct DetectionLoss;

impl Quantity for DetectionLoss {
    const NAME: &'static str = "Detection loss";
    fn of(output: &StepOutput) -> Option<f64> {
        output.losses.detection_loss.map(|loss| loss.total)
    }
}

/// Mask loss before its weight.
#[derive(Clone)]
pub struct MaskLoss;

impl Quantity for MaskLoss {
    const NAME: &'static str = "Mask loss";
    fn of(output: &StepOutput) -> Option<f64> {
        output.losses.mask_loss.map(|loss| loss.total)
    }
}

/// Norm of all gradients together.
#[derive(Clone)]
pub struct GradientNorm;

impl Quantity for GradientNorm {
    const NAME: &'static str = "Gradient norm";
    fn of(output: &StepOutput) -> Option<f64> {
        Some(output.gradient_norm)
    }
}

/// Images per second.
#[derive(Clone)]
pub struct Throughput;

impl Quantity for Throughput {
    const NAME: &'static str = "Throughput";
    const UNIT: Option<&'static str> = Some("samples/s");
    const HIGHER_IS_BETTER: bool = true;
    fn of(output: &StepOutput) -> Option<f64> {
        Some(output.samples_per_second)
    }
}

/// Tokens of texts per second, without padding.
#[derive(Clone)]
pub struct Tokens;

impl Quantity for Tokens {
    const NAME: &'static str = "Tokens";
    const UNIT: Option<&'static str> = Some("tokens/s");
    const HIGHER_IS_BETTER: bool = true;
    fn of(output: &StepOutput) -> Option<f64> {
        output.cost.tokens_per_second
    }
}

/// Floating-point operations per second, as [`super::throughput`] counts them.
#[derive(Clone)]
pub struct Operations;

impl Quantity for Operations {
    const NAME: &'static str = "Operations";
    const UNIT: Option<&'static str> = Some("GFLOP/s");
    const HIGHER_IS_BETTER: bool = true;
    fn of(output: &StepOutput) -> Option<f64> {
        Some(output.cost.flops_per_second? / 1e9)
    }
}

/// Memory of the process, where the device is the host; of other devices it is not known.
#[derive(Clone)]
pub struct Memory;

impl Quantity for Memory {
    const NAME: &'static str = "Memory";
    const UNIT: Option<&'static str> = Some("GiB");
    fn of(output: &StepOutput) -> Option<f64> {
        Some(output.cost.memory_bytes? as f64 / (1_u64 << 30) as f64)
    }
}

/// Input of the metric of `Q`: a value and how many images it is a mean of.
pub struct Measured<Q> {
    value: Option<f64>,
    num_images: usize,
    quantity: PhantomData<Q>,
}

impl<Q: Quantity> Adaptor<Measured<Q>> for StepOutput {
    fn adapt(&self) -> Measured<Q> {
        Measured { value: Q::of(self), num_images: self.num_images, quantity: PhantomData }
    }
}

/// Means of a quantity over steps; steps without it change nothing.
#[derive(Clone)]
pub struct QuantityMetric<Q> {
    name: MetricName,
    state: NumericMetricState,
    /// Whether the last step had the quantity, and whether any had.
    present: bool,
    ever: bool,
    quantity: PhantomData<Q>,
}

impl<Q: Quantity> QuantityMetric<Q> {
    /// No steps yet.
    pub fn new() -> Self {
        Self {
            name: Arc::new(Q::NAME.to_string()),
            state: NumericMetricState::new(),
            present: false,
            ever: false,
            quantity: PhantomData,
        }
    }

    fn format(&self) -> FormatOptions {
        let options = FormatOptions::new(self.name.clone()).precision(4);
        match Q::UNIT {
            Some(unit) => options.unit(unit),
            None => options,
        }
    }
}

impl<Q: Quantity> Default for QuantityMetric<Q> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Q: Quantity> Metric for QuantityMetric<Q> {
    type Input = Measured<Q>;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        let unit = Q::UNIT.map(ToString::to_string);
        NumericAttributes { unit, higher_is_better: Q::HIGHER_IS_BETTER }.into()
    }

    fn update(
        &mut self,
        input: &Measured<Q>,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.present = input.value.is_some();
        let Some(value) = input.value else {
            return Ok(SerializedEntry::not_available(Q::UNIT));
        };
        self.ever = true;
        self.state.update(value, input.num_images);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        if !self.ever {
            return Ok(SerializedEntry::not_available(Q::UNIT));
        }
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
        (self.present, self.ever) = (false, false);
    }
}

impl<Q: Quantity> Numeric for QuantityMetric<Q> {
    fn value(&self) -> Option<NumericEntry> {
        self.present.then(|| self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.ever.then(|| self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
