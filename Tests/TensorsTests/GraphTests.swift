import KalsaeTensors
import Testing

@Suite struct GraphTests {
  @Test func equalOpsHaveEqualIdentifiers() {
    let x = Tensor.zeros([2, 3]), y = Tensor.zeros([2, 3])
    func id(_ t: Tensor) -> UInt32 { t.node.opID }
    #expect(id(x + y) == id(y + y))
    #expect(id(x.sum([1])) == id(y.sum([-1])))
    #expect(id(x.sum([1])) != id(x.sum([0])))
    #expect(id(x + y) != id(x - y))
    #expect(id(exp(x)) != id(log(x)))
    #expect(id(x.cast(to: .bfloat16)) != id(x.cast(to: .float16)))
    #expect(id(softmax(x)) == id(softmax(x + y)))
    #expect(
      id(groupNorm(x, groups: 3, weight: nil, bias: nil, epsilon: 1e-5))
        != id(groupNorm(x, groups: 3, weight: nil, bias: nil, epsilon: 1e-6)))
  }

  @Test func aScalarsValueIsNoPartOfTheStructure() {
    #expect(Tensor(0.5).node.opID == Tensor(0.25).node.opID)
    #expect(Tensor(0.5).node.opID != Tensor(0.5, .bfloat16).node.opID)
  }

  @Test func literalsAdoptTheElementType() {
    let x = Tensor.zeros([2], dtype: .bfloat16)
    #expect((x * 2 + 1).dtype == .bfloat16)
    #expect((1 - x).dtype == .bfloat16)
    #expect((Tensor.zeros([2], dtype: .int32) + 1).dtype == .int32)
    #expect((x .> 0).dtype == .bool)
  }

  @Test func postOrderPutsInputsFirstAndEachNodeOnce() {
    let x = Tensor.zeros([2])
    let y = x * x, z = y + x
    let order = postOrder([z, y])
    #expect(Set(order.map { ObjectIdentifier($0) }).count == order.count)
    var seen: Set<ObjectIdentifier> = []
    for node in order {
      #expect(node.inputs.allSatisfy { seen.contains(ObjectIdentifier($0.node)) })
      seen.insert(ObjectIdentifier(node))
    }
    #expect(order.last === z.node)
    #expect(postOrder([z], isLeaf: { $0 === y.node }).count == order.count)  // x is still reached through z
    #expect(postOrder([y], isLeaf: { $0 === y.node }).count == 1)
  }

  @Test func walkingAndReleasingAMillionNodes() {
    var x = Tensor.zeros([2])
    for _ in 0..<1_000_000 { x = -x }
    #expect(postOrder([x]).count == 1_000_002)
    x = Tensor.zeros([2])
  }

  /// A chain in which every node has two users, so that releasing one does not at once release its input.
  @Test func releasingAMillionSharedNodes() {
    var a = Tensor.zeros([2]), b = Tensor.zeros([2])
    for _ in 0..<500_000 { (a, b) = (a + b, a - b) }
    a = Tensor.zeros([2])
    #expect(postOrder([b]).count > 500_000)
    b = a
  }

  @Test func gradientThroughALongChain() {
    let x = Tensor.zeros([2])
    var y = x
    for _ in 0..<100_000 { y = sin(y) }
    let gradient = gradients(of: y.sum(), withRespectTo: [x])[0]
    #expect(gradient.spec == x.spec)
    #expect(postOrder([gradient]).count > 300_000)
  }

  @Test func completionLetsGoOfInputs() {
    weak var released: Node?
    let y: Tensor
    do {
      let x = Tensor.zeros([2])
      released = x.node
      y = -x
    }
    #expect(released != nil)
    y.node.complete([Buffer(byteCount: 8)], keepingInputs: true)
    #expect(y.node.inputs.count == 1)
    y.node.complete([Buffer(byteCount: 8)], keepingInputs: false)
    #expect(y.node.inputs.isEmpty)
    #expect(released == nil)
    #expect(y.node.storage != nil)
  }

  @Test func buffersAreReusedBySize() {
    // A size that no other test uses, since the pool is the process's.
    let bytes = 12_345_664
    let address = { Buffer(byteCount: bytes).pointer }()
    #expect(Buffer(byteCount: bytes).pointer == address)
    #expect(UInt(bitPattern: address) % 64 == 0)
  }
}
