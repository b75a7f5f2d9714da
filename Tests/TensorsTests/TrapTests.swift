import KalsaeTensors
import Testing

/// Programmer errors trap while the graph is built, with one line that names the op and the shapes.
@Suite struct TrapTests {
  /// The last line that a trap printed.
  private func message(_ result: ExitTest.Result?) -> String {
    String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
  }

  @Test func matmulNamesItsShapes() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = matmul(.zeros([2, 3]), .zeros([4, 5]))
    }
    #expect(message(result).contains("MatMul: inner axes differ: (2, 3) x (4, 5)"))
  }

  @Test func elementTypesAreNotPromoted() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = Tensor.zeros([2]) + Tensor.zeros([2], dtype: .bfloat16)
    }
    #expect(
      message(result).contains("Binary: element types differ, cast one: float32(2) and bfloat16(2)"))
  }

  @Test func broadcastingNamesBothShapes() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = Tensor.zeros([2, 3]) * Tensor.zeros([2])
    }
    #expect(message(result).contains("Binary: shapes do not broadcast: (2, 3) and (2)"))
  }

  @Test func convolutionChecksChannels() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = conv2d(.zeros([1, 8, 8, 3]), .zeros([4, 2, 3, 3]))
    }
    #expect(
      message(result).contains("channels of (1, 8, 8, 3) do not fit the kernel (4, 2, 3, 3) with 1 groups"))
  }

  @Test func reshapeCountsElements() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = Tensor.zeros([2, 3]).reshaped(4, 2)
    }
    #expect(message(result).contains("Reshape: (2, 3) has 6 elements, (4, 2) has 8"))
  }

  @Test func axesAreChecked() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = Tensor.zeros([2, 3]).sum([2])
    }
    #expect(message(result).contains("sum: axis 2 is outside a tensor of shape (2, 3)"))
  }

  @Test func gradientsNeedAScalar() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let x = Tensor.zeros([2, 3])
      _ = gradients(of: x * 2, withRespectTo: [x])
    }
    #expect(message(result).contains("the differentiated tensor must have one element, not (2, 3)"))
  }

  @Test func slotsKeepTheirShape() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      Slot(.zeros([2])).value = .zeros([3])
    }
    #expect(message(result).contains("Slot: float32(3) assigned to a slot of float32(2)"))
  }

  @Test func elementsMustFillTheShape() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = Tensor([1, 2, 3] as [Float], [2, 2])
    }
    #expect(message(result).contains("Tensor: 3 elements do not fill (2, 2)"))
  }
}
