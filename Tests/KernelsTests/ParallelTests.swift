import CKernels
import Testing

@Suite struct ParallelTests {
  /// Every index once, inner boundaries on multiples of the grain, for any size and number of threads.
  @Test func coversEveryIndexOnce() {
    for threads in [1, 2, 3, 7] {
      for (n, grain) in [(0, 1), (1, 1), (7, 3), (64, 64), (65, 64), (1000, 1), (1003, 17)] {
        let hits = Storage([Double](repeating: 0, count: n), KK_I32)
        kernels {
          let before = kk_threads()
          kk_set_threads(Int32(threads))
          var context = (hits.at(0, Int32.self), grain, n)
          kk_parallel_for(
            n, grain,
            { begin, end, worker, context in
              let (hits, grain, n) = context!.load(as: (UnsafeMutablePointer<Int32>, Int, Int).self)
              precondition(begin % grain == 0 && (end % grain == 0 || end == n) && begin < end)
              precondition(worker >= 0 && worker < kk_threads())
              for i in begin..<end { hits[i] += 1 }
            }, &context)
          kk_set_threads(before)
        }
        #expect(hits.values == [Double](repeating: 1, count: n), "n \(n), grain \(grain), threads \(threads)")
      }
    }
  }

  @Test func unitsAreHandedOutOnce() {
    for threads in [1, 2, 5] {
      for n in [0, 1, 3, 100, 1003] {
        let hits = Storage([Double](repeating: 0, count: n), KK_I32)
        kernels {
          let before = kk_threads()
          kk_set_threads(Int32(threads))
          kk_parallel_units(
            n,
            { begin, end, worker, context in
              precondition(begin < end && worker >= 0 && worker < kk_threads())
              for i in begin..<end { context!.assumingMemoryBound(to: Int32.self)[i] += 1 }
            }, hits.at(0, Int32.self))
          kk_set_threads(before)
        }
        #expect(hits.values.allSatisfy { $0 == 1 }, "\(n) units, \(threads) threads")
      }
    }
  }

  @Test func nestedLaunchIsSerial() {
    let calls = Storage([0, 0], KK_I32)
    kernels {
      kk_parallel_for(
        1, 1,
        { _, _, _, context in
          kk_parallel_for(
            1_000_000, 1,
            { begin, end, _, context in
              let calls = context!.assumingMemoryBound(to: Int32.self)
              calls[0] += 1
              calls[1] = Int32(end - begin)
            }, context)
        }, calls.data)
    }
    #expect(calls.values == [1, 1_000_000])
  }

  @Test func otherThreadsMayNotLaunch() async {
    await #expect(processExitsWith: .failure) {
      kk_parallel_for(10, 1, { _, _, _, _ in }, nil)
    }
  }

  @Test func arenaIsAlignedZeroedAndCounted() throws {
    let bytes = (64 << 20) + 12345
    let memory = try #require(kk_arena_allocate(bytes))
    #expect(UInt(bitPattern: memory) % (2 << 20) == 0)
    let before = kk_current_rss()
    memory.initializeMemory(as: UInt8.self, repeating: 1, count: bytes)
    #expect(kk_current_rss() >= before + bytes / 2)
    #expect(kk_peak_rss() >= kk_current_rss() / 2)
    kk_arena_free(memory, bytes)
    let small = try #require(kk_arena_allocate(100))
    #expect(small.load(fromByteOffset: 99, as: UInt8.self) == 0)
    kk_arena_free(small, 100)
    #expect(kk_arena_allocate(.max) == nil)
  }
}
