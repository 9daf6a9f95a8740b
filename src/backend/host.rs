//! Operations of our own on the processor, with backward passes of their own: Burn's backend extension.
//!
//! Burn's processor backend has few operations that are fused, and under autodiff it has fewer: a layer
//! norm is ten operations on whole tensors then, and ten more in the backward pass, most of them on one
//! thread. What is recorded here is one node of Burn's graph. It is for numbers of 32 bits; with gradient
//! checkpointing, Burn's own operations do the work, because they can be computed again.

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex};
use burn::tensor::{DType, Shape, Tensor, TensorData};

/// Numbers on the host, in the order of their shape.
#[derive(Debug, Clone)]
pub(crate) struct HostArray(FloatTensor<Flex>);

impl HostArray {
    /// `values` of `shape`.
    pub(crate) fn new(values: Vec<f32>, shape: impl Into<Shape>) -> Self {
        Self(FloatTensor::<Flex>::from_data(TensorData::new(values, shape)))
    }

    /// As they lie; what is a view of other numbers is copied.
    fn of(tensor: FloatTensor<Flex>) -> Self {
        let is_plain = tensor.layout().contiguous_offsets().is_some();
        Self(if is_plain { tensor } else { tensor.to_contiguous() })
    }

    pub(crate) fn values(&self) -> &[f32] {
        match self.0.as_slice() {
            Some(values) => values,
            None => unreachable!("made of numbers of 32 bits that lie in order"),
        }
    }

    /// The numbers, copied if somebody else holds them.
    pub(crate) fn into_values(self) -> Vec<f32> {
        match self.0.into_data().try_into_vec() {
            Ok(values) => values,
            Err(_) => unreachable!("made of numbers of 32 bits"),
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.0.layout().shape().clone()
    }

    /// Length of the last axis.
    pub(crate) fn last(&self) -> usize {
        self.0.layout().shape().last().copied().unwrap_or(1)
    }
}

/// Whether an operation of ours can have `tensor`: numbers of 32 bits on the processor, without gradient
/// checkpointing.
pub(crate) fn is_here<const D: usize>(tensor: &Tensor<D>) -> bool {
    HostInput::of(tensor).is_some()
}

/// The numbers of a tensor without autodiff; `None` for what is elsewhere or not of 32 bits.
pub(crate) fn numbers<const D: usize>(tensor: &Tensor<D>) -> Option<HostArray> {
    match HostInput::of(tensor)? {
        HostInput::Plain(tensor) => Some(HostArray::of(tensor)),
        HostInput::Tracked(_) => None,
    }
}

/// The same without gradients, and with numbers that `work` changed, in place where nobody else holds them; `tensor`
/// [is here](is_here).
pub(crate) fn change<const D: usize>(
    tensor: Tensor<D>,
    work: impl FnOnce(&mut [f32]),
) -> Tensor<D> {
    let array = HostArray::of(HostInput::take(tensor).into_inner());
    let shape = array.shape();
    let mut values = array.into_values();
    work(&mut values);
    Tensor::from_primitive::<Flex>(HostArray::new(values, shape).0)
}

/// What the backward pass of an operation with `N` inputs needs, and what it does.
pub(crate) trait HostOperation<const N: usize>: Clone + Debug + Send + 'static {
    /// Gradients of the inputs that are `wanted`, from that of the output.
    fn backward(self, gradient: HostArray, wanted: [bool; N]) -> [Option<HostArray>; N];
}

/// An input of an operation on the host.
pub(crate) enum HostInput {
    /// Without gradients.
    Plain(FloatTensor<Flex>),
    /// Of a device with autodiff.
    Tracked(FloatTensor<Autodiff<Flex>>),
}

impl HostInput {
    /// As [`Self::of`], of a tensor that [is here](is_here); where nobody else holds its numbers, they can be
    /// changed in place.
    pub(crate) fn take<const D: usize>(tensor: Tensor<D>) -> Self {
        let taken = match tensor.is_autodiff() {
            true => tensor.try_into_primitive::<Autodiff<Flex>>().map(Self::Tracked),
            false => tensor.try_into_primitive::<Flex>().map(Self::Plain),
        };
        match taken {
            Ok(input) => input,
            Err(_) => unreachable!("looked at before"),
        }
    }

    fn into_inner(self) -> FloatTensor<Flex> {
        match self {
            Self::Plain(tensor) => tensor,
            Self::Tracked(tensor) => tensor.into_primitive(),
        }
    }

    fn into_tracked(self) -> FloatTensor<Autodiff<Flex>> {
        match self {
            Self::Plain(tensor) => Autodiff::<Flex>::from_inner(tensor),
            Self::Tracked(tensor) => tensor,
        }
    }

    /// `None` for what is elsewhere, not of 32 bits, or on a device with gradient checkpointing.
    pub(crate) fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() != DType::F32 {
            return None;
        }
        let tensor = tensor.clone();
        if tensor.is_autodiff() {
            tensor.try_into_primitive::<Autodiff<Flex>>().ok().map(Self::Tracked)
        } else {
            tensor.try_into_primitive::<Flex>().ok().map(Self::Plain)
        }
    }
}

/// The output of an operation: `forward` computes it from the numbers of `inputs`, together with what its
/// backward pass needs. Where one input is tracked, those that are not are constants.
pub(crate) fn apply<O: HostOperation<N>, const N: usize, const D: usize>(
    inputs: [HostInput; N],
    forward: impl FnOnce([HostArray; N]) -> (HostArray, O),
) -> Tensor<D> {
    let is_tracked = inputs.iter().any(|input| matches!(input, HostInput::Tracked(_)));
    if !is_tracked {
        let (output, _) = forward(inputs.map(|input| HostArray::of(input.into_inner())));
        return Tensor::from_primitive::<Flex>(output.0);
    }
    let inputs = inputs.map(HostInput::into_tracked);
    let guards = inputs.each_ref().map(|input| input.node());
    let arrays = inputs.map(|input| HostArray::of(input.into_primitive()));
    let node = Node::<O, N>(PhantomData).prepare::<NoCheckpointing>(guards).compute_bound();
    let (output, operation) = forward(arrays);
    let output = match node.stateful() {
        OpsKind::Tracked(node) => node.finish(operation, output.0),
        OpsKind::UnTracked(node) => node.finish(output.0),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// The node of an operation in Burn's graph.
#[derive(Debug)]
struct Node<O, const N: usize>(PhantomData<O>);

impl<O: HostOperation<N>, const N: usize> Backward<Flex, N> for Node<O, N> {
    type State = O;

    fn backward(self, ops: Ops<O, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = HostArray::of(gradients.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = ops.state.backward(gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient.0);
            }
        }
    }
}
