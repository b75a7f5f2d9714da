import KalsaeTensors

/// A graph in which movements are views where their readers can follow strides.
package struct LaidOutGraph: Sendable {
  package var graph: Graph
  /// For each value that is a view: the value whose memory it reads, and how.
  package var views: [Int: (base: Int, layout: Layout)] = [:]

  package func base(of value: Int) -> Int { views[value]?.base ?? value }
  package func layout(of value: Int) -> Layout { views[value]?.layout ?? Layout(graph.specs[value].shape) }
}

/// Turns reshapes, transposes, broadcasts and slices into views, with a dense copy for readers that need one.
package func chooseLayouts(
  _ graph: Graph, for target: some Target, asViews allowed: Bool
) -> LaidOutGraph {
  var result = LaidOutGraph(graph: graph)
  result.graph.instructions = []
  var copies: [Int: Int] = [:]

  func dense(_ value: Int) -> Int {
    if let copy = copies[value] { return copy }
    let copy = result.graph.append(Copy(), [value], [graph.specs[value]])[0]
    copies[value] = copy
    return copy
  }

  for instruction in graph.instructions {
    if let source = instruction.inputs.first,
      let movement = movedLayout(
        instruction.op, result.layout(of: source), graph.specs[instruction.outputs[0]].shape)
    {
      let output = instruction.outputs[0]
      if allowed || movement.isDense {
        result.views[output] = (result.base(of: source), movement)
      } else {
        // The reference way: every movement is a copy of a view.
        let view = result.graph.addValue(graph.specs[output])
        result.views[view] = (result.base(of: source), movement)
        result.graph.instructions.append(.init(op: Copy(), inputs: [view], outputs: [output]))
      }
      continue
    }
    if instruction.op is Reshape {
      // A strided source has no strides under the new shape: copy, then view the copy.
      let source = dense(instruction.inputs[0])
      result.views[instruction.outputs[0]] = (source, Layout(graph.specs[instruction.outputs[0]].shape))
      continue
    }
    var instruction = instruction
    let specs = instruction.inputs.map { graph.specs[$0] }
    for index in instruction.inputs.indices {
      let value = instruction.inputs[index]
      let layout = result.layout(of: value)
      if layout.isDense || allowed && target.reads(layout, input: index, of: instruction.op, specs) {
        continue
      }
      instruction.inputs[index] = dense(value)
    }
    result.graph.instructions.append(instruction)
  }
  // What leaves the plan has memory of its own, once for each place that wants it.
  var taken: Set<Int> = []
  for index in result.graph.outputs.indices {
    let value = result.graph.outputs[index]
    let isComputed = result.views[value] == nil && result.graph.sources[value] == nil
    if !isComputed || !taken.insert(value).inserted {
      let spec = result.graph.specs[value]
      let copy = result.graph.append(Copy(), [value], [spec])[0]
      result.graph.outputs[index] = copy
      taken.insert(copy)
    }
  }
  return result
}

/// The layout of a movement's result, of this shape, in the memory of its operand, or nil when there is none.
func movedLayout(_ op: any Op, _ source: Layout, _ shape: Shape) -> Layout? {
  switch op {
  case is Barrier: return source
  case let op as Reshape: return source.reshaped(op.shape)
  case let op as Transpose:
    return Layout(
      Shape(op.permutation.map { source.shape.dimensions[$0] }), offset: source.offset,
      strides: op.permutation.map { source.strides[$0] })
  case let op as Broadcast:
    let extra = op.shape.rank - source.shape.rank
    let strides = op.shape.dimensions.indices.map { axis in
      axis < extra || source.shape.dimensions[axis - extra] == 1 ? 0 : source.strides[axis - extra]
    }
    return Layout(op.shape, offset: source.offset, strides: strides)
  case let op as Slice:
    let offset = zip(op.start, source.strides).reduce(source.offset) { $0 + $1.0 * $1.1 }
    return Layout(shape, offset: offset, strides: zip(op.step, source.strides).map { $0 * $1 })
  default: return nil
  }
}
