import KalsaeTensors

/// Changes the parameters of a module along their gradients.
///
/// An update only assigns: parameters and optimizer state change together when their slots are evaluated. Nothing
/// changes when a gradient is not finite.
public protocol Optimizer: Sendable {
  /// What is being trained.
  var contents: ModuleContents { get }

  /// What the optimizer remembers from step to step, by a name that is fit for a checkpoint ("m.conv_in.weight").
  var state: [(path: String, slot: Slot)] { get }

  /// Assigns to every parameter, and to the state, their values after one more step; the rate is a float32 scalar.
  func update(_ gradients: Gradients, learningRate: Tensor)
}

extension Optimizer {
  /// Assigns to every parameter, and to the state, their values after one more step.
  public func update(_ gradients: Gradients, learningRate: Double) {
    update(gradients, learningRate: Tensor(learningRate))
  }

  /// All that an update assigns, and the states of the module, for `evaluate(slots:)`.
  public var slots: [Slot] { contents.slots + state.map(\.slot) }
}

/// One float32 slot of zeros per parameter: a moment, a velocity.
struct Accumulator: Sendable {
  let name: String
  let slots: [Slot]

  init(_ name: String, like contents: ModuleContents) {
    self.name = name
    slots = contents.parameters.map { Slot(.zeros($0.parameter.shape)) }
  }

  var values: [Tensor] { slots.map(\.value) }

  func assign(_ values: ArraySlice<Tensor>) { assignAll(values, to: slots) }

  func named(_ contents: ModuleContents) -> [(path: String, slot: Slot)] {
    zip(contents.parameters, slots).map { (name + "." + $0.path, $1) }
  }
}

func assignAll(_ values: ArraySlice<Tensor>, to slots: [Slot]) {
  for (slot, value) in zip(slots, values) { slot.value = value }
}

/// Checks what the fused updates need: one gradient for each parameter, master weights in float32.
func checkUpdate(_ gradients: Gradients, of contents: ModuleContents, by optimizer: String) {
  require(
    gradients.tensors.count == contents.parameters.count,
    "\(optimizer): \(gradients.tensors.count) gradients for \(contents.parameters.count) parameters")
  for entry in contents.parameters {
    let dtype = entry.parameter.slot.spec.dtype
    require(
      dtype == .float32,
      "\(optimizer): \(entry.path) is \(dtype); train float32 parameters, in Autocast for speed")
  }
}
