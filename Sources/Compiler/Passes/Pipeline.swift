import KalsaeTensors

/// All passes in order: from a recorded graph to instructions that the backend lowers one by one.
package func compile(
  _ graph: Graph, for target: some Target, verifying: Bool = false, without excluded: Fusions = []
) -> LaidOutGraph {
  let fusions = target.fusions.subtracting(excluded)
  var graph = graph
  func run(_ name: String, if condition: Bool = true, _ pass: (Graph) -> Graph) {
    guard condition else { return }
    graph = pass(graph)
    if verifying { graph.verify(after: name) }
  }
  run("decompose") { decompose($0, for: target) }
  run("simplify", simplify)
  run("share losses", shareLosses)
  run("fuse normalization", if: fusions.contains(.normalization), fuseNormalization)
  run("fuse normalization operands", if: fusions.contains(.normalization), fuseNormalizationOperands)
  run("fuse epilogues", if: fusions.contains(.epilogues), fuseEpilogues)
  run("pack weights", if: fusions.contains(.keptConversions)) { packWeights($0, for: target) }
  run("keep conversions", if: fusions.contains(.keptConversions), keepConversions)
  run("fuse elementwise", if: fusions.contains(.elementwise), fuseElementwise)
  run("remove dead instructions") {
    var graph = $0
    graph.removeDeadInstructions()
    return graph
  }
  run("schedule", schedule)
  return chooseLayouts(graph, for: target)
}
