import KalsaeReferenceBackend
import KalsaeTensors
import Testing

/// Sample inputs for one op, or one public function, and what is expected of it.
struct OpCase: Sendable, CustomTestStringConvertible {
  /// What a test may demand of an op.
  struct Traits: OptionSet, Sendable {
    let rawValue: Int
    /// Gradients agree with difference quotients at the samples.
    static let differentiable = Traits(rawValue: 1)
    /// So do gradients of gradients.
    static let smooth = Traits(rawValue: 2)
    /// One tensor may be given for all inputs of one spec.
    static let repeatable = Traits(rawValue: 4)
    static let all: Traits = [.differentiable, .smooth, .repeatable]
  }

  /// The op that this case covers; nil for a function made of several.
  let opName: String?
  let label: String
  let inputs: [Sample]
  let traits: Traits
  /// The element types that samples without one are tested with.
  let dtypes: [DType]
  /// Whether errors are measured against each element rather than the largest one.
  let isElementwise: Bool
  /// Whether nothing but one op is applied, so that backends round once.
  let isOneOp: Bool
  private let function: @Sendable ([Tensor]) -> [Tensor]

  /// An op applied to samples.
  init(
    _ op: any Op, _ label: String = "", _ inputs: [Sample], _ traits: Traits = .all,
    dtypes: [DType] = [.float32, .bfloat16], isElementwise: Bool = false
  ) {
    opName = type(of: op).name
    self.label = label
    self.inputs = inputs
    self.traits = traits
    self.dtypes = dtypes
    self.isElementwise = isElementwise
    isOneOp = true
    function = { OpCase.applied(op, $0) }
  }

  /// A function applied to samples; `covering` names the op that cannot be built without it.
  init(
    function label: String, _ inputs: [Sample], _ traits: Traits = .all,
    dtypes: [DType] = [.float32, .bfloat16], covering opName: String? = nil,
    _ function: @escaping @Sendable ([Tensor]) -> [Tensor]
  ) {
    self.opName = opName
    self.label = label
    self.inputs = inputs
    self.traits = traits
    self.dtypes = dtypes
    isElementwise = false
    isOneOp = false
    self.function = function
  }

  private static func applied(_ op: some Op, _ inputs: [Tensor]) -> [Tensor] { apply(op, inputs) }

  var name: String { [opName, label].compactMap { $0 }.filter { !$0.isEmpty }.joined(separator: " ") }
  var testDescription: String { name }

  func callAsFunction(_ inputs: [Tensor]) -> [Tensor] { function(inputs) }

  /// The inputs, the same ones every time.
  func arrays(_ dtype: DType = .float32) -> [NDArray] {
    var random = SampleRandom(seed: name)
    return inputs.map { $0.array(dtype, &random) }
  }
}

/// Sample inputs for every op; the generic tests run over all of it.
enum OpCatalog {
  static let all: [OpCase] =
    elementwise + movement + reductions + indexing + products + normalization + softmax + attention
    + linearCrossEntropies + pooling + updates
    + graph

  static let differentiable = all.filter { $0.traits.contains(.differentiable) }
}
