import KalsaeTensors

/// A part of a network: a struct whose stored properties hold parameters and further modules.
///
/// The property names are the checkpoint's keys: `struct Block: Module { let norm: LayerNorm, proj: Linear }` owns
/// `norm.weight`, `norm.bias`, `proj.weight` and `proj.bias`. `Parameter`s train, `State`s are saved but not trained,
/// a plain `Tensor` is a constant. Optionals and enum cases add nothing to a key, arrays add the index. Sharing one
/// `Parameter` ties weights.
public protocol Module: Sendable {}

/// A tensor that training changes.
public final class Parameter: Sendable {
  public let slot: Slot

  /// A parameter whose first value is `initial`, computed when it is first needed.
  public init(_ initial: Tensor) { slot = Slot(initial) }

  /// The current value. Assigning another takes effect with `evaluate`; traps when shape or element type differ.
  public var value: Tensor {
    get { slot.value }
    set { slot.value = newValue }
  }

  public var shape: Shape { slot.spec.shape }
}

/// A tensor that belongs to a module and is saved with it, but is not trained: a running statistic.
public final class State: Sendable {
  public let slot: Slot

  /// A state whose first value is `initial`, computed when it is first needed.
  public init(_ initial: Tensor) { slot = Slot(initial) }

  /// The current value. Assigning another takes effect with `evaluate`; traps when shape or element type differ.
  public var value: Tensor {
    get { slot.value }
    set { slot.value = newValue }
  }

  public var shape: Shape { slot.spec.shape }
}

/// A module of one tensor argument, as the elements of a sequence of layers are.
public protocol Layer: Module {
  func callAsFunction(_ x: Tensor) -> Tensor
}
