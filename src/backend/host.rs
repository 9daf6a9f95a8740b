//! Operations of our own on the processor, with backward passes of their own: Burn's backend extension.
//!
//! Burn's processor backend has few operations that are fused, and under autodiff it has fewer: a layer
//! norm is ten operations on whole tensors then, and ten more in the backward pass, most of them on one
//! thread. What is recorded here is one node of Burn's graph, for numbers of 32 bits. With gradient checkpointing,
//! a node keeps nothing: its inputs are asked for, and its forward pass done again, in the backward pass.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, NoCheckpointing};
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

/// Whether an operation of ours can have `tensor`: numbers of 32 bits on the processor.
pub(crate) fn is_here<const D: usize>(tensor: &Tensor<D>) -> bool {
    HostInput::of(tensor).is_some()
}

/// The numbers of a tensor without autodiff; `None` for what is elsewhere or not of 32 bits.
pub(crate) fn numbers<const D: usize>(tensor: &Tensor<D>) -> Option<HostArray> {
    match HostInput::of(tensor)? {
        HostInput::Plain(tensor) => Some(HostArray::of(tensor)),
        HostInput::Tracked(_) | HostInput::Checkpointed(_) => None,
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
    /// Gradients of the inputs from that of the output; `None` for inputs that never have one.
    fn backward(self, gradient: HostArray) -> [Option<HostArray>; N];
}

/// An input of an operation on the host.
pub(crate) enum HostInput {
    /// Without gradients.
    Plain(FloatTensor<Flex>),
    /// Of a device with autodiff.
    Tracked(FloatTensor<Autodiff<Flex>>),
    /// Of one with gradient checkpointing, too.
    Checkpointed(FloatTensor<Autodiff<Flex, BalancedCheckpointing>>),
}

impl HostInput {
    /// `None` for what is elsewhere or not of 32 bits.
    pub(crate) fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        (tensor.dtype() == DType::F32).then(|| tensor.clone()).and_then(Self::converted)
    }

    /// As [`Self::of`], of a tensor that [is here](is_here); where nobody else holds its numbers, they can be
    /// changed in place.
    pub(crate) fn take<const D: usize>(tensor: Tensor<D>) -> Self {
        Self::converted(tensor).unwrap_or_else(|| unreachable!("looked at before"))
    }

    fn converted<const D: usize>(tensor: Tensor<D>) -> Option<Self> {
        if !tensor.is_autodiff() {
            return tensor.try_into_primitive::<Flex>().ok().map(Self::Plain);
        }
        match tensor.clone().try_into_primitive::<Autodiff<Flex>>() {
            Ok(tracked) => Some(Self::Tracked(tracked)),
            Err(_) => {
                let checkpointed =
                    tensor.try_into_primitive::<Autodiff<Flex, BalancedCheckpointing>>();
                checkpointed.ok().map(Self::Checkpointed)
            }
        }
    }

    fn into_inner(self) -> FloatTensor<Flex> {
        match self {
            Self::Plain(tensor) => tensor,
            Self::Tracked(tensor) | Self::Checkpointed(tensor) => tensor.into_primitive(),
        }
    }

    /// What has no gradients is a constant.
    fn into_tracked(self) -> FloatTensor<Autodiff<Flex>> {
        match self {
            Self::Plain(tensor) => Autodiff::<Flex>::from_inner(tensor),
            Self::Tracked(tensor) | Self::Checkpointed(tensor) => tensor,
        }
    }
}

/// The output of an operation: `forward` computes it from the numbers of `inputs`, together with what its
/// backward pass needs. Where one input is tracked, those that are not are constants.
pub(crate) fn apply<O: HostOperation<N>, const N: usize, const D: usize>(
    inputs: [HostInput; N],
    forward: impl Fn([HostArray; N]) -> (HostArray, O) + Send + Sync + 'static,
) -> Tensor<D> {
    let any = |is: fn(&HostInput) -> bool| inputs.iter().any(is);
    if any(|input| matches!(input, HostInput::Checkpointed(_))) {
        return checkpointed(inputs.map(HostInput::into_tracked), Arc::new(forward));
    }
    if !any(|input| matches!(input, HostInput::Tracked(_))) {
        let (output, _) = forward(inputs.map(|input| HostArray::of(input.into_inner())));
        return Tensor::from_primitive::<Flex>(output.0);
    }
    let inputs = inputs.map(HostInput::into_tracked);
    let guards = inputs.each_ref().map(|input| input.node());
    let arrays = inputs.map(|input| HostArray::of(input.into_primitive()));
    let node = Kept::<O, N>(PhantomData).prepare::<NoCheckpointing>(guards).compute_bound();
    let (output, operation) = forward(arrays);
    let output = match node.stateful() {
        OpsKind::Tracked(node) => node.finish(operation, output.0),
        OpsKind::UnTracked(node) => node.finish(output.0),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// The node of an operation that keeps what its backward pass needs.
#[derive(Debug)]
struct Kept<O, const N: usize>(PhantomData<O>);

impl<O: HostOperation<N>, const N: usize> Backward<Flex, N> for Kept<O, N> {
    type State = O;

    fn backward(self, ops: Ops<O, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = HostArray::of(gradients.consume::<Flex>(&ops.node));
        let inputs = ops.parents.map(|input| input.map(|input| input.id));
        register(inputs, ops.state.backward(gradient), gradients);
    }
}

/// Adds what an operation `found` to the gradients of its inputs.
fn register<const N: usize>(
    inputs: [Option<NodeId>; N],
    found: [Option<HostArray>; N],
    gradients: &mut Gradients,
) {
    for (input, gradient) in inputs.into_iter().zip(found) {
        if let (Some(input), Some(gradient)) = (input, gradient) {
            gradients.register::<Flex>(input, gradient.0);
        }
    }
}

type Forward<O, const N: usize> = dyn Fn([HostArray; N]) -> (HostArray, O) + Send + Sync;

/// As [`apply`], of a device with gradient checkpointing.
fn checkpointed<O: HostOperation<N>, const N: usize, const D: usize>(
    inputs: [FloatTensor<Autodiff<Flex>>; N],
    forward: Arc<Forward<O, N>>,
) -> Tensor<D> {
    let guards = inputs.each_ref().map(|input| input.node());
    let again = Again { inputs: guards.each_ref().map(|guard| guard.id()), forward };
    let node = Recomputed::<O, N>(PhantomData).prepare::<BalancedCheckpointing>(guards);
    let node = node.memory_bound().retro_forward(again.clone()).parents(&inputs).stateful();
    let output = |inputs: [FloatTensor<Autodiff<Flex>>; N]| {
        (again.forward)(inputs.map(|input| HostArray::of(input.into_primitive()))).0.0
    };
    let output = match node {
        OpsKind::Tracked(mut node) => {
            for input in &inputs {
                node.checkpoint(input);
            }
            node.finish(again.clone(), output(inputs))
        }
        OpsKind::UnTracked(node) => node.finish(output(inputs)),
    };
    Tensor::from_primitive::<Autodiff<Flex, BalancedCheckpointing>>(output)
}

/// How an operation is done again.
struct Again<O, const N: usize> {
    inputs: [NodeId; N],
    forward: Arc<Forward<O, N>>,
}

impl<O, const N: usize> Clone for Again<O, N> {
    fn clone(&self) -> Self {
        Self { inputs: self.inputs, forward: self.forward.clone() }
    }
}

impl<O, const N: usize> Debug for Again<O, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Again").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl<O: HostOperation<N>, const N: usize> RetroForward for Again<O, N> {
    fn forward(&self, states: &mut BackwardStates, output: NodeId) {
        let inputs = self.inputs.each_ref().map(|input| HostArray::of(states.get_state(input)));
        states.save(output, (self.forward)(inputs).0.0);
    }
}

/// The node of an operation whose forward pass is done again in the backward pass.
#[derive(Debug)]
struct Recomputed<O, const N: usize>(PhantomData<O>);

impl<O: HostOperation<N>, const N: usize> Backward<Flex, N> for Recomputed<O, N> {
    type State = Again<O, N>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = HostArray::of(gradients.consume::<Flex>(&ops.node));
        let kept = ops.state.inputs.map(|input| checkpointer.retrieve_node_output(input));
        let (_, operation) = (ops.state.forward)(kept.map(HostArray::of));
        let inputs = ops.parents.map(|input| input.map(|input| input.id));
        register(inputs, operation.backward(gradient), gradients);
    }
}
