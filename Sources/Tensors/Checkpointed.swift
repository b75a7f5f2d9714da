/// Trades time for memory: what `body` computes is not kept for the gradient but computed again when it is needed.
///
/// The activations between the tensors that `body` captures and its results are recomputed in the backward pass
/// ("Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174).
public func checkpointed(_ body: () throws -> [Tensor]) rethrows -> [Tensor] {
  let start = NodeCensus.shared.enter()
  NodeCensus.shared.leave()
  let results = try body()
  // What is below the results and older than this call is the boundary: kept, not recomputed.
  var boundary: [Tensor] = []
  var seen: Set<TensorKey> = []
  func isOutside(_ node: Node) -> Bool { node.serial <= start || node.storage != nil || node.op is Leaf }
  let order = postOrder(results, isLeaf: isOutside)
  for node in order where !isOutside(node) {
    for input in node.inputs where isOutside(input.node) && seen.insert(TensorKey(input)).inserted {
      // Literals are not worth a barrier.
      if case .scalar = input.node.leaf, input.node.serial > start { continue }
      boundary.append(input)
    }
  }
  // A result that was there before the call is its own boundary.
  for result in results where isOutside(result.node) && seen.insert(TensorKey(result)).inserted {
    boundary.append(result)
  }
  let op = Checkpoint(resultCount: results.count)
  return apply(op, results + boundary)
}

/// Trades time for memory around a function of one result.
public func checkpointed(_ body: () throws -> Tensor) rethrows -> Tensor {
  try checkpointed { [try body()] }[0]
}

struct TensorKey: Hashable {
  let node: ObjectIdentifier, index: Int
  init(_ tensor: Tensor) {
    node = ObjectIdentifier(tensor.node)
    index = tensor.index
  }
}

/// `resultCount` results passed on unchanged; the further inputs are the boundary from which they can be recomputed.
public struct Checkpoint: Op {
  public let resultCount: Int

  public init(resultCount: Int) {
    self.resultCount = resultCount
  }

  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { Array(inputs.prefix(resultCount)) }

  /// The cotangents of the boundary through a second copy of the region that starts behind barriers.
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    let results = Array(inputs.prefix(resultCount)), boundary = Array(inputs.dropFirst(resultCount))
    let arrived = cotangents.compactMap { $0 }
    var copies: [TensorKey: Tensor] = [:]
    let barriers = boundary.map { tensor in
      // An integer or a key needs no barrier of its own order, but must be the same value in both passes.
      let barrier = apply(Barrier(), [tensor] + arrived)[0]
      copies[TensorKey(tensor)] = barrier
      return barrier
    }
    let edge = Set(boundary.map { TensorKey($0) })
    let edgeNodes = Set(boundary.map { ObjectIdentifier($0.node) })
    for node in postOrder(results, isLeaf: { edgeNodes.contains(ObjectIdentifier($0)) }) {
      let outputs = node.specs.indices.map { Tensor(node: node, index: $0) }
      if outputs.contains(where: { edge.contains(TensorKey($0)) }) || node.op is Leaf { continue }
      let again = node.copy(inputs: node.inputs.map { copies[TensorKey($0)] ?? $0 })
      for (output, copy) in zip(outputs, again) { copies[TensorKey(output)] = copy }
    }
    let recomputed = results.map { copies[TensorKey($0)] ?? $0 }
    let shares = pullback(recomputed, cotangents, to: barriers, passThrough: false)
    return results.map { _ in nil } + shares
  }
}

/// The first input, not before the others are computed; common-subexpression elimination never crosses it.
public struct Barrier: Op {
  public init() {}
  public func outputs(_ inputs: [Spec]) throws(ShapeError) -> [Spec] { [inputs[0]] }
  public func vjp(_ cotangents: [Tensor?], inputs: [Tensor], outputs: [Tensor]) -> [Tensor?] {
    [cotangents[0]] + inputs.dropFirst().map { _ in nil }
  }
}

extension Node {
  /// The same op on other inputs.
  func copy(inputs: [Tensor]) -> [Tensor] {
    let node = Node(op, opID: opID, inputs, specs)
    return specs.indices.map { Tensor(node: node, index: $0) }
  }
}
