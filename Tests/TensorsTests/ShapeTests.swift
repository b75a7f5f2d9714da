import KalsaeTensors
import Testing

@Suite struct ShapeTests {
  @Test func stridesAreRowMajor() {
    #expect(Shape([2, 3, 4]).strides == [12, 4, 1])
    #expect(Shape([]).strides == [])
    #expect(Shape([2, 3, 4]).count == 24)
    #expect(Shape([]).count == 1)
    #expect(Shape([3, 0, 2]).count == 0)
    #expect(Shape([2, 3, 4])[-1] == 4)
  }

  @Test(arguments: [
    ([2, 3], [3], [2, 3]), ([2, 1], [1, 3], [2, 3]), ([], [4, 5], [4, 5]), ([1], [0], [0]),
    ([0, 3], [1, 3], [0, 3]), ([5, 1, 7], [6, 1], [5, 6, 7]), ([1, 1], [1], [1, 1]),
  ])
  func broadcastFollowsNumPy(_ a: [Int], _ b: [Int], _ expected: [Int]) {
    #expect(Shape.broadcast(Shape(a), Shape(b)) == Shape(expected))
    #expect(Shape.broadcast(Shape(b), Shape(a)) == Shape(expected))
    #expect((Tensor.zeros(Shape(a)) + Tensor.zeros(Shape(b))).shape == Shape(expected))
  }

  @Test(arguments: [([2, 3], [2]), ([2], [3]), ([0], [2]), ([4, 1, 3], [2, 2])])
  func shapesThatDoNotBroadcast(_ a: [Int], _ b: [Int]) {
    #expect(Shape.broadcast(Shape(a), Shape(b)) == nil)
  }

  @Test func broadcastingToAShapeNeverShrinks() {
    #expect(Shape([3]).broadcasts(to: [2, 3]))
    #expect(!Shape([2, 3]).broadcasts(to: [3]))
    #expect(!Shape([2, 3]).broadcasts(to: [1, 3]))
  }

  @Test func reshapeInfersOneExtent() {
    let x = Tensor.zeros([2, 3, 4])
    #expect(x.reshaped(-1, 4).shape == [6, 4])
    #expect(x.reshaped(2, -1).shape == [2, 12])
    #expect(x.reshaped(24).shape == [24])
    #expect(Tensor.zeros([0, 4]).reshaped(-1, 4).shape == [0, 4])
  }

  @Test func movementShapes() {
    let x = Tensor.zeros([2, 3, 4])
    #expect(x.transposed(2, 0, 1).shape == [4, 2, 3])
    #expect(x.mT.shape == [2, 4, 3])
    #expect(x.expanded(1).shape == [2, 1, 3, 4])
    #expect(x.expanded(-1).shape == [2, 3, 4, 1])
    #expect(x.at(-1, axis: 1).shape == [2, 4])
    #expect(x.sliced(2, 0..<4, by: 3).shape == [2, 3, 2])
    #expect(x.sliced(0, 1..<1).shape == [0, 3, 4])
    #expect(x.flattened(from: 1).shape == [2, 12])
    #expect(x.split([1, 2], axis: 1).map(\.shape) == [[2, 1, 4], [2, 2, 4]])
    #expect(x.split(2, axis: -1).map(\.shape) == [[2, 3, 2], [2, 3, 2]])
    #expect(concatenated([x, x], axis: -1).shape == [2, 3, 8])
    #expect(stacked([x, x], axis: 1).shape == [2, 2, 3, 4])
    #expect(x.padded(low: [0, 1, 0], high: [0, 0, 2], interior: [3, 0, 1]).shape == [5, 4, 9])
    #expect(Tensor.zeros([0]).padded(low: [1], high: [2], interior: [5]).shape == [3])
  }

  @Test func reductionShapes() {
    let x = Tensor.zeros([2, 3, 4])
    #expect(x.sum().shape == [])
    #expect(x.sum([0, -1]).shape == [3])
    #expect(x.max([1], keepingAxes: true).shape == [2, 1, 4])
    #expect(x.argMax(0).spec == Spec([3, 4], .int32))
    #expect(x.variance([-1]).shape == [2, 3])
  }

  @Test func nothingToDoAddsNoNode() {
    let x = Tensor.zeros([2, 3])
    #expect(x.reshaped(2, 3).node === x.node)
    #expect(x.transposed(0, 1).node === x.node)
    #expect(x.cast(to: .float32).node === x.node)
    #expect(x.broadcast(to: [2, 3]).node === x.node)
    #expect(x.sliced(1, 0..<3).node === x.node)
    #expect(x.padded(low: [0, 0], high: [0, 0]).node === x.node)
  }
}
