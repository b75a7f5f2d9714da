import KalsaeTensors

/// Where the intermediate values of a plan lie in one arena.
///
/// Values whose lives do not overlap share memory; an op that may work in place takes over a dying operand's.
package struct MemoryPlan: Sendable {
  package static let alignment = 64

  /// What one step touches, by blocks: values that own memory in the arena.
  package struct Step: Sendable {
    package var reads: [Int]
    package var writes: [Int]
    package var scratchBytes: Int
    package var inPlace: [(output: Int, input: Int)]

    package init(reads: [Int], writes: [Int], scratchBytes: Int, inPlace: [(output: Int, input: Int)]) {
      self.reads = reads
      self.writes = writes
      self.scratchBytes = scratchBytes
      self.inPlace = inPlace
    }
  }

  /// The byte offset of each value in the arena.
  package private(set) var offsets: [Int: Int] = [:]
  /// The byte offset of each step's scratch memory.
  package private(set) var scratchOffsets: [Int]
  package private(set) var byteCount = 0

  /// A stretch of memory over the steps in which it is needed.
  package struct Block: Sendable {
    var first: Int, last: Int, byteCount: Int
    var offset = 0
  }
  package private(set) var blocks: [Block] = []

  /// `byteCounts` holds the values that live in the arena; all others are somebody else's memory.
  package init(_ steps: [Step], byteCounts: [Int: Int]) {
    scratchOffsets = [Int](repeating: 0, count: steps.count)
    var lastRead: [Int: Int] = [:]
    for (index, step) in steps.enumerated() {
      for value in step.reads { lastRead[value] = index }
    }
    var blockOf: [Int: Int] = [:]
    var scratchBlocks: [Int?] = []
    for (index, step) in steps.enumerated() {
      for value in step.writes {
        guard let bytes = byteCounts[value] else { continue }
        let last = max(lastRead[value] ?? index, index)
        let donor = step.inPlace.first { pair in
          pair.output == value && byteCounts[pair.input] == bytes && lastRead[pair.input] == index
            && blocks[blockOf[pair.input]!].last == index
        }
        if let donor {
          let block = blockOf[donor.input]!
          blocks[block].last = last
          blockOf[value] = block
          // One heir only: the block now outlives this step, or ends here and is written.
          if last == index { blocks[block].last = index + 1 }
        } else {
          blockOf[value] = blocks.count
          blocks.append(Block(first: index, last: last, byteCount: Self.aligned(bytes)))
        }
      }
      if step.scratchBytes > 0 {
        scratchBlocks.append(blocks.count)
        blocks.append(Block(first: index, last: index, byteCount: Self.aligned(step.scratchBytes)))
      } else {
        scratchBlocks.append(nil)
      }
    }
    place()
    for (value, block) in blockOf { offsets[value] = blocks[block].offset }
    for (index, block) in scratchBlocks.enumerated() {
      if let block { scratchOffsets[index] = blocks[block].offset }
    }
  }

  private static func aligned(_ bytes: Int) -> Int { (max(bytes, 1) + alignment - 1) / alignment * alignment }

  /// Largest first, each at the lowest offset that is free throughout its life.
  private mutating func place() {
    var placed: [Int] = []  // by offset
    let order = blocks.indices.sorted {
      (blocks[$0].byteCount, blocks[$1].first) > (blocks[$1].byteCount, blocks[$0].first)
    }
    for index in order {
      var offset = 0
      for other in placed
      where blocks[other].first <= blocks[index].last && blocks[index].first <= blocks[other].last {
        if blocks[other].offset >= offset + blocks[index].byteCount { break }
        offset = max(offset, blocks[other].offset + blocks[other].byteCount)
      }
      blocks[index].offset = offset
      byteCount = max(byteCount, offset + blocks[index].byteCount)
      let position = placed.firstIndex { blocks[$0].offset > offset } ?? placed.count
      placed.insert(index, at: position)
    }
  }

  /// Traps when two blocks that live at the same time overlap.
  package func verify() {
    let sorted = blocks.indices.sorted { blocks[$0].offset < blocks[$1].offset }
    for (position, a) in sorted.enumerated() {
      for b in sorted[(position + 1)...] {
        if blocks[b].offset >= blocks[a].offset + blocks[a].byteCount { break }
        require(
          blocks[a].last < blocks[b].first || blocks[b].last < blocks[a].first,
          "memory plan: two live blocks overlap at byte \(blocks[b].offset)")
      }
    }
  }
}
