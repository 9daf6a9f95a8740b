//! The norm of all gradients together, and scaling them to it. Burn's own clipping by norm looks at
//! each parameter on its own.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use pixelllm_kernels::gradients::{scale, sum_of_squares};

use crate::backend::host;
use crate::model::pixel_llm::placement::on;

/// √ Σ g² over every parameter of `module`.
pub fn gradient_norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    let mut visitor = SquaredNorm { gradients, on_host: 0.0, elsewhere: None };
    module.visit(&mut visitor);
    let elsewhere = visitor.elsewhere.map_or(0.0, |sum| f64::from(sum.into_scalar::<f32>()));
    (visitor.on_host + elsewhere).sqrt()
}

/// Every gradient of `module` times `factor`.
pub fn scale_gradients<M: Module>(
    module: &M,
    gradients: GradientsParams,
    factor: f64,
) -> GradientsParams {
    let mut visitor = Scale { gradients, factor };
    module.visit(&mut visitor);
    visitor.gradients
}

struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    /// Of gradients on the processor.
    on_host: f64,
    /// Of all others.
    elsewhere: Option<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        if let Some(numbers) = host::numbers(&gradient) {
            self.on_host += sum_of_squares(numbers.values());
            return;
        }
        let squares = gradient.square().sum();
        self.elsewhere = Some(match self.elsewhere.take() {
            // Parts of the model may be on several devices.
            Some(sum) => sum.clone() + on(&sum.device(), squares),
            None => squares,
        });
    }
}

struct Scale {
    gradients: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let factor = self.factor as f32;
            let scaled = match host::is_here(&gradient) {
                true => host::change(gradient, |values| scale(values, factor)),
                false => gradient * self.factor,
            };
            self.gradients.register(param.id, scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn clipping_scales_all_gradients_to_the_norm_that_was_asked_for() {
        let device = Device::flex().autodiff();
        let linear = LinearConfig::new(3, 2).init(&device);
        let input = Tensor::<2>::from_data([[3.0, 0.0, 4.0]], &device);
        let loss = linear.forward(input).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &linear);
        // Weights: (3, 0, 4) twice; biases: 1 twice.
        let norm = gradient_norm(&linear, &gradients);
        assert!((norm - (50f64 + 2.0).sqrt()).abs() < 1e-5, "{norm}");
        let clipped = scale_gradients(&linear, gradients, 0.5 / norm);
        assert!((gradient_norm(&linear, &clipped) - 0.5).abs() < 1e-6);
    }
}
