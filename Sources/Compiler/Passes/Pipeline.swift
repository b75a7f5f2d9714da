import KalsaeTensors

/// All passes in order: from a recorded graph to instructions that the backend lowers one by one.
///
/// Every plan needs its composite ops decomposed and its operands laid out; all other passes are `OptionalPasses`.
package func compile(
  _ graph: Graph, for target: some Target, verifying: Bool = false, without excluded: OptionalPasses = []
) -> LaidOutGraph {
  let passes = target.passes.subtracting(excluded)
  var graph = graph
  func run(_ name: String, if pass: OptionalPasses = [], _ body: (Graph) -> Graph) {
    guard passes.isSuperset(of: pass) else { return }
    graph = body(graph)
    if verifying { graph.verify(after: name) }
  }
  run("decompose") { decompose($0, for: target) }
  run("simplify", if: .simplification, simplify)
  run("take slices early", if: .slices, takeSlicesEarly)
  run("join parts", if: .movements, joinParts)
  run("join attention gradients", if: .movements, joinAttentionGradients)
  run("scatter into sums", if: .movements, scatterIntoSums)
  run("transpose operands", if: .movements, transposeOperands)
  run("cast before transposing", if: .movements, castBeforeTransposing)
  run("share losses", if: .sharedLosses, shareLosses)
  run("fuse dropout", if: .dropout, fuseDropout)
  run("fuse normalization", if: .normalization, fuseNormalization)
  run("fuse normalization operands", if: .normalizationOperands, fuseNormalizationOperands)
  run("fuse epilogues", if: .epilogues, fuseEpilogues)
  run("pack weights", if: .packedWeights) { packWeights($0, for: target) }
  run("keep conversions", if: .keptConversions, keepConversions)
  run("fuse elementwise", if: .elementwise, fuseElementwise)
  run("remove dead instructions", if: .deadInstructions) {
    var graph = $0
    graph.removeDeadInstructions()
    return graph
  }
  run("average with updates", if: .averages, averageWithUpdates)
  run("square early", if: .schedule, squareEarly)
  run("schedule", if: .schedule, schedule)
  return chooseLayouts(graph, for: target, asViews: passes.contains(.views))
}

/// The passes that a plan can do without: they change what it costs, and no value beyond its rounding.
package struct OptionalPasses: OptionSet, Hashable, Sendable {
  package let rawValue: UInt16
  package init(rawValue: UInt16) { self.rawValue = rawValue }

  /// Equal computations are one; what changes nothing is left out.
  package static let simplification = OptionalPasses(rawValue: 1)
  /// The gradient of a linear cross-entropy gives the losses too.
  package static let sharedLosses = OptionalPasses(rawValue: 2)
  /// Activations join the normalisation beside them, in both passes of training.
  package static let normalization = OptionalPasses(rawValue: 4)
  /// So do the small sums around it.
  package static let normalizationOperands = OptionalPasses(rawValue: 8)
  /// Bias, activation and residual join the product or convolution before them.
  package static let epilogues = OptionalPasses(rawValue: 16)
  /// Slots that the plan does not change are kept converted, as the products want them that read them.
  package static let packedWeights = OptionalPasses(rawValue: 32)
  /// So are the other casts of such slots, as they lie.
  package static let keptConversions = OptionalPasses(rawValue: 64)
  /// Chains of elementwise ops become one kernel.
  package static let elementwise = OptionalPasses(rawValue: 128)
  /// What nothing needs is left out once more.
  package static let deadInstructions = OptionalPasses(rawValue: 256)
  /// What only feeds updates runs as soon as it can.
  package static let schedule = OptionalPasses(rawValue: 512)
  /// Views replace copies where the reader can follow strides.
  package static let views = OptionalPasses(rawValue: 1024)

  /// The gradient of dropout after ReLU reads the result instead of making the random numbers again.
  package static let dropout = OptionalPasses(rawValue: 2048)

  /// Sums of padded parts are concatenations, which attention's gradient may write itself; sums with scattered rows are
  /// scattered into; operands are transposed instead of products, and cast before that.
  package static let movements = OptionalPasses(rawValue: 4096)

  /// What is only read in part is computed in part.
  package static let slices = OptionalPasses(rawValue: 8192)

  /// Moving averages join the update of their parameters.
  package static let averages = OptionalPasses(rawValue: 16384)

  /// Those that leave every kernel as it was written.
  package static let plain: OptionalPasses = [.simplification, .sharedLosses, .deadInstructions, .schedule]

  /// Each of them, by name.
  package static let each: [(name: String, pass: OptionalPasses)] = [
    ("simplification", .simplification), ("sharedLosses", .sharedLosses), ("normalization", .normalization),
    ("normalizationOperands", .normalizationOperands), ("epilogues", .epilogues),
    ("packedWeights", .packedWeights), ("keptConversions", .keptConversions), ("elementwise", .elementwise),
    ("deadInstructions", .deadInstructions), ("schedule", .schedule), ("views", .views),
    ("dropout", .dropout),
    ("movements", .movements),
    ("slices", .slices),
    ("averages", .averages),
  ]

  package static let all = each.reduce(into: OptionalPasses()) { $0.formUnion($1.pass) }
}
