import KalsaeReferenceBackend
import KalsaeTensors
import Testing

/// What must hold of every op in the catalog, by the reference implementation alone.
@Suite struct OpCatalogTests {
  @Test(arguments: OpCatalog.all)
  func shapesAreAsComputed(_ entry: OpCase) {
    for dtype in entry.dtypes {
      let arrays = entry.arrays(dtype)
      let outputs = entry(arrays.map { $0.tensor() })
      var interpreter = ReferenceInterpreter(rounding: .toElementType)
      #expect(interpreter.values(outputs).map(\.spec) == outputs.map(\.spec))
      for tensor in outputs {
        // A composite promises the specs of its decomposition.
        guard let op = tensor.node.op as? any CompositeOp else { continue }
        #expect(op.decomposed(tensor.node.inputs).map(\.spec) == tensor.node.specs)
      }
    }
  }

  @Test(arguments: OpCatalog.differentiable)
  func gradientsAreDifferenceQuotients(_ entry: OpCase) {
    expectGradients(entry.arrays(), within: 1e-8) { entry($0) }
  }

  @Test(arguments: OpCatalog.differentiable.filter { $0.traits.contains(.smooth) })
  func secondDerivativesAreDifferenceQuotients(_ entry: OpCase) {
    expectGradients(entry.arrays(), within: 1e-7, of: gradientFunction { entry($0) })
  }

  /// One tensor in place of all inputs of its spec, used again downstream: shares of a gradient must add up.
  @Test(arguments: OpCatalog.differentiable.filter { $0.traits.contains(.repeatable) })
  func sharedInputs(_ entry: OpCase) {
    let arrays = entry.arrays()
    var distinct: [NDArray] = [], places: [Int] = []
    for array in arrays {
      // The last of them: denominators and other restricted operands come after free ones.
      if array.dtype.isFloatingPoint, let known = distinct.firstIndex(where: { $0.spec == array.spec }) {
        distinct[known] = array
        places.append(known)
      } else {
        places.append(distinct.count)
        distinct.append(array)
      }
    }
    expectGradients(distinct, within: 1e-8) { x in
      let y = entry(places.map { x[$0] }).filter { $0.dtype.isFloatingPoint }
      return y + y.map { square($0) + $0 } + x.filter { $0.dtype.isFloatingPoint }.map { $0 * $0 }
    }
  }

  /// Gradients have the element types and shapes of what they are gradients of, in every precision.
  @Test(arguments: OpCatalog.differentiable)
  func gradientsHaveTheSpecsOfTheInputs(_ entry: OpCase) {
    for dtype in entry.dtypes where dtype.isFloatingPoint {
      let inputs = entry.arrays(dtype).map { $0.tensor() }
      let gradients = gradientFunction { entry($0) }(inputs)
      for (gradient, input) in zip(gradients, inputs.filter { $0.dtype.isFloatingPoint }) {
        #expect(gradient.spec == input.spec)
      }
    }
  }
}
