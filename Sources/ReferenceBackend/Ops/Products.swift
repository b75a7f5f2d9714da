import KalsaeTensors

extension MatMul: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let a = inputs[0], b = inputs[1]
    let (n, k, m) = (a.shape[-2], a.shape[-1], b.shape[-1])
    let aBatch = Shape(a.shape.dimensions.dropLast(2)), bBatch = Shape(b.shape.dimensions.dropLast(2))
    let batch = Shape.broadcast(aBatch, bBatch)!
    let firsts = zip(
      batch.offsets(strides: aBatch.strides(broadcastTo: batch)),
      batch.offsets(strides: bBatch.strides(broadcastTo: batch)))
    var values: [Double] = []
    for (aMatrix, bMatrix) in firsts {
      for i in 0..<n {
        for j in 0..<m {
          var sum = 0.0
          for l in 0..<k {
            sum += a.values[(aMatrix * n + i) * k + l] * b.values[(bMatrix * k + l) * m + j]
          }
          values.append(sum)
        }
      }
    }
    return [NDArray(Shape(batch.dimensions + [n, m]), result ?? a.dtype, values)]
  }
}

extension Convolution: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0], w = inputs[1]
    let shape = try! outputs([x.spec, w.spec])[0].shape
    var y = NDArray(shape, x.dtype, repeating: 0)
    geometry.forEachProduct(x: x.shape, kernel: w.shape, y: shape) { xPlace, wPlace, yPlace in
      y.values[yPlace] += x.values[xPlace] * w.values[wPlace]
    }
    return [y]
  }
}

extension ConvolutionInputGradient: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let dy = inputs[0], w = inputs[1]
    let shape: Shape = [dy.shape[0], rows, columns, w.shape[1] * geometry.groups]
    var dx = NDArray(shape, dy.dtype, repeating: 0)
    geometry.forEachProduct(x: shape, kernel: w.shape, y: dy.shape) { xPlace, wPlace, yPlace in
      dx.values[xPlace] += dy.values[yPlace] * w.values[wPlace]
    }
    return [dx]
  }
}

extension ConvolutionWeightGradient: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] {
    let x = inputs[0], dy = inputs[1]
    let shape: Shape = [dy.shape[3], x.shape[3] / geometry.groups, kernel[0], kernel[1]]
    var dw = NDArray(shape, result ?? x.dtype, repeating: 0)
    geometry.forEachProduct(x: x.shape, kernel: shape, y: dy.shape) { xPlace, wPlace, yPlace in
      dw.values[wPlace] += x.values[xPlace] * dy.values[yPlace]
    }
    return [dw]
  }
}

extension ConvolutionGeometry {
  /// The places of x (N, H, W, C), kernel (O, C / groups, kh, kw) and y (N, H', W', O) of every product x w of the sum
  /// that is y.
  @inline(__always)
  fileprivate func forEachProduct(x: Shape, kernel: Shape, y: Shape, _ body: (Int, Int, Int) -> Void) {
    let (c, o) = (kernel[1], kernel[0] / groups)
    for n in 0..<y[0] {
      for i in 0..<y[1] {
        for j in 0..<y[2] {
          for u in 0..<kernel[2] {
            let row = i * stride[0] + u * dilation[0] - top
            guard row >= 0, row < x[1] else { continue }
            for v in 0..<kernel[3] {
              let column = j * stride[1] + v * dilation[1] - left
              guard column >= 0, column < x[2] else { continue }
              let xPixel = ((n * x[1] + row) * x[2] + column) * x[3]
              let yPixel = ((n * y[1] + i) * y[2] + j) * y[3]
              for out in 0..<kernel[0] {
                let group = out / o
                for channel in 0..<c {
                  let tap = ((out * c + channel) * kernel[2] + u) * kernel[3] + v
                  body(xPixel + group * c + channel, tap, yPixel + out)
                }
              }
            }
          }
        }
      }
    }
  }
}
