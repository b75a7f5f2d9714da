import KalsaeTensors

extension Identity: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] { inputs }
}

extension StopGradient: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] { inputs }
}

extension Barrier: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] { [inputs[0]] }
}

extension Checkpoint: ReferenceOp {
  public func evaluate(_ inputs: [NDArray]) -> [NDArray] { Array(inputs.prefix(resultCount)) }
}
