import KalsaeTensors

extension OpCatalog {
  static let indexing: [OpCase] =
    [
      OpCase(Gather(axis: 0), "rows", [.normal(5, 3), .exact([4, 0, 0, 2, 3, 1, 0], .int32)]),
      OpCase(Gather(axis: 0), "rows by int64", [.normal(5, 3), .integers(0..<5, 2, 3, dtype: .int64)]),
      OpCase(Gather(axis: 1), "middle axis", [.normal(2, 4, 3), .integers(0..<4, 3, 2)]),
      OpCase(Gather(axis: 2), "last axis", [.normal(2, 2, 5), .integers(0..<5, 7)]),
      OpCase(Gather(axis: 0), "one index", [.normal(5, 3), .scalar(2, .int32)]),
      OpCase(Gather(axis: 0), "of int32", [.integers(0..<9, 5), .integers(0..<5, 4)]),
      OpCase(Gather(axis: 0), "nothing", [.normal(5, 3), .integers(0..<5, 0)]),

      OpCase(
        ScatterAdd(axis: 0, extent: 5), "rows", [.normal(7, 3), .exact([4, 0, 0, 2, 4, 0, 1], .int32)]),
      OpCase(ScatterAdd(axis: 1, extent: 4), "middle axis", [.normal(2, 3, 2, 3), .integers(0..<4, 3, 2)]),
      OpCase(
        ScatterAdd(axis: 1, extent: 6), "last axis", [.normal(3, 5), .integers(0..<6, 5, dtype: .int64)]),
      OpCase(
        ScatterAdd(axis: 1, extent: 4, hasBase: true), "into a sum",
        [.normal(2, 5, 3), .integers(0..<4, 5), .normal(2, 4, 3)]),
      OpCase(
        ScatterAdd(axis: 0, extent: 70, hasBase: true), "of int32",
        [.integers(-9..<10, 90, 3), .integers(0..<70, 90), .integers(-9..<10, 70, 3)], []),
      OpCase(ScatterAdd(axis: 0, extent: 3), "one index", [.normal(4), .scalar(1, .int32)]),
      OpCase(ScatterAdd(axis: 0, extent: 3), "nothing", [.normal(0, 2), .integers(0..<3, 0)]),

      OpCase(GatherAlong(axis: 1), "last axis", [.normal(3, 5), .integers(0..<5, 3, 2)]),
      OpCase(GatherAlong(axis: 0), "first axis", [.normal(3, 5), .integers(0..<3, 7, 5)]),
      OpCase(
        GatherAlong(axis: 1), "middle axis", [.normal(2, 3, 4), .integers(0..<3, 2, 5, 4, dtype: .int64)]),
      OpCase(GatherAlong(axis: 0), "nothing", [.normal(3, 5), .integers(0..<3, 0, 5)]),

      OpCase(ScatterAddAlong(axis: 1, extent: 5), "last axis", [.normal(3, 4), .integers(0..<5, 3, 4)]),
      OpCase(ScatterAddAlong(axis: 0, extent: 2), "first axis", [.normal(6, 5), .integers(0..<2, 6, 5)]),
      OpCase(
        ScatterAddAlong(axis: 1, extent: 3), "middle axis",
        [.normal(2, 5, 4), .integers(0..<3, 2, 5, 4, dtype: .int64)]),

      OpCase(UpdateSlice(axis: 0), "first axis", [.normal(5, 3), .normal(2, 3), .scalar(3, .int32)]),
      OpCase(
        UpdateSlice(axis: 2), "inner axis", [.normal(2, 3, 7, 4), .normal(2, 3, 1, 4), .scalar(5, .int32)]),
      OpCase(UpdateSlice(axis: 1), "last axis", [.normal(3, 5), .normal(3, 4), .scalar(0, .int32)]),
      OpCase(UpdateSlice(axis: 0), "everything", [.normal(4), .normal(4), .scalar(0, .int32)]),
      OpCase(UpdateSlice(axis: 0), "nothing", [.normal(4), .normal(0), .scalar(4, .int32)]),
      OpCase(
        UpdateSlice(axis: 0), "of int32", [.integers(0..<9, 5), .integers(0..<9, 2), .scalar(1, .int32)]),
      OpCase(function: "updated with a view", [.normal(2, 5, 3), .normal(2, 3, 2), .scalar(2, .int32)]) {
        [$0[0].updated($0[1].mT, at: $0[2], axis: 1)]
      },

      OpCase(Iota(shape: [7], axis: 0, dtype: .int32), "int32", []),
      OpCase(Iota(shape: [3, 5], axis: 0, dtype: .float32), "rows", []),
      OpCase(Iota(shape: [2, 3, 5], axis: 1, dtype: .bfloat16), "middle axis", []),
      OpCase(Iota(shape: [3, 5], axis: 1, dtype: .int64), "columns", []),
      OpCase(Iota(shape: [0], axis: 0, dtype: .int32), "empty", []),

      OpCase(function: "topK", [.distinct(3, 7)]) {
        let (values, indices) = $0[0].topK(3)
        return [values, indices]
      },
      OpCase(function: "topK of the first axis", [.distinct(6, 2)]) { [$0[0].topK(2, axis: 0).values] },
      OpCase(function: "scatterAdded", [.normal(4, 3), .integers(0..<6, 4)]) {
        [$0[0].scatterAdded($0[1], extent: 6), $0[0].gathered($0[1] - $0[1])]
      },
    ]
    + [false, true].flatMap { descending in
      [
        OpCase(
          Sort(axis: 1, descending: descending), "last axis, descending \(descending)", [.distinct(3, 17)]),
        OpCase(
          Sort(axis: 0, descending: descending), "first axis, descending \(descending)", [.distinct(7, 3)]),
        OpCase(
          Sort(axis: 0, descending: descending), "ties, descending \(descending)",
          [.exact([2, 1, 2, 3, 1, 2])], []),
        OpCase(
          Sort(axis: 0, descending: descending), "with NaN, descending \(descending)",
          [.exact([2, .nan, -.infinity, 3, .nan, .infinity])], [], isElementwise: true),
        OpCase(
          Sort(axis: 1, descending: descending), "of int32, descending \(descending)",
          [.integers(0..<9, 3, 11)]),
        OpCase(Sort(axis: 0, descending: descending), "empty, descending \(descending)", [.normal(0, 3)]),
      ]
    }
}
