import KalsaeTensors
import Testing

@Suite struct SlotTests {
  @Test func aPendingValueIsReadBack() {
    let initial = Tensor.zeros([2])
    let slot = Slot(initial)
    #expect(slot.value.node === initial.node)
    #expect(slot.version == 0)
    #expect(slot.buffer == nil)
    let next = slot.value + 1
    slot.value = next
    #expect(slot.value.node === next.node)
    #expect(slot.pending?.node === next.node)
  }

  @Test func committingMakesAVersionedLeaf() {
    let slot = Slot(.zeros([2]))
    let buffer = Buffer(byteCount: 8)
    slot.commit(buffer, pending: slot.pending!)
    #expect(slot.version == 1)
    #expect(slot.pending == nil)
    #expect(slot.buffer === buffer)
    let leaf = slot.value
    guard case .slot(let owner, version: 1) = leaf.node.leaf else {
      Issue.record("a committed slot reads as a leaf of version 1")
      return
    }
    #expect(owner === slot)
    #expect(slot.value.node === leaf.node, "one leaf serves all readers of a version")
  }

  @Test func aNewVersionHasANewLeaf() {
    let slot = Slot(.zeros([2]))
    slot.commit(Buffer(byteCount: 8), pending: slot.pending!)
    let old = slot.value
    slot.value = old + 1
    slot.commit(Buffer(byteCount: 8), pending: slot.pending!)
    #expect(slot.version == 2)
    #expect(slot.value.node !== old.node)
  }

  @Test func anAssignmentDuringTheCommitIsKept() {
    let slot = Slot(.zeros([2]))
    let computed = slot.pending!
    let later = Tensor.ones([2])
    slot.value = later
    slot.commit(Buffer(byteCount: 8), pending: computed)
    #expect(slot.value.node === later.node)
    #expect(slot.version == 1)
  }
}
