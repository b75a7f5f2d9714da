import KalsaeTensors

extension OpCatalog {
  private static let types: [DType] = [.float32, .bfloat16, .int32, .uint8]

  static let movement: [OpCase] = [
    OpCase(Reshape(shape: [3, 5, 2]), "to three axes", [.normal(6, 5)], dtypes: types),
    OpCase(Reshape(shape: [1, 7]), "to two axes", [.normal(7)]),
    OpCase(Reshape(shape: []), "to a scalar", [.normal(1, 1)]),
    OpCase(Reshape(shape: [0, 4]), "empty", [.normal(2, 0)]),

    OpCase(Transpose(permutation: [1, 0]), "matrix", [.normal(5, 7)], dtypes: types),
    OpCase(Transpose(permutation: [0, 2, 1]), "of last two", [.normal(3, 17, 33)], dtypes: types),
    OpCase(Transpose(permutation: [0, 3, 1, 2]), "channels first", [.normal(2, 3, 5, 7)], dtypes: types),
    OpCase(Transpose(permutation: [2, 3, 0, 1]), "blocks", [.normal(2, 3, 1, 5)]),
    OpCase(Transpose(permutation: [3, 1, 4, 0, 2]), "five axes", [.normal(2, 3, 2, 1, 4)]),
    OpCase(Transpose(permutation: [1, 2, 0]), "empty", [.normal(3, 0, 2)]),

    OpCase(Broadcast(shape: [4, 3]), "new axis", [.normal(3)], dtypes: types),
    OpCase(Broadcast(shape: [2, 3, 4, 5]), "inner axes", [.normal(3, 1, 5)], dtypes: types),
    OpCase(Broadcast(shape: [2, 3]), "scalar", [.normal()], dtypes: types),
    OpCase(Broadcast(shape: [0, 3]), "to nothing", [.normal(1, 3)]),

    OpCase(Slice(start: [1, 2], end: [4, 5], step: [1, 1]), "", [.normal(5, 7)], dtypes: types),
    OpCase(Slice(start: [0, 1], end: [5, 7], step: [2, 3]), "by steps", [.normal(5, 7)], dtypes: types),
    OpCase(Slice(start: [0, 0, 1], end: [2, 3, 2], step: [1, 1, 1]), "last axis", [.normal(2, 3, 4)]),
    OpCase(Slice(start: [2, 0], end: [2, 7], step: [1, 1]), "nothing", [.normal(5, 7)]),
    OpCase(Slice(start: [0, 0], end: [0, 7], step: [1, 2]), "of nothing", [.normal(0, 7)]),

    OpCase(
      Pad(low: [1, 0], high: [0, 2], interior: [0, 0]), "around", [.normal(3, 5), .scalar(1)], dtypes: types),
    OpCase(
      Pad(low: [1, 2], high: [3, 0], interior: [1, 2]), "and between", [.normal(3, 5), .scalar(-2)]),
    OpCase(
      Pad(low: [0, 1, 1, 0], high: [0, 1, 1, 0], interior: [0, 0, 0, 0]), "a picture",
      [.normal(2, 3, 5, 4), .scalar(0)], dtypes: types),
    OpCase(
      Pad(low: [1, 2], high: [3, 0], interior: [1, 2], hasValue: false), "with zeros", [.normal(3, 5)],
      dtypes: types),
    OpCase(Pad(low: [1, 2], high: [0, 1], interior: [4, 1]), "nothing", [.normal(0, 2), .scalar(1)]),

    OpCase(Reverse(axes: [1]), "", [.normal(3, 5)], dtypes: types),
    OpCase(Reverse(axes: [0, 2]), "two axes", [.normal(3, 5, 2)]),
    OpCase(Reverse(axes: [0]), "empty", [.normal(0, 3)]),

    OpCase(Concatenate(axis: 0), "first axis", [.normal(2, 3), .normal(1, 3), .normal(4, 3)], dtypes: types),
    OpCase(Concatenate(axis: 1), "last axis", [.normal(5, 3), .normal(5, 4)], dtypes: types),
    OpCase(Concatenate(axis: 3), "channels", [.normal(2, 3, 3, 5), .normal(2, 3, 3, 2)]),
    OpCase(Concatenate(axis: 1), "with nothing", [.normal(2, 0, 3), .normal(2, 2, 3), .normal(2, 0, 3)]),

    OpCase(function: "split, stacked and at", [.normal(4, 6)]) { x in
      let parts = x[0].split([1, 2, 3], axis: 1)
      return [stacked([parts[0], parts[1].sliced(1, 0..<1)], axis: -1), x[0].at(-1, axis: 1), parts[2].mT]
    },
  ]

  /// Ops whose outputs are their inputs, as far as numbers go.
  static let graph: [OpCase] = [
    OpCase(Identity(), "", [.normal(3, 5)]),
    OpCase(StopGradient(), "", [.normal(3, 5)], []),
    OpCase(Barrier(), "", [.normal(3, 5), .normal(2)]),
    OpCase(function: "of a product", [.normal(3, 5), .normal(5)], covering: "Checkpoint") { x in
      [checkpointed { tanh(x[0] * x[1]) * x[0] }]
    },
    OpCase(function: "of two results", [.normal(3, 5), .normal(3, 5)], covering: "Checkpoint") { x in
      checkpointed { [sin(x[0] + 1) * x[1], x[0]] }
    },
    OpCase(function: "inside another", [.normal(4)], covering: "Checkpoint") { x in
      [checkpointed { exp(checkpointed { sin(x[0]) * 2 } * x[0]) }]
    },
  ]
}
